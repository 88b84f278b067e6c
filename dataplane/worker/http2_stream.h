// One stream of an Http2Connection: between the session and its request, as the sink of the answer. Holds what comes
// while the request does not want it, at most the stream's window. Made by its connection, destroyed after the batch of
// events in which it ended.
#pragma once
#include <cstdint>

#include "dataplane/http/h2/session.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/reactor.h"
#include "dataplane/worker/context.h"

namespace sluice::worker {

class ActiveRequest;
class Http2Connection;

class Http2Stream final : public http::h2::SessionStream,
                          public http::ResponseSink,
                          private net::TimerNode,
                          private net::Deferred {
 public:
  [[nodiscard]] static Http2Stream* make(Http2Connection& connection);

  // Null once it ended.
  [[nodiscard]] ActiveRequest* request() const { return request_; }
  // After the events of one read.
  void flush_request();
  // What was held, if it is wanted now.
  void deliver();
  // Bytes that wait here, for either side.
  [[nodiscard]] size_t held() const { return unsent() + stash_.size(); }
  // Its memory is needed more elsewhere.
  void shed();
  bool touched = false, waiting = false;  // the connection's: it is in these lists

  Arena& arena() override;
  http::RequestHead* request_head() override;
  void on_request_head(bool end) override;
  void on_body(http::Bytes bytes, bool end) override;
  void on_trailers(const http::Fields& trailers) override;
  void on_writable() override;
  void on_error(const http::Error& error, bool answerable) override;
  void on_closed() override;

  void send_informational(const http::ResponseHead& head) override;
  void send_head(const http::ResponseHead& head, bool end) override;
  bool send_body(http::Bytes bytes, bool end) override;
  void send_trailers(const http::Fields& trailers) override;
  bool flush() override;
  void abort(const http::Error& error) override;
  void pause_request() override;
  void resume_request() override;
  void become_tunnel() override;
  // What it was given is framed when the batch is over; what the client sends behind a tunnel's head is refused, once
  // it is whole.
  [[nodiscard]] bool at_rest() const override { return !in_head() && stashed_trailers_ == nullptr; }

 private:
  explicit Http2Stream(Http2Connection& connection);
  ~Http2Stream() = default;
  void destroy() override;
  void on_timer() override;
  void rearm();
  void release();
  void deliver_trailers();
  void complete_handshake(http::RequestHead& head);
  void reset(const http::Error& error);
  [[nodiscard]] bool awaits_body() const;
  [[nodiscard]] bool wants_body() const { return !paused_ && (!upgrade_ || tunnel_) && stash_.empty(); }

  Http2Connection& connection_;
  Context& context_;
  ActiveRequest* request_ = nullptr;
  net::PendingBuffer stash_;  // body that the request does not want yet
  const http::Fields* stashed_trailers_ = nullptr;
  uint64_t length_left_ = 0;     // of the answer, as its head said
  uint64_t stall_deadline_ = 0;  // of what the client does not take; 0 = none
  uint64_t stalled_at_ = 0;      // bytes sent when it was set
  uint64_t sent_ = 0;
  bool body_done_ : 1 = false;    // of the request: told
  bool stashed_end_ : 1 = false;  // behind what is stashed
  bool paused_ : 1 = false;
  bool upgrade_ : 1 = false;
  bool tunnel_ : 1 = false;
  bool response_begun_ : 1 = false, response_done_ : 1 = false;
  bool has_length_ : 1 = false;
  bool muted_ : 1 = false;  // the session has forgotten it: nothing can be answered
};

}  // namespace sluice::worker
