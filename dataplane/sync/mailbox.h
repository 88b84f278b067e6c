// A client's connection on its way from the worker that accepted it to the one that serves it (connections.balance):
// one packet with one descriptor over that worker's mailbox, a SOCK_SEQPACKET socketpair of the master's. Nothing of
// the connection was read before, so that PROXY header, TLS and limits are the receiver's. What waits in a mailbox
// outlives both workers.
#pragma once
#include <cstdint>

#include "common/base/unique_fd.h"
#include "dataplane/net/address.h"

namespace sluice::sync {

struct HandedConnection {
  UniqueFd fd;
  net::Address peer;        // as the kernel says
  uint16_t local_port = 0;  // of the listener
  bool tls = false;         // by the listener
};

// The descriptor stays the caller's, who closes it. False: not sent, because the mailbox is full or nobody reads it
// any more. Never waits.
[[nodiscard]] bool give(int mailbox, int fd, uint16_t local_port, bool tls);

enum class Taken : uint8_t {
  connection,
  nothing,  // the mailbox is empty
  ended,    // and it stays so: it was shut, or nobody can send any more
  gone,     // the client has left meanwhile; closed
  refused   // a packet of another size or kind, not exactly one descriptor, no connection over IP; closed
};
// The next one; `into` is only changed for `connection`. Never waits.
[[nodiscard]] Taken take(int mailbox, HandedConnection& into);
// What waits can still be taken; nothing more is let in.
void shut(int mailbox);

}  // namespace sluice::sync
