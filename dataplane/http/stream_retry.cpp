// The stream's decisions about further attempts and its deadlines.
#include <algorithm>

#include "dataplane/http/stream.h"

namespace sluice::http {

bool Stream::repeatable() const { return is_idempotent(head_.method) || course_->plan.retry.on_non_idempotent; }

// As far as we are concerned: tries are left, nothing was answered, and the whole request can be sent again.
bool Stream::may_repeat() const {
  return summary_.attempts <= course_->plan.retry.attempts && summary_.attempts < kMaxAttempts && replay_whole_ &&
         summary_.status == 0;
}

// RFC 9110 9.2.2: a request that may have been processed is repeated only if its method is idempotent.
bool Stream::may_repeat_after(const Error& error) const {
  if (phase_ != Phase::attempt || !may_repeat()) return false;
  if (error.retry == Retry::yes) return true;
  if (!repeatable()) return false;
  if (error.retry == Retry::if_reused && environment_.attempt_reused()) return true;
  return course_->plan.retry.configured && error.side == Side::upstream;
}

bool Stream::is_retried(uint16_t status) const {
  if (course_->plan.retry.statuses.empty() || !repeatable()) return false;
  return std::find(course_->plan.retry.statuses.begin(), course_->plan.retry.statuses.end(), status) !=
         course_->plan.retry.statuses.end();
}

void Stream::attempt_failed(const Error& error) {
  if (phase_ == Phase::done) return;
  if (phase_ == Phase::tunnel) return cut(error);
  course_->try_deadline = 0;
  if (ended_by_deadline()) fail({Reason::request_timeout, Side::upstream, Retry::no, error.detail});
  else if (may_repeat_after(error)) repeat(error.retry != Retry::no);
  else fail(error);
}

// A connection that could not be had costs no waiting the first time: another endpoint is tried at once.
void Stream::repeat(bool at_once) {
  paused_upstream_ = 0;
  course_->try_deadline = 0;
  if ((at_once && summary_.attempts == 1) || course_->plan.retry.backoff_ms == 0) {
    start_attempt();
    return;
  }
  phase_ = Phase::backoff;
  pause_client(kPausedByBackoff);
  course_->backoff_until =
      environment_.now_ms() + (static_cast<uint64_t>(course_->plan.retry.backoff_ms) << (summary_.attempts - 1));
  arm();
}

// Only while another attempt could need it: what a non-idempotent request sends on a connection that worked before is
// never sent twice.
void Stream::keep_for_replay(Bytes bytes) {
  if (bytes.empty() || !replay_whole_) return;
  if (phase_ == Phase::backoff) {
    course_->replay.append(bytes, arena_);
    return;
  }
  const bool useful = phase_ == Phase::attempt && may_repeat() && (repeatable() || !environment_.attempt_reused());
  if (useful && course_->replay.size() + bytes.size() <= kReplayBytes) {
    course_->replay.append(bytes, arena_);
    return;
  }
  replay_whole_ = false;
  course_->replay.clear();
}

void Stream::arm() {
  uint64_t next = tunnel_deadline_ != 0 ? tunnel_deadline_ : UINT64_MAX;
  if (course_ != nullptr) {
    for (const uint64_t deadline : {course_->request_deadline, course_->try_deadline, course_->backoff_until}) {
      if (deadline != 0) next = std::min(next, deadline);
    }
  }
  if (next == UINT64_MAX) net::TimerNode::cancel();
  else environment_.arm(*this, next);
}

void Stream::on_timer() {
  if (phase_ == Phase::done) return;
  const uint64_t now = environment_.now_ms();
  if (phase_ == Phase::tunnel) {
    if (tunnel_deadline_ != 0 && now >= tunnel_deadline_)
      cut({leaving_ ? Reason::draining : Reason::tunnel_idle, Side::internal, Retry::no, 0});
  } else if (course_->request_deadline != 0 && now >= course_->request_deadline) {
    cancel_upstream();
    fail({Reason::request_timeout, Side::upstream, Retry::no, 0});
  } else if (course_->try_deadline != 0 && now >= course_->try_deadline) {
    course_->try_deadline = 0;
    cancel_upstream();
    attempt_failed({Reason::response_timeout, Side::upstream, Retry::no, 0});
  } else if (course_->backoff_until != 0 && now >= course_->backoff_until) {
    start_attempt();
  }
  if (phase_ != Phase::done) arm();
  flush();
}

}  // namespace sluice::http
