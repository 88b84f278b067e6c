// One client's connection, HTTP/2 server side (RFC 9113): bytes of a transport to a session (http/h2/session.h), its
// streams to requests. Takes over a socket from a ClientConnection. What streams send in one batch of events leaves in
// one write at its end. Owns itself: closed by close(), destroyed after the batch of events.
//
//   state      means                                        leaves by
//   open       streams come and go                          the session is over -> closing
//   closing    the last bytes (GOAWAY) are being written    all written -> lingering
//   lingering  our side is shut; what comes is thrown away  end, time, bytes -> closed
//   closed     waits for its destruction                    -
//
// Must never: read on while the client does not take what it asked for, keep a buffer while idle.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/http/h2/session.h"
#include "dataplane/net/reactor.h"
#include "dataplane/worker/client_link.h"
#include "dataplane/worker/context.h"

namespace sluice::worker {

class Http2Stream;

class Http2Connection final : public ClientLink,
                              private http::h2::SessionOwner,
                              private net::EventHandler,
                              private net::BatchEnd,
                              private net::TimerNode,
                              private net::Deferred {
 public:
  // Bytes the client has not taken at which nothing more is read from it.
  static constexpr size_t kMostUntaken = 256 * 1024;

  // `transport`'s socket is in the event loop with `interest`, for `from`, which ends.
  static Http2Connection& start(Context& context, std::unique_ptr<net::Transport> transport, const ClientLink& from,
                                uint32_t interest);
  // `in`: what was read already, the preface with it. Once, right after start.
  void begin(http::Bytes in);

  [[nodiscard]] ActiveRequest* next_request(const ActiveRequest* after) const override;
  void drain() override;
  void cut_off() override;
  void close() override;
  void note_held(HeldSizes& sizes) const override;
  uint64_t reset_held(size_t at_least, uint64_t wanted) override;

  // For its streams.
  [[nodiscard]] http::h2::Session& session() { return session_; }
  [[nodiscard]] Context& context() { return context_; }
  // It has told its request something in this read: a flush is owed.
  void touch(Http2Stream& stream);
  // It has bytes that its request may have now: at the end of the batch.
  void deliver_later(Http2Stream& stream);
  // The output is written at the end of the batch.
  void write_later() { context_.reactor.at_batch_end(*this); }
  void stream_gone(Http2Stream& stream);

 private:
  enum class State : uint8_t { open, closing, lingering, closed };

  Http2Connection(Context& context, std::unique_ptr<net::Transport> transport, const ClientLink& from,
                  uint32_t interest);
  ~Http2Connection();
  void destroy() override { delete this; }

  http::h2::SessionStream* open_stream() override;

  void on_event(uint32_t events) override;
  void on_batch_end() override;
  void on_timer() override;
  void readable();
  bool read_once();
  void take(http::Bytes in);
  void flush_touched();
  void deliver();
  void write();
  void set_interest();
  void rearm();
  [[nodiscard]] uint64_t stall_deadline(uint64_t now);
  void begin_close();
  void all_written();
  void linger();
  [[nodiscard]] size_t untaken() const;
  [[nodiscard]] size_t held() const;

  http::h2::Session session_;
  std::vector<Http2Stream*> touched_, waiting_, delivering_;
  uint64_t lingered_ = 0;
  uint64_t block_deadline_ = 0;  // of a header section or the preface; 0 = none
  uint64_t goodbye_ms_ = 0;      // when the last GOAWAY is due; 0 = none
  uint64_t idle_deadline_ = 0;   // without a stream; 0 = none
  uint64_t rest_ms_ = 0;         // when the session may rest; 0 = there are streams, or it does
  uint64_t stall_deadline_ = 0;  // of what the client does not take; 0 = none
  uint64_t written_ = 0;         // to the transport
  uint64_t stalled_at_ = 0;      // of them taken, when stall_deadline_ was set
  uint32_t interest_;
  State state_ = State::open;
  bool suspended_ = false;  // not read from
  bool fresh_ = true;       // no stream yet
  bool resting_ = false;
};

}  // namespace sluice::worker
