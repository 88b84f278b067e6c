// The request and the life of an exchange. What the session says of the answer: exchange_events.cpp.
#include "dataplane/upstream/exchange.h"

#include <cerrno>
#include <utility>

#include "dataplane/upstream/multiplexed.h"

namespace sluice::upstream {

using http::Reason;
using http::Retry;
using http::Side;

void Exchange::begin(Multiplexed& connection, http::ResponseEvents& events, Arena& arena, Attempts& attempts,
                     const AttemptOptions& options) {
  connection_ = &connection;
  events_ = &events;
  arena_ = &arena;
  attempts_ = &attempts;
  options_ = options;
  kept_trailers_ = nullptr;
  unsent_ = 0;
  over_ = submitted_ = request_done_ = head_seen_ = paused_ = kept_end_ = false;
  watched_ = writable_ = flush_due_ = telling_ = in_send_ = false;
  // Reused is what has answered something: who comes before that is as much the first as who began it.
  reused_ = connection.heard();
  attempts.reused = reused_;
  attempts.connect_us = reused_ ? 0 : connection.connect_us();
  connection.add(*this);
  connection.reserve();
  ++connection.endpoint().active;
  ++context_.active;
  connection.cluster().counters().active_connections.add();
}

// Nothing more is told but what is due already; the object is free once settled.
void Exchange::end() {
  if (over_) return;
  over_ = true;
  net::TimerNode::cancel();
  if (!submitted_) connection_->unreserve();
  if (std::exchange(watched_, false)) connection_->watch(false);
  --connection_->endpoint().active;
  --context_.active;
  connection_->cluster().counters().active_connections.sub();
  touch();
}

void Exchange::release() {
  detach();
  kept_.clear();
  connection_->remove(*this);
  connection_ = nullptr;
  events_ = nullptr;
  context_.free_exchanges.push_back(this);
}

// The stream is of no use any more: its answer is whole (RFC 9113 8.1: then the rest of the request is not wanted), or
// nobody waits for it.
void Exchange::detach() {
  if (!attached()) return;
  connection_->session().reset(*this, http::h2::ErrorCode::cancel);
  connection_->wake();
}

void Exchange::touch() { connection_->settle_later(*this); }

void Exchange::drop() {
  detach();
  flush_due_ = false;
  end();
}

void Exchange::connected(uint64_t connect_us) {
  if (over_) return;
  attempts_->connect_us = connect_us;
  arm();
}

// One deadline for what the exchange waits for; moved by every progress.
void Exchange::arm() {
  if (over_) return;
  unsent_ = attached() ? unsent() : 0;
  if (const bool waits = unsent_ != 0; waits != watched_) {
    watched_ = waits;
    connection_->watch(waits);
  }
  uint64_t wait = 0;
  if (!connection_->established() || kept_end_) wait = 0;  // the connection's deadline; nothing
  else if (head_seen_) wait = paused_ ? 0 : options_.idle_ms;
  else if (unsent_ != 0) wait = options_.idle_ms;  // the upstream does not take the body
  else if (request_done_) wait = options_.response_ms;
  if (wait == 0) net::TimerNode::cancel();
  else context_.reactor.timers().arm(*this, context_.reactor.now_ms() + wait);
}

void Exchange::look_at_sending() {
  if (watched_ && (!attached() || unsent() != unsent_)) arm();
}

void Exchange::on_timer() {
  if (over_) return;
  Multiplexed& connection = *connection_;
  connection.cluster().counters().timeouts.add();
  detach();
  fail({Reason::response_timeout, Side::upstream, Retry::no, ETIMEDOUT});
  connection.settle();
}

void Exchange::send_head(const http::RequestHead& head, bool end) {
  if (over_ || submitted_) return;
  in_send_ = true;
  if (!head.upgrade.empty()) {
    // RFC 9113 8.6: HTTP/2 has no Upgrade, and what asks for one means nothing without it.
    fail({Reason::upgrade_refused, Side::client, Retry::no, 0});
  } else {
    submitted_ = true;
    connection_->unreserve();
    request_done_ = end;
    writes_ = connection_->writes();
    // It said goodbye since, or has no numbers left: not a byte of this request was sent.
    if (!connection_->session().submit_request(*this, head, end))
      fail({Reason::upstream_closed, Side::upstream, Retry::yes, 0});
    connection_->wake();
    arm();
  }
  in_send_ = false;
}

bool Exchange::send_body(http::Bytes bytes, bool end) {
  if (!sending()) return true;
  request_done_ = end;
  in_send_ = true;
  const bool room = connection_->session().send_body(*this, bytes, end);
  in_send_ = false;
  connection_->wake();
  arm();
  return room || over_ || end;
}

void Exchange::send_trailers(const http::Fields& trailers) {
  if (!sending()) return;
  request_done_ = true;
  in_send_ = true;
  connection_->session().send_trailers(*this, trailers);
  in_send_ = false;
  connection_->wake();
  arm();
}

// Written at the end of the batch, with what the others have.
void Exchange::flush() {}

void Exchange::pause_response() {
  paused_ = true;
  arm();
}

void Exchange::resume_response() {
  if (!paused_) return;
  paused_ = false;
  if (over_) return;
  if (has_kept()) touch();
  arm();
}

// The connection goes on. A flush follows only if it came from an event of ours: else whoever cancels flushes, and may
// have gone by the end of the batch.
void Exchange::cancel() {
  if (over_) return;
  detach();
  if (!telling_) flush_due_ = false;
  end();
}

}  // namespace sluice::upstream
