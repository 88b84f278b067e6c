// One connection to an endpoint, HTTP/1.1: carries one exchange at a time, between them it waits in the IdlePool.
// Objects are used again (Context::free) and never destroyed before Upstreams, so a stale pointer in a call chain is
// harmless: `serial_` tells whether it still is the same exchange.
//
//   free --open()--> connecting --handshake--> open --close()--> free
//   within open:  idle --begin()--> active --answer complete--> idle, or close() when it must not be used again
//
// An exchange begun while connecting gathers its bytes in held_. Nothing is ever sent to a connection that has sent
// bytes nobody asked for. Must never: report two ends of one exchange, reuse a connection whose request or answer was
// not complete, call events from start().
#pragma once
#include <cstdint>
#include <memory>

#include "dataplane/http/h1/codec.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/reactor.h"
#include "dataplane/net/transport.h"
#include "dataplane/upstream/cluster.h"
#include "dataplane/upstream/context.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {

class Connection final : public http::RequestSink, public Pooled, private net::EventHandler, private net::TimerNode {
 public:
  // Bytes not taken by the upstream at which the client is told to wait.
  static constexpr size_t kHighWater = 64 * 1024;
  static constexpr int kMaxInformational = 16;

  explicit Connection(Context& context) : context_(context) {}

  // Takes a transport on its way. False with errno if the event loop does not take it.
  [[nodiscard]] bool open(std::unique_ptr<net::Transport> transport, std::shared_ptr<Cluster> cluster,
                          Endpoint& endpoint, uint64_t connect_ms);
  void begin(http::ResponseEvents& events, Arena& arena, Attempts& attempts, const AttemptOptions& options);
  [[nodiscard]] Endpoint& endpoint() const override { return *endpoint_; }
  [[nodiscard]] net::Transport& transport() const { return *transport_; }
  [[nodiscard]] bool alive_when_idle() override;
  // Ends it without a word to the stream. The object is free afterwards.
  void close() override;
  // Writes what the batch holds for this connection.
  void write_batch();

 private:
  enum class Phase : uint8_t { free, connecting, open };

  void send_head(const http::RequestHead& head, bool end) override;
  bool send_body(http::Bytes bytes, bool end) override;
  void send_trailers(const http::Fields& trailers) override;
  void flush() override;
  void pause_response() override;
  void resume_response() override;
  void cancel() override;

  void on_event(uint32_t events) override;
  void on_timer() override;

  // connection.cpp
  void continue_connect();
  void established();
  void connect_failed();
  void set_interest();
  void arm();
  void poke();
  // What follows an error: a flush, as after every event that the reactor began, or nothing where the caller flushes or
  // the stream itself called.
  enum class After : uint8_t { flush, nothing };
  void fail(http::Reason reason, http::Retry retry, int detail, After after = After::flush);
  void report(const http::Error& error, After after = After::flush);
  void finish(bool clean);
  void end_exchange();
  // connection_send.cpp
  [[nodiscard]] bool sending() const;
  void make_room(size_t bytes);
  void request_complete();
  void end_tunnel();
  void write_failed();
  void writable();
  // connection_receive.cpp
  void readable();
  bool read_once();
  bool process(http::Bytes in);
  bool tell(http::Bytes& in);
  bool on_step(const http::h1::Step& step);
  bool on_head(bool end);
  void at_eof();
  void at_read_error();

  Context& context_;
  Phase phase_ = Phase::free;
  bool reused_ = false;
  uint32_t interest_ = 0;
  uint32_t serial_ = 0;
  std::unique_ptr<net::Transport> transport_;
  std::shared_ptr<Cluster> cluster_;
  Endpoint* endpoint_ = nullptr;
  net::PendingBuffer held_;  // connecting: request bytes; open: the begin of an answer's head
  uint64_t connect_deadline_ms_ = 0;
  uint64_t connect_start_ns_ = 0;

  struct Exchange {
    http::ResponseEvents* events = nullptr;
    Arena* arena = nullptr;
    http::ResponseHead* head = nullptr;
    Attempts* attempts = nullptr;
    AttemptOptions options;
    http::h1::Framing framing = http::h1::Framing::none;
    uint8_t informational = 0;
    bool active = false;
    bool request_begun = false, request_done = false;
    bool wrote = false;  // a byte may have left
    bool write_failed = false;
    bool head_seen = false, response_done = false;
    bool wants_upgrade = false, tunnel = false;
    bool read_ended = false;  // a tunnel's: the upstream sends nothing more
    bool blocked = false;     // send_body said false
    bool paused = false;
    bool suspended = false;  // not read from while paused
    bool poked = false;      // the timer means: read now
    uint64_t body_left = 0;  // Framing::length
  };
  Exchange now_;
  http::h1::ResponseReader reader_;
};

}  // namespace sluice::upstream
