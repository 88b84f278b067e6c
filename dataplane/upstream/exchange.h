// One exchange on an HTTP/2 connection: RequestSink towards the stream, SessionStream towards the session. Objects are
// used again (Context::free_exchanges) and never destroyed before Upstreams.
//
//   free --begin()--> begun --send_head--> submitted --end, error or cancel()--> over --settle()--> free
//
// Told at once, in the session's event: head, body, trailers, errors. Told in settle(), after the read or at the end of
// the batch: the flush, room for the request, and what came while paused. So nobody's event comes from inside another's
// send. Must never: tell anything after the end, be free before its flush, keep more than the stream's window.
#pragma once
#include <cstdint>

#include "dataplane/http/h2/session.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/timer_wheel.h"
#include "dataplane/upstream/context.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {

class Exchange final : public http::RequestSink, public http::h2::SessionStream, private net::TimerNode {
 public:
  explicit Exchange(Context& context) : context_(context) {}

  void begin(Multiplexed& connection, http::ResponseEvents& events, Arena& arena, Attempts& attempts,
             const AttemptOptions& options);

  // The connection's calls.
  [[nodiscard]] bool over() const { return over_; }
  [[nodiscard]] bool submitted() const { return submitted_; }
  // The answer is whole, be it told or kept.
  [[nodiscard]] bool complete() const { return over_ || kept_end_; }
  void connected(uint64_t connect_us);
  // The connection is lost.
  void lost(const http::Error& error);
  // Ends it without a word.
  void drop();
  // The session forgets it; what is kept stays.
  void detach();
  // The session may have taken more of the request.
  void look_at_sending();
  void settle();

  // Lists of the connection: of all its exchanges; of those to be settled.
  Exchange *next = nullptr, *previous = nullptr;
  Exchange* next_to_settle = nullptr;
  bool to_settle = false;

 private:
  void send_head(const http::RequestHead& head, bool end) override;
  bool send_body(http::Bytes bytes, bool end) override;
  void send_trailers(const http::Fields& trailers) override;
  void flush() override;
  void pause_response() override;
  void resume_response() override;
  void cancel() override;

  [[nodiscard]] Arena& arena() override { return *arena_; }
  void on_informational(http::ResponseHead& head) override;
  void on_response_head(http::ResponseHead& head, bool end) override;
  void on_body(http::Bytes bytes, bool end) override;
  void on_trailers(const http::Fields& trailers) override;
  void on_writable() override;
  void on_error(const http::Error& error, bool answerable) override;
  void on_closed() override {}

  void on_timer() override;

  // exchange.cpp
  void arm();
  void touch();
  void end();
  void release();
  // exchange_events.cpp
  template <class Call>
  void tell(Call&& call);
  void fail(const http::Error& error);
  void deliver();
  [[nodiscard]] bool sending() const { return !over_ && submitted_ && !request_done_ && attached(); }
  [[nodiscard]] bool has_kept() const { return !kept_.empty() || kept_end_; }

  Context& context_;
  Multiplexed* connection_ = nullptr;
  http::ResponseEvents* events_ = nullptr;
  Arena* arena_ = nullptr;
  Attempts* attempts_ = nullptr;
  AttemptOptions options_;
  net::PendingBuffer kept_;                      // of the answer, while paused
  const http::Fields* kept_trailers_ = nullptr;  // behind it; in the arena
  uint64_t writes_ = 0;                          // of the connection, before the head was submitted
  size_t unsent_ = 0;                            // at the last look
  bool reused_ = false;                          // the peer had said something before
  bool over_ = true;
  bool submitted_ = false, request_done_ = false;
  bool head_seen_ = false;
  bool paused_ = false;
  bool kept_end_ = false;   // the answer's end is behind kept_
  bool watched_ = false;    // bytes of the request wait for the session
  bool writable_ = false;   // to be told
  bool flush_due_ = false;  // to be told
  bool telling_ = false;    // an event of ours is under way
  bool in_send_ = false;    // a send is under way
};

}  // namespace sluice::upstream
