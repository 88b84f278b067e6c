// Host and authority (RFC 9110 7.2, RFC 3986 3.2) as strictly as names are used: letters, digits, '-', '_' and dots,
// IPv4, bracketed IPv6, a port of 1..65535. No userinfo, no percent-encoding, no IPvFuture, no zone. One normal form,
// so that routing cannot be evaded by spelling.
#pragma once
#include <cstdint>
#include <string_view>

#include "common/base/arena.h"
#include "dataplane/http/error.h"

namespace sluice::http {

struct Authority {
  Reason reason = Reason::none;  // none or bad_host
  std::string_view host;  // lower case, one trailing dot gone, IPv6 in brackets and canonical (RFC 5952); view of raw
                          // or in the arena
  uint16_t port = 0;      // 0 = none given
};
[[nodiscard]] Authority parse_authority(std::string_view raw, Arena& arena);

}  // namespace sluice::http
