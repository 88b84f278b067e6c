// Plain TCP (or any stream socket): no buffer of its own but what the kernel did not take.
#include <algorithm>
#include <cerrno>

#include <limits.h>
#include <sys/socket.h>

#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/transport.h"

namespace sluice::net {
namespace {

class Plain final : public Transport {
 public:
  Plain(UniqueFd fd, bool connected) : Transport(std::move(fd)), connected_(connected) {}

  IoResult handshake() override {
    if (connected_) return {};
    const int reason = connect_state(fd_.get());
    if (reason == EINPROGRESS) return {.state = Io::again};
    if (reason != 0) return fail(reason);
    connected_ = true;
    return {};
  }

  IoResult read(std::span<char> into) override {
    for (;;) {
      const ssize_t n = ::recv(fd_.get(), into.data(), into.size(), 0);
      if (n > 0) {
        connected_ = true;
        // A short read emptied the kernel's buffer; what comes after it will be announced.
        return {.bytes = static_cast<size_t>(n), .drained = static_cast<size_t>(n) < into.size()};
      }
      if (n == 0) return {.state = into.empty() ? Io::ok : Io::eof, .drained = true};
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {.state = Io::again, .drained = true};
      return fail(errno);
    }
  }

  IoResult write(std::span<const iovec> parts) override {
    size_t total = 0;
    for (const iovec& part : parts) total += part.iov_len;
    size_t done = 0;
    // Bytes that wait already go first; the owner flushes when the socket is writable.
    if (pending_.empty() && total != 0) {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(parts.data());
      message.msg_iovlen = std::min<size_t>(parts.size(), IOV_MAX);
      ssize_t n;
      do n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      while (n < 0 && errno == EINTR);
      if (n >= 0) {
        done = static_cast<size_t>(n);
        connected_ = true;
      }
      if (n < 0 && errno != EAGAIN) return fail(errno);
    }
    if (done < total) keep(parts, done);
    return {.bytes = total};
  }

  IoResult flush() override {
    while (!pending_.empty()) {
      const ssize_t n = ::send(fd_.get(), pending_.data(), pending_.size(), MSG_NOSIGNAL);
      if (n < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN) return {.state = Io::again};
        pending_.clear();
        return fail(errno);
      }
      const bool all = static_cast<size_t>(n) == pending_.size();
      pending_.consume(static_cast<size_t>(n));
      if (!all) return {.state = Io::again};
    }
    if (fin_wanted_) send_fin();
    return {};
  }

  [[nodiscard]] size_t pending() const override { return pending_.size(); }
  [[nodiscard]] bool wants_write() const override { return !pending_.empty() || !connected_; }

  void shutdown_write() override {
    fin_wanted_ = true;
    if (pending_.empty()) send_fin();
  }

 private:
  void keep(std::span<const iovec> parts, size_t skip) {
    for (const iovec& part : parts) {
      const size_t from = std::min(skip, part.iov_len);
      skip -= from;
      pending_.append(static_cast<const char*>(part.iov_base) + from, part.iov_len - from);
    }
  }
  void send_fin() {
    fin_wanted_ = false;
    ::shutdown(fd_.get(), SHUT_WR);
  }
  IoResult fail(int reason) {
    error_code_ = reason;
    return {.state = Io::error, .drained = true};
  }

  PendingBuffer pending_;
  bool connected_;
  bool fin_wanted_ = false;
};

}  // namespace

int connect_state(int fd) {
  // getpeername tells an established connection in one call; SO_ERROR tells a failed one from one under way.
  sockaddr_storage peer;
  socklen_t size = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
  if (errno != ENOTCONN) return errno;
  int reason = 0;
  size = sizeof reason;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size) != 0) return errno;
  return reason != 0 ? reason : EINPROGRESS;
}

std::unique_ptr<Transport> make_plain(UniqueFd fd, bool connected) {
  return std::make_unique<Plain>(std::move(fd), connected);
}

}  // namespace sluice::net
