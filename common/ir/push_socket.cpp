#include "common/ir/push_socket.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>

namespace sluice::ir {
namespace {
constexpr size_t kMaxFds = 8;  // room to see, and close, what should not be there

// Takes every descriptor out of a control message, so that none leaks whatever the packet says.
size_t take_fds(msghdr& header, UniqueFd (&fds)[kMaxFds]) {
  size_t count = 0;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here && count < kMaxFds; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof fd);
      fds[count++].reset(fd);
    }
  }
  return count;
}
}  // namespace

Result<std::optional<ReceivedFrame>> receive_frame(int socket) {
  // One byte more than a frame, so that a longer packet is seen as such.
  std::byte packet[sizeof(PushFrame) + 1];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)];
  iovec part{packet, sizeof packet};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t n;
  do n = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return std::nullopt;
  if (n < 0) return fail("push socket: {}", std::strerror(errno));
  UniqueFd fds[kMaxFds];
  const size_t count = take_fds(header, fds);
  if (n == 0) return fail("closed");
  if ((header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return fail("push socket: packet or descriptors truncated");
  auto frame = decode_frame(std::span(packet, static_cast<size_t>(n)));
  if (!frame) return std::unexpected(frame.error());
  const size_t expected = frame->type == FrameType::part ? 1 : 0;
  if (count != expected) return fail("push frame: {} descriptors with a frame that has {}", count, expected);
  return ReceivedFrame{*frame, std::move(fds[0])};
}

Result<bool> send_frame(int socket, const PushFrame& frame, int part) {
  const auto bytes = encode_frame(frame);
  iovec vec{const_cast<std::byte*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr header{};
  header.msg_iov = &vec;
  header.msg_iovlen = 1;
  if (part >= 0) {
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    cmsghdr* message = CMSG_FIRSTHDR(&header);
    message->cmsg_level = SOL_SOCKET;
    message->cmsg_type = SCM_RIGHTS;
    message->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(message), &part, sizeof part);
  }
  ssize_t n;
  do n = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) return false;
  if (n < 0) return fail("push socket: {}", std::strerror(errno));
  return true;
}

Result<uint32_t> peer_uid(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail("SO_PEERCRED: {}", std::strerror(errno));
  return credentials.uid;
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail("socket path '{}' has {} bytes, allowed are 1 to {}", path, path.size(), sizeof address.sun_path - 1);
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace sluice::ir
