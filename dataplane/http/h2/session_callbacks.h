// nghttp2's callbacks, as static members that may touch a session's inside. Internal to h2/.
#pragma once
#include <nghttp2/nghttp2.h>

#include "dataplane/http/h2/session.h"

namespace sluice::http::h2 {

struct Session::Callbacks {
  // Shared by all sessions of the process; never destroyed.
  [[nodiscard]] static const nghttp2_session_callbacks* all();
  [[nodiscard]] static const nghttp2_option* options();
  [[nodiscard]] static nghttp2_data_provider body_of(SessionStream& stream);

  [[nodiscard]] static Session& self(void* user) { return *static_cast<Session*>(user); }
  [[nodiscard]] static SessionStream* stream_of(nghttp2_session* session, int32_t id) {
    return static_cast<SessionStream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* header, void* user);
  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t flags, void* user);
  static int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data, size_t size, void* user);
  static int on_stream_close(nghttp2_session* session, int32_t id, uint32_t code, void* user);
  static int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user);
  static int on_frame_not_send(nghttp2_session* session, const nghttp2_frame* frame, int code, void* user);
  static ssize_t on_send(nghttp2_session* session, const uint8_t* data, size_t size, int flags, void* user);
  static int on_send_data(nghttp2_session* session, nghttp2_frame* frame, const uint8_t* header, size_t size,
                          nghttp2_data_source* source, void* user);
  static ssize_t read_body(nghttp2_session* session, int32_t id, uint8_t* buffer, size_t most, uint32_t* flags,
                           nghttp2_data_source* source, void* user);
};

}  // namespace sluice::http::h2
