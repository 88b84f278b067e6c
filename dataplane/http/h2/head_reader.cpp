#include "dataplane/http/h2/head_reader.h"

#include <algorithm>
#include <cstring>

#include "dataplane/http/authority.h"
#include "dataplane/http/chars.h"
#include "dataplane/http/h1/field_section.h"
#include "dataplane/http/target.h"
#include "dataplane/http/trailers.h"

namespace sluice::http::h2 {
namespace {

bool has_upper(std::string_view name) {
  return std::any_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// RFC 9113 8.2.1: no white space around it, and what HTTP/1 refuses.
bool is_value(std::string_view value) {
  if (value.empty()) return true;
  auto blank = [](char c) { return c == ' ' || c == '\t'; };
  return !blank(value.front()) && !blank(value.back()) && chars::is_field_value(value);
}

bool is_protocol_name(std::string_view text) {
  const size_t slash = text.find('/');
  return chars::is_token(text.substr(0, slash)) &&
         (slash == std::string_view::npos || chars::is_token(text.substr(slash + 1)));
}

}  // namespace

bool is_malformed(Reason reason) {
  switch (reason) {
    case Reason::headers_too_large:
    case Reason::too_many_headers:
    case Reason::request_line_too_long:
    case Reason::connect_refused:
    case Reason::unsupported_expect:
    case Reason::bad_host:
    case Reason::missing_host:
    case Reason::bad_path_encoding:
    case Reason::rejected_path:
      return false;
    default:
      return true;
  }
}

bool HeadReader::add(std::string_view name, std::string_view value) {
  const size_t size = name.size() + value.size() + 4;
  decoded_ = static_cast<uint32_t>(std::min<size_t>(decoded_ + size, UINT32_MAX));
  if (decoded_ > most_decoded_) return false;
  if (reason_ != Reason::none) return true;
  if (!name.empty() && name.front() == ':') {
    pseudo(name, value);
    return true;
  }
  any_field_ = true;
  // Crumbs of one cookie are one field (8.2.3), wherever they stand, up to a bound of their own.
  const bool crumb = cookies_ != 0 && name == "cookie";
  if (crumb ? cookies_ >= 4 * limits_.header_count : ++count_ > limits_.header_count) {
    refuse(Reason::too_many_headers);
    return true;
  }
  kept_bytes_ += static_cast<uint32_t>(size);
  if (kept_bytes_ > limits_.header_bytes) {
    refuse(Reason::headers_too_large);
    return true;
  }
  // RFC 9113 8.2: "Field names MUST be converted to lowercase".
  if (!chars::is_token(name) || has_upper(name)) {
    refuse(Reason::bad_header_name);
    return true;
  }
  if (!is_value(value)) {
    refuse(Reason::bad_header_value);
    return true;
  }
  char* const copy = static_cast<char*>(arena_.allocate(name.size() + value.size(), 1));
  std::memcpy(copy, name.data(), name.size());
  if (!value.empty()) std::memcpy(copy + name.size(), value.data(), value.size());
  const Field field{{copy, name.size()}, {copy + name.size(), value.size()}, token_of(name)};
  if (field.token == Token::cookie) ++cookies_;
  if (field.token == Token::none && name == "priority") read_priority(field.value);
  fields_.add(field);
  return true;
}

void HeadReader::pseudo(std::string_view name, std::string_view value) {
  // RFC 9113 8.3: before all others, each once, none that is not defined.
  Once* once = nullptr;
  if (name == ":method") once = &method_;
  else if (name == ":path") once = &path_;
  else if (name == ":scheme") once = &scheme_;
  else if (name == ":authority") once = &authority_;
  else if (name == ":status") once = &status_;
  else if (name == ":protocol") once = &protocol_;
  any_pseudo_ = true;
  if (once == nullptr || once->seen || any_field_) return refuse(Reason::bad_header_name);
  if (!is_value(value)) return refuse(once == &path_ ? Reason::bad_target : Reason::bad_header_value);
  if (value.size() > limits_.request_line) return refuse(Reason::request_line_too_long);
  once->seen = true;
  once->value = arena_.copy(value);
}

void HeadReader::read_priority(std::string_view value) {
  // A dictionary (RFC 9651) of which two members matter; anything else in it is ignored (RFC 9218 4).
  chars::for_each_element(value, [&](std::string_view member) {
    member = chars::trim(member.substr(0, member.find(';')));
    if (member.size() == 3 && member.starts_with("u=") && member[2] >= '0' && member[2] <= '7')
      urgency_ = static_cast<uint8_t>(member[2] - '0');
    else if (member == "i" || member == "i=?1") incremental_ = true;
    else if (member == "i=?0") incremental_ = false;
    return true;
  });
}

// What frames the message or concerns the connection is taken out or refused (RFC 9113 8.2.2).
Reason HeadReader::take_fields(Fields& into, bool request) {
  Reason reason = Reason::none;
  auto once = [&](Once& what, const Field& field, Reason twice) {
    if (what.seen && reason == Reason::none) reason = twice;
    what.seen = true;
    what.value = field.value;
    return true;
  };
  fields_.remove_if([&](const Field& field) {
    switch (field.token) {
      case Token::connection:
      case Token::proxy_connection:
      case Token::keep_alive:
      case Token::transfer_encoding:
      case Token::upgrade:
        if (reason == Reason::none) reason = Reason::bad_header_name;
        return true;
      case Token::http2_settings:
        return true;
      case Token::te:
        // "it MUST NOT contain any value other than "trailers""
        if (!chars::equal_without_case(field.value, "trailers") && reason == Reason::none)
          reason = Reason::bad_header_value;
        wants_trailers_ = request;
        return true;
      case Token::content_length:
        return once(length_, field, Reason::bad_content_length);
      case Token::host:
        return request && once(host_, field, Reason::duplicate_host);
      case Token::expect:
        return request && once(expect_, field, Reason::unsupported_expect);
      // RFC 9110 11.7: meant for the next proxy only; this is where they end.
      case Token::proxy_authorization:
        return request;
      case Token::proxy_authenticate:
        return !request;
      default:
        return false;
    }
  });
  if (request && cookies_ > 1) join_cookies(fields_);
  into = fields_;
  return reason;
}

// RFC 9113 8.2.3: crumbs "MUST be concatenated into a single octet string using the two-octet delimiter of 0x3b, 0x20".
void HeadReader::join_cookies(Fields& fields) {
  size_t size = 0;
  for (const Field& field : fields.all()) size += field.token == Token::cookie ? field.value.size() + 2 : 0;
  char* const all = static_cast<char*>(arena_.allocate(size, 1));
  size_t at = 0;
  for (const Field& field : fields.all()) {
    // An empty one adds nothing: a delimiter at the end would leave white space there.
    if (field.token != Token::cookie || field.value.empty()) continue;
    if (at != 0) {
      all[at++] = ';';
      all[at++] = ' ';
    }
    std::memcpy(all + at, field.value.data(), field.value.size());
    at += field.value.size();
  }
  fields.remove(Token::cookie);
  fields.add({"cookie", {all, at}, Token::cookie});
}

// RFC 9113 8.3.1: the authority, or Host where it is missing; if both are there they must be one.
Reason HeadReader::set_host(RequestHead& head) {
  if (!authority_.seen && !host_.seen) return Reason::missing_host;
  const Authority authority = parse_authority(authority_.seen ? authority_.value : host_.value, arena_);
  if (authority.reason != Reason::none) return authority.reason;
  if (authority_.seen && host_.seen) {
    const Authority host = parse_authority(host_.value, arena_);
    if (host.reason != Reason::none) return host.reason;
    const uint16_t usual = scheme_.value == "https" ? 443 : 80;
    auto port = [&](const Authority& of) { return of.port == 0 ? usual : of.port; };
    if (host.host != authority.host || port(host) != port(authority)) return Reason::duplicate_host;
  }
  head.host = authority.host;
  head.port = authority.port;
  return Reason::none;
}

Reason HeadReader::finish(RequestHead& head, bool end, bool extended_connect) {
  // Before all else: the answer to HEAD has no content, whatever is wrong with the request (RFC 9110 9.3.2).
  const bool named = method_.seen && chars::is_token(method_.value);
  if (named) {
    head.method_name = method_.value;
    head.method = method_of(method_.value);
  }
  if (reason_ != Reason::none) return reason_;
  if (status_.seen || !named) return Reason::bad_method;
  head.version = Version::http2;
  if (Reason reason = take_fields(head.fields, true); reason != Reason::none) return reason;
  const bool connect = head.method == Method::connect;
  if (protocol_.seen) {
    // RFC 8441 4: only with CONNECT, and then scheme and path are there as well.
    if (!extended_connect || !connect || end) return Reason::bad_method;
    if (!is_protocol_name(protocol_.value)) return Reason::bad_header_value;
  } else if (connect) {
    if (scheme_.seen || path_.seen || !authority_.seen) return Reason::bad_target;
    return Reason::connect_refused;
  }
  if (!scheme_.seen || !path_.seen) return Reason::bad_target;
  if (scheme_.value != "http" && scheme_.value != "https") return Reason::bad_target;
  if (path_.value == "*") {
    if (head.method != Method::options) return Reason::bad_target;
    head.path = path_.value;
  } else {
    if (path_.value.empty() || path_.value.front() != '/') return Reason::bad_target;
    if (path_.value.size() + method_.value.size() > limits_.request_line) return Reason::request_line_too_long;
    if (Reason reason = set_path_and_query(path_.value, head, arena_); reason != Reason::none) return reason;
  }
  if (Reason reason = set_host(head); reason != Reason::none) return reason;
  if (length_.seen) {
    head.content_length = h1::parse_length(length_.value);
    if (!head.content_length) return Reason::bad_content_length;
    if (end && *head.content_length != 0) return Reason::bad_content_length;
  }
  head.has_body = !end && head.content_length != 0u;
  head.wants_trailers = wants_trailers_;
  if (expect_.seen) {
    if (!chars::equal_without_case(expect_.value, "100-continue")) return Reason::unsupported_expect;
    head.expect_continue = head.has_body;
  }
  if (protocol_.seen) {
    // A tunnel (RFC 8441): its bytes are no content. For the rest of the gateway it is what HTTP/1 says with Upgrade.
    if (length_.seen) return Reason::bad_content_length;
    head.method = Method::get;
    head.method_name = name_of(Method::get);
    head.upgrade = protocol_.value;
    head.has_body = head.expect_continue = false;
  }
  return Reason::none;
}

Reason HeadReader::finish(ResponseHead& head, bool end, Method request_method) {
  if (reason_ != Reason::none) return reason_;
  if (method_.seen || scheme_.seen || path_.seen || authority_.seen || protocol_.seen) return Reason::bad_header_name;
  if (status_.value.size() != 3) return Reason::bad_request_line;
  unsigned status = 0;
  for (const char c : status_.value) {
    if (!chars::is_digit(static_cast<unsigned char>(c))) return Reason::bad_request_line;
    status = status * 10 + static_cast<unsigned>(c - '0');
  }
  // RFC 9113 8.6: 101 has no meaning here.
  if (status < 100 || status > 599 || status == 101) return Reason::bad_request_line;
  head.version = Version::http2;
  head.status = static_cast<uint16_t>(status);
  if (Reason reason = take_fields(head.fields, false); reason != Reason::none) return reason;
  if (status < 200) {
    if (end) return Reason::bad_request_line;
    return length_.seen ? Reason::bad_content_length : Reason::none;
  }
  std::optional<uint64_t> length;
  if (length_.seen) {
    length = h1::parse_length(length_.value);
    if (!length) return Reason::bad_content_length;
  }
  const bool none = request_method == Method::head || status == 304 || status == 204;
  if (status == 204 && length.value_or(0) != 0) return Reason::bad_content_length;
  if (end && !none && length.value_or(0) != 0) return Reason::bad_content_length;
  if (status != 204) head.content_length = length;
  // An answer that has none ends with its head or with an empty DATA frame; anything else is seen there.
  head.has_body = !end && !none && length != 0u;
  return Reason::none;
}

Reason HeadReader::finish_trailers(Fields& trailers) {
  if (reason_ != Reason::none) return reason_;
  // RFC 9113 8.1: "Trailers MUST NOT include pseudo-header fields".
  if (any_pseudo_) return Reason::bad_trailer;
  bool refused = false;
  fields_.remove_if([&](const Field& field) {
    const Trailer verdict = judge_trailer(field);
    refused |= verdict == Trailer::refuse;
    return verdict != Trailer::keep;
  });
  if (refused) return Reason::bad_trailer;
  trailers = fields_;
  return Reason::none;
}

}  // namespace sluice::http::h2
