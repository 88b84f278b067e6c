#include "dataplane/sync/mailbox.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include <sys/socket.h>

#include "dataplane/sync/descriptors.h"

namespace sluice::sync {
namespace {

struct Packet {
  uint32_t magic = 0x434f4e4e;  // "CONN"
  uint16_t local_port = 0;
  uint8_t tls = 0;
  uint8_t reserved = 0;
};
static_assert(std::is_trivially_copyable_v<Packet> && sizeof(Packet) == 8);

bool good(const Packet& packet) {
  return packet.magic == Packet{}.magic && packet.local_port != 0 && packet.tls <= 1 && packet.reserved == 0;
}

// The first descriptor; all others are closed. How many there were.
size_t take_fds(msghdr& header, UniqueFd& first) {
  size_t count = 0;
  take_descriptors(header, [&](UniqueFd fd) {
    if (count++ == 0) first = std::move(fd);
  });
  return count;
}

}  // namespace

bool give(int mailbox, int fd, uint16_t local_port, bool tls) {
  Packet packet;
  packet.local_port = local_port;
  packet.tls = tls ? 1 : 0;
  iovec vec{&packet, sizeof packet};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
  header.msg_iov = &vec;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* const rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  ssize_t n;
  do n = ::sendmsg(mailbox, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(sizeof packet);
}

Taken take(int mailbox, HandedConnection& into) {
  struct {
    Packet packet;
    char more;  // a longer packet is seen as such
  } data{};
  iovec vec{&data, sizeof(Packet) + 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control;
  msghdr header{};
  header.msg_iov = &vec;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  ssize_t n;
  do n = ::recvmsg(mailbox, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? Taken::nothing : Taken::ended;
  UniqueFd fd;
  const size_t count = take_fds(header, fd);
  if (n == 0 && count == 0) return Taken::ended;
  if (n != static_cast<ssize_t>(sizeof(Packet)) || !good(data.packet) || count != 1 ||
      (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return Taken::refused;
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (::getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer), &size) != 0)
    return errno == ENOTCONN ? Taken::gone : Taken::refused;
  if (peer.ss_family != AF_INET && peer.ss_family != AF_INET6) return Taken::refused;
  into = {std::move(fd), net::Address::from_sockaddr(peer), data.packet.local_port, data.packet.tls == 1};
  return Taken::connection;
}

void shut(int mailbox) { ::shutdown(mailbox, SHUT_RD); }

}  // namespace sluice::sync
