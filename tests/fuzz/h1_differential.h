// Our parser beside llhttp in strict mode: whatever we accept, llhttp accepts too, with the same method, target, fields
// and framing. (The other way round does not hold: we refuse more.) Exceptions, each of them wider grammar in llhttp's
// world, not in ours:
//  - methods: llhttp knows a closed list, RFC 9110 9.1 any token: such a request is compared with GET instead;
//  - Connection: upgrade with Upgrade, and 101: llhttp stops at the head, what follows is another protocol to it: heads
//  only;
//  - 204 and 304: llhttp leaves it to its caller to say that there is no body (RFC 9112 6.3), as with HEAD;
//  - HTAB behind "chunked" or a length (OWS, RFC 9110 5.6.3): llhttp does not see the coding then, or refuses the
//  length: framing is not compared;
//  - chunk extensions (7.1.1): llhttp 8.1 knows no quoted-pair and takes what follows the ';' behind a value for a
//  chunk size;
//  - persistence: we may close where llhttp would not ("keep-alive, close" in HTTP/1.0), never the other way round;
//  - 1xx heads before the final answer: messages of their own to llhttp; counted, and the final head is compared;
//    with Connection: close in one, llhttp expects nothing more (we go on, and do not use the connection again).
#pragma once
#include <llhttp.h>

#include <string>
#include <string_view>
#include <vector>

#include "dataplane/http/chars.h"
#include "dataplane/http/path.h"
#include "tests/fuzz/h1_properties.h"

namespace sluice::http::h1::fuzz {

struct Oracle {
  std::string method, url, body;
  std::vector<std::pair<std::string, std::string>> fields;
  bool in_value = false, head = false, complete = false, chunked = false, keep_alive = false, head_answer = false;
  bool upgrade = false;
  uint64_t length = 0;
  bool has_length = false;
  int status = 0;
  int interim = 0;
  llhttp_errno_t error = HPE_OK;
  std::string why;
};

inline Oracle& of(llhttp_t* parser) { return *static_cast<Oracle*>(parser->data); }
inline int on_url(llhttp_t* parser, const char* at, size_t size) {
  of(parser).url.append(at, size);
  return 0;
}
inline int on_name(llhttp_t* parser, const char* at, size_t size) {
  Oracle& oracle = of(parser);
  if (oracle.head) return 0;  // trailers
  if (oracle.fields.empty() || oracle.in_value) oracle.fields.emplace_back();
  oracle.in_value = false;
  oracle.fields.back().first.append(at, size);
  return 0;
}
inline int on_value(llhttp_t* parser, const char* at, size_t size) {
  Oracle& oracle = of(parser);
  if (oracle.head) return 0;
  oracle.in_value = true;
  oracle.fields.back().second.append(at, size);
  return 0;
}
inline int on_value_complete(llhttp_t* parser) {
  of(parser).in_value = true;
  return 0;
}
inline int on_head(llhttp_t* parser) {
  Oracle& oracle = of(parser);
  oracle.status = parser->status_code;
  if (parser->type == HTTP_RESPONSE && oracle.status < 200 && oracle.status != 101) {
    oracle.fields.clear();
    return 0;
  }
  oracle.head = true;
  oracle.chunked = (parser->flags & F_CHUNKED) != 0;
  oracle.has_length = (parser->flags & F_CONTENT_LENGTH) != 0;
  oracle.length = parser->content_length;
  oracle.upgrade = parser->upgrade != 0;
  if (parser->type == HTTP_REQUEST) oracle.method = llhttp_method_name(static_cast<llhttp_method_t>(parser->method));
  return oracle.head_answer || oracle.status == 204 || oracle.status == 304 ? 1 : 0;
}
inline int on_body(llhttp_t* parser, const char* at, size_t size) {
  of(parser).body.append(at, size);
  return 0;
}
inline int on_complete(llhttp_t* parser) {
  Oracle& oracle = of(parser);
  if (!oracle.head) {
    ++oracle.interim;
    return 0;
  }
  oracle.complete = true;
  oracle.keep_alive = llhttp_should_keep_alive(parser) != 0;
  return HPE_PAUSED;
}

inline Oracle ask(std::string_view input, llhttp_type_t type, bool head_answer) {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = on_url;
  settings.on_header_field = on_name;
  settings.on_header_value = on_value;
  settings.on_header_value_complete = on_value_complete;
  settings.on_headers_complete = on_head;
  settings.on_body = on_body;
  settings.on_message_complete = on_complete;
  Oracle oracle;
  oracle.head_answer = head_answer;
  llhttp_t parser;
  llhttp_init(&parser, type, &settings);
  parser.data = &oracle;
  oracle.error = llhttp_execute(&parser, input.data(), input.size());
  if (oracle.error != HPE_OK && oracle.error != HPE_PAUSED && oracle.error != HPE_PAUSED_UPGRADE) {
    oracle.why = std::string(llhttp_errno_name(oracle.error)) + ": " +
                 (llhttp_get_error_reason(&parser) != nullptr ? llhttp_get_error_reason(&parser) : "");
  }
  return oracle;
}

// llhttp keeps what we take out; names that Connection lists are compared too, as far as both have them.
inline bool taken_out(std::string_view name, bool request) {
  switch (token_of(name)) {
    case Token::connection:
    case Token::content_length:
    case Token::transfer_encoding:
    case Token::keep_alive:
    case Token::proxy_connection:
    case Token::upgrade:
    case Token::te:
    case Token::http2_settings:
      return true;
    case Token::host:
    case Token::expect:
    case Token::proxy_authorization:
      return request;
    case Token::proxy_authenticate:
      return !request;
    default:
      return false;
  }
}

// Every field of ours is one of llhttp's, in the same order; those left out are ours to leave out or named by
// Connection.
inline std::string compare_fields(const Fields& ours, const Oracle& oracle, bool request) {
  std::string connection = ",";
  for (const auto& [name, value] : oracle.fields) {
    if (token_of(name) != Token::connection) continue;
    for (const char c : value) connection += c == ' ' || c == '\t' ? ',' : chars::lower(c);
    connection += ",";
  }
  size_t at = 0;
  for (const auto& [name, value] : oracle.fields) {
    const std::string_view trimmed = chars::trim(value);
    if (at < ours.size() && ours.all()[at].name == name && ours.all()[at].value == trimmed &&
        !taken_out(name, request)) {
      ++at;
      continue;
    }
    std::string lowered = ",";
    for (const char c : name) lowered += chars::lower(c);
    if (taken_out(name, request) || connection.find(lowered + ",") != std::string::npos) continue;
    return "field of llhttp's that we lack: " + name + ": " + value;
  }
  return at == ours.size() ? "" : "field of ours that llhttp lacks: " + std::string(ours.all()[at].name);
}

inline bool known_to_llhttp(std::string_view method) {
  for (int i = 0; i <= HTTP_SOURCE; ++i) {
    if (i != HTTP_PRI && method == llhttp_method_name(static_cast<llhttp_method_t>(i))) return true;
  }
  return false;
}

inline bool tab_behind_coding(const Oracle& oracle) {
  for (const auto& [name, value] : oracle.fields) {
    if (token_of(name) == Token::transfer_encoding && value.find('\t') != std::string::npos) return true;
  }
  return false;
}
inline bool tab_behind_length(const Oracle& oracle, std::string_view input) {
  return oracle.error == HPE_INVALID_CONTENT_LENGTH && input.find('\t') != std::string_view::npos;
}
// Its complaint is about a chunk line, and there are extensions with values.
inline bool about_extension(const Oracle& oracle, std::string_view input) {
  const std::string_view body = input.substr(input.find("\r\n\r\n"));
  const size_t extension = body.find(';');
  return oracle.why.find("chunk") != std::string::npos && extension != std::string_view::npos &&
         body.find('=', extension) != std::string_view::npos;
}

// Why the two disagree; empty = they do not. Counts in *accepted the heads that we accept.
inline std::string differ_request(std::string_view input, size_t* accepted = nullptr) {
  ChunkPool pool;
  Arena arena(pool);
  RequestReader reader;
  RequestHead head(arena);
  const Seen seen = read(reader, input, 0, arena, head);
  if (!seen.head) return "";
  if (accepted != nullptr) ++*accepted;
  std::string asked(input);
  if (!known_to_llhttp(head.method_name)) asked.replace(asked.find(head.method_name), head.method_name.size(), "GET");
  const Oracle oracle = ask(asked, HTTP_REQUEST, false);
  if (!oracle.head && tab_behind_length(oracle, input)) return "";
  if (!oracle.head) return "llhttp refuses the head: " + oracle.why;
  if (known_to_llhttp(head.method_name) && oracle.method != head.method_name) return "method " + oracle.method;
  std::string_view target = oracle.url;
  if (!target.starts_with('/') && target != "*") {
    const size_t path = target.find_first_of("/?", target.find("://") + 3);
    target = path == std::string_view::npos ? std::string_view(head.path) : target.substr(path);
  }
  const size_t mark = target.find('?');
  if ((mark != std::string_view::npos) != head.has_query) return "query or not: " + oracle.url;
  if (head.has_query && normalize_query(target.substr(mark + 1), arena).query != head.query)
    return "query: " + oracle.url;
  std::string_view raw_path = target.substr(0, mark);
  if (raw_path.empty()) raw_path = "/";
  if (raw_path != "*" && normalize_path(raw_path, arena).path != head.path) return "path: " + oracle.url;
  if (std::string fields = compare_fields(head.fields, oracle, true); !fields.empty()) return fields;
  if (oracle.upgrade) return "";
  if (tab_behind_coding(oracle)) return "";
  if (oracle.chunked != (head.has_body && !head.content_length)) return "chunked or not";
  if (oracle.has_length != head.content_length.has_value()) return "length or not";
  if (oracle.has_length && oracle.length != *head.content_length && !seen.complete) return "length";
  if (seen.reason != Reason::none) return "";  // the body is refused by us: allowed
  if (about_extension(oracle, input)) return "";
  // A message that we have not seen whole may be refused earlier there.
  if (!oracle.why.empty()) return seen.complete ? "llhttp refuses the body: " + oracle.why : "";
  if (oracle.body != seen.body) return "body";
  if (oracle.complete != seen.complete) return "whole or not";
  if (seen.complete && seen.keep_alive && !oracle.keep_alive) return "persistence";
  return "";
}

inline std::string differ_response(std::string_view input, Method method, size_t* accepted = nullptr) {
  ChunkPool pool;
  Arena arena(pool);
  ResponseReader reader;
  reader.reset(method);
  ResponseHead head(arena);
  const Seen seen = read(reader, input, 0, arena, head);
  if (!seen.head) return "";
  if (accepted != nullptr) ++*accepted;
  const Oracle oracle = ask(input, HTTP_RESPONSE, method == Method::head);
  if (!oracle.head && seen.interim > 0 && oracle.error == HPE_CLOSED_CONNECTION)
    return seen.keep_alive ? "persistence" : "";
  if (!oracle.head && tab_behind_length(oracle, input)) return "";
  if (!oracle.head) return "llhttp refuses the head: " + oracle.why;
  if (oracle.status != head.status) return "status " + std::to_string(oracle.status);
  if (oracle.interim != seen.interim) return "interim heads";
  if (std::string fields = compare_fields(head.fields, oracle, false); !fields.empty()) return fields;
  if (oracle.upgrade || head.status == 101 || tab_behind_coding(oracle)) return "";
  if (seen.reason != Reason::none) return "";
  if (about_extension(oracle, input)) return "";
  // A message that we have not seen whole may be refused earlier there.
  if (!oracle.why.empty()) return seen.complete ? "llhttp refuses the body: " + oracle.why : "";
  if (oracle.body != seen.body) return "body";
  if (oracle.complete != seen.complete) return "whole or not";
  return "";
}

}  // namespace sluice::http::h1::fuzz
