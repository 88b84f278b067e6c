// The request: framing made here, gathered in the batch, written at flush.
#include "dataplane/upstream/connection.h"

#include <cerrno>

#include "dataplane/http/h1/batch_writer.h"

namespace sluice::upstream {

using http::h1::Framing;

// Nothing is sent any more once the answer ended or the upstream stopped reading; the stream learns why from the answer
// or the error.
bool Connection::sending() const {
  return now_.active && !now_.request_done && !now_.write_failed && !now_.response_done;
}

// Space in the batch for bytes made here (and a view or two behind them), writing out what fills it.
void Connection::make_room(size_t bytes) {
  Batch& batch = context_.batch;
  if (batch.owner != nullptr && batch.owner != this) batch.owner->write_batch();
  if (!batch.has_room(4, bytes)) write_batch();
  batch.owner = this;
}

void Connection::send_head(const http::RequestHead& head, bool end) {
  if (!now_.active || now_.request_begun) return;
  now_.request_begun = true;
  now_.wants_upgrade = !head.upgrade.empty();
  now_.head = now_.arena->make<http::ResponseHead>(*now_.arena);
  reader_.reset(head.method);
  // Content-Length: 0 is written as the client gave it (RFC 9110 8.6).
  if (end) now_.framing = head.content_length == 0 ? Framing::length : Framing::none;
  else if (head.content_length.has_value()) now_.framing = Framing::length;
  else now_.framing = Framing::chunked;
  now_.body_left = now_.framing == Framing::length ? *head.content_length : 0;
  const size_t most = http::h1::max_head_size(head);
  make_room(std::min(most, Batch::kScratch));
  const size_t size = http::h1::put_made(context_.batch, *now_.arena, most, [&](std::span<char> out) {
    return http::h1::write_request_head(out, head, now_.framing);
  });
  if (size == 0) return report({.reason = http::Reason::internal, .side = http::Side::internal}, After::nothing);
  if (end) request_complete();
}

bool Connection::send_body(http::Bytes bytes, bool end) {
  if (now_.tunnel) {
    if (!now_.active || now_.request_done || now_.write_failed) return true;
    make_room(0);
    context_.batch.add(bytes);
    if (end) {
      now_.request_done = true;
      write_batch();
      if (phase_ == Phase::open && !now_.write_failed) transport_->shutdown_write();
      if (now_.read_ended) {
        end_tunnel();
        return true;
      }
    }
  } else {
    if (!sending() || !now_.request_begun) return true;
    make_room(http::h1::kFramingRoom);
    if (!http::h1::put_body(context_.batch, now_.framing, now_.body_left, bytes, end)) {
      report({.reason = http::Reason::internal, .side = http::Side::internal}, After::nothing);
      return true;
    }
    if (end) request_complete();
  }
  const size_t waiting = phase_ == Phase::connecting ? held_.size() : transport_->pending();
  if (waiting <= kHighWater) return true;
  now_.blocked = true;
  return false;
}

void Connection::send_trailers(const http::Fields& trailers) {
  if (!sending() || !now_.request_begun || now_.tunnel) return;
  if (now_.framing != Framing::chunked) {  // a length leaves no place for them (RFC 9112 7.1.2)
    (void)send_body({}, true);
    return;
  }
  const size_t most = http::h1::max_trailers_size(trailers);
  make_room(std::min(most, Batch::kScratch));
  http::h1::put_made(context_.batch, *now_.arena, most,
                     [&](std::span<char> out) { return http::h1::write_trailers(out, trailers); });
  request_complete();
}

// Both ways of a tunnel have ended, and the stream with them: what is still to be sent goes out first.
void Connection::end_tunnel() {
  now_.events = nullptr;
  now_.blocked = false;
  if (transport_->pending() == 0 || now_.write_failed) return close();
  set_interest();
  arm();
}

void Connection::request_complete() { now_.request_done = true; }

void Connection::flush() {
  if (context_.batch.owner == this) write_batch();
}

void Connection::write_batch() {
  Batch& batch = context_.batch;
  if (batch.owner != this) return;
  if (phase_ == Phase::connecting) {
    for (const iovec& part : batch.parts()) held_.append(static_cast<const char*>(part.iov_base), part.iov_len);
    batch.clear();
    return;
  }
  if (batch.empty() || now_.write_failed) return batch.clear();
  now_.wrote = true;
  const net::IoResult result = transport_->write(batch.parts());
  batch.clear();
  if (result.state == net::Io::error) write_failed();
  set_interest();
  arm();
}

// The upstream takes nothing more. It may have answered before (413, a redirect...): the answer, or the error, comes
// with the next event.
void Connection::write_failed() {
  now_.write_failed = true;
  now_.blocked = false;
  if (now_.tunnel && now_.read_ended) return poke();  // no event will come that says so
  if (now_.head_seen || now_.request_done) return;
  now_.request_done = true;  // for the deadline: nothing more is sent
}

void Connection::writable() {
  if (now_.write_failed) return;
  const net::IoResult result = transport_->flush();
  if (result.state == net::Io::error) write_failed();
  if (now_.events == nullptr && (now_.write_failed || transport_->pending() == 0)) return close();
  set_interest();
  arm();
  if (now_.blocked && transport_->pending() <= kHighWater / 4) {
    now_.blocked = false;
    now_.events->on_request_writable();
  }
}

// Only noted: an event that comes while paused takes the socket out of the event loop, so a short pause costs nothing.
void Connection::pause_response() {
  now_.paused = true;
  if (now_.active && !now_.response_done) arm();
}

void Connection::resume_response() {
  if (!now_.paused) return;
  now_.paused = false;
  if (!now_.active || now_.response_done) return;
  if (now_.read_ended) return;
  now_.suspended = false;
  set_interest();
  arm();
  // Decrypted bytes inside are announced by no event.
  if (!transport_->readable_now()) return;
  if (context_.reading) poke();  // the buffer is in use, maybe by this connection
  else readable();
}

}  // namespace sluice::upstream
