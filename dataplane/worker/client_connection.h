// One client's connection, HTTP/1.1 server side: bytes of a transport to stream events, the stream's answer to bytes.
// What turns out to speak HTTP/2 (ALPN, or its preface on a plain port) is handed over to an Http2Connection.
// Reads into the worker's one buffer; between events it keeps only what could not be used yet. One request at a time:
// the next of a pipeline is looked at when the answer before it is complete. Owns itself: closed by close(), destroyed
// after the batch of events.
//
//   state      means                                      leaves by
//   proxy      the PROXY header is expected               header -> handshake; anything else -> closed
//   handshake  TLS under way                              done -> open; failure, time -> closed
//   open       idle, or a request is active (request_)    answer with close -> closing
//   closing    the last bytes are being written           all written -> lingering, or closed if nothing can be left to
//   read lingering  our side is shut; what still comes is      end, time, bytes -> closed
//              thrown away, so that the answer is seen
//   closed     waits for its destruction                  -
//
// Must never: let two answers overlap, read on while a body is not wanted, keep a buffer while idle.
#pragma once
#include <cstdint>
#include <memory>

#include "dataplane/http/h1/codec.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/reactor.h"
#include "dataplane/net/transport.h"
#include "dataplane/worker/client_link.h"
#include "dataplane/worker/context.h"

namespace sluice::worker {

class ActiveRequest;

class ClientConnection final : public ClientLink,
                               public http::ResponseSink,
                               private net::EventHandler,
                               private net::TimerNode,
                               private net::Deferred {
 public:
  // Bytes the client has not taken at which the source is told to wait.
  static constexpr size_t kHighWater = 64 * 1024;
  // Requests sent ahead are kept up to this size; then the client waits.
  static constexpr size_t kMaxAhead = 64 * 1024;

  // Takes an accepted socket. `tls`: by the listener. `handed_over`: another process accepted it.
  static void start(Context& context, UniqueFd fd, const net::Address& peer, uint16_t local_port, bool tls,
                    bool handed_over = false);

  [[nodiscard]] ActiveRequest* request() const { return request_; }
  [[nodiscard]] ActiveRequest* next_request(const ActiveRequest* after) const override {
    return after == nullptr ? request_ : nullptr;
  }
  void drain() override;
  void cut_off() override;
  void close() override;
  void note_held(HeldSizes& sizes) const override { sizes.note(held()); }
  uint64_t reset_held(size_t at_least, uint64_t wanted) override;
  void write_batch();

  void send_informational(const http::ResponseHead& head) override;
  void send_head(const http::ResponseHead& head, bool end) override;
  bool send_body(http::Bytes bytes, bool end) override;
  void send_trailers(const http::Fields& trailers) override;
  bool flush() override;
  void abort(const http::Error& error) override;
  void pause_request() override;
  void resume_request() override;
  void become_tunnel() override;
  [[nodiscard]] bool at_rest() const override { return context_.batch.owner != this; }

 private:
  enum class State : uint8_t { proxy, handshake, open, closing, lingering, closed };
  struct ProxyState;

  ClientConnection(Context& context, UniqueFd fd, const net::Address& peer, uint16_t local_port, bool tls);
  ~ClientConnection();
  void destroy() override { delete this; }
  [[nodiscard]] size_t held() const;

  void on_event(uint32_t events) override;
  void on_timer() override;
  // client_connection.cpp: life
  void set_interest();
  void rearm();
  [[nodiscard]] uint32_t rest_ms() const;
  [[nodiscard]] uint64_t body_deadline(uint64_t now);
  void read_proxy_header();
  void begin_transport(UniqueFd fd);
  void continue_handshake();
  void writable();
  void gone();
  void retire();
  void begin_close();
  void all_written();
  void drain_input();
  // client_receive.cpp
  enum class Preface : uint8_t { no, incomplete, yes };
  [[nodiscard]] Preface look_for_preface(http::Bytes in) const;
  void become_http2(http::Bytes in);
  void readable();
  bool read_once();
  void at_eof();
  void tunnel_input_ended();
  void process(http::Bytes in);
  void process_stashed();
  bool step(http::Bytes& in);
  void work(http::Bytes& in);
  void on_head(bool end);
  void on_reader_error(const http::Error& error);
  [[nodiscard]] bool wants_input() const;
  void answer_complete();
  void half_close();
  void finish_request();
  void start_request();
  void stash(http::Bytes bytes);
  // client_send.cpp
  [[nodiscard]] bool make_room(size_t bytes);
  void decide_close(const http::ResponseHead& head);
  void put_trailers(const http::Fields& trailers);

  std::unique_ptr<ProxyState> proxy_;
  ActiveRequest* request_ = nullptr;
  net::PendingBuffer stash_;  // read but not used yet
  http::h1::RequestReader reader_;
  uint64_t response_left_ = 0;   // Framing::length
  uint64_t head_deadline_ = 0;   // of the head under way; 0 = none
  uint64_t stall_deadline_ = 0;  // of an answer that is not taken; 0 = none
  uint64_t lingered_ = 0;        // bytes thrown away
  uint32_t interest_ = 0;
  uint32_t in_hand_ = 0;  // bytes process() has not used yet
  State state_ = State::handshake;
  http::h1::Framing framing_ = http::h1::Framing::none;
  bool tls_ : 1;
  bool head_done_ : 1 = false;  // of the request
  bool request_done_ : 1 = false;
  bool response_begun_ : 1 = false, response_done_ : 1 = false;
  bool continue_owed_ : 1 = false;  // the client waits for 100 before it sends
  bool keep_alive_ : 1 = true;      // as the answer said
  bool answered_head_ : 1 = false;  // HEAD: no body goes out
  bool paused_ : 1 = false;         // the stream wants no more body
  bool suspended_ : 1 = false;      // not read from
  bool processing_ : 1 = false;
  bool dirty_ = false;        // events since the stream was told to flush
  bool blocked_ : 1 = false;  // the source was told to wait
  bool eof_ : 1 = false;
  bool tunnel_ : 1 = false;
  bool unwatched_ : 1 = false;    // not in the event loop
  bool half_closed_ : 1 = false;  // the tunnel's upstream side ended, and we told the client
  bool failed_ : 1 = false;       // the request is malformed: nothing more is read from it
  bool cut_ : 1 = false;          // the answer cannot be completed
  bool fresh_ : 1 = true;         // no request yet
  bool poked_ : 1 = false;        // the timer means: process what is stashed
  bool no_http1_ : 1 = false;     // what came first does not look like a request at all
  bool said_close_ : 1 = false;   // the client: no request after this one
};

}  // namespace sluice::worker
