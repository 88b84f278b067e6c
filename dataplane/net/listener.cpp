#include "dataplane/net/listener.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "dataplane/net/socket.h"

namespace sluice::net {
namespace {
UniqueFd open_reserve() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }
}  // namespace

Listener::Listener(Reactor& reactor, UniqueFd fd, AcceptHandler& handler)
    : reactor_(reactor), fd_(std::move(fd)), handler_(handler), reserve_(open_reserve()) {
  if (auto local = local_address(fd_.get())) local_ = *local;
  // Accepted sockets inherit TCP_NODELAY: no system call per connection. Fails harmlessly on unix sockets.
  const int one = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!set_nonblocking(fd_.get()) || !reactor_.add(fd_.get(), *this, kReadable)) error_ = errno;
}

Listener::~Listener() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  // The master holds the same socket: closing our copy would not take it out of epoll.
  if (fd_ && ok()) reactor_.remove(fd_.get(), *this);
}

void Listener::pause() {
  paused_ = true;
  set_interest();
}

void Listener::resume() {
  paused_ = false;
  set_interest();
}

void Listener::finish() {
  // More than a queue holds: who floods it is not waited for.
  for (int i = 0; ok() && i < SOMAXCONN && accept_one() == Next::more; ++i) {
  }
  ::shutdown(fd_.get(), SHUT_RD);
}

void Listener::set_interest() {
  if (ok()) reactor_.modify(fd_.get(), *this, paused_ || resting_ ? 0 : kReadable);
}

// One accept per event when connections come one by one: asking again only to hear EAGAIN would cost a system call
// each. A queue that is still there in the next batch doubles the number.
void Listener::on_event(uint32_t) {
  if (paused_ || resting_) return;
  budget_ = reactor_.batches() == last_batch_ + 1 ? std::min(budget_ * 2, kMaxPerEvent) : 1;
  last_batch_ = reactor_.batches();
  bool destroyed = false;
  destroyed_ = &destroyed;
  for (uint32_t i = 0; i < budget_; ++i) {
    const Next next = accept_one();
    if (destroyed) return;
    if (next == Next::empty) last_batch_ = 0;
    if (next == Next::rest) {
      resting_ = true;
      set_interest();
      reactor_.timers().arm(*this, reactor_.now_ms() + kRestMs);
    }
    if (next != Next::more || paused_) break;
  }
  destroyed_ = nullptr;
}

Listener::Next Listener::accept_one() {
  sockaddr_storage peer;
  socklen_t size = sizeof peer;
  peer.ss_family = AF_UNSPEC;
  UniqueFd fd(::accept4(fd_.get(), reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (fd) {
    handler_.on_accept(std::move(fd), Address::from_sockaddr(peer));
    return Next::more;
  }
  switch (errno) {
    case EAGAIN:
      return Next::empty;
    case EMFILE:
    case ENFILE:
      return refuse_one();
    case ENOBUFS:
    case ENOMEM:
      return Next::rest;
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
      // No listening socket (any more): nothing to be had from it, ever.
      return Next::rest;
    default:
      return Next::more;  // that connection died in the queue (ECONNABORTED, EPROTO, network errors: accept(2)); the
                          // next may be good
  }
}

Listener::Next Listener::refuse_one() {
  // Left in the queue the connection would wake us without end; its client would wait for nothing.
  reserve_.reset();
  UniqueFd victim(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  const bool empty = !victim && errno == EAGAIN;
  if (victim) ++refused_;
  victim.reset();
  reserve_ = open_reserve();
  if (empty) return Next::empty;
  return reserve_ ? Next::more : Next::rest;
}

void Listener::on_timer() {
  resting_ = false;
  if (!reserve_) reserve_ = open_reserve();
  set_interest();
}

}  // namespace sluice::net
