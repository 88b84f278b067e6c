// Life of a connection: connecting, deadlines, interest, ends. Sending and receiving have files of their own.
#include "dataplane/upstream/connection.h"

#include <array>
#include <cerrno>
#include <utility>

#include "common/base/clock.h"

namespace sluice::upstream {

using http::Reason;
using http::Retry;
using net::Io;

bool Connection::open(std::unique_ptr<net::Transport> transport, std::shared_ptr<Cluster> cluster, Endpoint& endpoint,
                      uint64_t connect_ms) {
  transport_ = std::move(transport);
  cluster_ = std::move(cluster);
  endpoint_ = &endpoint;
  ++endpoint.connections;
  phase_ = Phase::connecting;
  reused_ = false;
  connect_start_ns_ = monotonic_ns();
  connect_deadline_ms_ = context_.reactor.now_ms() + connect_ms;
  // On loopback the connection often is there already, or refused.
  const net::IoResult result = transport_->handshake();
  if (result.state == Io::ok) phase_ = Phase::open;
  int reason = result.state == Io::ok || result.state == Io::again ? 0 : transport_->error_code();
  if (reason == 0) {
    interest_ = phase_ == Phase::connecting && transport_->wants_write() ? net::kWritable : net::kReadable;
    if (!context_.reactor.add(transport_->fd(), *this, interest_)) reason = errno;
  }
  if (reason != 0) {
    close();
    errno = reason;
    return false;
  }
  if (phase_ == Phase::open) cluster_->counters().connections_opened.add();
  return true;
}

void Connection::begin(http::ResponseEvents& events, Arena& arena, Attempts& attempts, const AttemptOptions& options) {
  ++serial_;
  now_ = {};
  now_.events = &events;
  now_.arena = &arena;
  now_.attempts = &attempts;
  now_.options = options;
  now_.active = true;
  attempts.reused = reused_;
  attempts.connect_us = !reused_ && phase_ == Phase::open ? (monotonic_ns() - connect_start_ns_) / 1000 : 0;
  ++endpoint_->active;
  ++context_.active;
  cluster_->counters().active_connections.add();
  arm();
}

void Connection::end_exchange() {
  if (!now_.active) return;
  now_.active = false;
  --endpoint_->active;
  --context_.active;
  cluster_->counters().active_connections.sub();
}

void Connection::close() {
  if (phase_ == Phase::free) return;
  ++serial_;
  end_exchange();
  now_ = {};
  if (idle_links.linked) {
    cluster_->counters().idle_connections.sub();
    context_.idle.remove(*this);
  }
  net::TimerNode::cancel();
  if (context_.batch.owner == this) context_.batch.clear();
  held_.clear();
  context_.reactor.forget(*this);
  transport_.reset();
  phase_ = Phase::free;
  Endpoint& endpoint = *std::exchange(endpoint_, nullptr);
  const std::shared_ptr<Cluster> cluster = std::move(cluster_);
  cluster->released(endpoint);
  context_.free.push_back(this);
}

bool Connection::alive_when_idle() {
  std::array<char, 16> probe;
  return transport_->read(probe).state == Io::again;
}

void Connection::on_event(uint32_t events) {
  if (phase_ == Phase::connecting) return continue_connect();
  if (!now_.active) {
    // Idle: an end, or bytes that nobody asked for. Whatever they are, they are no answer to the next request. TLS has
    // messages of its own (late session tickets), which a read takes in.
    if (transport_->secure() && (events & net::kHangup) == 0 && alive_when_idle()) return;
    return close();
  }
  if (now_.events == nullptr) {  // the last bytes of a tunnel
    if ((events & net::kHangup) != 0) close();
    else writable();
    return;
  }
  const uint32_t serial = serial_;
  if ((events & net::kWritable) != 0) writable();
  if (serial == serial_ && now_.active && (events & (net::kReadable | net::kHangup)) != 0) readable();
}

void Connection::continue_connect() {
  const net::IoResult result = transport_->handshake();
  if (result.state == Io::again) return set_interest();
  if (result.state != Io::ok) return connect_failed();
  established();
}

void Connection::connect_failed() {
  // The name and certificate checks come after TCP: what failed is told by where it stood.
  const bool tls = transport_->secure() && net::connect_state(transport_->fd()) == 0;
  cluster_->counters().connect_failures.add();
  const int code = transport_->error_code();
  const Reason in_tls = code == net::kPeerNotVerified ? Reason::upstream_tls_unverified : Reason::upstream_tls_failed;
  fail(tls ? in_tls : Reason::connect_failed, Retry::yes, code);
}

void Connection::established() {
  phase_ = Phase::open;
  cluster_->counters().connections_opened.add();
  if (!now_.active) {  // the exchange was cancelled meanwhile: close() ended both
    close();
    return;
  }
  now_.attempts->connect_us = (monotonic_ns() - connect_start_ns_) / 1000;
  if (!held_.empty()) {
    const iovec part{const_cast<char*>(held_.data()), held_.size()};
    now_.wrote = true;
    const net::IoResult result = transport_->write({&part, 1});
    held_.clear();
    if (result.state == Io::error) write_failed();
  }
  set_interest();
  arm();
  if (now_.blocked && transport_->pending() <= kHighWater) {
    now_.blocked = false;
    now_.events->on_request_writable();
  }
}

// Steady state asks for the same events all the time: no system call.
void Connection::set_interest() {
  const bool writes = transport_->wants_write();
  uint32_t wanted = (now_.suspended ? 0u : net::kReadable) | (writes ? net::kWritable : 0u);
  if (phase_ == Phase::connecting) wanted = writes ? net::kWritable : net::kReadable;
  if (wanted == interest_) return;
  const uint32_t before = std::exchange(interest_, wanted);
  if (wanted == 0) context_.reactor.remove(transport_->fd(), *this);  // a hang-up would be told again and again
  else if (before != 0) context_.reactor.modify(transport_->fd(), *this, wanted);
  else if (!context_.reactor.add(transport_->fd(), *this, wanted))
    poke();  // no memory in the kernel: look at it now and then
}

void Connection::poke() {
  now_.poked = true;
  context_.reactor.timers().arm(*this, context_.reactor.now_ms());
}

// One deadline for what the exchange waits for; moved by every progress.
void Connection::arm() {
  if (phase_ == Phase::connecting) {
    context_.reactor.timers().arm(*this, connect_deadline_ms_);
    return;
  }
  uint64_t wait = 0;
  const bool sent = now_.request_done && transport_->pending() == 0;
  // A tunnel may rest: its deadline is the stream's.
  if (now_.tunnel) wait = transport_->pending() > 0 ? now_.options.idle_ms : 0;
  else if (now_.head_seen) wait = now_.paused ? 0 : now_.options.idle_ms;
  else if (sent) wait = now_.options.response_ms;
  else if (transport_->pending() > 0) wait = now_.options.idle_ms;  // the upstream does not take the body
  if (wait == 0) net::TimerNode::cancel();
  else context_.reactor.timers().arm(*this, context_.reactor.now_ms() + wait);
}

void Connection::on_timer() {
  if (!now_.active) return;
  if (now_.poked) {
    now_.poked = false;
    if (now_.read_ended) return fail(Reason::upstream_reset, Retry::no, transport_->error_code());
    arm();
    return readable();
  }
  cluster_->counters().timeouts.add();
  if (phase_ == Phase::connecting) {
    cluster_->counters().connect_failures.add();
    return fail(Reason::connect_timeout, Retry::yes, ETIMEDOUT);
  }
  fail(Reason::response_timeout, Retry::no, ETIMEDOUT);
}

void Connection::fail(Reason reason, Retry retry, int detail, After after) {
  report({.reason = reason, .side = http::Side::upstream, .retry = retry, .detail = static_cast<int16_t>(detail)},
         after);
}

// The end of the exchange and of the connection.
void Connection::report(const http::Error& error, After after) {
  http::ResponseEvents* const events = now_.events;
  if (error.reason == Reason::upstream_reset || error.reason == Reason::upstream_closed ||
      error.reason == Reason::response_cut) {
    cluster_->counters().resets.add();
  }
  close();
  if (events == nullptr) return;
  events->on_exchange_error(error);
  if (after == After::flush) events->on_response_flush();
}

// The answer is complete and the stream knows. `clean`: nothing came behind it.
void Connection::finish(bool clean) {
  const bool again = clean && phase_ == Phase::open && now_.request_done && !now_.write_failed && !now_.tunnel &&
                     !now_.suspended && reader_.keep_alive() && transport_->pending() == 0 && endpoint_->ready &&
                     !cluster_->retired();
  if (!again) return close();
  ++serial_;
  end_exchange();
  now_ = {};
  net::TimerNode::cancel();
  reused_ = true;
  set_interest();
  cluster_->counters().idle_connections.add();
  context_.idle.put(*this);
}

void Connection::cancel() {
  // In the call that ends the exchange: finish() decides what becomes of the connection.
  if (now_.response_done) return;
  close();
}

}  // namespace sluice::upstream
