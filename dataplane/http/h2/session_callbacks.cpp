#include "dataplane/http/h2/session_callbacks.h"

#include <algorithm>

#include "dataplane/http/h2/head_reader.h"
#include "dataplane/http/h2/head_writer.h"

namespace sluice::http::h2 {
namespace {

std::string_view text(const uint8_t* data, size_t size) { return {reinterpret_cast<const char*>(data), size}; }

// Above what the limits of heads can be set to, with what filters add.
constexpr size_t kMostHeadSent = 4 * 1024 * 1024;

// Stream errors that the peer brought about.
bool is_peers_fault(uint32_t code) {
  return code != NGHTTP2_NO_ERROR && code != NGHTTP2_CANCEL && code != NGHTTP2_REFUSED_STREAM &&
         code != NGHTTP2_INTERNAL_ERROR;
}

}  // namespace

const nghttp2_session_callbacks* Session::Callbacks::all() {
  static const nghttp2_session_callbacks* const made = [] {
    nghttp2_session_callbacks* to = nullptr;
    if (nghttp2_session_callbacks_new(&to) != 0) return to;
    nghttp2_session_callbacks_set_on_begin_frame_callback(to, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(to, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(to, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(to, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(to, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(to, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(to, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(to, on_frame_not_send);
    nghttp2_session_callbacks_set_send_callback(to, on_send);
    nghttp2_session_callbacks_set_send_data_callback(to, on_send_data);
    return to;
  }();
  return made;
}

const nghttp2_option* Session::Callbacks::options() {
  static const nghttp2_option* const made = [] {
    nghttp2_option* to = nullptr;
    if (nghttp2_option_new(&to) != 0) return to;
    // What a message may say is HeadReader's business: nghttp2 would drop or reset without a reason, and check twice.
    nghttp2_option_set_no_http_messaging(to, 1);
    nghttp2_option_set_no_auto_window_update(to, 1);
    nghttp2_option_set_no_closed_streams(to, 1);
    // Until a server's SETTINGS come nothing is known of its limit: what is beyond one stream waits for them, instead
    // of being refused.
    nghttp2_option_set_peer_max_concurrent_streams(to, 1);
    nghttp2_option_set_builtin_recv_extension_type(to, NGHTTP2_PRIORITY_UPDATE);
    nghttp2_option_set_max_send_header_block_length(to, kMostHeadSent);
    // FloodGuard counts them. nghttp2 counts a frame as often as its header comes in pieces.
    nghttp2_option_set_max_continuations(to, SIZE_MAX);
    return to;
  }();
  return made;
}

// DATA is looked at by watch(): for this nghttp2 drops it first.
int Session::Callbacks::on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* header, void* user) {
  Session& own = self(user);
  const int32_t id = header->stream_id;
  if (own.dead_ || header->type != NGHTTP2_HEADERS || !own.is_over(id)) return 0;
  // Trailers that were under way when we reset it, once.
  if (!own.history_.was_reset(id))
    own.die(own.history_.was_opened(id) ? ErrorCode::stream_closed : ErrorCode::protocol_error);
  else if (!own.glitch(Glitch::unknown_frame)) own.die(ErrorCode::enhance_your_calm);
  return 0;
}

int Session::Callbacks::on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Session& own = self(user);
  own.loose_bytes_ = 0;
  if (own.dead_) return 0;
  const int32_t id = frame->hd.stream_id;
  SessionStream* stream = stream_of(session, id);
  if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    own.history_.opened(id);
    stream = own.owner_.open_stream();
    if (stream == nullptr) {
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      return 0;
    }
    own.attach(*stream, id);
    nghttp2_session_set_stream_user_data(session, id, stream);
  }
  if (stream == nullptr || stream->refused_) return 0;
  Arena& arena = stream->arena();
  stream->reader_ = arena.make<HeadReader>(arena, own.settings_.limits, own.settings_.flood.header_bytes_decoded);
  return 0;
}

int Session::Callbacks::on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                                  size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void* user) {
  Session& own = self(user);
  if (own.dead_) return 0;
  SessionStream* const stream = stream_of(session, frame->hd.stream_id);
  bool bounded;
  if (stream != nullptr && stream->reader_ != nullptr) {
    bounded = stream->reader_->add(text(name, name_size), text(value, value_size));
  } else {
    own.loose_bytes_ += static_cast<uint32_t>(name_size + value_size + 4);
    bounded = own.loose_bytes_ <= own.settings_.flood.header_bytes_decoded;
  }
  if (!bounded) own.die(ErrorCode::enhance_your_calm);
  return 0;
}

int Session::Callbacks::on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Session& own = self(user);
  const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (own.dead_) return 0;
  SessionStream* const stream = frame->hd.stream_id == 0 ? nullptr : stream_of(session, frame->hd.stream_id);
  bool fine = true;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
      if (stream != nullptr) own.head_complete(*stream, end);
      break;
    case NGHTTP2_DATA:
      if (frame->hd.length == frame->data.padlen && !end) fine = own.glitch(Glitch::empty_data);
      else own.flood_.data_moved();
      if (end && stream != nullptr) own.body_ended(*stream);
      break;
    case NGHTTP2_RST_STREAM:
      own.history_.ended(frame->hd.stream_id);
      if (stream == nullptr || stream->out_ != SessionStream::Out::ended) fine = own.glitch(Glitch::reset_by_peer);
      break;
    case NGHTTP2_SETTINGS:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) break;
      own.settled_ = true;
      fine = own.glitch(Glitch::settings);
      if (fine) own.owner_.on_settings();
      break;
    case NGHTTP2_PING:
      if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) own.owner_.on_ping_answer();
      else fine = own.glitch(Glitch::ping);
      break;
    case NGHTTP2_GOAWAY:
      own.goaway_ = true;
      own.owner_.on_goaway();
      break;
    case NGHTTP2_WINDOW_UPDATE:
      fine = own.glitch(Glitch::window_update);
      break;
    case NGHTTP2_PRIORITY_UPDATE:
      fine = own.glitch(Glitch::priority);
      break;
    default:
      break;
  }
  if (!fine) own.die(ErrorCode::enhance_your_calm);
  return 0;
}

int Session::Callbacks::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                                void* user) {
  Session& own = self(user);
  SessionStream* const stream = stream_of(session, id);
  if (stream == nullptr || own.dead_) {
    nghttp2_session_consume(session, id, size);
    return 0;
  }
  own.body_came(*stream, {reinterpret_cast<const char*>(data), size});
  return 0;
}

int Session::Callbacks::on_stream_close(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
  if (SessionStream* const stream = stream_of(session, id); stream != nullptr) self(user).stream_closed(*stream, code);
  return 0;
}

int Session::Callbacks::on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Session& own = self(user);
  const uint8_t type = frame->hd.type;
  if (type == NGHTTP2_RST_STREAM) own.history_.reset(frame->hd.stream_id);
  if (type == NGHTTP2_RST_STREAM && is_peers_fault(frame->rst_stream.error_code)) {
    if (!own.dead_ && !own.glitch(Glitch::reset_for_peer)) own.die(ErrorCode::enhance_your_calm);
    return 0;
  }
  if ((type != NGHTTP2_DATA && type != NGHTTP2_HEADERS) || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) return 0;
  const int32_t id = frame->hd.stream_id;
  SessionStream* const stream = stream_of(session, id);
  if (stream == nullptr) return 0;
  stream->out_ = SessionStream::Out::ended;
  own.flood_.stream_finished();
  // RFC 9113 8.1: the answer is whole, the rest of the request is not wanted. In a tunnel each side ends for itself.
  if (own.role_ == Role::server && !stream->in_done_ && !stream->tunnel_)
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
  return 0;
}

// A head or trailers that cannot be framed. If it is a request that the session cannot send any more, the peer has
// never seen anything of it.
int Session::Callbacks::on_frame_not_send(nghttp2_session*, const nghttp2_frame* frame, int code, void* user) {
  Session& own = self(user);
  if (frame->hd.type != NGHTTP2_HEADERS) return 0;
  SessionStream* const stream = own.find(frame->hd.stream_id);
  if (stream == nullptr) return 0;
  const bool unseen = frame->headers.cat == NGHTTP2_HCAT_REQUEST;
  if (unseen && code != NGHTTP2_ERR_FRAME_SIZE_ERROR) {
    own.detach(*stream);
    stream->on_error({Reason::upstream_closed, Side::upstream, Retry::yes, 0}, false);
  } else if (!own.dead_) {
    own.fail_stream(*stream, {Reason::internal, Side::internal, Retry::no, static_cast<int16_t>(code)},
                    ErrorCode::internal_error);
  }
  return 0;
}

ssize_t Session::Callbacks::on_send(nghttp2_session*, const uint8_t* data, size_t size, int, void* user) {
  self(user).output_.append(reinterpret_cast<const char*>(data), size);
  return static_cast<ssize_t>(size);
}

int Session::Callbacks::on_send_data(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* header, size_t size,
                                     nghttp2_data_source*, void* user) {
  Session& own = self(user);
  SessionStream* const stream = stream_of(session, frame->hd.stream_id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  own.output_.append(reinterpret_cast<const char*>(header), 9);
  const size_t kept = std::min(size, stream->left_.size());
  if (kept != 0) {
    own.output_.append(stream->left_.data(), kept);
    stream->left_.consume(kept);
  }
  if (size > kept) {
    own.output_.append(stream->view_.data(), size - kept);
    stream->view_ = stream->view_.subspan(size - kept);
  }
  own.flood_.data_moved();
  return 0;
}

ssize_t Session::Callbacks::read_body(nghttp2_session* session, int32_t id, uint8_t*, size_t most, uint32_t* flags,
                                      nghttp2_data_source*, void* user) {
  Session& own = self(user);
  SessionStream* const stream = stream_of(session, id);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  const size_t have = stream->left_.size() + stream->view_.size();
  const bool ending = stream->out_ == SessionStream::Out::ending;
  const size_t size = std::min({most, have, own.room()});
  if (size == 0 && (have != 0 || !ending)) {
    stream->deferred_ = true;
    own.starved_ |= have != 0;
    return NGHTTP2_ERR_DEFERRED;
  }
  if (size != 0) *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (size != have || !ending) return static_cast<ssize_t>(size);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (stream->trailers_ == nullptr) return static_cast<ssize_t>(size);
  const auto pairs = write_trailers(*stream->trailers_, stream->arena());
  if (pairs.empty()) return static_cast<ssize_t>(size);
  *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
  if (nghttp2_submit_trailer(session, id, pairs.data(), pairs.size()) != 0)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  return static_cast<ssize_t>(size);
}

nghttp2_data_provider Session::Callbacks::body_of(SessionStream& stream) {
  nghttp2_data_provider provider{};
  provider.source.ptr = &stream;  // never looked at: the stream may be gone
  provider.read_callback = read_body;
  return provider;
}

}  // namespace sluice::http::h2
