// One HTTP/2 connection to an endpoint: transport, session and the exchanges on it. What its exchanges make to be sent
// is written once, at the end of the reactor's batch. Objects are used again (Context::free_multiplexed) and never
// destroyed before Upstreams.
//
//   free --open()--> connecting --handshake, ALPN--> open --lost(), close()--> ended --last exchange--> free
//   within open: without exchanges it waits in the IdlePool, or is closed when it takes no new ones
//
// Exchanges may begin while it is connecting: their bytes wait in the session. An exchange whose answer is whole but
// kept (paused) outlives the connection's end. Must never: be closed from inside of the session's events, take an
// exchange beyond the peer's limit, after its GOAWAY, or once it is lost.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "dataplane/http/h2/session.h"
#include "dataplane/net/reactor.h"
#include "dataplane/net/transport.h"
#include "dataplane/upstream/cluster.h"
#include "dataplane/upstream/context.h"

namespace sluice::upstream {

class Exchange;

class Multiplexed final : public Pooled,
                          private http::h2::SessionOwner,
                          private net::EventHandler,
                          private net::TimerNode,
                          private net::BatchEnd {
 public:
  explicit Multiplexed(Context& context) : context_(context) {}

  // Takes a transport on its way. False with errno if it failed at once or the event loop does not take it.
  [[nodiscard]] bool open(std::unique_ptr<net::Transport> transport, std::shared_ptr<Cluster> cluster,
                          Endpoint& endpoint, uint64_t connect_ms);
  // Whether another exchange may begin now.
  [[nodiscard]] bool takes() const;
  [[nodiscard]] Endpoint& endpoint() const override { return *endpoint_; }
  [[nodiscard]] bool alive_when_idle() override;
  // GOAWAY and the end, without a word to the streams.
  void close() override;

  // The exchanges' calls.
  void add(Exchange& exchange);
  void remove(Exchange& exchange);
  [[nodiscard]] http::h2::Session& session() { return *session_; }
  [[nodiscard]] Cluster& cluster() const { return *cluster_; }
  [[nodiscard]] bool established() const { return phase_ == Phase::open; }
  [[nodiscard]] uint64_t writes() const { return writes_; }
  // 0 while connecting.
  [[nodiscard]] uint64_t connect_us() const { return connect_us_; }
  // Something came from the peer.
  [[nodiscard]] bool heard() const { return heard_; }
  // Begun, but no stream of the session yet: a place is kept for it.
  void reserve() { ++reserved_; }
  void unreserve() { --reserved_; }
  void watch(bool on) { watched_ += on ? 1 : -1; }
  // There is something to be written, or to be done when the batch ends.
  void wake() { context_.reactor.at_batch_end(*this); }
  void settle_later(Exchange& exchange);
  void settle();

  Multiplexed *next = nullptr, *previous = nullptr;  // of the endpoint

 private:
  enum class Phase : uint8_t { free, connecting, open, ended };

  [[nodiscard]] http::h2::SessionStream* open_stream() override { return nullptr; }
  void on_goaway() override { leaving_ = true; }
  void on_event(uint32_t events) override;
  void on_timer() override;
  void on_batch_end() override;

  // multiplexed.cpp
  void continue_connect();
  void came_up();
  void connect_failed(http::Reason reason, int code);
  void lost(const http::Error& error);
  void shut();
  void rest();
  void become_free();
  void arm();
  // multiplexed_io.cpp
  void set_interest();
  void readable();
  void writable();
  void write();
  void write_failed();
  void look_at_sending();

  Context& context_;
  Phase phase_ = Phase::free;
  bool leaving_ = false;  // takes nothing more: GOAWAY, either way
  bool heard_ = false;
  bool write_failed_ = false;
  bool poked_ = false;   // the timer means: read now
  bool pinged_ = false;  // and nothing came since
  uint32_t interest_ = 0;
  uint32_t exchanges_ = 0, reserved_ = 0;
  int watched_ = 0;
  std::unique_ptr<net::Transport> transport_;
  std::optional<http::h2::Session> session_;
  std::shared_ptr<Cluster> cluster_;
  Endpoint* endpoint_ = nullptr;
  Exchange* first_ = nullptr;
  Exchange *settle_first_ = nullptr, *settle_last_ = nullptr;
  uint64_t opened_ms_ = 0, connect_start_ns_ = 0, connect_us_ = 0;
  uint64_t deadline_ms_ = 0;     // connecting; then of the PING
  uint64_t quiet_since_ms_ = 0;  // bytes came, or the first exchange began
  uint64_t writes_ = 0;
};

}  // namespace sluice::upstream
