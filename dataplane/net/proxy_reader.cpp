#include "dataplane/net/proxy_reader.h"

#include <cerrno>

#include <sys/socket.h>

namespace sluice::net {

ProxyReader::State ProxyReader::read(int fd) {
  const size_t before = held_.size();
  char peeked[kMaxProxyV2];
  const size_t room = kMaxProxyV2 - before;
  ssize_t n;
  do n = ::recv(fd, peeked, room, MSG_PEEK);
  while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? State::again : State::closed;
  if (n == 0) return State::closed;
  held_.append(peeked, static_cast<size_t>(n));
  header_ = parse_proxy_header(held_);
  if (header_.state == ProxyState::bad) return State::bad;
  // Of an unfinished header all bytes are taken out of the socket: it would stay readable otherwise and wake us without
  // end.
  const size_t take = (header_.state == ProxyState::done ? header_.size : held_.size()) - before;
  ssize_t taken;
  do taken = ::recv(fd, peeked, take, 0);
  while (taken < 0 && errno == EINTR);
  if (taken != static_cast<ssize_t>(take)) return State::closed;
  if (header_.state == ProxyState::more) return State::again;
  held_ = std::string();
  return State::done;
}

}  // namespace sluice::net
