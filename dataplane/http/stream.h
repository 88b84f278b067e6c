// One request and its answer, free of protocols and sockets: stands between a client codec and upstream attempts
// (stream_io.h), runs the route's filters, answers locally, retries, keeps the deadlines, sums up. One object a
// request, made when its first byte arrives, destroyed by its owner (the client connection) after the event in which
// complete() was called. Allocates from its arena only; a tunnel that has begun gives it back but for what its log line
// says (settle).
//
//   phase      waits for                          leaves by
//   head       the request's head                 plan: answered -> answer; else filters -> filtering
//   filtering  a filter, or the body it gathers   pass_request_head: act() answers -> answer; forwards -> attempt
//   attempt    the upstream's head                head -> answer; 101 -> tunnel; error or a status to retry -> backoff,
//                                                 attempt or a local answer
//   backoff    the timer                          -> attempt
//   answer     the end of the answer              -> done
//   tunnel     the end of both sides (after 101)  -> done
//   done       nothing: further events are ignored
//
// An event that may find room on either side flushes both at its end; sinks may report an error from inside a send
// (stream_io.h).
#pragma once
#include <cstdint>

#include "dataplane/http/environment.h"
#include "dataplane/http/filter_chain.h"
#include "dataplane/http/held_bytes.h"
#include "dataplane/http/local_reply.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/http/websocket.h"

namespace sluice::http {

class Stream final : public RequestEvents, public ResponseEvents, private FilterChain::Owner, private net::TimerNode {
 public:
  // A body up to this size is kept for another attempt while one is possible.
  static constexpr size_t kReplayBytes = 16 * 1024;
  static constexpr uint8_t kMaxAttempts = 8;
  // A WebSocket that is told to go (on_client_error with draining) has so long to come to the end of a frame each way
  // and to answer our Close. Within the time that a worker has after its drain.
  static constexpr uint32_t kLeaveMs = 400;
  enum class Phase : uint8_t { head, filtering, attempt, backoff, answer, tunnel, done };

  Stream(ChunkPool& chunks, StreamEnvironment& environment, ResponseSink& sink);
  ~Stream() override;

  [[nodiscard]] Arena& arena() { return arena_; }
  [[nodiscard]] RequestHead& head() { return head_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] uint64_t start_ns() const { return start_ns_; }
  [[nodiscard]] bool done() const { return phase_ == Phase::done; }
  // For duration and log: the moment the head's first byte was seen.
  void begin();
  // A tunnel has begun and no event of that batch can reach it any more: what the request took is given back, its
  // filters end; of the head stay method, version, host, path, User-Agent and Referer. Nothing else, and nothing of a
  // stream that cannot rest yet.
  void settle();

  void on_request_head(bool end) override;
  void on_request_body(Bytes bytes, bool end) override;
  void on_request_trailers(const Fields& trailers) override;
  void on_request_flush() override { flush(); }
  void on_response_writable() override;
  void on_client_error(const Error& error) override;

  void on_response_informational(ResponseHead& head) override;
  void on_response_head(ResponseHead& head, bool end) override;
  void on_response_body(Bytes bytes, bool end) override;
  void on_response_trailers(const Fields& trailers) override;
  void on_response_flush() override { flush(); }
  void on_request_writable() override;
  void on_exchange_error(const Error& error) override;

 private:
  // Why the client's body is not read for now.
  enum : uint8_t { kPausedByUpstream = 1, kPausedByFilter = 2, kPausedByBackoff = 4 };
  // Why the upstream's body is not read for now.
  enum : uint8_t { kPausedByClient = 1, kPausedByResponseFilter = 2 };
  // From the request's head to the end of the answer, or until a tunnel rests. In the arena.
  struct Course {
    Course(FilterChain::Owner& owner, StreamEnvironment& environment, Arena& arena, RequestHead& head)
        : chain(owner, environment, arena, head) {}
    StreamPlan plan;
    FilterChain chain;
    HeldBytes replay;
    const Fields* request_trailers = nullptr;
    uint64_t attempt_ns = 0;
    uint64_t request_deadline = 0, try_deadline = 0, backoff_until = 0;  // ms; 0 = none
    uint64_t grpc_deadline_us = 0;  // what grpc-timeout is written from; 0 = the client sent none
  };

  void pass_request_head(bool end) override;
  void pass_request_body(Bytes bytes, bool end) override;
  void pass_request_trailers(const Fields& trailers) override;
  void pass_response_head(ResponseHead& head, bool end) override;
  void pass_response_body(Bytes bytes, bool end) override;
  void pass_response_trailers(const Fields& trailers) override;
  void filter_reply(const LocalReply& reply) override;
  void filter_blocked(Direction direction, bool blocked) override;
  void filter_wants_body() override { send_continue(); }
  void filter_event_done() override { flush(); }
  void on_timer() override;

  void start_attempt();
  void send_request();
  void attempt_failed(const Error& error);
  [[nodiscard]] bool may_repeat() const;
  [[nodiscard]] bool may_repeat_after(const Error& error) const;
  void repeat(bool at_once);
  [[nodiscard]] bool is_retried(uint16_t status) const;
  void keep_for_replay(Bytes bytes);
  void cancel_upstream();
  // Answers by the error's reason; if the answer has begun already, cuts it.
  void fail(const Error& error);
  void cut(const Error& error);
  void answer(const LocalReply& reply, const Error& error);
  void answer_through_filters(const LocalReply& reply);
  void send_continue();
  void pause_client(uint8_t why);
  void resume_client(uint8_t why);
  void pause_upstream(uint8_t why);
  void resume_upstream(uint8_t why);
  // stream_tunnel.cpp
  void begin_tunnel(const ResponseHead& head);
  void tunnel_up(Bytes bytes, bool end);
  void tunnel_down(Bytes bytes, bool end);
  void tunnel_moved();
  void leave_tunnel();
  void close_down();
  void close_up();
  void leave_up(Bytes bytes, bool end);
  void leave_down(Bytes bytes, bool end);
  [[nodiscard]] bool left_both() const { return request_ended_ && response_ended_; }
  // stream_grpc.cpp; for gRPC requests only
  [[nodiscard]] bool begin_grpc();
  [[nodiscard]] bool write_grpc_timeout();
  [[nodiscard]] bool ended_by_deadline() const;
  [[nodiscard]] bool is_grpc_unavailable(const ResponseHead& head, bool end) const;
  void note_grpc_status(const Fields& fields);
  void conclude_grpc(const Error& error);
  [[nodiscard]] bool repeatable() const;
  [[nodiscard]] bool filtered() const { return course_ != nullptr && !course_->chain.empty(); }
  void arm();
  void finish(const Error& error);
  void flush();

  Arena arena_;
  RequestHead head_;
  StreamEnvironment& environment_;
  ResponseSink& sink_;
  Course* course_ = nullptr;
  RequestSink* upstream_ = nullptr;
  uint64_t start_ns_ = 0;
  uint64_t tunnel_deadline_ = 0;          // ms; 0 = none
  FrameTracker frames_up_, frames_down_;  // of a WebSocket
  StreamSummary summary_;
  uint32_t tunnel_idle_ms_ = 0;  // after 101; 0 = any
  Phase phase_ = Phase::head;
  uint8_t paused_client_ = 0;
  uint8_t paused_upstream_ = 0;
  bool request_ended_ = false;   // by the client
  bool passed_end_ = false;      // the end came through the filters
  bool response_ended_ = false;  // of a tunnel: the upstream's side
  bool replay_whole_ = true;     // Course::replay holds every byte that was passed on
  bool continue_sent_ = false;
  bool upstream_dirty_ = false, sink_dirty_ = false;
  bool websocket_ = false;                        // a tunnel whose frames are followed
  bool leaving_ = false;                          // it is told to go ...
  bool closed_up_ = false, closed_down_ = false;  // ... and these ways have been, with their end
};

}  // namespace sluice::http
