// One filter on one stream. A filter sees messages, never sockets, HTTP/1 or the pool; it lives in the stream's arena
// and is destroyed with the stream. What it needs from outside (time, a call-out, an answer of its own) goes through
// FilterContext, and it may wait for that: return Status::wait from a hook, later call resume(). A filter must not keep
// views across a wait except into ctx.arena() or the request head. Order: request hooks in chain order, response hooks
// in reverse. A hook not overridden costs one indirect call on routes that use the filter, and nothing elsewhere.
#pragma once
#include <cstdint>
#include <string_view>

#include "dataplane/http/stream_io.h"

namespace sluice::http {

// An answer made here. Views must outlive the call (literals, arena, table).
struct LocalReply {
  Reason reason = Reason::none;  // gives status and body if those are not set
  uint16_t status = 0;
  std::string_view content_type{};  // empty with empty body: the standard error body (JSON or text by Accept)
  std::string_view body{};
  std::span<const Field> fields{};  // extra: Location, Retry-After, WWW-Authenticate...
};

struct FetchRequest {
  std::string_view cluster, method, path, host, body;
  std::span<const Field> fields{};
  uint32_t timeout_ms = 1000;
  uint32_t max_body = 64 * 1024;
};
struct FetchResult {
  Error error{};  // reason none = answered
  uint16_t status = 0;
  std::string_view body{};  // valid during the callback
};

class FilterContext {
 public:
  [[nodiscard]] virtual Arena& arena() = 0;
  [[nodiscard]] virtual RequestHead& request() = 0;
  // Monotonic: when the present batch of events began.
  [[nodiscard]] virtual uint64_t now_ns() const = 0;
  virtual void reply(
      const LocalReply& reply) = 0;  // the stream answers this; later hooks of the request side are skipped
  virtual void resume() = 0;         // after Status::wait, once; may be called from inside a hook's callback only
  // The whole request body (or answer body) is gathered, up to max bytes, before on_*_body is called once with all of
  // it; more: 413 / 502.
  virtual void buffer_request(size_t max) = 0;
  virtual void buffer_response(size_t max) = 0;
  virtual void timer(uint32_t milliseconds) = 0;        // one per filter; calls on_timer
  virtual void fetch(const FetchRequest& request) = 0;  // one at a time per filter; calls on_fetched
 protected:
  ~FilterContext() = default;
};

class Filter {
 public:
  enum class Status : uint8_t { proceed, wait };
  virtual ~Filter() = default;
  virtual Status on_request_head(FilterContext&, bool /*end*/) { return Status::proceed; }
  // May replace `bytes` by a view into the arena.
  virtual Status on_request_body(FilterContext&, Bytes& /*bytes*/, bool /*end*/) { return Status::proceed; }
  virtual Status on_request_trailers(FilterContext&, Fields&) { return Status::proceed; }
  virtual Status on_response_head(FilterContext&, ResponseHead&, bool /*end*/) { return Status::proceed; }
  virtual Status on_response_body(FilterContext&, Bytes& /*bytes*/, bool /*end*/) { return Status::proceed; }
  virtual Status on_response_trailers(FilterContext&, Fields&) { return Status::proceed; }
  // An answer to an error, or a refusal after the route was found: instead of the response hooks, head only, at once,
  // whether or not the request came past this filter. For what a route puts on every answer.
  virtual void on_local_reply(FilterContext&, ResponseHead&) {}
  virtual void on_timer(FilterContext&) {}
  virtual void on_fetched(FilterContext&, const FetchResult&) {}
  // Always, last; reason none = complete. Of a tunnel: when it has begun, for nothing of it comes past filters.
  virtual void on_complete(FilterContext&, const Error&) {}
};

}  // namespace sluice::http
