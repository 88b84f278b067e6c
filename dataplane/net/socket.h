// Making and asking sockets: what the master, listeners and tests need. Nothing here blocks or resolves names.
#pragma once
#include <cstdint>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "dataplane/net/address.h"

namespace sluice::net {

struct ListenOptions {
  bool reuse_port = true;  // one socket per worker and port
  int backlog = 4096;      // cut to net.core.somaxconn by the kernel
};
// A non-blocking listening socket with SO_REUSEADDR; IPv6 sockets take IPv6 only, so that "::" and "0.0.0.0" can both
// be listened on. Port 0 = any.
[[nodiscard]] Result<UniqueFd> listen_on(const Address& address, const ListenOptions& options = {});
[[nodiscard]] Result<Address> local_address(int fd);
// Closing it resets the connection: for an answer whose cut would else look like its end.
void reset_on_close(int fd);
// Bytes in the kernel that the peer has not acknowledged.
[[nodiscard]] size_t unacknowledged(int fd);
[[nodiscard]] bool set_nonblocking(int fd);  // false with errno

}  // namespace sluice::net
