#include "dataplane/worker/http2_connection.h"

#include <algorithm>

#include "dataplane/net/socket.h"
#include "dataplane/worker/active_request.h"
#include "dataplane/worker/http2_stream.h"

namespace sluice::worker {

using http::Reason;
using http::h2::ErrorCode;
using net::Io;

namespace {
constexpr uint64_t kLingerMs = 1000;
constexpr uint64_t kMaxLingerBytes = 16 * 1024 * 1024;
// Between "no new streams, please" and the last word (RFC 9113 6.8): a round trip, and a bit.
constexpr uint64_t kGoodbyeMs = 1000;
// Without a stream for so long its session rests.
constexpr uint64_t kRestMs = 1000;

http::h2::Settings session_settings(const Settings& from, bool secure) {
  http::h2::Settings to;
  to.concurrent_streams = from.h2_concurrent_streams;
  to.stream_window = from.h2_stream_window;
  to.connection_window = from.h2_connection_window;
  to.extended_connect = from.h2_extended_connect;
  to.scheme = secure ? http::Scheme::https : http::Scheme::http;
  to.limits = from.limits;
  return to;
}

Http2Stream& own(http::h2::SessionStream& stream) { return static_cast<Http2Stream&>(stream); }
}  // namespace

Http2Connection::Http2Connection(Context& context, std::unique_ptr<net::Transport> transport, const ClientLink& from,
                                 uint32_t interest)
    : ClientLink(context, from.facts(), from.socket_peer(), from.local_port()),
      session_(http::h2::Role::server, session_settings(context.settings, from.facts().secure), *this),
      interest_(interest) {
  transport_ = std::move(transport);
  over_limit_ = from.over_limit();
  handed_over_ = from.handed_over();
}

Http2Connection::~Http2Connection() = default;

Http2Connection& Http2Connection::start(Context& context, std::unique_ptr<net::Transport> transport,
                                        const ClientLink& from, uint32_t interest) {
  auto* connection = new Http2Connection(context, std::move(transport), from, interest);
  context.reactor.modify(connection->transport_->fd(), *connection, interest);
  return *connection;
}

void Http2Connection::begin(http::Bytes in) {
  write_later();
  if (!in.empty()) take(in);
  if (state_ != State::open) return;
  rearm();
  if (context_.ends_keep_alive()) drain();
  if (state_ == State::open && in.empty() && transport_->readable_now()) readable();
}

http::h2::SessionStream* Http2Connection::open_stream() {
  if (state_ != State::open) return nullptr;
  fresh_ = resting_ = false;
  idle_deadline_ = rest_ms_ = 0;
  return Http2Stream::make(*this);
}

ActiveRequest* Http2Connection::next_request(const ActiveRequest* after) const {
  bool found = after == nullptr;
  for (http::h2::SessionStream* at = session_.first(); at != nullptr; at = http::h2::Session::next(*at)) {
    ActiveRequest* const request = own(*at).request();
    if (found && request != nullptr) return request;
    found |= request == after;
  }
  return nullptr;
}

// ---------------------------------------------------------------- reading

void Http2Connection::on_event(uint32_t events) {
  if (state_ == State::closed) return;
  if (state_ == State::lingering) return linger();
  if ((events & net::kWritable) != 0) {
    if (transport_->flush().state == Io::error) return close();
    session_.set_beyond(transport_->pending());
    write_later();
  }
  if ((events & net::kHangup) != 0 && (suspended_ || state_ == State::closing)) return close();
  if (state_ == State::open && !suspended_ && (events & (net::kReadable | net::kHangup)) != 0) readable();
}

void Http2Connection::readable() {
  // Level-triggered: what is left in the kernel is announced again. What a TLS transport has inside is not.
  while (read_once() && state_ == State::open && transport_->readable_now()) {
  }
}

size_t Http2Connection::untaken() const { return session_.output().size() + transport_->pending(); }

// False: nothing more to be read now.
bool Http2Connection::read_once() {
  if (context_.reading) return false;
  if (untaken() > kMostUntaken) {
    suspended_ = true;
    set_interest();
    return false;
  }
  const net::IoResult result = transport_->read({context_.read_buffer.get(), context_.read_size});
  switch (result.state) {
    case Io::again:
      set_interest();
      return false;
    case Io::eof:
    case Io::error:
      close();
      return false;
    case Io::ok:
      break;
  }
  context_.reading = true;
  take({context_.read_buffer.get(), result.bytes});
  context_.reading = false;
  return true;
}

// The buffer is ours until the requests have flushed.
void Http2Connection::take(http::Bytes in) {
  const bool goes_on = session_.receive(in, context_.reactor.now_ms());
  flush_touched();
  if (state_ == State::closed) return;
  write_later();
  if (!goes_on) begin_close();
}

void Http2Connection::touch(Http2Stream& stream) {
  if (stream.touched) return;
  stream.touched = true;
  touched_.push_back(&stream);
}

// A flush may touch others: the list may grow. Who ended meanwhile left a hole.
void Http2Connection::flush_touched() {
  for (size_t i = 0; i < touched_.size(); ++i) {
    Http2Stream* const stream = touched_[i];
    if (stream == nullptr) continue;
    stream->touched = false;
    stream->flush_request();
  }
  touched_.clear();
}

void Http2Connection::deliver_later(Http2Stream& stream) {
  if (!stream.waiting) {
    stream.waiting = true;
    waiting_.push_back(&stream);
  }
  write_later();
}

// Who pauses again in the middle comes back by its own resume: in the next batch.
void Http2Connection::deliver() {
  delivering_.swap(waiting_);
  for (size_t i = 0; i < delivering_.size(); ++i) {
    Http2Stream* const stream = delivering_[i];
    if (stream == nullptr) continue;
    stream->waiting = false;
    stream->deliver();
  }
  delivering_.clear();
}

void Http2Connection::stream_gone(Http2Stream& stream) {
  auto forget = [&](std::vector<Http2Stream*>& list) {
    std::replace(list.begin(), list.end(), &stream, static_cast<Http2Stream*>(nullptr));
  };
  forget(touched_);
  forget(waiting_);
  forget(delivering_);
  write_later();  // its last frames: a flush of it finds nobody
}

// ---------------------------------------------------------------- writing

void Http2Connection::on_batch_end() {
  if (state_ == State::closed || state_ == State::lingering) return;
  if (!waiting_.empty()) deliver();
  if (state_ != State::closed) write();
}

void Http2Connection::write() {
  // What waited for room in the output follows as long as the socket takes it.
  constexpr int kRounds = 16;
  for (int round = 0; round < kRounds && transport_->pending() == 0; ++round) {
    session_.pump();
    if (state_ == State::closed) return;
    const http::Bytes out = session_.output();
    if (out.empty()) break;
    const iovec part{const_cast<char*>(out.data()), out.size()};
    const net::IoResult result = transport_->write({&part, 1});
    if (result.state == Io::error) return close();
    written_ += out.size();
    session_.wrote(out.size());
    session_.set_beyond(transport_->pending());
  }
  if (!session_.output().empty() && transport_->pending() == 0) write_later();
  if (state_ == State::open && session_.finished()) state_ = State::closing;
  if (state_ == State::closing && session_.output().empty() && transport_->pending() == 0) return all_written();
  if (suspended_ && state_ == State::open && untaken() <= kMostUntaken / 4) suspended_ = false;
  set_interest();
  rearm();
}

void Http2Connection::set_interest() {
  if (state_ == State::closed) return;
  const bool reads = state_ == State::lingering || (state_ == State::open && !suspended_);
  const uint32_t wanted = (reads ? net::kReadable : 0u) | (transport_->wants_write() ? net::kWritable : 0u);
  if (wanted == interest_) return;
  interest_ = wanted;
  context_.reactor.modify(transport_->fd(), *this, wanted);
}

// ---------------------------------------------------------------- time and end

void Http2Connection::rearm() {
  const uint64_t now = context_.reactor.now_ms();
  const Settings& settings = context_.settings;
  uint64_t deadline = 0;
  auto sooner = [&](uint64_t at) { deadline = deadline == 0 ? at : std::min(deadline, at); };
  if (state_ == State::lingering) sooner(now + kLingerMs);
  else if (state_ == State::closing || transport_->pending() != 0) sooner(stall_deadline(now));
  if (state_ == State::open) {
    if (session_.waits_for_peer()) {
      if (block_deadline_ == 0) block_deadline_ = now + settings.request_header_ms;
      sooner(block_deadline_);
    } else {
      block_deadline_ = 0;
    }
    // Requests keep a connection; PING and other frames win no time.
    if (session_.streams() != 0) idle_deadline_ = 0;
    else if (idle_deadline_ == 0)
      idle_deadline_ = now + (fresh_                       ? settings.request_header_ms
                              : context_.ends_keep_alive() ? std::min<uint64_t>(settings.keep_alive_ms, kGoodbyeMs)
                                                           : settings.keep_alive_ms);
    if (idle_deadline_ != 0) sooner(idle_deadline_);
    if (session_.streams() != 0 || fresh_ || resting_) rest_ms_ = 0;
    else if (rest_ms_ == 0) rest_ms_ = now + kRestMs;
    if (rest_ms_ != 0) sooner(rest_ms_);
    if (goodbye_ms_ != 0) sooner(goodbye_ms_);
  }
  if (deadline == 0) net::TimerNode::cancel();
  else context_.reactor.timers().arm(*this, deadline);
  if (transport_->pending() == 0) stall_deadline_ = 0;
}

// Moves with what the client takes, whatever else it sends meanwhile.
uint64_t Http2Connection::stall_deadline(uint64_t now) {
  const uint64_t taken = written_ - transport_->pending();
  if (stall_deadline_ == 0 || taken != stalled_at_) stall_deadline_ = now + context_.settings.request_body_idle_ms;
  stalled_at_ = taken;
  return stall_deadline_;
}

void Http2Connection::on_timer() {
  if (state_ != State::open) return close();
  const uint64_t now = context_.reactor.now_ms();
  if (goodbye_ms_ != 0 && now >= goodbye_ms_) {
    goodbye_ms_ = 0;
    session_.shutdown(ErrorCode::no_error);
    write_later();
    return;
  }
  if (transport_->pending() != 0 && now >= stall_deadline_) return close();  // the client takes nothing
  if (rest_ms_ != 0 && now >= rest_ms_) {
    resting_ = true;
    session_.rest();
    if (idle_deadline_ == 0 || now < idle_deadline_) return rearm();
  }
  if (session_.streams() != 0 && block_deadline_ == 0) return rearm();
  if (session_.streams() == 0 && block_deadline_ == 0 && !suspended_) {
    // A request may have come since the loop last looked.
    readable();
    if (state_ != State::open || session_.streams() != 0) return;
  }
  begin_close();
}

// No more streams from here on.
void Http2Connection::drain() {
  if (state_ != State::open || goodbye_ms_ != 0) return;
  session_.begin_shutdown();
  goodbye_ms_ = context_.reactor.now_ms() + kGoodbyeMs;
  idle_deadline_ = 0;
  write_later();
  rearm();
}

void Http2Connection::cut_off() {
  if (state_ != State::open) return;
  for (ActiveRequest* request = next_request(nullptr); request != nullptr;) {
    ActiveRequest* const next = next_request(request);
    if (!request->stream().done())
      request->stream().on_client_error({Reason::draining, http::Side::internal, http::Retry::no, 0});
    request = next;
  }
  if (state_ != State::open) return;
  session_.shutdown(ErrorCode::no_error);
  write_later();
}

size_t Http2Connection::held() const {
  return transport_ == nullptr ? 0 : untaken() + net::unacknowledged(transport_->fd());
}

void Http2Connection::note_held(HeldSizes& sizes) const {
  sizes.note(held());
  for (http::h2::SessionStream* at = session_.first(); at != nullptr; at = http::h2::Session::next(*at))
    sizes.note(own(*at).held());
}

// The connection's own goes with the connection: streams first.
uint64_t Http2Connection::reset_held(size_t at_least, uint64_t wanted) {
  uint64_t freed = 0;
  for (http::h2::SessionStream* at = session_.first(); at != nullptr && freed < wanted;) {
    Http2Stream& stream = own(*at);
    at = http::h2::Session::next(*at);
    const size_t bytes = stream.held();
    if (bytes < at_least) continue;
    freed += bytes;
    context_.counters.overload_reset.add();
    stream.shed();
  }
  if (const size_t bytes = held(); freed < wanted && bytes >= at_least) {
    freed += bytes;
    net::reset_on_close(transport_->fd());
    context_.counters.overload_reset.add();
    session_.connection_lost({Reason::overloaded, http::Side::internal, http::Retry::no, 0});
    close();
  }
  return freed;
}

// Streams that are left are cut.
void Http2Connection::begin_close() {
  if (state_ != State::open) return;
  state_ = State::closing;
  session_.shutdown(session_.waits_for_peer() && !fresh_ ? ErrorCode::enhance_your_calm : ErrorCode::no_error);
  session_.connection_lost({Reason::client_closed, http::Side::client, http::Retry::no, 0});
  write_later();
}

// Closing while the client still sends resets the connection, and with it the GOAWAY that says why.
void Http2Connection::all_written() {
  transport_->shutdown_write();
  state_ = State::lingering;
  suspended_ = false;
  set_interest();
  rearm();
}

void Http2Connection::linger() {
  const net::IoResult result = transport_->read({context_.read_buffer.get(), context_.read_size});
  if (result.state == Io::again) return;
  lingered_ += result.bytes;
  if (result.state != Io::ok || lingered_ > kMaxLingerBytes) close();
}

void Http2Connection::close() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  session_.connection_lost({Reason::client_closed, http::Side::client, http::Retry::no, 0});
  net::TimerNode::cancel();
  context_.reactor.forget_batch_end(*this);
  unwatch(transport_->fd(), *this);
  transport_.reset();
  leave();
  context_.reactor.destroy_later(*this);
}

}  // namespace sluice::worker
