// One push frame over a SOCK_SEQPACKET unix socket, with at most one descriptor. Never blocks: used by both ends of the
// push protocol (controlplane/publish, dataplane/agent), each behind its own event loop. Descriptors that should not be
// there are closed.
#pragma once
#include <optional>
#include <string>

#include <sys/un.h>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "common/ir/push_frame.h"

namespace sluice::ir {

struct ReceivedFrame {
  PushFrame frame;
  UniqueFd part;  // only with FrameType::part
};

// nullopt: nothing to read now. Error: closed by the peer ("closed"), or a packet that breaks the protocol.
[[nodiscard]] Result<std::optional<ReceivedFrame>> receive_frame(int socket);

// False: the socket's buffer is full, nothing was sent. Error: the connection is dead.
[[nodiscard]] Result<bool> send_frame(int socket, const PushFrame& frame, int part = -1);

// The uid of the process at the other end (SO_PEERCRED).
[[nodiscard]] Result<uint32_t> peer_uid(int socket);

// A path as a socket address; an error if it does not fit (107 bytes).
[[nodiscard]] Result<sockaddr_un> unix_address(const std::string& path);

}  // namespace sluice::ir
