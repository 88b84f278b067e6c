// Our parser beside llhttp in strict mode: whatever we accept, llhttp accepts too, with the same method, target,
// fields, framing, end and persistence; message after message of one connection. The other way round does not hold: we
// refuse more. Where llhttp's grammar is the narrower one, the difference is excused by name (kExcuses), counted, and
// explained in README.md here; so is what only we refuse, by our reason.
#pragma once
#include <llhttp.h>

#include <map>
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
  size_t consumed = 0;    // complete: bytes of the message
  bool finished = false;  // the end of input there is a good end
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
  if (oracle.error == HPE_PAUSED) oracle.consumed = static_cast<size_t>(llhttp_get_error_pos(&parser) - input.data());
  if (oracle.error == HPE_OK) {
    const bool complete = oracle.complete;
    const llhttp_errno_t end = llhttp_finish(&parser);  // may complete the message: HPE_PAUSED is ours
    oracle.finished = end == HPE_OK || end == HPE_PAUSED;
    oracle.complete = complete;
  }
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

// Where llhttp is the narrower one. Each is explained in README.md here.
enum class Excuse : uint8_t {
  none,
  method,
  upgrade,
  tab_behind_coding,
  tab_behind_length,
  extension,
  interim_close,
  we_close
};
inline constexpr std::string_view kExcuses[] = {
    "none", "method", "upgrade", "tab behind coding", "tab behind length", "extension", "interim close", "we close"};

// What became of the inputs of a run.
struct Tally {
  size_t accepted = 0, complete = 0, pipelined = 0, ended = 0;
  std::map<Excuse, size_t> excused;
  std::map<Reason, size_t> only_ours;  // we refuse, llhttp takes
};

struct Difference {
  std::string what;  // empty: none
  Excuse excuse = Excuse::none;
};
inline Difference excused(Excuse excuse) { return {"", excuse}; }

// Framing, body and end of a message whose heads agree.
inline Difference compare_end(const Seen& seen, const Oracle& oracle, std::string_view input) {
  if (seen.reason != Reason::none) return {};  // the body is refused by us: allowed
  if (about_extension(oracle, input)) return excused(Excuse::extension);
  // A message that we have not seen whole may be refused earlier there.
  if (!oracle.why.empty()) return {seen.complete ? "llhttp refuses the body: " + oracle.why : ""};
  if (oracle.body != seen.body) return {"body"};
  if (oracle.complete != seen.complete) return {"whole or not"};
  if (!seen.complete) return {};
  if (seen.keep_alive && !oracle.keep_alive) return {"persistence"};
  if (oracle.consumed != seen.consumed)
    return {"ends at " + std::to_string(seen.consumed) + ", llhttp at " + std::to_string(oracle.consumed)};
  if (!seen.keep_alive && oracle.keep_alive) return excused(Excuse::we_close);
  return {};
}

inline Difference compare_target(const RequestHead& head, const Oracle& oracle, Arena& arena) {
  std::string_view target = oracle.url;
  if (!target.starts_with('/') && target != "*") {
    const size_t path = target.find_first_of("/?", target.find("://") + 3);
    target = path == std::string_view::npos ? std::string_view(head.path) : target.substr(path);
  }
  const size_t mark = target.find('?');
  if ((mark != std::string_view::npos) != head.has_query) return {"query or not: " + oracle.url};
  if (head.has_query && normalize_query(target.substr(mark + 1), arena).query != head.query)
    return {"query: " + oracle.url};
  std::string_view raw_path = target.substr(0, mark);
  if (raw_path.empty()) raw_path = "/";
  if (raw_path != "*" && normalize_path(raw_path, arena).path != head.path) return {"path: " + oracle.url};
  return {};
}

inline Difference compare_request(const RequestHead& head, const Seen& seen, const Oracle& oracle, bool known,
                                  std::string_view input, Arena& arena) {
  if (!oracle.head && tab_behind_length(oracle, input)) return excused(Excuse::tab_behind_length);
  if (!oracle.head) return {"llhttp refuses the head: " + oracle.why};
  if (known && oracle.method != head.method_name) return {"method " + oracle.method};
  if (Difference target = compare_target(head, oracle, arena); !target.what.empty()) return target;
  if (std::string fields = compare_fields(head.fields, oracle, true); !fields.empty()) return {fields};
  if (oracle.upgrade) return excused(Excuse::upgrade);
  if (tab_behind_coding(oracle)) return excused(Excuse::tab_behind_coding);
  if (oracle.chunked != (head.has_body && !head.content_length)) return {"chunked or not"};
  if (oracle.has_length != head.content_length.has_value()) return {"length or not"};
  if (oracle.has_length && oracle.length != *head.content_length && !seen.complete) return {"length"};
  return compare_end(seen, oracle, input);
}

// Counts; true if the next message of this connection may be compared too.
inline bool go_on(const Seen& seen, const Difference& found, bool last, Tally& tally) {
  ++tally.accepted;
  if (found.excuse != Excuse::none) ++tally.excused[found.excuse];
  if (seen.complete && seen.reason == Reason::none) ++tally.complete;
  if (last || !found.what.empty() || !seen.complete || !seen.keep_alive) return false;
  // Both are at the same byte, or llhttp cannot say.
  if (found.excuse != Excuse::none && found.excuse != Excuse::method) return false;
  ++tally.pipelined;
  return true;
}

inline void count_refusal(const Seen& seen, const Oracle& oracle, Tally& tally) {
  if (seen.reason == Reason::none || !oracle.head || !oracle.why.empty()) return;
  // Of an answer the detail says what a request would be told.
  const bool detailed = seen.reason == Reason::bad_response && seen.detail != 0;
  ++tally.only_ours[detailed ? static_cast<Reason>(seen.detail) : seen.reason];
}

// Why the two disagree about the requests of a connection; empty = they do not.
inline std::string differ_requests(std::string_view input, Tally& tally) {
  RequestReader reader;
  while (true) {
    ChunkPool pool;
    Arena arena(pool);
    RequestHead head(arena);
    reader.reset();
    const Seen seen = read(reader, input, 0, arena, head);
    std::string asked(input);
    const bool known = !seen.head || known_to_llhttp(head.method_name);
    if (!known) asked.replace(asked.find(head.method_name), head.method_name.size(), "GET");
    Oracle oracle = ask(asked, HTTP_REQUEST, false);
    if (oracle.consumed != 0) oracle.consumed += input.size() - asked.size();
    count_refusal(seen, oracle, tally);
    if (!seen.head) return "";
    if (!known) ++tally.excused[Excuse::method];
    const Difference found = compare_request(head, seen, oracle, known, input, arena);
    if (!go_on(seen, found, seen.consumed >= input.size(), tally)) return found.what;
    input.remove_prefix(seen.consumed);
  }
}

inline Difference compare_response(const ResponseHead& head, const Seen& seen, const Oracle& oracle,
                                   std::string_view input) {
  if (!oracle.head && seen.interim > 0 && oracle.error == HPE_CLOSED_CONNECTION) {
    if (seen.keep_alive) return {"persistence"};
    return excused(Excuse::interim_close);
  }
  if (!oracle.head && tab_behind_length(oracle, input)) return excused(Excuse::tab_behind_length);
  if (!oracle.head) return {"llhttp refuses the head: " + oracle.why};
  if (oracle.status != head.status) return {"status " + std::to_string(oracle.status)};
  if (oracle.interim != seen.interim) return {"interim heads"};
  if (std::string fields = compare_fields(head.fields, oracle, false); !fields.empty()) return {fields};
  if (oracle.upgrade || head.status == 101) return excused(Excuse::upgrade);
  if (tab_behind_coding(oracle)) return excused(Excuse::tab_behind_coding);
  return compare_end(seen, oracle, input);
}

// The same for answers. `methods`: of the requests; the first was HEAD if the lowest two bits are 1, each further one
// if the next bit is set. Where the input ends inside an answer, so does the connection.
inline std::string differ_responses(std::string_view input, uint8_t methods, Tally& tally) {
  ResponseReader reader;
  for (bool is_head = methods % 4 == 1;; is_head = (methods & 4) != 0, methods = static_cast<uint8_t>(methods >> 1)) {
    ChunkPool pool;
    Arena arena(pool);
    ResponseHead head(arena);
    reader.reset(is_head ? Method::head : Method::get);
    const Seen seen = read(reader, input, 0, arena, head);
    const Oracle oracle = ask(input, HTTP_RESPONSE, is_head);
    count_refusal(seen, oracle, tally);
    if (!seen.head) return "";
    const Difference found = compare_response(head, seen, oracle, input);
    if (found.what.empty() && found.excuse == Excuse::none && seen.reason == Reason::none && !seen.complete) {
      const bool ours = reader.eof().event == Event::end;
      if (ours && !oracle.finished) return "a good end, but not to llhttp";
      if (!ours && oracle.finished && oracle.why.empty()) return "a good end to llhttp";
      tally.ended += ours ? 1 : 0;
    }
    if (!go_on(seen, found, seen.consumed >= input.size(), tally)) return found.what;
    input.remove_prefix(seen.consumed);
  }
}

}  // namespace sluice::http::h1::fuzz
