// The answer: framing made here, gathered in the worker's batch, written at flush.
#include "dataplane/http/h1/batch_writer.h"
#include "dataplane/net/socket.h"
#include "dataplane/worker/active_request.h"
#include "dataplane/worker/client_connection.h"

namespace sluice::worker {

using http::h1::Framing;

// Makes space in the batch for bytes made here (and a view or two behind them), writing out what fills it. False: the
// connection died of that.
bool ClientConnection::make_room(size_t bytes) {
  OutputBatch& batch = context_.batch;
  if (batch.owner != nullptr && batch.owner != this) batch.owner->write_batch();
  if (!batch.has_room(4, bytes)) write_batch();
  if (state_ != State::open) return false;
  batch.owner = this;
  return true;
}

void ClientConnection::send_informational(const http::ResponseHead& head) {
  if (state_ != State::open || request_ == nullptr || response_begun_ ||
      request_->stream().head().version == http::Version::http10)
    return;
  if (head.status == 100) continue_owed_ = false;
  const size_t most = http::h1::max_head_size(head);
  // One that does not fit is left out: it is only a hint.
  if (most > OutputBatch::kScratch) return;
  http::h1::ResponseOptions options;
  if (make_room(most)) context_.batch.wrote(http::h1::write_response_head(context_.batch.space(), head, options));
}

// Whether this answer is the connection's last, told by its head.
void ClientConnection::decide_close(const http::ResponseHead& head) {
  keep_alive_ = reader_.keep_alive() && head_done_ && !failed_ && !over_limit_ && !context_.ends_keep_alive() &&
                !(eof_ && stash_.empty() && in_hand_ == 0);
  // A client that still waits for 100 may send its body or not (RFC 9110 10.1.1); one that is told an error in the
  // middle of its body should stop.
  if (!request_done_ && (continue_owed_ || head.status >= 400)) keep_alive_ = false;
}

void ClientConnection::send_head(const http::ResponseHead& head, bool end) {
  if (state_ != State::open || request_ == nullptr || response_begun_) return;
  response_begun_ = true;
  const http::RequestHead& request = request_->stream().head();
  decide_close(head);
  http::h1::ResponseOptions options;
  const bool no_body = head.status < 200 || head.status == 204 || head.status == 304;
  answered_head_ = request.method == http::Method::head && head_done_;
  std::optional<uint64_t> length = head.content_length;
  if (no_body || answered_head_) framing_ = Framing::none;
  else if (end) length = 0;
  if (!no_body && !answered_head_) {
    if (length) framing_ = Framing::length;
    else if (request.version == http::Version::http10) framing_ = Framing::until_close;
    else framing_ = Framing::chunked;
  }
  response_left_ = framing_ == Framing::length ? length.value_or(0) : 0;
  if (framing_ == Framing::until_close) keep_alive_ = false;
  options.framing = framing_;
  options.client_version = request.version;
  options.close = !keep_alive_;
  options.keep_alive_10 = keep_alive_;
  options.date = context_.date.text(context_.reactor.now_ms());
  if (head.status == 101)
    options = {
        .framing = Framing::none, .client_version = request.version, .date = options.date, .upgrade = head.upgrade};
  if (head.status == 426) options.upgrade = head.upgrade;
  http::ResponseHead own = head;
  if (!no_body) own.content_length = length;
  const size_t most = http::h1::max_head_size(own);
  if (!make_room(std::min(most, OutputBatch::kScratch))) return;
  http::h1::put_made(context_.batch, request_->stream().arena(), most,
                     [&](std::span<char> out) { return http::h1::write_response_head(out, own, options); });
  if (end) response_done_ = true;
}

bool ClientConnection::send_body(http::Bytes bytes, bool end) {
  if (state_ != State::open || !response_begun_ || response_done_) return true;
  if (!make_room(http::h1::kFramingRoom)) return true;
  if (tunnel_) {
    context_.batch.add(bytes);
  } else if (!http::h1::put_body(context_.batch, framing_, response_left_, bytes, end)) {
    request_->stream().on_client_error({http::Reason::internal, http::Side::internal, http::Retry::no, 0});
    return true;
  }
  if (end) response_done_ = true;
  return transport_->pending() <= kHighWater;
}

void ClientConnection::send_trailers(const http::Fields& trailers) {
  if (state_ != State::open || !response_begun_ || response_done_) return;
  if (framing_ != Framing::chunked) {
    // Nothing else has a place for them; a length that is not reached is seen in send_body.
    send_body({}, true);
    return;
  }
  put_trailers(trailers);
  response_done_ = true;
}

void ClientConnection::put_trailers(const http::Fields& trailers) {
  const size_t most = http::h1::max_trailers_size(trailers);
  if (!make_room(std::min(most, OutputBatch::kScratch))) return;
  http::h1::put_made(context_.batch, request_->stream().arena(), most,
                     [&](std::span<char> out) { return http::h1::write_trailers(out, trailers); });
}

void ClientConnection::write_batch() {
  OutputBatch& batch = context_.batch;
  if (batch.owner != this) return;
  if (batch.empty() || state_ == State::closed) {
    batch.clear();
    return;
  }
  // Behind the end of an answer with Connection: close the connection is closed or shut at once.
  const bool last = response_done_ && !keep_alive_ && !tunnel_;
  const net::IoResult result = last ? transport_->write_last(batch.parts()) : transport_->write(batch.parts());
  batch.clear();
  if (result.state == net::Io::error) gone();
}

bool ClientConnection::flush() {
  write_batch();
  if (state_ != State::open) return true;
  const bool room = transport_->pending() <= kHighWater;
  if (!room) blocked_ = true;
  if (transport_->wants_write() != ((interest_ & net::kWritable) != 0)) {
    set_interest();
    rearm();
  }
  // Inside of process() its loop goes on with these.
  if (processing_) return room;
  if (response_done_) answer_complete();
  else if (!stash_.empty() && wants_input()) process_stashed();
  return room;
}

// What is out stays out, and ends without the end that framing asks for. Without framing a plain end would look like a
// whole answer: reset.
void ClientConnection::abort(const http::Error&) {
  if (state_ != State::open) return;
  write_batch();
  if (state_ == State::closed) return;
  if (framing_ == Framing::until_close) net::reset_on_close(transport_->fd());
  response_done_ = true;
  keep_alive_ = false;
  cut_ = true;
  // Closed by the flush that follows or by the loop, where the stream is not in the middle of something.
}

void ClientConnection::pause_request() {
  paused_ = true;
  if (request_ != nullptr) request_->body_rate().run(false, context_.reactor.now_ms());
}

void ClientConnection::resume_request() {
  paused_ = false;
  // It is the client's turn again: with a deadline.
  if (!processing_ && !poked_ && state_ == State::open) rearm();
  if (!suspended_ || eof_) return;
  suspended_ = false;
  set_interest();
  // Decrypted bytes inside are announced by no event.
  if (transport_->readable_now() && stash_.empty()) {
    poked_ = true;
    context_.reactor.timers().arm(*this, context_.reactor.now_ms());
  }
}

void ClientConnection::become_tunnel() {
  tunnel_ = true;
  framing_ = Framing::none;
  keep_alive_ = false;
  // What the client sends from now on is wanted, whatever ended before.
  request_done_ = false;
  if (!suspended_) return;
  if (eof_) {
    // It had shut its side with the request: told when this event is over.
    poked_ = true;
    context_.reactor.timers().arm(*this, context_.reactor.now_ms());
    return;
  }
  suspended_ = false;
  set_interest();
}

}  // namespace sluice::worker
