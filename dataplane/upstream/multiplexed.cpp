// Life of an HTTP/2 connection: connecting, deadlines, rest, ends. Reading and writing: multiplexed_io.cpp.
#include "dataplane/upstream/multiplexed.h"

#include <cerrno>
#include <utility>

#include "common/base/clock.h"
#include "dataplane/upstream/exchange.h"

namespace sluice::upstream {

using http::Reason;
using http::Retry;
using http::Side;
using http::h2::ErrorCode;
using net::Io;

bool Multiplexed::open(std::unique_ptr<net::Transport> transport, std::shared_ptr<Cluster> cluster, Endpoint& endpoint,
                       uint64_t connect_ms) {
  transport_ = std::move(transport);
  cluster_ = std::move(cluster);
  endpoint_ = &endpoint;
  ++endpoint.connections;
  next = std::exchange(endpoint.multiplexed, this);
  previous = nullptr;
  if (next != nullptr) next->previous = this;
  leaving_ = heard_ = write_failed_ = poked_ = pinged_ = false;
  exchanges_ = reserved_ = 0;
  watched_ = 0;
  writes_ = connect_us_ = 0;
  opened_ms_ = quiet_since_ms_ = context_.reactor.now_ms();
  connect_start_ns_ = monotonic_ns();
  deadline_ms_ = opened_ms_ + connect_ms;
  http::h2::Settings settings;
  settings.scheme = transport_->secure() ? http::Scheme::https : http::Scheme::http;
  settings.limits = context_.limits;
  // Slow clients stop their own streams; all of them together must not stop the others.
  settings.most_held = context_.http2.streams * settings.stream_window;
  session_.emplace(http::h2::Role::client, settings, static_cast<http::h2::SessionOwner&>(*this));
  phase_ = Phase::connecting;
  // On loopback the connection often is there already, or refused.
  const net::IoResult result = transport_->handshake();
  int reason = result.state == Io::ok || result.state == Io::again ? 0 : transport_->error_code();
  if (reason == 0) {
    interest_ = result.state == Io::again && transport_->wants_write() ? net::kWritable : net::kReadable;
    if (!context_.reactor.add(transport_->fd(), *this, interest_)) reason = errno;
  }
  if (reason != 0) {
    shut();
    become_free();
    errno = reason;
    return false;
  }
  arm();
  if (result.state != Io::ok) return true;
  came_up();
  if (phase_ == Phase::open) return true;
  become_free();
  errno = EPROTO;
  return false;
}

bool Multiplexed::takes() const {
  if ((phase_ != Phase::connecting && phase_ != Phase::open) || leaving_ || write_failed_ || cluster_->retired())
    return false;
  if (context_.reactor.now_ms() - opened_ms_ >= context_.http2.age_ms) return false;
  return session_->streams() + reserved_ < context_.http2.streams && session_->can_submit(reserved_);
}

void Multiplexed::add(Exchange& exchange) {
  exchange.previous = nullptr;
  exchange.next = std::exchange(first_, &exchange);
  if (exchange.next != nullptr) exchange.next->previous = &exchange;
  if (exchanges_++ != 0 || phase_ != Phase::open) return;
  quiet_since_ms_ = context_.reactor.now_ms();
  pinged_ = false;
  arm();
}

void Multiplexed::remove(Exchange& exchange) {
  (exchange.previous == nullptr ? first_ : exchange.previous->next) = exchange.next;
  if (exchange.next != nullptr) exchange.next->previous = exchange.previous;
  --exchanges_;
  wake();  // maybe to rest
}

void Multiplexed::on_event(uint32_t events) {
  if (phase_ == Phase::connecting) return continue_connect();
  if ((events & net::kWritable) != 0) writable();
  if (phase_ == Phase::open && (events & (net::kReadable | net::kHangup)) != 0) readable();
}

void Multiplexed::continue_connect() {
  const net::IoResult result = transport_->handshake();
  if (result.state == Io::again) return set_interest();
  if (result.state == Io::ok) {
    came_up();
    return;
  }
  // The name and certificate checks come after TCP: what failed is told by where it stood.
  const bool tls = transport_->secure() && net::connect_state(transport_->fd()) == 0;
  const int code = transport_->error_code();
  const Reason in_tls = code == net::kPeerNotVerified ? Reason::upstream_tls_unverified : Reason::upstream_tls_failed;
  connect_failed(tls ? in_tls : Reason::connect_failed, code);
}

void Multiplexed::came_up() {
  // RFC 9113 3.2: over TLS it is "h2" that was chosen, or another protocol. Nothing was sent; another endpoint may know
  // better, so a repeat is safe.
  if (transport_->secure() && transport_->alpn() != "h2") return connect_failed(Reason::upstream_tls_failed, 0);
  phase_ = Phase::open;
  cluster_->counters().connections_opened.add();
  connect_us_ = (monotonic_ns() - connect_start_ns_) / 1000;
  quiet_since_ms_ = context_.reactor.now_ms();
  for (Exchange* at = first_; at != nullptr; at = at->next) at->connected(connect_us_);
  wake();
  arm();
}

void Multiplexed::connect_failed(Reason reason, int code) {
  uint32_t waiting = 0;
  for (Exchange* at = first_; at != nullptr; at = at->next) waiting += at->over() ? 0 : 1;
  cluster_->counters().connect_failures.add(waiting);
  if (reason == Reason::connect_timeout) cluster_->counters().timeouts.add(waiting);
  lost({reason, Side::upstream, Retry::yes, static_cast<int16_t>(code)});
}

// The connecting deadline, then the question whether the peer is there.
void Multiplexed::arm() {
  net::TimerWheel& timers = context_.reactor.timers();
  if (phase_ == Phase::connecting) timers.arm(*this, deadline_ms_);
  else if (phase_ == Phase::open && poked_) timers.arm(*this, context_.reactor.now_ms());
  else if (phase_ == Phase::open && exchanges_ != 0)
    timers.arm(*this, pinged_ ? deadline_ms_ : quiet_since_ms_ + context_.http2.quiet_ms);
  else net::TimerNode::cancel();
}

void Multiplexed::on_timer() {
  if (phase_ == Phase::connecting) return connect_failed(Reason::connect_timeout, ETIMEDOUT);
  if (phase_ != Phase::open) return;
  if (std::exchange(poked_, false)) {
    arm();
    return readable();
  }
  if (exchanges_ == 0) return;
  const uint64_t now = context_.reactor.now_ms();
  if (pinged_ && now >= deadline_ms_) {
    return lost({Reason::upstream_reset, Side::upstream, Retry::if_reused, ETIMEDOUT});
  }
  if (!pinged_ && now >= quiet_since_ms_ + context_.http2.quiet_ms) {
    pinged_ = true;
    deadline_ms_ = now + context_.http2.ping_ms;
    session_->ping();
    wake();
  }
  arm();
}

// Tells every exchange whose answer is not whole. None of them begins anew here: takes() is false from now on.
void Multiplexed::lost(const http::Error& error) {
  const bool was_open = std::exchange(phase_, Phase::ended) == Phase::open;
  for (Exchange* at = first_; at != nullptr; at = at->next) at->lost(error);
  settle();
  if (was_open && !session_->output().empty()) write();
  shut();
  wake();
}

// The transport's end. What the session still has to say (GOAWAY) was written.
void Multiplexed::shut() {
  phase_ = Phase::ended;
  if (idle_links.linked) {
    cluster_->counters().idle_connections.sub();
    context_.idle.remove(*this);
  }
  net::TimerNode::cancel();
  context_.reactor.forget(*this);
  for (Exchange* at = first_; at != nullptr; at = at->next) at->detach();
  session_.reset();
  transport_.reset();
}

void Multiplexed::close() {
  if (phase_ == Phase::free) return;
  if (phase_ == Phase::open && !write_failed_) {
    session_->shutdown(ErrorCode::no_error);
    write();
  }
  for (Exchange* at = first_; at != nullptr; at = at->next) at->drop();
  if (phase_ != Phase::ended) shut();
  settle();
  if (phase_ == Phase::ended && exchanges_ == 0) become_free();
}

void Multiplexed::become_free() {
  phase_ = Phase::free;
  context_.reactor.forget_batch_end(*this);
  (previous == nullptr ? endpoint_->multiplexed : previous->next) = next;
  if (next != nullptr) next->previous = previous;
  Endpoint& endpoint = *std::exchange(endpoint_, nullptr);
  const std::shared_ptr<Cluster> cluster = std::move(cluster_);
  cluster->released(endpoint);
  context_.free_multiplexed.push_back(this);
}

// Nothing is under way: to be used again, or not.
void Multiplexed::rest() {
  if (exchanges_ != 0 || phase_ == Phase::free || phase_ == Phase::connecting) return;
  if (phase_ == Phase::ended) return become_free();
  if (idle_links.linked) {
    if (!takes()) close();
    return;
  }
  net::TimerNode::cancel();
  uint32_t others = 0;
  for (const Pooled* at = endpoint_->idle; at != nullptr && others < context_.http2.idle; at = at->idle_links.below)
    ++others;
  if (!takes() || !endpoint_->ready || session_->finished() || others >= context_.http2.idle) return close();
  cluster_->counters().idle_connections.add();
  context_.idle.put(*this);
}

// At the end of the batch: one write for all that happened in it.
void Multiplexed::on_batch_end() {
  settle();
  if (phase_ == Phase::open) write();
  settle();
  rest();
}

}  // namespace sluice::upstream
