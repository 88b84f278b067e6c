// What comes: from nghttp2's callbacks to the events of streams.
#include <algorithm>
#include <utility>

#include "dataplane/http/h2/head_reader.h"
#include "dataplane/http/h2/session.h"
#include "dataplane/http/h2/session_callbacks.h"

namespace sluice::http::h2 {

bool Session::hand_over(Bytes in) {
  const ssize_t used = nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(in.data()), in.size());
  if (used >= 0) return true;
  const bool flooded = used == NGHTTP2_ERR_FLOODED;
  nghttp2_session_terminate_session(session_, flooded ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
  dead_ = true;
  return false;
}

bool Session::receive(Bytes in, uint64_t now_ms) {
  if (dead_) return false;
  now_ms_ = now_ms;
  receiving_ = true;
  size_t given = 0;
  bool good = true;
  const auto give = [&](size_t end) {
    if (good && end > given) good = hand_over(in.subspan(given, end - given));
    given = end;
  };
  bool reset_before = false;  // and not handed over yet
  watch_.feed(in, [&](const FrameHeader& frame, size_t at) {
    // Whether DATA may come is known when all before it has been seen.
    if (frame.type == NGHTTP2_DATA && role_ == Role::server &&
        (reset_before || nghttp2_session_find_stream(session_, static_cast<int32_t>(frame.stream)) == nullptr)) {
      give(at);
      reset_before = false;
    }
    reset_before |= frame.type == NGHTTP2_RST_STREAM;
    watch(frame);
  });
  give(in.size());
  receiving_ = false;
  pump();
  if (!dead_ && nghttp2_session_want_read(session_) != 0) return true;
  dead_ = true;
  end_all(over());
  return false;
}

// RFC 9113 5.1: on such a stream nothing may come any more, unless we ended it and the peer may not know yet.
bool Session::is_over(int32_t id) const {
  return role_ == Role::server && (id & 1) != 0 && !history_.is_new(id) &&
         nghttp2_session_find_stream(session_, id) == nullptr;
}

// What nghttp2 says nothing about.
void Session::watch(const FrameHeader& frame) {
  constexpr uint8_t kLastKnown = NGHTTP2_CONTINUATION;
  constexpr uint32_t kMostPayload = 16384;  // what we announce: the default
  if (dead_) return;
  bool fine = true;
  in_block_ = frame.type == NGHTTP2_HEADERS || frame.type == NGHTTP2_CONTINUATION;
  block_ends_ = (frame.flags & NGHTTP2_FLAG_END_HEADERS) != 0;
  if (frame.type == NGHTTP2_DATA) {
    const auto id = static_cast<int32_t>(frame.stream);
    if (is_over(id)) {
      if (!history_.was_reset(id)) return die(ErrorCode::stream_closed);
      // It goes no further: nobody else counts it.
      if (frame.length == 0 && (frame.flags & NGHTTP2_FLAG_END_STREAM) == 0) fine = glitch(Glitch::empty_data);
    }
  } else if (frame.type == NGHTTP2_PRIORITY) {
    // RFC 9113 6.3, RFC 7540 5.3.1. The tree itself is not followed.
    if (frame.stream == 0 || frame.depends_on == frame.stream) return die(ErrorCode::protocol_error);
    fine = glitch(Glitch::priority);
  } else if (frame.type == NGHTTP2_CONTINUATION) {
    // RFC 9113 4.2: nghttp2 sees to the size of every frame but these.
    if (frame.length > kMostPayload) return die(ErrorCode::frame_size_error);
    fine = glitch(Glitch::continuation);
  } else if (frame.type > kLastKnown && frame.type != NGHTTP2_PRIORITY_UPDATE) {
    fine = glitch(Glitch::unknown_frame);
  }
  if (!fine) die(ErrorCode::enhance_your_calm);
}

bool Session::glitch(Glitch what) { return flood_.note(what, now_ms_); }

// ---------------------------------------------------------------- heads

void Session::head_complete(SessionStream& stream, bool end) {
  if (stream.reader_ == nullptr) {
    stream.in_done_ |= end;
    return;
  }
  if (stream.head_done_) trailers_complete(stream, end);
  else if (role_ == Role::server) request_complete(stream, end);
  else response_complete(stream, end);
}

void Session::request_complete(SessionStream& stream, bool end) {
  HeadReader& reader = *std::exchange(stream.reader_, nullptr);
  RequestHead& head = *stream.request_head();
  const Reason reason = reader.finish(head, end, settings_.extended_connect);
  stream.in_done_ = end;
  if (reason != Reason::none) {
    refuse_message(stream, reason);
    return;
  }
  stream.head_done_ = true;
  stream.tunnel_ = !head.upgrade.empty();
  stream.has_length_ = head.content_length.has_value();
  stream.body_left_ = head.content_length.value_or(0);
  if (reader.urgency() != 3 || reader.incremental()) {
    nghttp2_extpri priority{reader.urgency(), reader.incremental() ? 1 : 0};
    nghttp2_session_change_extpri_stream_priority(session_, stream.id_, &priority, 0);
  }
  stream.on_request_head(end || stream.tunnel_);
}

void Session::response_complete(SessionStream& stream, bool end) {
  HeadReader& reader = *std::exchange(stream.reader_, nullptr);
  Arena& arena = stream.arena();
  auto& head = *arena.make<ResponseHead>(arena);
  const Reason reason = reader.finish(head, end, stream.method_);
  if (reason != Reason::none) return refuse_message(stream, reason);
  if (head.status < 200) {
    if (++stream.informational_ > kMaxInformational) return refuse_message(stream, Reason::bad_request_line);
    stream.on_informational(head);
    return;
  }
  stream.head_done_ = true;
  stream.in_done_ = end;
  stream.has_length_ = head.content_length.has_value() && (head.has_body || *head.content_length == 0);
  stream.no_body_ = !end && !head.has_body && !stream.has_length_;
  stream.body_left_ = head.content_length.value_or(0);
  stream.on_response_head(head, end);
}

void Session::trailers_complete(SessionStream& stream, bool end) {
  HeadReader& reader = *std::exchange(stream.reader_, nullptr);
  // RFC 9113 8.1: a second header section is trailers, and they end the stream.
  if (!end || stream.tunnel_ || stream.in_done_) return refuse_message(stream, Reason::bad_trailer);
  if (stream.has_length_ && stream.body_left_ != 0) return refuse_message(stream, Reason::bad_content_length);
  auto& trailers = *stream.arena().make<Fields>(stream.arena());
  const Reason reason = reader.finish_trailers(trailers);
  if (reason != Reason::none) return refuse_message(stream, reason);
  stream.in_done_ = true;
  if (trailers.size() == 0 || stream.no_body_) stream.on_body({}, true);
  else stream.on_trailers(trailers);
}

// ---------------------------------------------------------------- bodies

void Session::body_came(SessionStream& stream, Bytes bytes) {
  if (stream.refused_) return drop(stream, bytes.size());
  const bool too_much = stream.has_length_ && bytes.size() > stream.body_left_;
  if (!stream.head_done_ || stream.in_done_ || too_much || stream.no_body_) {
    drop(stream, bytes.size());
    refuse_message(stream, too_much || stream.no_body_ ? Reason::bad_content_length : Reason::bad_request_line);
    return;
  }
  stream.body_left_ -= stream.has_length_ ? bytes.size() : 0;
  stream.held_ += static_cast<uint32_t>(bytes.size());
  held_ += bytes.size();
  uncredited_ += bytes.size();
  credit();
  stream.on_body(bytes, false);
}

void Session::body_ended(SessionStream& stream) {
  if (stream.in_done_) return;
  if (stream.refused_) {
    stream.in_done_ = true;
    return;
  }
  if (!stream.head_done_) return refuse_message(stream, Reason::bad_request_line);
  if (stream.has_length_ && stream.body_left_ != 0) return refuse_message(stream, Reason::bad_content_length);
  stream.in_done_ = true;
  stream.on_body({}, true);
}

void Session::drop(SessionStream& stream, size_t bytes) { nghttp2_session_consume(session_, stream.id_, bytes); }

void Session::consumed(SessionStream& stream, size_t bytes) {
  if (!stream.attached() || dead_) return;
  bytes = std::min<size_t>(bytes, stream.held_);
  stream.held_ -= static_cast<uint32_t>(bytes);
  held_ -= bytes;
  if (!stream.in_done_) nghttp2_session_consume_stream(session_, stream.id_, bytes);
  credit();
  pump();
}

void Session::credit() {
  if (uncredited_ == 0 || held_ > settings_.most_held || dead_) return;
  nghttp2_session_consume_connection(session_, std::exchange(uncredited_, 0));
}

// ---------------------------------------------------------------- errors

void Session::refuse_message(SessionStream& stream, Reason reason) {
  if (stream.refused_) return;
  stream.refused_ = true;
  stream.reader_ = nullptr;
  if (role_ == Role::client) {
    const bool large = reason == Reason::headers_too_large || reason == Reason::too_many_headers;
    return fail_stream(stream,
                       {stream.head_done_ ? Reason::response_cut
                        : large           ? Reason::response_too_large
                                          : Reason::bad_response,
                        Side::upstream, Retry::no, static_cast<int16_t>(reason)},
                       ErrorCode::protocol_error);
  }
  const Error error{reason, Side::client, Retry::no, 0};
  if (is_malformed(reason) || stream.head_done_) return fail_stream(stream, error, ErrorCode::protocol_error);
  if ((reason == Reason::headers_too_large || reason == Reason::too_many_headers) && !glitch(Glitch::large_header))
    return die(ErrorCode::enhance_your_calm);
  stream.on_error(error, true);
}

void Session::fail_stream(SessionStream& stream, const Error& error, ErrorCode code) {
  reset(stream, code);
  stream.on_error(error, false);
}

void Session::stream_closed(SessionStream& stream, uint32_t code) {
  detach(stream);
  const bool whole = role_ == Role::server ? stream.out_ == SessionStream::Out::ended : stream.in_done_;
  if (whole) return stream.on_closed();
  if (role_ == Role::server) return stream.on_error({Reason::client_closed, Side::client, Retry::no, 0}, false);
  const bool refused = code == NGHTTP2_REFUSED_STREAM && !stream.head_done_;
  stream.on_error({stream.head_done_ ? Reason::response_cut : Reason::upstream_reset, Side::upstream,
                   refused ? Retry::yes : Retry::no, static_cast<int16_t>(code)},
                  false);
}

}  // namespace sluice::http::h2
