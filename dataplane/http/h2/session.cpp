// Life of a session, what is sent, and what is framed when. What comes is in session_receive.cpp.
#include "dataplane/http/h2/session.h"

#include <algorithm>
#include <array>

#include "dataplane/http/h2/head_reader.h"
#include "dataplane/http/h2/head_writer.h"
#include "dataplane/http/h2/session_callbacks.h"

namespace sluice::http::h2 {

SessionStream::~SessionStream() {
  if (session_ != nullptr) session_->forget(*this, ErrorCode::cancel);
}

Session::Session(Role role, const Settings& settings, SessionOwner& owner)
    : role_(role),
      settings_(settings),
      owner_(owner),
      flood_(settings.flood),
      watch_(role == Role::server ? NGHTTP2_CLIENT_MAGIC_LEN : 0) {
  // A section that is merely over the limit is refused, not taken for a bomb.
  uint32_t& most_decoded = settings_.flood.header_bytes_decoded;
  most_decoded = std::max(most_decoded, 2 * settings.limits.header_bytes);
  nghttp2_mem memory = memory_.hooks();  // copied
  const auto make = role == Role::server ? nghttp2_session_server_new3 : nghttp2_session_client_new3;
  const int made = make(&session_, Callbacks::all(), this, Callbacks::options(), &memory);
  if (made != 0) {
    session_ = nullptr;
    dead_ = true;
    return;
  }
  std::array<nghttp2_settings_entry, 6> entries{};
  size_t count = 0;
  entries[count++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.stream_window};
  entries[count++] = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.limits.header_bytes};
  if (role == Role::server) {
    entries[count++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.concurrent_streams};
    entries[count++] = {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
    if (settings.extended_connect) entries[count++] = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  } else {
    entries[count++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  }
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), count);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<int32_t>(settings.connection_window));
  pump();
}

Session::~Session() {
  while (first_ != nullptr) detach(*first_);
  nghttp2_session_del(session_);
}

// A stream object may have been attached before: it begins anew.
void Session::attach(SessionStream& stream, int32_t id) {
  stream.session_ = this;
  stream.id_ = id;
  stream.trailers_ = nullptr;
  stream.body_left_ = 0;
  stream.out_ = SessionStream::Out::none;
  stream.method_ = Method::get;
  stream.informational_ = 0;
  stream.head_done_ = stream.in_done_ = stream.has_length_ = stream.deferred_ = false;
  stream.tunnel_ = stream.no_body_ = stream.refused_ = false;
  stream.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &stream;
  first_ = &stream;
  ++streams_;
}

void Session::detach(SessionStream& stream) {
  if (stream.session_ == nullptr) return;
  if (stream.previous_ != nullptr) stream.previous_->next_ = stream.next_;
  else first_ = stream.next_;
  if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
  stream.next_ = stream.previous_ = nullptr;
  stream.session_ = nullptr;
  stream.reader_ = nullptr;
  stream.left_.clear();
  stream.view_ = {};
  --streams_;
  if (stream.blocked_) --blocked_;
  stream.blocked_ = false;
  held_ -= std::exchange(stream.held_, 0);
  nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
  credit();
}

SessionStream* Session::find(int32_t id) const {
  for (SessionStream* at = first_; at != nullptr; at = at->next_) {
    if (at->id_ == id) return at;
  }
  return nullptr;
}

size_t Session::room() const {
  const size_t used = output_.size() + beyond_;
  return used < kMostOutput ? kMostOutput - used : 0;
}

// ---------------------------------------------------------------- sending

bool Session::can_submit(size_t promised) const {
  if (dead_ || goaway_ || role_ != Role::client || nghttp2_session_check_request_allowed(session_) == 0) return false;
  const uint32_t most =
      settled_ ? nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) : 100;
  return streams_ + promised < most;
}

bool Session::submit_request(SessionStream& stream, const RequestHead& head, bool end) {
  if (!can_submit()) return false;
  const auto pairs = write_request(head, settings_.scheme, stream.arena());
  const nghttp2_data_provider body = Callbacks::body_of(stream);
  const int32_t id =
      nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(), end ? nullptr : &body, &stream);
  if (id < 0) return false;
  attach(stream, id);
  stream.method_ = head.method;
  stream.out_ = end ? SessionStream::Out::ending : SessionStream::Out::open;
  if (end) pump();
  return true;
}

void Session::send_informational(SessionStream& stream, const ResponseHead& head) {
  if (!stream.attached() || dead_ || stream.out_ != SessionStream::Out::none) return;
  const auto pairs = write_response(head, {}, false, stream.arena());
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, stream.id_, nullptr, pairs.data(), pairs.size(), nullptr);
}

void Session::send_head(SessionStream& stream, const ResponseHead& head, bool end, std::string_view date) {
  if (!stream.attached() || dead_ || stream.out_ != SessionStream::Out::none) return;
  stream.tunnel_ = stream.tunnel_ && head.status == 101;
  const auto pairs = write_response(head, date, stream.tunnel_, stream.arena());
  const nghttp2_data_provider body = Callbacks::body_of(stream);
  stream.out_ = end ? SessionStream::Out::ending : SessionStream::Out::open;
  nghttp2_submit_response(session_, stream.id_, pairs.data(), pairs.size(), end ? nullptr : &body);
  if (end) pump();
}

bool Session::send_body(SessionStream& stream, Bytes bytes, bool end) {
  if (!stream.attached() || dead_ || stream.out_ != SessionStream::Out::open) return true;
  stream.view_ = bytes;
  if (end) stream.out_ = SessionStream::Out::ending;
  resume(stream);
  frame();
  if (!stream.attached()) return true;
  if (!stream.view_.empty()) stream.left_.append(stream.view_.data(), stream.view_.size());
  stream.view_ = {};
  const bool room_left = stream.left_.size() <= kHighWater;
  if (!room_left && !stream.blocked_) {
    stream.blocked_ = true;
    ++blocked_;
  }
  tell_writable();
  return room_left;
}

void Session::send_trailers(SessionStream& stream, const Fields& trailers) {
  if (!stream.attached() || dead_ || stream.out_ != SessionStream::Out::open) return;
  stream.trailers_ = &trailers;
  stream.out_ = SessionStream::Out::ending;
  resume(stream);
  pump();
}

void Session::resume(SessionStream& stream) {
  if (!stream.deferred_) return;
  stream.deferred_ = false;
  nghttp2_session_resume_data(session_, stream.id_);
}

void Session::reset(SessionStream& stream, ErrorCode code) {
  if (!stream.attached()) return;
  forget(stream, code);
  pump();
}

// The reset also takes back a head that is submitted and not framed: it points into the stream's memory.
void Session::forget(SessionStream& stream, ErrorCode code) {
  const int32_t id = stream.id_;
  detach(stream);
  if (!dead_) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
}

void Session::pump() {
  frame();
  tell_writable();
}

void Session::frame() {
  if (receiving_ || pumping_) {
    again_ = true;
    return;
  }
  if (session_ == nullptr || lost_) return;
  pumping_ = true;
  do {
    again_ = false;
    if (starved_ && room() != 0) {
      starved_ = false;
      for (SessionStream* at = first_; at != nullptr; at = at->next_) {
        if (at->deferred_ && !at->left_.empty()) resume(*at);
      }
    }
    if (nghttp2_session_send(session_) != 0) dead_ = true;
  } while (again_ && !dead_);
  pumping_ = false;
}

// Not from inside of nghttp2. A call may detach any stream, so the list is begun anew after each.
void Session::tell_writable() {
  if (receiving_ || pumping_) return;
  if (dead_ && !lost_) return end_all(over());
  while (blocked_ != 0) {
    SessionStream* at = first_;
    while (at != nullptr && !(at->blocked_ && at->left_.size() <= kHighWater / 4)) at = at->next_;
    if (at == nullptr) return;
    at->blocked_ = false;
    --blocked_;
    at->on_writable();
  }
}

// ---------------------------------------------------------------- end

void Session::begin_shutdown() {
  if (dead_) return;
  nghttp2_submit_shutdown_notice(session_);
  pump();
}

void Session::shutdown(ErrorCode code) {
  if (dead_) return;
  if (role_ == Role::server && code == ErrorCode::no_error) {
    nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                          NGHTTP2_NO_ERROR, nullptr, 0);
  } else {
    nghttp2_session_terminate_session(session_, static_cast<uint32_t>(code));
  }
  pump();
}

void Session::ping() {
  if (dead_) return;
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  pump();
}

bool Session::finished() const {
  if (session_ == nullptr || dead_) return true;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

// Told when the present call into nghttp2 is over: tell_writable().
void Session::die(ErrorCode code) {
  if (dead_) return;
  dead_ = true;
  nghttp2_session_terminate_session(session_, static_cast<uint32_t>(code));
}

void Session::connection_lost(const Error& error) {
  dead_ = lost_ = true;
  end_all(error);
}

Error Session::over() const {
  return role_ == Role::server ? Error{Reason::client_closed, Side::client, Retry::no, 0}
                               : Error{Reason::upstream_reset, Side::upstream, Retry::no, 0};
}

void Session::end_all(const Error& error) {
  while (first_ != nullptr) {
    SessionStream& stream = *first_;
    detach(stream);
    Error own = error;
    if (role_ == Role::client && stream.head_done_) {
      own.reason = Reason::response_cut;
      own.retry = Retry::no;
    }
    stream.on_error(own, false);
  }
}

}  // namespace sluice::http::h2
