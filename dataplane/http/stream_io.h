// The two ends of a stream, free of protocols and sockets. The stream (stream.h) stands between them:
//
//   client codec (h1, later h2)  --RequestEvents-->  Stream  --RequestSink-->   upstream exchange (h1, later h2)
//   client codec                 <--ResponseSink--   Stream  <--ResponseEvents-- upstream exchange
//
// Lifetimes: bytes and heads handed over are valid until the next flush() of the receiving sink (or during the call,
// for events); a sink copies what it could not write. Whoever reads from a socket calls flush on the other side once,
// after the last event of that read: so head and body become one write. Back-pressure: send_body returns false when the
// sink holds more than its high-water mark; the sender then pauses its source until on_writable. Re-entrancy: a sink
// may call abort/on_error from inside a send; the stream must expect to be finished when a send returns.
#pragma once
#include <cstddef>
#include <span>

#include "dataplane/http/error.h"
#include "dataplane/http/message.h"

namespace sluice::http {

using Bytes = std::span<const char>;

// Towards the client. Implemented by the client connection.
class ResponseSink {
 public:
  virtual void send_informational(const ResponseHead& head) = 0;  // 1xx other than 101
  virtual void send_head(const ResponseHead& head,
                         bool end) = 0;  // framing is the sink's: by head.content_length, else chunked/close
  virtual bool send_body(Bytes bytes, bool end) = 0;       // false: pause the source
  virtual void send_trailers(const Fields& trailers) = 0;  // ends the message
  virtual bool flush() = 0;                                // false: pause the source until on_response_writable
  // The answer cannot be completed: the client must see that it was cut (close without last chunk, RST_STREAM). Nothing
  // may follow.
  virtual void abort(const Error& error) = 0;
  virtual void pause_request() = 0;   // stop reading the request's body
  virtual void resume_request() = 0;  // events come after the next flush at the earliest
  // 101 was sent: bytes are opaque from here on, both ways (send_body and on_request_body carry them; end =
  // half-close: the other way goes on, until it ended too).
  virtual void become_tunnel() = 0;
  // Asked between two batches of events, of a tunnel: nothing that was given to the sink, and nothing that it has in
  // the stream's arena, is used any more.
  [[nodiscard]] virtual bool at_rest() const = 0;

 protected:
  ~ResponseSink() = default;
};

// From the client. Implemented by the stream.
class RequestEvents {
 public:
  virtual void on_request_head(bool end) = 0;  // the stream's own RequestHead was filled
  virtual void on_request_body(Bytes bytes, bool end) = 0;
  virtual void on_request_trailers(const Fields& trailers) = 0;  // ends the message
  virtual void on_request_flush() = 0;                           // after the last event of one read
  virtual void on_response_writable() = 0;                       // the sink has room again
  virtual void on_client_error(const Error& error) = 0;  // malformed body, timeout, connection gone: nothing more comes
 protected:
  ~RequestEvents() = default;
};

// Towards the upstream: one attempt. Made by upstream::Upstreams::start, alive until on_response_end/error or cancel().
class RequestSink {
 public:
  virtual void send_head(const RequestHead& head, bool end) = 0;
  virtual bool send_body(Bytes bytes, bool end) = 0;
  virtual void send_trailers(const Fields& trailers) = 0;
  virtual void flush() = 0;
  virtual void pause_response() = 0;
  virtual void resume_response() = 0;
  // No event follows. Unless the exchange was complete its connection is closed; of HTTP/2 its stream is reset.
  virtual void cancel() = 0;
  // A tunnel (after 101) is over when both ways have ended; the sink sends what it holds and is not used any more.
 protected:
  ~RequestSink() = default;
};

// From the upstream. Implemented by the stream.
class ResponseEvents {
 public:
  virtual void on_response_informational(ResponseHead& head) = 0;
  virtual void on_response_head(ResponseHead& head, bool end) = 0;
  virtual void on_response_body(Bytes bytes, bool end) = 0;
  virtual void on_response_trailers(const Fields& trailers) = 0;
  // After the last event of one read (an error or a timeout too), also if the exchange was cancelled or another begun
  // in it: so whoever implements this lives until then. Not after an error told from inside a send.
  virtual void on_response_flush() = 0;
  virtual void on_request_writable() = 0;
  // The attempt failed; nothing more comes. error.retry says whether a repeat is safe as far as the connection can
  // tell.
  virtual void on_exchange_error(const Error& error) = 0;

 protected:
  ~ResponseEvents() = default;
};

}  // namespace sluice::http
