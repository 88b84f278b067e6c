// HTTP/2 (RFC 9113) by nghttp2: bytes in, events out; heads and bodies in, bytes out. One session a connection, either
// side. No I/O: receive() is given what was read, output() holds what is to be written. nghttp2 does frames, HPACK,
// flow control and stream states; what a message may say is checked here, by the same code as HTTP/1 (head_reader.h).
//
// Events come from inside of receive(), pump() and connection_lost(). In an event any call is allowed; what it makes to
// be sent is framed when the outermost call returns. A stream belongs to whoever derives from SessionStream: it must
// stay alive until on_closed(), until on_error() that is not answerable, or until reset() returned; then the session
// has forgotten it. One that is destroyed before is reset (CANCEL) without an event. Whoever gives itself up in an
// event destroys itself later (net::Deferred).
//
// Flow control: a stream's window is given back by consumed(), the connection's at once, until most_held bytes wait
// in their owners' hands: a slow stream stops itself, not its neighbours, and memory is bounded (RFC 9113 5.2). Bodies
// that are sent are taken as far as windows and kMostOutput allow; the rest is copied and kept by the stream, and
// send_body says false above kHighWater.
#pragma once
#include <cstdint>

#include "dataplane/http/error.h"
#include "dataplane/http/h1/body_reader.h"
#include "dataplane/http/h2/flood_guard.h"
#include "dataplane/http/h2/frame_watch.h"
#include "dataplane/http/h2/session_memory.h"
#include "dataplane/http/h2/stream_history.h"
#include "dataplane/http/message.h"
#include "dataplane/http/stream_io.h"
#include "dataplane/net/pending_buffer.h"

namespace sluice::http::h2 {

class HeadReader;
class Session;

enum class Role : uint8_t { server, client };

// RFC 9113 7, those that are used here.
enum class ErrorCode : uint32_t {
  no_error = 0,
  protocol_error = 1,
  internal_error = 2,
  stream_closed = 5,
  frame_size_error = 6,
  refused_stream = 7,
  cancel = 8,
  enhance_your_calm = 11,
};

struct Settings {
  uint32_t concurrent_streams = 100;   // a server's: how many a client may have open
  uint32_t stream_window = 64 * 1024;  // bytes, 65535 at least
  uint32_t connection_window = 1024 * 1024;
  uint32_t most_held = 1024 * 1024;  // bytes of all streams' unconsumed bodies, before all must wait
  bool extended_connect = false;     // a server's: RFC 8441
  Scheme scheme = Scheme::http;      // of the connection
  h1::Limits limits;                 // of heads and trailers, counted as the lines they would be in HTTP/1
  FloodLimits flood;
};

// One stream. Events of one stream come in order: head, body, trailers; on_closed once both sides ended, or on_error.
class SessionStream {
 public:
  [[nodiscard]] int32_t id() const { return id_; }
  [[nodiscard]] bool attached() const { return session_ != nullptr; }
  // Bytes of a body that wait for the peer's window or for room in the output.
  [[nodiscard]] size_t unsent() const { return left_.size(); }
  // A head or trailers are half-way: what came of them is in the arena.
  [[nodiscard]] bool in_head() const { return reader_ != nullptr; }
  // The peer's message ended.
  [[nodiscard]] bool received_all() const { return in_done_; }

  // Where heads and trailers are put.
  [[nodiscard]] virtual Arena& arena() = 0;
  // A server's: the head that is to be filled. The caller sets its scheme.
  [[nodiscard]] virtual RequestHead* request_head() { return nullptr; }
  virtual void on_request_head(bool /*end*/) {}
  virtual void on_informational(ResponseHead& /*head*/) {}
  virtual void on_response_head(ResponseHead& /*head*/, bool /*end*/) {}
  // The end may come alone, with no bytes. Whoever handed the bytes on, or has no use for them, says consumed().
  virtual void on_body(Bytes bytes, bool end) = 0;
  virtual void on_trailers(const Fields& trailers) = 0;  // ends the message
  // send_body said false, and there is room again.
  virtual void on_writable() = 0;
  // Nothing more comes. `answerable` (a server's): a head that can be refused with an answer; the stream is still
  // attached and expects one, or reset(). Else it is forgotten. `retry` of a client's is what is known here: yes if the
  // peer never took the stream, no otherwise.
  virtual void on_error(const Error& error, bool answerable) = 0;
  // Both sides ended and everything is framed; the session has forgotten the stream.
  virtual void on_closed() = 0;

 protected:
  SessionStream() = default;
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;
  ~SessionStream();

 private:
  friend class Session;
  enum class Out : uint8_t { none, open, ending, ended };  // of the message we send
  Session* session_ = nullptr;
  SessionStream *next_ = nullptr, *previous_ = nullptr;
  HeadReader* reader_ = nullptr;  // while a head or trailers are read; in the arena
  const Fields* trailers_ = nullptr;
  Bytes view_;  // of the send_body under way
  net::PendingBuffer left_;
  uint64_t body_left_ = 0;  // of the peer's content-length
  uint32_t held_ = 0;       // bytes handed out and not consumed
  int32_t id_ = 0;
  Out out_ = Out::none;
  Method method_ = Method::get;  // a client's
  uint8_t informational_ = 0;
  bool head_done_ : 1 = false;   // the peer's final head
  bool in_done_ : 1 = false;     // the peer's message ended
  bool has_length_ : 1 = false;  // body_left_ means something
  bool blocked_ : 1 = false;     // send_body said false
  bool deferred_ : 1 = false;    // nghttp2 asks no more until it is told
  bool tunnel_ : 1 = false;      // an extended CONNECT that was not refused
  bool no_body_ : 1 = false;     // of the answer, whatever it says (HEAD, 204, 304)
  bool refused_ : 1 = false;     // what still comes of it is thrown away
};

class SessionOwner {
 public:
  // A server's: a peer begins a stream. Null: it is refused (REFUSED_STREAM: safe to be sent again).
  [[nodiscard]] virtual SessionStream* open_stream() = 0;
  // The peer takes no new streams. Those it did not take get on_error with Retry::yes.
  virtual void on_goaway() {}
  // A client's: the peer's SETTINGS came; a PING was answered.
  virtual void on_settings() {}
  virtual void on_ping_answer() {}

 protected:
  ~SessionOwner() = default;
};

class Session {
 public:
  static constexpr size_t kHighWater = 64 * 1024;   // of one stream's unsent body
  static constexpr size_t kMostOutput = 64 * 1024;  // DATA waits while so much is in the output or beyond
  static constexpr uint8_t kMaxInformational = 16;

  // SETTINGS are in the output at once (a client's preface too).
  Session(Role role, const Settings& settings, SessionOwner& owner);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // All of `in` is used. False: the connection is over; output() holds the GOAWAY that says why, every stream that was
  // attached has got on_error.
  [[nodiscard]] bool receive(Bytes in, uint64_t now_ms);
  // The peer's bytes ended or the transport failed: every stream gets on_error with this.
  void connection_lost(const Error& error);

  // What is to be written, to be taken with wrote(). `beyond`: bytes of ours that the transport holds already.
  [[nodiscard]] Bytes output() const { return {output_.data(), output_.size()}; }
  void wrote(size_t bytes) { output_.consume(bytes); }
  void set_beyond(size_t beyond) { beyond_ = beyond; }
  // Frames what may be sent now. The sending calls do that themselves, but a head that is not the end waits for what
  // follows; for the owner at the end of a batch, and when the transport made room.
  void pump();
  // Neither side will say anything more.
  [[nodiscard]] bool finished() const;

  // A client's. The head must stay valid until the stream ended. False: no stream can be opened any more.
  [[nodiscard]] bool submit_request(SessionStream& stream, const RequestHead& head, bool end);
  // Whether the peer takes another stream now, beside `promised` ones that are not submitted yet.
  [[nodiscard]] bool can_submit(size_t promised = 0) const;

  // A server's. `date`: IMF-fixdate, added if there is none. 101 accepts an extended CONNECT and is sent as 200.
  void send_informational(SessionStream& stream, const ResponseHead& head);
  void send_head(SessionStream& stream, const ResponseHead& head, bool end, std::string_view date);
  // Both sides'. False: pause the source until on_writable.
  [[nodiscard]] bool send_body(SessionStream& stream, Bytes bytes, bool end);
  // Ends the message. `trailers` must stay valid until the stream ended.
  void send_trailers(SessionStream& stream, const Fields& trailers);
  // Bytes of on_body have left our hands.
  void consumed(SessionStream& stream, size_t bytes);
  // RST_STREAM; the session forgets the stream at once, no event follows.
  void reset(SessionStream& stream, ErrorCode code);

  // RFC 9113 6.8, in two steps: no new streams, those on their way are still taken; then, a round trip later, the last.
  void begin_shutdown();
  void shutdown(ErrorCode code);
  void ping();
  // Nothing has come for a while and no stream is there: gives memory back that the next one takes again. Costs a
  // system call.
  void rest() { memory_.rest(); }

  // The connection's window is kept back: a peer that sends nothing may not be able to.
  [[nodiscard]] bool holds_back() const { return uncredited_ != 0; }
  [[nodiscard]] size_t streams() const { return streams_; }
  [[nodiscard]] SessionStream* first() const { return first_; }
  [[nodiscard]] static SessionStream* next(const SessionStream& stream) { return stream.next_; }
  [[nodiscard]] const FloodGuard& flood() const { return flood_; }
  [[nodiscard]] bool receiving() const { return receiving_; }
  // A header block has begun whose end did not come yet, or no SETTINGS came: a deadline applies.
  [[nodiscard]] bool waits_for_peer() const {
    return !settled_ || (in_block_ && (!block_ends_ || watch_.in_payload()));
  }

 private:
  friend class SessionStream;
  struct Callbacks;

  void attach(SessionStream& stream, int32_t id);
  void detach(SessionStream& stream);
  [[nodiscard]] bool glitch(Glitch what);
  [[nodiscard]] bool hand_over(Bytes in);
  void watch(const FrameHeader& frame);
  [[nodiscard]] bool is_over(int32_t id) const;
  void fail_stream(SessionStream& stream, const Error& error, ErrorCode code);
  void refuse_message(SessionStream& stream, Reason reason);
  void head_complete(SessionStream& stream, bool end);
  void request_complete(SessionStream& stream, bool end);
  void response_complete(SessionStream& stream, bool end);
  void trailers_complete(SessionStream& stream, bool end);
  void body_came(SessionStream& stream, Bytes bytes);
  void body_ended(SessionStream& stream);
  void stream_closed(SessionStream& stream, uint32_t code);
  void drop(SessionStream& stream, size_t bytes);
  void credit();
  void resume(SessionStream& stream);
  void frame();
  void tell_writable();
  void forget(SessionStream& stream, ErrorCode code);
  [[nodiscard]] Error over() const;
  void end_all(const Error& error);
  void die(ErrorCode code);
  [[nodiscard]] size_t room() const;
  [[nodiscard]] SessionStream* find(int32_t id) const;

  Role role_;
  bool receiving_ = false, pumping_ = false, again_ = false, dead_ = false, settled_ = false;
  bool goaway_ = false;  // the peer's
  bool lost_ = false;    // nothing is framed any more
  bool in_block_ = false,
       block_ends_ = false;  // the frame under way, or the last one, is of a header block; is its last
  Settings settings_;
  SessionOwner& owner_;
  SessionMemory memory_;
  nghttp2_session* session_ = nullptr;
  net::PendingBuffer output_;
  SessionStream* first_ = nullptr;
  size_t streams_ = 0;
  size_t beyond_ = 0;
  size_t held_ = 0;        // bytes handed out and not consumed, of all streams
  size_t uncredited_ = 0;  // of the connection's window, kept back while held_ is above most_held
  uint64_t now_ms_ = 0;
  uint32_t loose_bytes_ = 0;  // decoded of a header section that no stream wants
  uint32_t blocked_ = 0;      // streams to be told when there is room
  bool starved_ = false;      // a stream was deferred for want of room in the output
  FloodGuard flood_;
  FrameWatch watch_;
  StreamHistory history_;  // a server's
};

}  // namespace sluice::http::h2
