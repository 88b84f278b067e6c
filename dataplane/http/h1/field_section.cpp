#include "dataplane/http/h1/field_section.h"

#include <algorithm>

#include "dataplane/http/chars.h"

namespace sluice::http::h1 {
namespace {

// A list of more options than this is not honest, and each costs a walk over the fields.
constexpr uint32_t kMaxNamedFields = 32;

// RFC 9110 7.6.1: Connection removes what it names. But the gateway vouches for or needs these, "Cache-Control is never
// appropriate as a connection option", and without the content fields the body would mean something else: a client must
// not be able to make them vanish behind the gateway.
bool may_be_named(Token token) {
  switch (token) {
    case Token::authorization:
    case Token::cookie:
    case Token::set_cookie:
    case Token::origin:
    case Token::via:
    case Token::cache_control:
    case Token::content_type:
    case Token::content_encoding:
    case Token::max_forwards:
    case Token::x_forwarded_for:
    case Token::x_forwarded_proto:
    case Token::x_forwarded_host:
    case Token::x_forwarded_port:
    case Token::x_real_ip:
    case Token::x_request_id:
    case Token::forwarded:
      return false;
    default:
      return true;
  }
}

// RFC 9110 10.1.4: parameters (weights) do not matter for "trailers".
bool lists_trailers(std::string_view list) {
  return !chars::for_each_element(list, [](std::string_view element) {
    return !chars::equal_without_case(chars::trim(element.substr(0, element.find(';'))), "trailers");
  });
}

void note(uint32_t& count, std::string_view& where, std::string_view value) {
  ++count;
  where = value;
}

constexpr uint64_t bit(Token token) { return uint64_t{1} << static_cast<unsigned>(token); }
static_assert(static_cast<unsigned>(Token::kCount) <= 64);
// Those that keep() looks at; all others stay.
constexpr uint64_t kLookedAt = bit(Token::content_length) | bit(Token::transfer_encoding) | bit(Token::connection) |
                               bit(Token::upgrade) | bit(Token::keep_alive) | bit(Token::proxy_connection) |
                               bit(Token::http2_settings) | bit(Token::te) | bit(Token::host) | bit(Token::expect) |
                               bit(Token::proxy_authorization) | bit(Token::proxy_authenticate);

// True if the field stays in `fields`.
bool keep(const Field& field, Direction direction, FieldFacts& facts) {
  switch (field.token) {
    case Token::content_length:
      note(facts.lengths, facts.length, field.value);
      return false;
    case Token::transfer_encoding:
      note(facts.encodings, facts.encoding, field.value);
      return false;
    case Token::connection:
      if (facts.connections < FieldFacts::kMaxConnections) facts.connection[facts.connections] = field.value;
      ++facts.connections;
      return false;
    case Token::upgrade:
      note(facts.upgrades, facts.upgrade, field.value);
      return false;
    case Token::keep_alive:
    case Token::proxy_connection:
    case Token::http2_settings:
      return false;
    case Token::te:
      facts.wants_trailers |= direction == Direction::request && lists_trailers(field.value);
      return false;
    case Token::host:
      if (direction == Direction::response) return true;
      note(facts.hosts, facts.host, field.value);
      return false;
    case Token::expect:
      if (direction == Direction::response) return true;
      note(facts.expects, facts.expect, field.value);
      return false;
    // RFC 9110 11.7: meant for the next proxy only; this is where they end.
    case Token::proxy_authorization:
      return direction == Direction::response;
    case Token::proxy_authenticate:
      return direction == Direction::request;
    default:
      return true;
  }
}

}  // namespace

Reason refuse_line_start(const char* p, const char* end, bool& incomplete) {
  incomplete = false;
  switch (*p) {
    case ' ':
    case '\t':
      return Reason::obs_fold;
    case '\n':
      return Reason::bare_cr_lf;
    case '\r':
      incomplete = p + 1 == end;
      return Reason::bare_cr_lf;
    default:
      return Reason::bad_header_name;
  }
}

// Inlined into the loop below: it is the loop's body.
[[gnu::always_inline]] static inline Parse take_line(const char* p, const char* end, Field& field, const char*& next,
                                                     Reason& reason) {
  const char* colon = chars::skip_token(p, end);
  if (colon == end) return Parse::incomplete;
  if (*colon != ':' || colon == p) {
    bool incomplete = false;
    // A line that ends without a colon: how it ends matters more than what is missing.
    reason = colon == p || *colon == '\r' || *colon == '\n' ? refuse_line_start(colon, end, incomplete)
                                                            : Reason::bad_header_name;
    if (incomplete) return Parse::incomplete;
    if (*colon == '\r' && colon[1] == '\n') reason = Reason::bad_header_name;
    return Parse::failed;
  }
  const char* value = colon + 1;
  while (value != end && (*value == ' ' || *value == '\t')) ++value;
  const char* stop = chars::find_stop(value, end);
  if (stop == end) return Parse::incomplete;
  if (*stop != '\r') {
    reason = *stop == '\n' ? Reason::bare_cr_lf : Reason::bad_header_value;
    return Parse::failed;
  }
  if (stop + 1 == end) return Parse::incomplete;
  if (stop[1] != '\n') {
    reason = Reason::bare_cr_lf;
    return Parse::failed;
  }
  next = stop + 2;
  while (stop != value && (stop[-1] == ' ' || stop[-1] == '\t')) --stop;
  field.name = {p, static_cast<size_t>(colon - p)};
  field.value = {value, static_cast<size_t>(stop - value)};
  return Parse::complete;
}

Parse parse_field_line(const char* p, const char* end, Field& field, const char*& next, Reason& reason) {
  return take_line(p, end, field, next, reason);
}

SectionResult parse_section(const char* p, const char* end, Direction direction, const Limits& limits, Fields& fields,
                            FieldFacts& facts) {
  SectionResult result;
  const char* const begin = p;
  uint32_t count = 0;
  Field field;
  while (true) {
    result.next = p;
    if (p == end) return result;
    if (*p == '\r') {
      if (p + 1 == end) return result;
      if (p[1] == '\n') break;
    }
    const Parse parse = take_line(p, end, field, p, result.reason);
    if (parse != Parse::complete) {
      result.parse = parse;
      return result;
    }
    if (++count > limits.header_count) {
      result.parse = Parse::failed;
      result.reason = Reason::too_many_headers;
      return result;
    }
    field.token = token_of(field.name);
    if ((kLookedAt & bit(field.token)) == 0 || keep(field, direction, facts)) fields.add(field);
  }
  result.next = p + 2;
  if (static_cast<size_t>(p - begin) > limits.header_bytes) {
    result.parse = Parse::failed;
    result.reason = Reason::headers_too_large;
    return result;
  }
  result.parse = Parse::complete;
  return result;
}

ConnectionOptions apply_connection(const FieldFacts& facts, Fields& fields) {
  ConnectionOptions out;
  if (facts.connections > FieldFacts::kMaxConnections) {
    out.reason = Reason::bad_header_value;
    return out;
  }
  uint32_t named = 0;
  for (uint32_t i = 0; i < facts.connections; ++i) {
    const bool good = chars::for_each_element(facts.connection[i], [&](std::string_view option) {
      if (chars::equal_without_case(option, "close")) {
        out.close = true;
      } else if (chars::equal_without_case(option, "keep-alive")) {
        out.keep_alive = true;
      } else if (chars::equal_without_case(option, "upgrade")) {
        out.upgrade = true;
      } else {
        if (!chars::is_token(option) || ++named > kMaxNamedFields) return false;
        if (may_be_named(token_of(option))) fields.remove(option);
      }
      return true;
    });
    if (!good) {
      out.reason = Reason::bad_header_value;
      return out;
    }
  }
  return out;
}

std::optional<uint64_t> parse_length(std::string_view text) {
  if (text.empty() || text.size() > 19) return std::nullopt;
  uint64_t value = 0;
  for (const char c : text) {
    if (!chars::is_digit(static_cast<unsigned char>(c))) return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return value;
}

void Rebase::operator()(FieldFacts& facts) const {
  (*this)(facts.host);
  (*this)(facts.length);
  (*this)(facts.encoding);
  (*this)(facts.expect);
  (*this)(facts.upgrade);
  for (std::string_view& value : facts.connection) (*this)(value);
}

}  // namespace sluice::http::h1
