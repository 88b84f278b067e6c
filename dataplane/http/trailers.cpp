#include "dataplane/http/trailers.h"

#include <string_view>

#include "dataplane/http/chars.h"

namespace sluice::http {

Trailer judge_trailer(const Field& field) {
  switch (field.token) {
    case Token::host:
    case Token::connection:
    case Token::content_length:
    case Token::transfer_encoding:
    case Token::te:
    case Token::trailer:
    case Token::upgrade:
    case Token::keep_alive:
    case Token::proxy_connection:
    case Token::expect:
    case Token::http2_settings:
      return Trailer::refuse;
    case Token::none:
      break;
    case Token::etag:  // RFC 9110 8.8.3 and 10.2.4: these two may come late
    case Token::server:
      return Trailer::keep;
    default:
      return Trailer::drop;
  }
  // Names the gateway vouches for, in the spelling that CGI-like servers take for the same, and conditionals and
  // content metadata.
  static constexpr std::string_view kDropped[] = {"x-forwarded-",     "x-real-",       "x-request-id",  "if-",
                                                  "www-authenticate", "content-range", "authorization", "age",
                                                  "expires",          "warning",       "pragma",        "set-cookie2"};
  for (const std::string_view dropped : kDropped) {
    if (field.name.size() < dropped.size()) continue;
    bool same = true;
    for (size_t i = 0; i < dropped.size() && same; ++i) {
      same = (field.name[i] == '_' ? '-' : chars::lower(field.name[i])) == dropped[i];
    }
    if (same && (dropped.back() == '-' || field.name.size() == dropped.size())) return Trailer::drop;
  }
  return Trailer::keep;
}

}  // namespace sluice::http
