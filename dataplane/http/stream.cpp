#include "dataplane/http/stream.h"

#include <algorithm>

#include "common/base/clock.h"
#include "dataplane/http/grpc.h"

namespace sluice::http {

Stream::Stream(ChunkPool& chunks, StreamEnvironment& environment, ResponseSink& sink)
    : arena_(chunks), head_(arena_), environment_(environment), sink_(sink) {}

Stream::~Stream() {
  cancel_upstream();
  if (course_ != nullptr) course_->~Course();
}

void Stream::begin() { start_ns_ = environment_.now_ns(); }

// ---------------------------------------------------------------- from the client

void Stream::on_request_head(bool end) {
  request_ended_ = end;
  head_.grpc = grpc::is_request(head_);
  course_ = arena_.make<Course>(static_cast<FilterChain::Owner&>(*this), environment_, arena_, head_);
  environment_.plan(head_, course_->plan);
  phase_ = Phase::filtering;
  course_->chain.start(course_->plan.filters);
  if (course_->plan.answered) {
    answer(course_->plan.reply, {course_->plan.reply.reason, Side::client, Retry::no, 0});
    return;
  }
  if (course_->plan.max_body != 0 && head_.content_length.value_or(0) > course_->plan.max_body) {
    fail({Reason::body_too_large, Side::client, Retry::no, 0});
    return;
  }
  if (course_->plan.request_ms != 0) course_->request_deadline = environment_.now_ms() + course_->plan.request_ms;
  if (head_.grpc && !begin_grpc()) return;
  if (course_->request_deadline != 0) arm();
  if (course_->chain.empty()) pass_request_head(end);
  else course_->chain.request_head(end);
}

void Stream::on_request_body(Bytes bytes, bool end) {
  if (phase_ == Phase::done) return;
  summary_.bytes_in += bytes.size();
  request_ended_ = end;
  if (phase_ == Phase::tunnel) return tunnel_up(bytes, end);
  if (course_->plan.max_body != 0 && summary_.bytes_in > course_->plan.max_body) {
    fail({Reason::body_too_large, Side::client, Retry::no, 0});
    return;
  }
  if (course_->chain.empty()) pass_request_body(bytes, end);
  else course_->chain.request_body(bytes, end);
}

void Stream::on_request_trailers(const Fields& trailers) {
  if (phase_ == Phase::done || phase_ == Phase::tunnel) return;
  request_ended_ = true;
  // The codec's list may be used again; its bytes are in the arena.
  auto* own = arena_.make<Fields>(trailers);
  if (course_->chain.empty()) pass_request_trailers(*own);
  else course_->chain.request_trailers(*own);
}

void Stream::on_response_writable() {
  resume_upstream(kPausedByClient);
  flush();
}

void Stream::on_client_error(const Error& error) {
  if (phase_ == Phase::done) return;
  if (websocket_ && error.reason == Reason::draining) {
    leave_tunnel();
    flush();
    return;
  }
  if (describe(error.reason).status == 0) {
    // Nobody is left to be answered.
    cancel_upstream();
    finish(error);
    return;
  }
  fail(error);
  flush();
}

// ---------------------------------------------------------------- the request's way on

void Stream::pass_request_head(bool end) {
  if (phase_ != Phase::filtering) return;
  passed_end_ = end;
  LocalReply reply;
  if (environment_.act(head_, reply)) answer_through_filters(reply);
  else start_attempt();
}

void Stream::pass_request_body(Bytes bytes, bool end) {
  if (phase_ == Phase::done) return;
  passed_end_ = end;
  keep_for_replay(bytes);
  if (upstream_ == nullptr) return;
  upstream_dirty_ = true;
  if (!upstream_->send_body(bytes, end)) pause_client(kPausedByUpstream);
}

void Stream::pass_request_trailers(const Fields& trailers) {
  if (phase_ == Phase::done) return;
  passed_end_ = true;
  course_->request_trailers = &trailers;
  if (upstream_ == nullptr) return;
  upstream_dirty_ = true;
  upstream_->send_trailers(trailers);
}

void Stream::start_attempt() {
  if (course_->grpc_deadline_us != 0 && !write_grpc_timeout()) {
    fail({Reason::request_timeout, Side::upstream, Retry::no, 0});
    return;
  }
  phase_ = Phase::attempt;
  course_->backoff_until = 0;
  ++summary_.attempts;
  course_->attempt_ns = environment_.now_ns();
  resume_client(kPausedByUpstream | kPausedByBackoff);
  auto sink = environment_.start_attempt(*this);
  if (!sink) {
    fail(sink.error());
    return;
  }
  upstream_ = *sink;
  if (course_->plan.per_try_ms != 0) {
    course_->try_deadline = environment_.now_ms() + course_->plan.per_try_ms;
    arm();
  }
  send_request();
}

void Stream::send_request() {
  const uint8_t attempt = summary_.attempts;
  // A send may fail at once and even lead to the next attempt.
  auto same = [&] { return upstream_ != nullptr && summary_.attempts == attempt; };
  upstream_dirty_ = true;
  const bool all_known = passed_end_ && course_->request_trailers == nullptr;
  upstream_->send_head(head_, all_known && course_->replay.empty());
  if (same() && !course_->replay.empty() && !upstream_->send_body(course_->replay.view(), all_known) && same() &&
      !passed_end_)
    pause_client(kPausedByUpstream);
  if (same() && course_->request_trailers != nullptr) upstream_->send_trailers(*course_->request_trailers);
  if (same() && !passed_end_) send_continue();
}

// RFC 9110 10.1.1: sent when the content is wanted, unless some of it came already; never to HTTP/1.0 (the codec sees
// to that), never after the answer.
void Stream::send_continue() {
  if (!head_.expect_continue || continue_sent_ || request_ended_ || summary_.bytes_in != 0 || summary_.status != 0)
    return;
  continue_sent_ = true;
  ResponseHead head(arena_);
  head.status = 100;
  sink_.send_informational(head);
  sink_dirty_ = true;
}

void Stream::on_request_writable() {
  resume_client(kPausedByUpstream);
  flush();
}

// ---------------------------------------------------------------- from the upstream

void Stream::on_response_informational(ResponseHead& head) {
  // 100 is between each two neighbours (we sent our own); HTTP/1.0 knows none (RFC 9110 15.2).
  if (phase_ != Phase::attempt || head.status == 100 || head_.version == Version::http10) return;
  sink_.send_informational(head);
  sink_dirty_ = true;
}

void Stream::on_response_head(ResponseHead& head, bool end) {
  if (phase_ != Phase::attempt) return;
  if (end) upstream_ = nullptr;
  if ((is_retried(head.status) || (head_.grpc && is_grpc_unavailable(head, end))) && may_repeat() && passed_end_) {
    cancel_upstream();
    repeat(false);
    return;
  }
  summary_.upstream_us = (environment_.now_ns() - course_->attempt_ns) / 1000;
  if (head.status == 101) {
    begin_tunnel(head);
    return;
  }
  if (!head_.websocket_accept.empty() && head.status < 300) {
    // RFC 8441 5: to an extended CONNECT any 2xx says that the tunnel is there.
    cancel_upstream();
    fail({Reason::bad_response, Side::upstream, Retry::no, 0});
    return;
  }
  phase_ = Phase::answer;
  if (course_->chain.empty()) pass_response_head(head, end);
  else course_->chain.response_head(head, end);
}

void Stream::on_response_body(Bytes bytes, bool end) {
  if (phase_ == Phase::tunnel) return tunnel_down(bytes, end);
  if (end) upstream_ = nullptr;
  if (phase_ != Phase::answer) return;
  if (course_->chain.empty()) pass_response_body(bytes, end);
  else course_->chain.response_body(bytes, end);
}

void Stream::on_response_trailers(const Fields& trailers) {
  upstream_ = nullptr;
  if (phase_ != Phase::answer) return;
  if (course_->chain.empty()) {
    pass_response_trailers(trailers);
    return;
  }
  course_->chain.response_trailers(*arena_.make<Fields>(trailers));
}

void Stream::on_exchange_error(const Error& error) {
  upstream_ = nullptr;
  attempt_failed(error);
}

// ---------------------------------------------------------------- the answer's way on

void Stream::pass_response_head(ResponseHead& head, bool end) {
  if (phase_ != Phase::answer) return;
  summary_.status = head.status;
  if (head_.grpc) note_grpc_status(head.fields);
  sink_dirty_ = true;
  sink_.send_head(head, end);
  if (end) finish({});
}

void Stream::pass_response_body(Bytes bytes, bool end) {
  if (phase_ == Phase::done) return;
  summary_.bytes_out += bytes.size();
  sink_dirty_ = true;
  const bool room = sink_.send_body(bytes, end);
  if (end) finish({});
  else if (!room) pause_upstream(kPausedByClient);
}

void Stream::pass_response_trailers(const Fields& trailers) {
  if (phase_ == Phase::done) return;
  if (head_.grpc) note_grpc_status(trailers);
  sink_dirty_ = true;
  sink_.send_trailers(trailers);
  finish({});
}

void Stream::fail(const Error& error) {
  if (summary_.status != 0) cut(error);
  else answer({.reason = error.reason}, error);
}

// Part of an answer is out: the client must see that it is not whole.
void Stream::cut(const Error& error) {
  if (phase_ == Phase::done) return;
  cancel_upstream();
  sink_dirty_ = true;
  sink_.abort(error);
  finish(error);
}

void Stream::answer(const LocalReply& reply, const Error& error) {
  if (phase_ == Phase::done) return;
  cancel_upstream();
  if (course_ != nullptr) course_->chain.stop();
  const RenderedReply rendered = render_reply(reply, head_, environment_.request_id(), arena_);
  if (filtered()) course_->chain.local_reply(*rendered.head);
  phase_ = Phase::answer;
  summary_.error = error;
  pass_response_head(*rendered.head, rendered.body.empty());
  if (!rendered.body.empty()) pass_response_body({rendered.body.data(), rendered.body.size()}, true);
}

// What a route itself answers is treated like an upstream's answer.
void Stream::answer_through_filters(const LocalReply& reply) {
  const Error error{reply.reason, Side::internal, Retry::no, 0};
  if (course_->chain.empty()) {
    answer(reply, error);
    return;
  }
  const RenderedReply rendered = render_reply(reply, head_, environment_.request_id(), arena_);
  phase_ = Phase::answer;
  summary_.error = error;
  course_->chain.response_head(*rendered.head, rendered.body.empty());
  if (phase_ == Phase::answer && !rendered.body.empty())
    course_->chain.response_body({rendered.body.data(), rendered.body.size()}, true);
}

void Stream::filter_reply(const LocalReply& reply) {
  const Reason reason = reply.reason != Reason::none ? reply.reason : Reason::filter_denied;
  const Error error{reason, Side::internal, Retry::no, 0};
  if (summary_.status != 0) {
    cut(error);
    return;
  }
  LocalReply own = reply;
  own.reason = reason;
  answer(own, error);
}

// ---------------------------------------------------------------- end

void Stream::finish(const Error& error) {
  if (phase_ == Phase::done) return;
  phase_ = Phase::done;
  net::TimerNode::cancel();
  // An answer may come before the request was read; what is left of it is not wanted any more.
  cancel_upstream();
  if (error.reason != Reason::none) summary_.error = error;
  // Whatever ended it in the end.
  if (leaving_) summary_.error = {Reason::draining, Side::internal, Retry::no, 0};
  if (head_.grpc) conclude_grpc(error);
  summary_.duration_us = (monotonic_ns() - start_ns_) / 1000;
  if (filtered()) course_->chain.complete(summary_.error);
  environment_.complete(summary_);
}

void Stream::cancel_upstream() {
  if (upstream_ != nullptr) std::exchange(upstream_, nullptr)->cancel();
}

void Stream::flush() {
  while (upstream_dirty_ && upstream_ != nullptr) {
    upstream_dirty_ = false;
    upstream_->flush();
  }
  // Last: the connection may have done with this stream afterwards.
  if (!sink_dirty_) return;
  sink_dirty_ = false;
  if (!sink_.flush()) pause_upstream(kPausedByClient);
}

// ---------------------------------------------------------------- back-pressure

void Stream::filter_blocked(Direction direction, bool blocked) {
  if (direction == Direction::request) {
    if (blocked) pause_client(kPausedByFilter);
    else resume_client(kPausedByFilter);
  } else {
    if (blocked) pause_upstream(kPausedByResponseFilter);
    else resume_upstream(kPausedByResponseFilter);
  }
}

void Stream::pause_client(uint8_t why) {
  if (request_ended_ || phase_ == Phase::done) return;
  if (paused_client_ == 0) sink_.pause_request();
  paused_client_ |= why;
}

void Stream::resume_client(uint8_t why) {
  if ((paused_client_ & why) == 0) return;
  paused_client_ &= static_cast<uint8_t>(~why);
  if (paused_client_ != 0 || phase_ == Phase::done) return;
  sink_dirty_ = true;
  sink_.resume_request();
}

void Stream::pause_upstream(uint8_t why) {
  if (upstream_ == nullptr) return;
  if (paused_upstream_ == 0) upstream_->pause_response();
  paused_upstream_ |= why;
}

void Stream::resume_upstream(uint8_t why) {
  if ((paused_upstream_ & why) == 0) return;
  paused_upstream_ &= static_cast<uint8_t>(~why);
  if (paused_upstream_ == 0 && upstream_ != nullptr) upstream_->resume_response();
}

}  // namespace sluice::http
