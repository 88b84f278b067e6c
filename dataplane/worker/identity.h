// Who the client is, and the fields the gateway vouches for: X-Forwarded-For/-Proto/-Host/-Port, X-Real-IP,
// X-Request-Id, and Forwarded by option. From peers that are no trusted proxies none of them is believed: removed in
// every spelling (`_` for `-` too), then made anew.
#pragma once
#include <string_view>

#include "dataplane/http/message.h"
#include "dataplane/net/address.h"
#include "dataplane/worker/settings.h"

namespace sluice::worker {

struct ConnectionFacts {
  net::Address peer;  // of the socket, or as its PROXY header says
  bool secure = false;
};
struct Identity {
  net::Address client;  // the rightmost address of X-Forwarded-For that is no trusted proxy, or the peer
  bool secure = false;  // as the client sees it
};
// `request_id`: used unless a trusted proxy gave a good one; set to the one in use (a view into the arena or what was
// given).
[[nodiscard]] Identity identify(http::RequestHead& head, const ConnectionFacts& connection, const Settings& settings,
                                std::string_view& request_id);

}  // namespace sluice::worker
