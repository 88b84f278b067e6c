// What a stream needs from outside: identity and routing of a request, upstream attempts, time, the log. Implemented in
// dataplane/worker for each stream, and by fakes in tests, so that the stream knows no tables, sockets or pools.
// Everything given here lives as long as the stream.
#pragma once
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/filter.h"
#include "dataplane/http/message.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/http/text_keeper.h"
#include "dataplane/net/timer_wheel.h"

namespace sluice::http {

struct RetryPolicy {
  uint8_t attempts = 1;     // extra tries
  bool configured = false;  // by the route: also lost connections, timeouts and `statuses` are tried again if the
                            // request may be repeated
  bool on_non_idempotent = false;
  uint32_t backoff_ms = 0;  // before the second extra try and of `statuses`; doubles
  std::span<const uint16_t> statuses{};
};

// What was decided about a request.
struct StreamPlan {
  bool answered = false;  // `reply` is the answer; of the filters only on_local_reply runs
  LocalReply reply{};
  std::span<Filter* const> filters{};       // in chain order; the stream runs their destructors
  uint64_t max_body = 0;                    // 0 = no limit
  uint32_t request_ms = 0, per_try_ms = 0;  // 0 = none
  uint32_t tunnel_idle_ms = 0;              // after 101
  RetryPolicy retry{};
};

// How a stream went: counted and logged.
struct StreamSummary {
  uint64_t duration_us = 0;
  uint64_t upstream_us = 0;              // attempt started to head received; 0 = none
  uint64_t bytes_in = 0, bytes_out = 0;  // bodies
  uint16_t status = 0;                   // 0 = no answer was sent
  // Of a gRPC request, as its client has it (grpc::Status): told by the answer, or by how it ended. None: no gRPC.
  static constexpr uint8_t kNoGrpc = 0xFF;
  uint8_t grpc_status = kNoGrpc;
  uint8_t attempts = 0;
  Error error{};  // reason none: an upstream's answer, complete
};

class StreamEnvironment {
 public:
  // The head is there: sets the fields the gateway vouches for, finds the route.
  virtual void plan(RequestHead& head, StreamPlan& plan) = 0;
  // After the request's filters: true = `reply` is the answer, false = to be forwarded, with start_attempt.
  [[nodiscard]] virtual bool act(RequestHead& head, LocalReply& reply) = 0;
  // On an endpoint not tried yet. Never calls `events` itself.
  [[nodiscard]] virtual std::expected<RequestSink*, Error> start_attempt(ResponseEvents& events) = 0;
  [[nodiscard]] virtual bool attempt_reused() const = 0;  // of the last attempt's connection
  [[nodiscard]] virtual std::expected<RequestSink*, Error> start_fetch(std::string_view cluster, ResponseEvents& events,
                                                                       uint32_t timeout_ms) = 0;
  [[nodiscard]] virtual std::string_view request_id() = 0;
  // When the present batch of events began: costs nothing, and what waits behind others in the batch counts as ours.
  [[nodiscard]] virtual uint64_t now_ns() const = 0;
  [[nodiscard]] virtual uint64_t now_ms() const = 0;
  virtual void arm(net::TimerNode& timer, uint64_t deadline_ms) = 0;
  // A tunnel has begun: settle() is to be called when no event of the present batch can reach the stream any more. In
  // it keep() is asked for the views into the arena that are still needed.
  virtual void settle_later() = 0;
  virtual void keep(TextKeeper& keeper) = 0;
  // Last call; the stream is destroyed after its present event.
  virtual void complete(const StreamSummary& summary) = 0;

 protected:
  ~StreamEnvironment() = default;
};

}  // namespace sluice::http
