// The requests: read into the worker's buffer, parsed in place, told as events; one flush of the stream a read.
#include <algorithm>
#include <cstring>
#include <utility>

#include "dataplane/worker/active_request.h"
#include "dataplane/worker/client_connection.h"
#include "dataplane/worker/http2_connection.h"

namespace sluice::worker {

using http::h1::Event;
using http::h1::Step;
using net::Io;

namespace {
// What is read of a request after its answer is complete, so that the connection can be used again.
constexpr uint64_t kMaxDiscarded = 256 * 1024;

// Whether the first line has the three words of a request line, or of HTTP/2's preface, with neither a path nor a
// version among them: then it does not even appear to be an HTTP/1 request (RFC 9112 2.2).
bool names_nothing(http::Bytes in) {
  const std::string_view text(in.data(), in.size());
  const std::string_view line = text.substr(0, text.find('\n'));
  return line.size() != text.size() && std::count(line.begin(), line.end(), ' ') == 2 &&
         line.find('/') == std::string_view::npos;
}
}  // namespace

bool ClientConnection::wants_input() const {
  return state_ == State::open && !paused_ && !request_done_ && !failed_ && transport_->pending() <= kHighWater;
}

void ClientConnection::readable() {
  // Level-triggered: what is left in the kernel is announced again. What a TLS transport has inside is not.
  while (read_once() && state_ == State::open && !suspended_ && transport_->readable_now()) {
  }
}

// False: nothing more to be read now.
bool ClientConnection::read_once() {
  const bool wanted = wants_input();
  // An answer is under way: a little is read ahead, to see the client's end; no more.
  if (!wanted && (paused_ || failed_ || transport_->pending() > kHighWater || stash_.size() >= kMaxAhead)) {
    suspended_ = true;
    set_interest();
    return false;
  }
  if (context_.reading) return false;
  char* const buffer = context_.read_buffer.get();
  const size_t kept = stash_.size();
  if (kept >= context_.read_size) {
    gone();  // cannot be: heads are bounded below this
    return false;
  }
  if (kept != 0) std::memcpy(buffer, stash_.data(), kept);
  const net::IoResult result = transport_->read({buffer + kept, context_.read_size - kept});
  switch (result.state) {
    case Io::again:
      set_interest();
      return false;
    case Io::eof:
      at_eof();
      return false;
    case Io::error:
      gone();
      return false;
    case Io::ok:
      break;
  }
  if (!wanted) {
    stash_.append(buffer + kept, result.bytes);
    return true;
  }
  stash_.clear();
  process({buffer, kept + result.bytes});
  return true;
}

void ClientConnection::at_eof() {
  eof_ = true;
  suspended_ = true;
  // RFC 9112 9.6: a client may shut its side and still read the answer. Half a request is none.
  if (request_ == nullptr) {
    begin_close();
    return;
  }
  if (!request_done_ && !tunnel_) {
    gone();
    return;
  }
  set_interest();
  if (tunnel_) tunnel_input_ended();
}

// Once, when all that came before was handed on.
void ClientConnection::tunnel_input_ended() {
  if (request_done_ || !stash_.empty()) return;
  request_done_ = true;
  request_->stream().on_request_body({}, true);
  request_->stream().on_request_flush();
}

void ClientConnection::process_stashed() {
  if (context_.reading || stash_.size() > context_.read_size) {
    poked_ = true;
    context_.reactor.timers().arm(*this, context_.reactor.now_ms());
    return;
  }
  const size_t size = stash_.size();
  std::memcpy(context_.read_buffer.get(), stash_.data(), size);
  stash_.clear();
  process({context_.read_buffer.get(), size});
}

void ClientConnection::process(http::Bytes in) {
  processing_ = true;
  context_.reading = true;
  work(in);
  context_.reading = false;
  processing_ = false;
  if (state_ != State::open) return;
  if (!in.empty()) stash(in);
  in_hand_ = 0;
  if (tunnel_ && eof_) tunnel_input_ended();
  // What was read ahead is no whole request, and nothing follows it. Answers before it go out first.
  else if (eof_ && wants_input() && (request_ == nullptr || transport_->pending() == 0)) at_eof();
  if (state_ != State::open) return;
  set_interest();
  rearm();
}

// RFC 9113 3.4: the first line of HTTP/2's preface is no request line that HTTP/1.1 could answer ("*" is for OPTIONS).
ClientConnection::Preface ClientConnection::look_for_preface(http::Bytes in) const {
  constexpr std::string_view kLine = "PRI * HTTP/2.0\r\n";
  if (!fresh_ || request_ != nullptr || tls_ || !context_.settings.http2_cleartext) return Preface::no;
  const std::string_view begin(in.data(), std::min(in.size(), kLine.size()));
  if (!kLine.starts_with(begin)) return Preface::no;
  return begin.size() == kLine.size() ? Preface::yes : Preface::incomplete;
}

// The socket goes on under its number; this object ends.
void ClientConnection::become_http2(http::Bytes in) {
  Http2Connection& heir = Http2Connection::start(context_, std::move(transport_), *this, interest_);
  retire();
  heir.begin(in);
}

// Until the input is used up, not wanted, or the connection ends.
void ClientConnection::work(http::Bytes& in) {
  no_http1_ = fresh_ && request_ == nullptr && !tls_ && context_.settings.http2_cleartext && names_nothing(in);
  switch (look_for_preface(in)) {
    case Preface::no:
      break;
    case Preface::incomplete:
      return;
    case Preface::yes:
      become_http2(in);
      return;
  }
  for (;;) {
    if (state_ != State::open) return;
    in_hand_ = static_cast<uint32_t>(in.size());
    if (response_done_) {
      // Out first: with the request its arena ends.
      if (std::exchange(dirty_, false) && request_ != nullptr) request_->stream().on_request_flush();
      if (state_ != State::open) return;
      answer_complete();
      if (state_ != State::open) return;
    }
    if (!in.empty() && wants_input() && step(in)) continue;
    if (state_ != State::open || !dirty_ || request_ == nullptr) return;
    // May bring the answer, or room for more of the body.
    dirty_ = false;
    request_->stream().on_request_flush();
    if (!response_done_ && (in.empty() || !wants_input())) return;
  }
}

// One event of the reader. False: it needs more.
bool ClientConnection::step(http::Bytes& in) {
  if (request_ == nullptr) start_request();
  http::Stream& stream = request_->stream();
  if (tunnel_) {
    dirty_ = true;
    stream.on_request_body(in, false);
    in = {};
    return true;
  }
  const Step step = reader_.next(in, stream.arena(), stream.head(), context_.settings.limits);
  in = in.subspan(step.consumed);
  in_hand_ = static_cast<uint32_t>(in.size());
  switch (step.event) {
    case Event::need_more:
      // An empty line before a request (RFC 9112 2.2) begins none.
      if (!head_done_ && in.empty() && reader_.idle()) {
        request_->release();
        request_ = nullptr;
        dirty_ = false;
      }
      return false;
    case Event::head:
      on_head(step.end);
      return true;
    case Event::body:
      request_done_ = step.end;
      dirty_ = true;
      request_->body_rate().came(step.body.size());
      if (stream.done()) lingered_ += step.body.size();
      if (lingered_ > kMaxDiscarded) begin_close();
      else stream.on_request_body(step.body, step.end);
      return true;
    case Event::trailers:
      request_done_ = true;
      dirty_ = true;
      stream.on_request_trailers(*reader_.trailers());
      return true;
    case Event::end:
      request_done_ = true;
      dirty_ = true;
      stream.on_request_body({}, true);
      return true;
    case Event::error:
      on_reader_error(step.error);
      return true;
  }
  return false;
}

void ClientConnection::start_request() {
  request_ = ActiveRequest::make(context_, *this, *this);
  request_->stream().begin();
}

void ClientConnection::on_head(bool end) {
  head_done_ = true;
  head_deadline_ = 0;
  request_done_ = end;
  dirty_ = true;
  http::Stream& stream = request_->stream();
  continue_owed_ = stream.head().expect_continue;
  said_close_ = !reader_.keep_alive();
  stream.on_request_head(end);
}

void ClientConnection::on_reader_error(const http::Error& error) {
  failed_ = true;
  dirty_ = true;
  http::Stream& stream = request_->stream();
  // What two protocols are listened for may be neither: an answer of one would be noise to who meant the other.
  if (error.reason == http::Reason::bad_request_line && no_http1_) {
    close();
    return;
  }
  if (stream.done()) begin_close();  // what is left of an answered request
  else stream.on_client_error(error);
}

// The whole answer is handed over. The rest of its request is read if that is little, else the connection ends.
void ClientConnection::answer_complete() {
  if (cut_) {
    close();
    return;
  }
  if (request_done_) finish_request();
  else if (tunnel_) half_close();
  else if (!keep_alive_ || failed_) begin_close();
  else resume_request();
  if (state_ == State::open && !processing_ && !request_done_ && !stash_.empty() && wants_input()) process_stashed();
}

void ClientConnection::half_close() {
  if (half_closed_) return;
  half_closed_ = true;
  transport_->shutdown_write();
}

void ClientConnection::finish_request() {
  // Also while draining: an answer that did not say close (it began before) leaves a client that will ask again.
  const bool again = keep_alive_ && !tunnel_ && !failed_;
  request_->release();
  request_ = nullptr;
  fresh_ = false;
  if (!again) {
    begin_close();
    return;
  }
  reader_.reset();
  head_done_ = request_done_ = response_begun_ = response_done_ = continue_owed_ = paused_ = dirty_ = false;
  lingered_ = 0;
  if (eof_ && stash_.empty() && in_hand_ == 0) {
    begin_close();
    return;
  }
  if (suspended_ && !eof_) {
    suspended_ = false;
    if (!processing_) set_interest();
  }
  if (processing_) return;
  if (!stash_.empty() && wants_input()) process_stashed();
  else rearm();
}

void ClientConnection::stash(http::Bytes bytes) { stash_.append(bytes.data(), bytes.size()); }

}  // namespace sluice::worker
