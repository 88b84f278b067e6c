#include "dataplane/sync/messages.h"

#include <cerrno>
#include <cstring>
#include <type_traits>

#include <sys/socket.h>

#include "common/base/log.h"
#include "dataplane/sync/descriptors.h"

namespace sluice::sync {
namespace {
static_assert(std::is_trivially_copyable_v<Message>);
constexpr size_t kControlFds = kMaxFds + 4;  // more than allowed, so that what should not be there is closed

Status check(const Message& message) {
  const auto type = static_cast<uint16_t>(message.type);
  if (message.magic != Message{}.magic) return fail("sync: bad magic {:#x}", message.magic);
  if (type < static_cast<uint16_t>(MessageType::apply) || type > static_cast<uint16_t>(MessageType::mailbox_left)) {
    return fail("sync: unknown message type {}", type);
  }
  if (message.listener_count > kMaxListeners) return fail("sync: {} listeners", message.listener_count);
  if (message.workers_wanted > kMaxWorkers)
    return fail("sync: {} workers wanted, the limit is {}", message.workers_wanted, kMaxWorkers);
  if (message.level > static_cast<uint32_t>(log::Level::off)) return fail("sync: log level {}", message.level);
  if (std::memchr(message.text, 0, sizeof message.text) == nullptr) return fail("sync: text not terminated");
  for (const ListenerSpec& spec : message.listeners) {
    if (std::memchr(spec.name, 0, sizeof spec.name) == nullptr) return fail("sync: listener name not terminated");
  }
  for (uint64_t size : message.sizes) {
    if (size > ir::kMaxPartBytes) return fail("sync: part of {} bytes", size);
  }
  return {};
}

// Every descriptor of the packet, so that none leaks; false if there were more than a message may have.
bool take_fds(msghdr& header, Received& into) {
  bool fits = true;
  take_descriptors(header, [&](UniqueFd fd) {
    if (into.fd_count < kMaxFds) into.fds[into.fd_count++] = std::move(fd);
    else fits = false;
  });
  return fits;
}
}  // namespace

Status send(int socket, const Message& message, std::span<const int> fds) {
  if (fds.size() > kMaxFds) return fail("sync: {} descriptors in a message", fds.size());
  iovec vec{const_cast<Message*>(&message), sizeof message};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFds)]{};
  msghdr header{};
  header.msg_iov = &vec;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  ssize_t n;
  do n = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail("sync: send: {}", std::strerror(errno));
  return {};
}

Result<Received> receive(int socket) {
  Received received;
  struct {
    Message message;
    char more;  // a longer packet is seen as such
  } packet{};
  iovec vec{&packet, sizeof(Message) + 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kControlFds)];
  msghdr header{};
  header.msg_iov = &vec;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t n;
  do n = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return received;  // type 0
  if (n < 0 && errno == ECONNRESET) return fail("closed");
  if (n < 0) return fail("sync: receive: {}", std::strerror(errno));
  const bool fits = take_fds(header, received);
  if (n == 0) return fail("closed");
  if (!fits || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return fail("sync: packet or descriptors truncated");
  if (static_cast<size_t>(n) != sizeof(Message))
    return fail("sync: packet of {} bytes, expected {}", n, sizeof(Message));
  received.message = packet.message;
  if (Status checked = check(received.message); !checked) return std::unexpected(checked.error());
  return received;
}

}  // namespace sluice::sync
