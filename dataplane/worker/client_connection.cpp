// Life of a client connection: beginning, deadlines, interest, ends. Receiving and sending have files of their own.
#include "dataplane/worker/client_connection.h"

#include <algorithm>

#include "dataplane/net/proxy_reader.h"
#include "dataplane/net/socket.h"
#include "dataplane/worker/active_request.h"
#include "dataplane/worker/silence.h"

namespace sluice::worker {

using http::Reason;
using net::Io;

namespace {
constexpr uint64_t kLingerMs = 5000;
// While an overload lasts that keeps no connections, or the worker drains, an idle connection waits so long for one
// more request, which is answered with Connection: close: a client that is told loses nothing, one that meets our FIN
// half-way has to ask again.
constexpr uint32_t kLastIdleMs = 1000;
constexpr uint64_t kIdleLingerMs = 1000;  // nothing of ours is to be read any more: a round trip
constexpr uint64_t kMaxLingerBytes = 64 * 1024 * 1024;
}  // namespace

struct ClientConnection::ProxyState {
  UniqueFd fd;
  net::ProxyReader reader;
};

ClientConnection::ClientConnection(Context& context, UniqueFd fd, const net::Address& peer, uint16_t local_port,
                                   bool tls)
    : ClientLink(context, {peer, tls}, peer, local_port), tls_(tls) {
  context_.counters.connections_accepted.add();
  interest_ = net::kReadable;
  const int number = fd.get();
  if (!context_.settings.proxy_protocol.empty() && contains(context_.settings.proxy_protocol, peer)) {
    state_ = State::proxy;
    proxy_ = std::make_unique<ProxyState>();
    proxy_->fd = std::move(fd);
  } else {
    begin_transport(std::move(fd));
  }
  if (!context_.reactor.add(number, *this, interest_)) close();
  else rearm();
}

ClientConnection::~ClientConnection() = default;

void ClientConnection::start(Context& context, UniqueFd fd, const net::Address& peer, uint16_t local_port, bool tls,
                             bool handed_over) {
  const size_t limit = context.settings.connections;
  const size_t count = context.connection_count;
  const size_t descriptors = context.descriptor_limit == 0 ? 0 : context.descriptors();
  const bool over =
      (limit != 0 && count >= limit) || (descriptors != 0 && descriptors >= context.descriptors_to_serve());
  const bool far_over = (limit != 0 && count >= limit + Context::kAnsweredOverLimit) ||
                        (descriptors != 0 && descriptors >= context.descriptors_to_answer());
  if (far_over || context.overload.refuses()) {
    context.counters.reasons[static_cast<size_t>(Reason::overloaded)].add();
    context.counters.overload_refused.add();
    // No TIME_WAIT, and whoever is in front of us knows at once that it may ask elsewhere.
    net::reset_on_close(fd.get());
    return;
  }
  auto* const connection = new ClientConnection(context, std::move(fd), peer, local_port, tls);
  connection->over_limit_ = over;
  connection->handed_over_ = handed_over;
}

void ClientConnection::begin_transport(UniqueFd fd) {
  if (tls_) {
    transport_ = context_.tls.make_server(std::move(fd));
    state_ = State::handshake;
  } else {
    transport_ = net::make_plain(std::move(fd), true);
    state_ = State::open;
  }
}

void ClientConnection::read_proxy_header() {
  switch (proxy_->reader.read(proxy_->fd.get())) {
    case net::ProxyReader::State::again:
      return;
    case net::ProxyReader::State::done:
      break;
    case net::ProxyReader::State::bad:
      context_.counters.reasons[static_cast<size_t>(Reason::bad_proxy_header)].add();
      [[fallthrough]];
    case net::ProxyReader::State::closed:
      close();
      return;
  }
  if (proxy_->reader.header().has_addresses) facts_.peer = proxy_->reader.header().source;
  begin_transport(std::move(proxy_->fd));
  proxy_.reset();
  rearm();
}

void ClientConnection::continue_handshake() {
  const net::IoResult result = transport_->handshake();
  if (result.state == Io::again) {
    set_interest();
    return;
  }
  if (result.state != Io::ok) {
    close();
    return;
  }
  state_ = State::open;
  if (transport_->alpn() == "h2") {
    become_http2({});
    return;
  }
  set_interest();
  rearm();
  if (transport_->readable_now()) readable();
}

void ClientConnection::on_event(uint32_t events) {
  switch (state_) {
    case State::closed:
      return;
    case State::proxy:
      read_proxy_header();
      return;
    case State::handshake:
      continue_handshake();
      return;
    case State::lingering:
      drain_input();
      return;
    case State::open:
    case State::closing:
      break;
  }
  if ((events & net::kWritable) != 0) writable();
  if (state_ != State::open && state_ != State::closing) return;
  // Both ways are shut, or the connection was reset: not only bytes would say so. In a tunnel that we shut, the
  // client's end is no reason to forget what it sent before: the loop would tell it again and again, so it does not
  // look for now.
  if (suspended_ && half_closed_ && !eof_ && (events & net::kHangup) != 0) {
    context_.reactor.remove(transport_->fd(), *this);
    interest_ = 0;
    unwatched_ = true;
    set_interest();
    return;
  }
  if ((suspended_ || state_ == State::closing) && (events & net::kHangup) != 0) gone();
  else if (state_ == State::open && !suspended_ && (events & (net::kReadable | net::kHangup)) != 0) readable();
}

void ClientConnection::writable() {
  const net::IoResult result = transport_->flush();
  if (result.state == Io::error) {
    gone();
    return;
  }
  stall_deadline_ = 0;  // it took something: that is what made room
  if (state_ == State::closing) {
    if (transport_->pending() == 0) all_written();
    else rearm();
    return;
  }
  set_interest();
  rearm();
  if (transport_->pending() > kHighWater / 4) return;
  if (blocked_) {
    blocked_ = false;
    if (request_ != nullptr) request_->stream().on_response_writable();
    if (state_ != State::open) return;
  }
  if (suspended_ && !eof_ && wants_input()) {
    suspended_ = false;
    set_interest();
  }
  if (!stash_.empty() && wants_input()) process_stashed();
}

// Steady state asks for the same events all the time: no system call.
void ClientConnection::set_interest() {
  if (state_ == State::closed || state_ == State::proxy) return;
  const bool reads = state_ != State::closing && !suspended_;
  const uint32_t wanted = (reads ? net::kReadable : 0u) | (transport_->wants_write() ? net::kWritable : 0u);
  if (wanted == interest_) return;
  interest_ = wanted;
  if (!unwatched_) context_.reactor.modify(transport_->fd(), *this, wanted);
  else if (context_.reactor.add(transport_->fd(), *this, wanted)) unwatched_ = false;
  else close();
}

// One deadline for what the connection waits for.
void ClientConnection::rearm() {
  const uint64_t now = context_.reactor.now_ms();
  const Settings& settings = context_.settings;
  uint64_t deadline = 0;
  if (transport_ == nullptr || transport_->pending() == 0) stall_deadline_ = 0;
  switch (state_) {
    case State::proxy:
      deadline = now + settings.request_header_ms;
      break;
    case State::handshake:
      deadline = now + settings.tls_handshake_ms;
      break;
    case State::closing:
      deadline = now + settings.request_body_idle_ms;
      break;
    case State::lingering:
      deadline = now + (response_begun_ ? kLingerMs : kIdleLingerMs);
      break;
    case State::closed:
      return;
    case State::open:
      if (transport_->pending() != 0) {
        // The client does not take its answer, whatever it sends meanwhile.
        if (stall_deadline_ == 0) stall_deadline_ = now + settings.request_body_idle_ms;
        deadline = stall_deadline_;
      } else if (request_ == nullptr) {
        deadline = now + rest_ms();
      } else if (!head_done_) {
        if (head_deadline_ == 0) head_deadline_ = now + settings.request_header_ms;
        deadline = head_deadline_;
      } else if (!request_done_ && !paused_ && !tunnel_) {
        if (const uint32_t silence = body_silence_ms(request_->stream().head(), settings); silence != 0)
          deadline = now + silence;
        if (const uint64_t too_slow = body_deadline(now); too_slow != 0)
          deadline = deadline == 0 ? too_slow : std::min(deadline, too_slow);
      }
      break;
  }
  if (deadline == 0) net::TimerNode::cancel();
  else context_.reactor.timers().arm(*this, deadline);
}

// How long it may be without a request.
uint32_t ClientConnection::rest_ms() const {
  const Settings& settings = context_.settings;
  if (fresh_) return settings.request_header_ms;
  return context_.ends_keep_alive() ? std::min(settings.keep_alive_ms, kLastIdleMs) : settings.keep_alive_ms;
}

// When the body will have been too slow on average (settings.min_body_rate); 0 = never.
uint64_t ClientConnection::body_deadline(uint64_t now) {
  BodyRate& rate = request_->body_rate();
  // A gRPC call may rest between its messages.
  rate.run(wants_input() && !request_->stream().head().grpc &&
               (rate.bytes() != 0 || !request_->stream().head().expect_continue),
           now);
  return rate.deadline(context_.settings.min_body_rate);
}

void ClientConnection::on_timer() {
  if (state_ != State::open) {
    close();
    return;
  }
  if (poked_) {
    poked_ = false;
    rearm();
    if (!stash_.empty() && wants_input()) process_stashed();
    if (state_ == State::open && tunnel_ && eof_) tunnel_input_ended();
    if (state_ == State::open && !suspended_ && transport_->readable_now()) readable();
    return;
  }
  if (transport_->pending() != 0) {
    gone();
  } else if (request_ == nullptr) {
    // A request may have come since the loop last looked; reading it arms a deadline of its own.
    if (!suspended_) readable();
    if (state_ == State::open && request_ == nullptr && !net::TimerNode::armed()) begin_close();
  } else if (!request_done_) {
    failed_ = true;
    http::Stream& stream = request_->stream();
    const Reason reason = head_done_ ? Reason::request_body_timeout : Reason::request_header_timeout;
    if (stream.done()) begin_close();
    else stream.on_client_error({reason, http::Side::client, http::Retry::no, 0});
  }
}

// What lies in the socket's buffer already is answered, with Connection: close as every answer from now on. A
// connection at rest between requests gets a short deadline. A new one, and one in the middle of a head, has a request
// under way as far as its client knows: it keeps the one it has.
void ClientConnection::drain() {
  if (state_ != State::open || request_ != nullptr || !stash_.empty()) return;
  if (!suspended_) readable();
  if (state_ == State::open && request_ == nullptr && !fresh_) rearm();
}

size_t ClientConnection::held() const {
  if (transport_ == nullptr) return 0;
  return stash_.size() + transport_->pending() + net::unacknowledged(transport_->fd());
}

uint64_t ClientConnection::reset_held(size_t at_least, uint64_t) {
  const size_t bytes = held();
  if (bytes < at_least) return 0;
  // The kernel would go on with what it has.
  net::reset_on_close(transport_->fd());
  context_.counters.overload_reset.add();
  failed_ = true;
  if (request_ != nullptr && !request_->stream().done())
    request_->stream().on_client_error({Reason::overloaded, http::Side::internal, http::Retry::no, 0});
  close();
  return bytes;
}

void ClientConnection::gone() { close(); }

void ClientConnection::cut_off() {
  if (state_ == State::proxy || state_ == State::handshake) return close();
  if (state_ != State::open) return;  // its last bytes are on their way
  if (request_ == nullptr) return begin_close();
  // A tunnel may still answer what it is told (a WebSocket's Close).
  failed_ = !request_done_ && !tunnel_;
  if (!request_->stream().done())
    request_->stream().on_client_error({Reason::draining, http::Side::internal, http::Retry::no, 0});
}

// No more requests here. What was answered goes out first.
void ClientConnection::begin_close() {
  if (state_ != State::open) return;
  state_ = State::closing;
  if (transport_->pending() == 0) {
    all_written();
    return;
  }
  set_interest();
  rearm();
}

// RFC 9112 9.6: closing while the client still sends resets the connection, and with it an answer not read yet. Only a
// client that said itself that it sends nothing more (its end, or close with a request that was read whole) is
// believed.
void ClientConnection::all_written() {
  const bool nothing_left =
      eof_ || (said_close_ && !failed_ && stash_.empty() && in_hand_ == 0 && (request_ == nullptr || request_done_));
  if (nothing_left) {
    transport_->say_end();
    close();
    return;
  }
  if (request_ != nullptr) {
    request_->release();
    request_ = nullptr;
  }
  stash_.clear();
  transport_->shutdown_write();
  state_ = State::lingering;
  suspended_ = false;
  lingered_ = 0;
  set_interest();
  rearm();
}

void ClientConnection::drain_input() {
  // The buffer's bytes may be in use: only this connection's, and it has no use for them any more.
  const net::IoResult result = transport_->read({context_.read_buffer.get(), context_.read_size});
  if (result.state == Io::again) return;
  lingered_ += result.bytes;
  if (result.state != Io::ok || lingered_ > kMaxLingerBytes) close();
}

void ClientConnection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  if (request_ != nullptr) {
    ActiveRequest* const request = std::exchange(request_, nullptr);
    if (!request->stream().done())
      request->stream().on_client_error({Reason::client_closed, http::Side::client, http::Retry::no, 0});
    request->release();
  }
  retire();
}

void ClientConnection::retire() {
  state_ = State::closed;
  if (context_.batch.owner == this) context_.batch.clear();
  net::TimerNode::cancel();
  stash_.clear();
  unwatch(transport_ ? transport_->fd() : proxy_ ? proxy_->fd.get() : -1, *this);
  // Kept until the destruction only as an object: the log may have asked it last. Its socket goes now.
  transport_.reset();
  proxy_.reset();
  leave();
  context_.reactor.destroy_later(*this);
}

}  // namespace sluice::worker
