#include "dataplane/worker/http2_stream.h"

#include <algorithm>
#include <utility>

#include "dataplane/net/websocket_key.h"
#include "dataplane/worker/active_request.h"
#include "dataplane/worker/http2_connection.h"
#include "dataplane/worker/silence.h"

namespace sluice::worker {

using http::Reason;
using http::h2::ErrorCode;

Http2Stream::Http2Stream(Http2Connection& connection) : connection_(connection), context_(connection.context()) {}

Http2Stream* Http2Stream::make(Http2Connection& connection) {
  auto* stream = new (connection.context().streams.take(sizeof(Http2Stream))) Http2Stream(connection);
  stream->request_ = ActiveRequest::make(connection.context(), connection, *stream);
  stream->request_->stream().begin();
  return stream;
}

void Http2Stream::destroy() {
  Context& context = context_;
  this->~Http2Stream();
  context.streams.give(this);
}

// The request is over, or nobody is left who could hear its answer.
void Http2Stream::release() {
  if (request_ == nullptr) return;
  std::exchange(request_, nullptr)->release();
  muted_ = true;
  net::TimerNode::cancel();
  connection_.stream_gone(*this);
  context_.reactor.destroy_later(*this);
}

// ---------------------------------------------------------------- from the session

Arena& Http2Stream::arena() { return request_->stream().arena(); }
http::RequestHead* Http2Stream::request_head() { return &request_->stream().head(); }

void Http2Stream::on_request_head(bool end) {
  http::Stream& stream = request_->stream();
  upgrade_ = !stream.head().upgrade.empty();
  if (upgrade_ && stream.head().upgrade == "websocket") complete_handshake(stream.head());
  body_done_ = end && !upgrade_;
  connection_.touch(*this);
  stream.on_request_head(end);
  rearm();
}

// RFC 8441 5.1: HTTP/2 has no Sec-WebSocket-Key; the HTTP/1.1 upstream must get one (RFC 6455 4.1: 16 random bytes).
void Http2Stream::complete_handshake(http::RequestHead& head) {
  constexpr std::string_view kKey = "Sec-WebSocket-Key";
  head.fields.remove(kKey);
  char* const key = static_cast<char*>(head.fields.arena().allocate(24, 1));
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int i = 0; i < 21; ++i) key[i] = kAlphabet[context_.random.below(64)];
  key[21] = kAlphabet[context_.random.below(4) << 4u];  // 22 digits hold 132 bits: the last four are zero
  key[22] = key[23] = '=';
  head.fields.add(kKey, {key, 24});
  char* const accept = static_cast<char*>(head.fields.arena().allocate(net::kWebSocketAccept, 1));
  net::websocket_accept({key, 24}, std::span<char, net::kWebSocketAccept>(accept, net::kWebSocketAccept));
  head.websocket_accept = {accept, net::kWebSocketAccept};
}

void Http2Stream::on_body(http::Bytes bytes, bool end) {
  if (request_ != nullptr) request_->body_rate().came(bytes.size());
  if (request_ == nullptr || request_->stream().done()) {
    connection_.session().consumed(*this, bytes.size());
    return;
  }
  if (!wants_body()) {
    if (!bytes.empty()) stash_.append(bytes.data(), bytes.size());
    stashed_end_ |= end;
    // A tunnel that never came about, or an answer that does not wait for the body.
    return;
  }
  connection_.touch(*this);
  body_done_ |= end;
  request_->stream().on_request_body(bytes, end);
  connection_.session().consumed(*this, bytes.size());
  rearm();
}

void Http2Stream::on_trailers(const http::Fields& trailers) {
  if (request_ == nullptr || request_->stream().done()) return;
  if (!wants_body()) {
    stashed_trailers_ = &trailers;
    return;
  }
  connection_.touch(*this);
  body_done_ = true;
  request_->stream().on_request_trailers(trailers);
  rearm();
}

void Http2Stream::flush_request() {
  if (request_ != nullptr) request_->stream().on_request_flush();
}

void Http2Stream::deliver() {
  if (request_ == nullptr || paused_ || (upgrade_ && !tunnel_)) return;
  http::Stream& stream = request_->stream();
  if (stream.done()) return;
  const bool end = stashed_end_;
  if (!stash_.empty() || end) {
    // Whole: it is a window at most, and who is full says so and gets no more.
    const net::PendingBuffer bytes = std::move(stash_);
    stashed_end_ = false;
    body_done_ |= end;
    stream.on_request_body({bytes.data(), bytes.size()}, end);
    connection_.session().consumed(*this, bytes.size());
    if (request_ == nullptr) return;
    deliver_trailers();
    // The bytes are ours only until here.
    flush_request();
  } else if (stashed_trailers_ != nullptr) {
    deliver_trailers();
    flush_request();
  }
  rearm();
}

void Http2Stream::deliver_trailers() {
  if (stashed_trailers_ == nullptr || paused_) return;
  body_done_ = true;
  request_->stream().on_request_trailers(*std::exchange(stashed_trailers_, nullptr));
}

void Http2Stream::on_writable() {
  if (request_ != nullptr) request_->stream().on_response_writable();
}

void Http2Stream::on_error(const http::Error& error, bool answerable) {
  if (request_ == nullptr) return;
  muted_ = !answerable;
  http::Stream& stream = request_->stream();
  if (!stream.done()) stream.on_client_error(error);
  if (muted_) release();
}

void Http2Stream::on_closed() { release(); }

// ---------------------------------------------------------------- from the request

void Http2Stream::send_informational(const http::ResponseHead& head) {
  if (muted_ || response_begun_) return;
  connection_.session().send_informational(*this, head);
}

void Http2Stream::send_head(const http::ResponseHead& head, bool end) {
  if (response_begun_) return;
  response_begun_ = true;
  response_done_ = end;
  if (muted_) return;
  const bool bodyless = request_->stream().head().method == http::Method::head || head.status == 304;
  has_length_ = head.content_length.has_value() && !bodyless && head.status != 101;
  length_left_ = has_length_ ? *head.content_length : 0;
  if (bodyless || head.status == 204) response_done_ = end = true;
  const std::string_view date = context_.date.text(context_.reactor.now_ms());
  if (!upgrade_) return connection_.session().send_head(*this, head, end, date);
  http::ResponseHead own = head;
  own.fields.remove("Sec-WebSocket-Accept");  // it is of the key that we made
  connection_.session().send_head(*this, own, end, date);
}

bool Http2Stream::send_body(http::Bytes bytes, bool end) {
  if (muted_ || !response_begun_ || response_done_) return true;
  if (has_length_ && (bytes.size() > length_left_ || (end && bytes.size() < length_left_))) {
    request_->stream().on_client_error({Reason::internal, http::Side::internal, http::Retry::no, 0});
    return true;
  }
  length_left_ -= has_length_ ? bytes.size() : 0;
  sent_ += bytes.size();
  response_done_ = end;
  return connection_.session().send_body(*this, bytes, end);
}

void Http2Stream::send_trailers(const http::Fields& trailers) {
  if (muted_ || !response_begun_ || response_done_) return;
  if (has_length_ && length_left_ != 0) {
    request_->stream().on_client_error({Reason::internal, http::Side::internal, http::Retry::no, 0});
    return;
  }
  response_done_ = true;
  connection_.session().send_trailers(*this, trailers);
}

bool Http2Stream::flush() {
  if (muted_) return true;
  connection_.session().pump();
  connection_.write_later();
  if (request_ == nullptr) return true;
  if (unsent() != 0) rearm();
  return unsent() <= http::h2::Session::kHighWater;
}

// The client must see that it is not whole (RFC 9113 8.1): no END_STREAM comes.
void Http2Stream::abort(const http::Error&) {
  if (muted_) return;
  response_done_ = true;
  connection_.session().reset(*this, tunnel_ ? ErrorCode::cancel : ErrorCode::internal_error);
  connection_.write_later();
  release();
}

void Http2Stream::pause_request() {
  paused_ = true;
  rearm();
}

void Http2Stream::resume_request() {
  paused_ = false;
  if (!stash_.empty() || stashed_end_ || stashed_trailers_ != nullptr) connection_.deliver_later(*this);
  else rearm();
}

void Http2Stream::become_tunnel() {
  tunnel_ = true;
  has_length_ = false;
  body_done_ = false;
  if (!stash_.empty() || stashed_end_) connection_.deliver_later(*this);
}

// ---------------------------------------------------------------- time

bool Http2Stream::awaits_body() const { return !body_done_ && !paused_ && !upgrade_ && !request_->stream().done(); }

// One deadline: for an answer that is not taken, whatever comes meanwhile, or a body that does not come.
void Http2Stream::rearm() {
  if (request_ == nullptr) return;
  const uint64_t now = context_.reactor.now_ms();
  const bool awaits = awaits_body();
  BodyRate& rate = request_->body_rate();
  // A window that other streams keep shut stops this one too: that is not its client's doing.
  const http::RequestHead& head = request_->stream().head();
  rate.run(awaits && !head.grpc && !connection_.session().holds_back() && (rate.bytes() != 0 || !head.expect_continue),
           now);
  const uint64_t taken = sent_ - unsent();
  if (unsent() == 0) stall_deadline_ = 0;
  else if (stall_deadline_ == 0 || taken != stalled_at_) stall_deadline_ = now + context_.settings.request_body_idle_ms;
  stalled_at_ = taken;
  uint64_t deadline = stall_deadline_;
  if (deadline == 0 && awaits) {
    if (const uint32_t silence = body_silence_ms(request_->stream().head(), context_.settings); silence != 0)
      deadline = now + silence;
    const uint64_t too_slow = rate.deadline(context_.settings.min_body_rate);
    if (too_slow != 0) deadline = deadline == 0 ? too_slow : std::min(deadline, too_slow);
  }
  if (deadline != 0) context_.reactor.timers().arm(*this, deadline);
  else if (net::TimerNode::armed()) net::TimerNode::cancel();
}

void Http2Stream::on_timer() {
  if (request_ == nullptr) return;
  if (unsent() == 0) {
    if (awaits_body() && connection_.session().holds_back()) return rearm();
    if (awaits_body())
      request_->stream().on_client_error({Reason::request_body_timeout, http::Side::client, http::Retry::no, 0});
    return;
  }
  if (sent_ - unsent() != stalled_at_) return rearm();
  // Its window stays shut: whoever holds answers without taking them holds our memory.
  reset({Reason::client_closed, http::Side::client, http::Retry::no, 0});
}

void Http2Stream::shed() {
  if (request_ != nullptr) reset({Reason::overloaded, http::Side::internal, http::Retry::no, 0});
}

void Http2Stream::reset(const http::Error& error) {
  connection_.session().reset(*this,
                              error.reason == Reason::overloaded ? ErrorCode::enhance_your_calm : ErrorCode::cancel);
  connection_.write_later();
  on_error(error, false);
}

}  // namespace sluice::worker
