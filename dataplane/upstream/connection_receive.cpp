// The answer: read into the worker's buffer, parsed in place, told as events; one on_response_flush a read.
#include "dataplane/upstream/connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace sluice::upstream {

using http::Reason;
using http::Retry;
using http::h1::Event;
using http::h1::Step;
using net::Io;

void Connection::readable() {
  // A tunnel whose upstream had ended before: only a reset is still announced.
  if (now_.read_ended) return fail(Reason::upstream_reset, Retry::no, 0);
  if (now_.paused) {
    now_.suspended = true;
    return set_interest();
  }
  const uint32_t serial = serial_;
  // Level-triggered: what is left in the kernel is announced again. What a TLS transport has inside is not.
  while (read_once() && serial == serial_ && !now_.paused && transport_->readable_now()) {
  }
}

// False: nothing more can be read now.
bool Connection::read_once() {
  char* const buffer = context_.read_buffer.get();
  // The begin of a head that did not come whole; heads are bounded far below the buffer's size.
  const size_t kept = held_.size();
  if (kept >= Context::kReadBuffer) {
    fail(Reason::response_too_large, Retry::no, 0);
    return false;
  }
  if (kept != 0) std::memcpy(buffer, held_.data(), kept);
  const net::IoResult result = transport_->read({buffer + kept, Context::kReadBuffer - kept});
  switch (result.state) {
    case Io::again:
      set_interest();
      return false;
    case Io::eof:
      at_eof();
      return false;
    case Io::error:
      at_read_error();
      return false;
    case Io::ok:
      break;
  }
  held_.clear();
  context_.reading = true;
  const bool more = process({buffer, kept + result.bytes});
  context_.reading = false;
  return more;
}

// Tells what `in` holds, then one flush, whatever happened: the stream may have begun another attempt or an answer of
// its own. False: the exchange is over.
bool Connection::process(http::Bytes in) {
  const uint32_t serial = serial_;
  http::ResponseEvents& events = *now_.events;
  const bool going_on = tell(in);
  events.on_response_flush();
  if (serial != serial_) return false;
  if (now_.response_done) finish(in.empty());
  else arm();
  return going_on && serial == serial_;
}

// The events of one read; takes what was told from `in`. False: the exchange is over.
bool Connection::tell(http::Bytes& in) {
  const uint32_t serial = serial_;
  // Bytes before a request was sent are an answer to nothing.
  if (!now_.request_begun) {
    fail(Reason::bad_response, Retry::no, 0, After::nothing);
    return false;
  }
  while (!now_.response_done && !in.empty()) {
    if (now_.tunnel) {
      now_.events->on_response_body(std::exchange(in, {}), false);
      return serial == serial_;
    }
    const Step step = reader_.next(in, *now_.arena, *now_.head, context_.limits);
    in = in.subspan(step.consumed);
    if (step.event == Event::need_more) {
      held_.append(in.data(), in.size());
      return true;
    }
    if (step.event == Event::error) {
      report(step.error, After::nothing);
      return false;
    }
    if (!on_step(step) || serial != serial_) return false;
  }
  return !now_.response_done;
}

// One event. False: the exchange failed (and was reported).
bool Connection::on_step(const Step& step) {
  http::ResponseEvents& events = *now_.events;
  switch (step.event) {
    case Event::head:
      return on_head(step.end);
    case Event::body:
      now_.response_done = step.end;
      events.on_response_body(step.body, step.end);
      return true;
    case Event::trailers:
      now_.response_done = true;
      events.on_response_trailers(*reader_.trailers());
      return true;
    case Event::end:
      now_.response_done = true;
      events.on_response_body({}, true);
      return true;
    default:
      return true;
  }
}

bool Connection::on_head(bool end) {
  http::ResponseEvents& events = *now_.events;
  http::ResponseHead& head = *now_.head;
  if (head.status == 101) {
    // RFC 9110 15.2.2: only towards an Upgrade, and it says to what. Else the next bytes would be taken for what they
    // are not.
    if (!now_.wants_upgrade || head.upgrade.empty()) {
      fail(Reason::bad_response, Retry::no, 101, After::nothing);
      return false;
    }
    now_.tunnel = true;
    now_.head = nullptr;  // the stream may give its place back
    now_.head_seen = true;
    // What was still to be sent of the request is opaque now, and its end is the stream's to say.
    now_.request_done = false;
    events.on_response_head(head, false);
    return true;
  }
  if (head.status < 200) {
    if (++now_.informational > kMaxInformational) {
      fail(Reason::bad_response, Retry::no, static_cast<int>(head.status), After::nothing);
      return false;
    }
    // The next head gets a place of its own: the stream may look at this one until it flushes.
    now_.head = now_.arena->make<http::ResponseHead>(*now_.arena);
    events.on_response_informational(head);
    return true;
  }
  now_.head_seen = true;
  now_.response_done = end;
  events.on_response_head(head, end);
  return true;
}

void Connection::at_eof() {
  const uint32_t serial = serial_;
  http::ResponseEvents& events = *now_.events;
  held_.clear();
  if (now_.tunnel) {
    // The other way goes on until the client ends it.
    const bool over = now_.request_done;
    now_.read_ended = now_.suspended = true;
    set_interest();
    events.on_response_body({}, true);
    events.on_response_flush();
    if (over && serial == serial_) end_tunnel();
    return;
  }
  if (!now_.request_begun) return fail(Reason::upstream_closed, Retry::yes, 0);
  const Step step = reader_.eof();
  if (step.event == Event::error) {
    http::Error error = step.error;
    if (!reader_.started()) {
      error.reason = Reason::upstream_closed;
      error.retry = !now_.wrote ? Retry::yes : reused_ ? Retry::if_reused : Retry::no;
    }
    return report(error);
  }
  // RFC 9112 9.8: without close_notify, an answer that ends with the connection may have been cut by anybody.
  if (transport_->secure() && transport_->truncated()) return fail(Reason::response_cut, Retry::no, 0);
  now_.response_done = true;
  events.on_response_body({}, true);
  events.on_response_flush();
  if (serial == serial_) finish(false);
}

void Connection::at_read_error() {
  const int detail = transport_->error_code();
  if (now_.head_seen || (now_.request_begun && reader_.started())) return fail(Reason::response_cut, Retry::no, detail);
  fail(Reason::upstream_reset, !now_.wrote ? Retry::yes : reused_ ? Retry::if_reused : Retry::no, detail);
}

}  // namespace sluice::upstream
