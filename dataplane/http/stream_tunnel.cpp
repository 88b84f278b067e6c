// After 101: bytes both ways, each side ends for itself.
#include "dataplane/http/chars.h"
#include "dataplane/http/stream.h"

namespace sluice::http {

// RFC 9110 7.8: only to what was asked for (one protocol: routes list no lists), and only behind the whole request: the
// rest of its body would be taken for the other protocol. From here on bytes are opaque.
void Stream::begin_tunnel(const ResponseHead& head) {
  const bool asked = !head_.upgrade.empty() && chars::equal_without_case(head.upgrade, head_.upgrade);
  if (!asked || upstream_ == nullptr || !passed_end_) {
    cancel_upstream();
    fail({Reason::bad_response, Side::upstream, Retry::no, 0});
    return;
  }
  phase_ = Phase::tunnel;
  request_ended_ = false;
  request_deadline_ = try_deadline_ = 0;
  tunnel_moved();
  summary_.status = head.status;
  sink_dirty_ = true;
  sink_.send_head(head, false);
  sink_.become_tunnel();
}

void Stream::tunnel_moved() {
  if (plan_.tunnel_idle_ms != 0) tunnel_deadline_ = environment_.now_ms() + plan_.tunnel_idle_ms;
  arm();
}

void Stream::tunnel_up(Bytes bytes, bool end) {
  tunnel_moved();
  upstream_dirty_ = true;
  if (upstream_ != nullptr && !upstream_->send_body(bytes, end)) pause_client(kPausedByUpstream);
  if (!end || !response_ended_ || phase_ != Phase::tunnel) return;
  upstream_ = nullptr;  // ends by itself when it has sent all
  sink_dirty_ = true;
  finish({});
}

void Stream::tunnel_down(Bytes bytes, bool end) {
  tunnel_moved();
  if (end) {
    response_ended_ = true;
    if (request_ended_) upstream_ = nullptr;
  }
  summary_.bytes_out += bytes.size();
  sink_dirty_ = true;
  const bool room = sink_.send_body(bytes, end);
  if (phase_ != Phase::tunnel) return;
  if (!end && !room) pause_upstream(kPausedByClient);
  if (end && request_ended_) finish({});
}

}  // namespace sluice::http
