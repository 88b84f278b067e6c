// After 101: bytes both ways, each side ends for itself.
#include <algorithm>
#include <array>
#include <utility>

#include "dataplane/http/chars.h"
#include "dataplane/http/stream.h"

namespace sluice::http {

namespace {

// RFC 6455 4.1: who made the key must see that the server read it.
bool is_accepted(const RequestHead& request, const ResponseHead& answer) {
  if (request.websocket_accept.empty()) return true;
  const Field* const accept = answer.fields.find("Sec-WebSocket-Accept");
  return accept != nullptr && accept->value == request.websocket_accept;
}

}  // namespace

// RFC 9110 7.8: only to what was asked for (one protocol: routes list no lists), and only behind the whole request: the
// rest of its body would be taken for the other protocol. From here on bytes are opaque.
void Stream::begin_tunnel(const ResponseHead& head) {
  const bool asked = !head_.upgrade.empty() && chars::equal_without_case(head.upgrade, head_.upgrade);
  if (!asked || !is_accepted(head_, head) || upstream_ == nullptr || !passed_end_) {
    cancel_upstream();
    fail({Reason::bad_response, Side::upstream, Retry::no, 0});
    return;
  }
  phase_ = Phase::tunnel;
  request_ended_ = false;
  course_->request_deadline = course_->try_deadline = 0;
  tunnel_idle_ms_ = course_->plan.tunnel_idle_ms;
  websocket_ = chars::equal_without_case(head_.upgrade, "websocket");
  tunnel_moved();
  summary_.status = head.status;
  sink_dirty_ = true;
  sink_.send_head(head, false);
  sink_.become_tunnel();
  environment_.settle_later();
}

// Tunnels stay for hours, idle most of the time: a chunk of the arena would be most of what each of them holds.
void Stream::settle() {
  if (phase_ != Phase::tunnel || leaving_ || course_ == nullptr || !sink_.at_rest()) return;
  if (filtered()) course_->chain.complete({});
  std::exchange(course_, nullptr)->~Course();
  // All that anybody asks a tunnel's request for: log lines and dumps.
  std::array<Field, 2> logged;
  size_t count = 0;
  for (const Token token : {Token::user_agent, Token::referer}) {
    if (const Field* field = head_.fields.find(token); field != nullptr) logged[count++] = *field;
  }
  auto tell = [&](TextKeeper& keeper) {
    for (std::string_view* text : {&head_.method_name, &head_.host, &head_.path}) keeper.keep(*text);
    for (Field& field : std::span(logged).first(count)) {
      keeper.keep(field.name);
      keeper.keep(field.value);
    }
    environment_.keep(keeper);
  };
  TextKeeper counter;
  tell(counter);
  const size_t fields = count * sizeof(Field);
  arena_.shrink_to(fields + counter.size() + kGoingAwayMasked, [&] {
    const std::span<Field> own = arena_.array<Field>(count);
    TextKeeper copier(static_cast<char*>(arena_.allocate(counter.size(), 1)));
    tell(copier);
    std::copy_n(logged.begin(), count, own.begin());
    head_.fields.take_over(own);
  });
  head_.query = head_.upgrade = head_.websocket_accept = {};
}

void Stream::tunnel_moved() {
  if (tunnel_idle_ms_ != 0) tunnel_deadline_ = environment_.now_ms() + tunnel_idle_ms_;
  arm();
}

void Stream::tunnel_up(Bytes bytes, bool end) {
  if (leaving_) return leave_up(bytes, end);
  if (websocket_) frames_up_.follow(bytes);
  tunnel_moved();
  upstream_dirty_ = true;
  if (upstream_ != nullptr && !upstream_->send_body(bytes, end)) pause_client(kPausedByUpstream);
  if (!end || !response_ended_ || phase_ != Phase::tunnel) return;
  upstream_ = nullptr;  // ends by itself when it has sent all
  sink_dirty_ = true;
  finish({});
}

void Stream::tunnel_down(Bytes bytes, bool end) {
  if (leaving_) return leave_down(bytes, end);
  if (websocket_) frames_down_.follow(bytes);
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

// ---------------------------------------------------------------- the last word of a WebSocket

// Each way is closed with 1001 at the end of the frame under way: at once if none is, else when it has come; then both
// sides have the rest of the time to answer. What they still say is thrown away: it would be thrown away by a cut, too.
void Stream::leave_tunnel() {
  if (leaving_) return;
  leaving_ = true;
  if (frames_down_.lost() || frames_up_.lost()) return cut({Reason::draining, Side::internal, Retry::no, 0});
  tunnel_deadline_ = environment_.now_ms() + kLeaveMs;
  arm();
  if (frames_down_.at_boundary()) close_down();
  if (phase_ == Phase::tunnel && frames_up_.at_boundary()) close_up();
}

void Stream::close_down() {
  closed_down_ = true;
  if (response_ended_) return;  // the client has the upstream's own end
  sink_dirty_ = true;
  const bool said = frames_down_.closed();
  sink_.send_body(said ? Bytes() : Bytes(kGoingAway), true);
}

void Stream::close_up() {
  closed_up_ = true;
  if (request_ended_ || upstream_ == nullptr) return;
  upstream_dirty_ = true;
  auto* frame = arena_.make<std::array<char, kGoingAwayMasked>>(
      masked_going_away(static_cast<uint32_t>(start_ns_ ^ start_ns_ >> 32)));
  upstream_->send_body(frames_up_.closed() ? Bytes() : Bytes(*frame), true);
  if (response_ended_) upstream_ = nullptr;  // both of its ways have ended
}

void Stream::leave_up(Bytes bytes, bool end) {
  if (!closed_up_) {
    const Bytes frame = bytes.first(frames_up_.to_boundary(bytes));
    upstream_dirty_ = true;
    if (upstream_ != nullptr) (void)upstream_->send_body(frame, end);
    if (phase_ != Phase::tunnel) return;
    if (frames_up_.lost()) return cut({Reason::draining, Side::internal, Retry::no, 0});
    if (end) closed_up_ = true;
    if (end && response_ended_) upstream_ = nullptr;
    if (!closed_up_ && frames_up_.at_boundary()) close_up();
  }
  if (phase_ != Phase::tunnel || !left_both()) return;
  upstream_ = nullptr;
  sink_dirty_ = true;
  finish({});
}

void Stream::leave_down(Bytes bytes, bool end) {
  if (end) {
    response_ended_ = true;
    if (request_ended_ || closed_up_) upstream_ = nullptr;
  }
  sink_dirty_ = true;
  if (!closed_down_) {
    const Bytes frame = bytes.first(frames_down_.to_boundary(bytes));
    summary_.bytes_out += frame.size();
    sink_.send_body(frame, end);
    if (phase_ != Phase::tunnel) return;
    if (frames_down_.lost()) return cut({Reason::draining, Side::internal, Retry::no, 0});
    if (end) closed_down_ = true;
    else if (frames_down_.at_boundary()) close_down();
  }
  if (phase_ == Phase::tunnel && left_both()) finish({});
}

}  // namespace sluice::http
