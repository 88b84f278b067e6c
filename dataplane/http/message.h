// Messages free of any protocol version (RFC 9110): heads with token-indexed fields. HTTP/1 (h1/) and later HTTP/2 make
// them from bytes and bytes from them. Every view points into the stream's arena (requests) or into memory valid during
// the event (answers): see stream.h. No framing here: Content-Length, Transfer-Encoding, Connection and the other
// hop-by-hop fields (RFC 9110 7.6.1) are not in `fields`; codecs take them out when reading and make them anew when
// writing.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/base/arena.h"

namespace sluice::http {

enum class Method : uint8_t { get, head, post, put, delete_, connect, options, trace, patch, other };
// Safe and idempotent by RFC 9110 9.2; `other` is neither.
[[nodiscard]] bool is_idempotent(Method method);
// Case-sensitive (RFC 9110 9.1). name_of(other) is empty: its name is in the head.
[[nodiscard]] Method method_of(std::string_view name);
[[nodiscard]] std::string_view name_of(Method method);

enum class Scheme : uint8_t { http, https };
enum class Version : uint8_t { http10, http11, http2 };

// Fields the gateway itself looks at; found without comparing strings. Keep in step with kNames in field.cpp.
enum class Token : uint8_t {
  none,
  host,
  connection,
  content_length,
  transfer_encoding,
  te,
  trailer,
  upgrade,
  keep_alive,
  proxy_connection,
  expect,
  cookie,
  set_cookie,
  user_agent,
  referer,
  accept,
  accept_encoding,
  content_type,
  content_encoding,
  authorization,
  proxy_authorization,
  proxy_authenticate,
  date,
  server,
  via,
  location,
  etag,
  vary,
  cache_control,
  range,
  origin,
  traceparent,
  tracestate,
  x_forwarded_for,
  x_forwarded_proto,
  x_forwarded_host,
  x_forwarded_port,
  x_real_ip,
  x_request_id,
  forwarded,
  retry_after,
  max_forwards,
  http2_settings,
  kCount
};
// Case-insensitive; Token::none if it is not one of ours.
[[nodiscard]] Token token_of(std::string_view name);

struct Field {
  std::string_view name;  // as sent; compare without case
  std::string_view value;
  Token token = Token::none;
};

// An arena-backed growing list; order is kept. Small enough to walk. Pointers into it die when it grows.
class Fields {
 public:
  explicit Fields(Arena& arena) : arena_(&arena) {}
  void add(const Field& field) {
    if (size_ == capacity_) grow();
    new (&data_[size_++]) Field(field);
  }
  void add(std::string_view name, std::string_view value) { add({name, value, token_of(name)}); }
  // First value, or null.
  [[nodiscard]] const Field* find(Token token) const;
  [[nodiscard]] const Field* find(std::string_view name) const;  // case-insensitive
  size_t remove(Token token);                                    // how many
  size_t remove(std::string_view name);                          // case-insensitive
  // Also removes the spelling with `_` for `-`: what the gateway vouches for must not come from outside in any
  // disguise.
  size_t remove_every_spelling(std::string_view name);
  // Keeps the order of the rest.
  template <class Predicate>
  size_t remove_if(Predicate&& predicate) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < size_; ++i) {
      if (predicate(data_[i])) continue;
      if (kept != i) data_[kept] = data_[i];
      ++kept;
    }
    const uint32_t removed = size_ - kept;
    size_ = kept;
    return removed;
  }
  void clear() { size_ = 0; }
  // These instead; they are in the arena.
  void take_over(std::span<Field> fields) {
    data_ = fields.data();
    size_ = capacity_ = static_cast<uint32_t>(fields.size());
  }
  [[nodiscard]] std::span<const Field> all() const { return {data_, size_}; }
  [[nodiscard]] std::span<Field> all() { return {data_, size_}; }
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] Arena& arena() const { return *arena_; }

 private:
  void grow();
  Arena* arena_;
  Field* data_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

struct RequestHead {
  explicit RequestHead(Arena& arena) : fields(arena) {}
  Method method = Method::get;
  std::string_view method_name;
  Scheme scheme = Scheme::http;
  Version version = Version::http11;
  std::string_view host;   // lower case, without port; IPv6 in brackets. Empty only for HTTP/1.0 without Host
  uint16_t port = 0;       // as given in the authority; 0 = none
  std::string_view path;   // normalised (path.h); starts with '/'; or "*" for OPTIONS *
  std::string_view query;  // without '?'; views with has_query=false have none ("/a?" keeps its empty query)
  bool has_query = false;
  bool has_body = false;                   // framing said so: chunked, or Content-Length > 0
  std::optional<uint64_t> content_length;  // absent with has_body = chunked (unknown length)
  bool expect_continue = false;            // HTTP/1.1 with a body only; Expect itself is not in `fields`
  bool wants_trailers = false;             // TE: trailers
  bool grpc = false;                       // a gRPC request (grpc.h); found by the stream, before any filter
  std::string_view upgrade;                // what Upgrade asked for (with Connection: upgrade); empty = nothing
  std::string_view websocket_accept;       // what Sec-WebSocket-Accept must be, if we made the key (RFC 8441)
  Fields fields;                           // Host, Expect and hop-by-hop fields are not here
};

struct ResponseHead {
  explicit ResponseHead(Arena& arena) : fields(arena) {}
  uint16_t status = 0;
  std::string_view reason;  // HTTP/1 reason phrase; may be empty
  Version version = Version::http11;
  bool has_body = false;  // false for HEAD's answers, 1xx, 204, 304 and Content-Length: 0
  std::optional<uint64_t>
      content_length;        // what the field says (kept for HEAD and 304); absent with has_body = until end
  std::string_view upgrade;  // what Upgrade says (with Connection: upgrade): for 101 and 426
  Fields fields;
};

}  // namespace sluice::http
