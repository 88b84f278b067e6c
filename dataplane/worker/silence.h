// How long either side of a request may say nothing, by what the request is. A gRPC call may rest like a tunnel: a
// stream of messages has no rhythm that a gateway could know, and its answer's head often comes with the first of them
// only. What bounds it are the client's deadline (grpc-timeout) and the route's timeouts.
#pragma once
#include "dataplane/http/message.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/worker/settings.h"

namespace sluice::worker {

[[nodiscard]] inline upstream::AttemptOptions attempt_options(const http::RequestHead& head, const Settings& settings) {
  const uint32_t silence = head.grpc ? settings.tunnel_idle_ms : settings.upstream_response_ms;
  return {0, silence, silence};
}

// Inside the request's body, in milliseconds; 0 = no limit.
[[nodiscard]] inline uint32_t body_silence_ms(const http::RequestHead& head, const Settings& settings) {
  return head.grpc ? settings.tunnel_idle_ms : settings.request_body_idle_ms;
}

}  // namespace sluice::worker
