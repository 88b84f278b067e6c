// HTTP/1.1 (RFC 9112): bytes in, events out; heads in, bytes out. No I/O, no allocation beyond the stream's arena,
// nothing copied unchecked, framing always made anew. Requests and answers go through the same field and framing
// checks.
//
// Reading is pulled: next() is given all bytes not consumed yet, contiguous, and says what it found. After need_more
// the caller presents the unconsumed rest again with more behind it (the reader remembers how far it scanned, so a head
// sent byte by byte costs linear time). A malformed line is an error as soon as it is complete (bare CR, bare LF and
// controls at once), not only when the head ends. Errors are final.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/h1/body_reader.h"
#include "dataplane/http/message.h"
#include "dataplane/http/stream_io.h"

namespace sluice::http::h1 {

// Limits, Event and Step: body_reader.h.

class RequestReader {
 public:
  // Before each request on a connection.
  void reset();
  // Fills head (host, path normalised, fields without hop-by-hop ones...) on Event::head; head.scheme is left as the
  // caller set it (what the target of an absolute-form says proves nothing about the connection). An empty line before
  // a request line is skipped (RFC 9112 2.2), one only. After an error the head's fields are empty.
  Step next(Bytes in, Arena& arena, RequestHead& head, const Limits& limits);
  [[nodiscard]] const Fields* trailers() const { return body_.trailers(); }
  // Whether this connection may carry another request after this one (version, Connection). Valid after the head.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  // True between messages: closing now cuts nothing.
  [[nodiscard]] bool idle() const { return state_ == State::start; }

 private:
  enum class State : uint8_t { start, head, body, failed };
  Step fail(Reason reason);
  Step read_head(Bytes in, Arena& arena, RequestHead& head, const Limits& limits);
  Step take_apart(Bytes in, Arena& arena, RequestHead& head, const Limits& limits);

  State state_ = State::start;
  bool keep_alive_ = true;
  bool skipped_empty_line_ = false;
  HeadScan scan_;
  BodyReader body_;
  Error error_{};
};

class ResponseReader {
 public:
  // Before each answer; the method decides whether there is a body (RFC 9112 6.3).
  void reset(Method request_method);
  // 1xx come as Event::head with status 1xx and end=false; call next() again for the final head (101 has end=true and
  // ends reading: what follows is opaque). Whether a 101 was asked for is the caller's to judge. Malformed:
  // bad_response, its detail the http::Reason that a request would get.
  Step next(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits);
  // The peer closed: end for a body until close, error response_cut (or upstream_closed before any byte, retry
  // if_reused) otherwise.
  Step eof();
  [[nodiscard]] const Fields* trailers() const { return body_.trailers(); }
  // Whether the connection may be used again once the answer ended; false also when the answer said something that its
  // status forbids.
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }
  [[nodiscard]] bool started() const { return started_; }  // a byte of the answer was seen

 private:
  enum class State : uint8_t { head, body, failed };
  Step fail(Reason reason);
  Step read_head(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits);
  Step take_apart(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits);

  State state_ = State::head;
  Method method_ = Method::get;
  bool keep_alive_ = true;
  bool started_ = false;
  bool interim_close_ = false;
  uint32_t interim_ = 0;  // 1xx heads seen: bounded
  HeadScan scan_;
  BodyReader body_;
  Error error_{};
};

// How the body that follows a head is framed.
enum class Framing : uint8_t { none, length, chunked, until_close };

// Writers: into `out`, return the bytes written, 0 if it does not fit (the caller then gives a larger buffer; bound by
// max_head_size()). A field that is not writable (control bytes put in by a filter) or whose meaning is framing's is
// left out and counted in `*dropped` if given; bytes of a target that no target may hold are percent-encoded: a head
// can never be split.
[[nodiscard]] size_t max_head_size(const RequestHead& head);
[[nodiscard]] size_t max_head_size(const ResponseHead& head);
// Origin-form target (or "*"), Host from head.host/port, Content-Length or Transfer-Encoding by framing, TE: trailers
// if wanted, Upgrade if given. Always HTTP/1.1. Framing::none writes Content-Length: 0 where the head says so and for
// POST, PUT and PATCH (RFC 9110 8.6).
[[nodiscard]] size_t write_request_head(std::span<char> out, const RequestHead& head, Framing framing,
                                        uint32_t* dropped = nullptr);
// `close` adds Connection: close; for an HTTP/1.0 client that keeps alive, Connection: keep-alive. Adds Date if there
// is none (`date` = IMF-fixdate, 29 bytes, cached by the caller). Framing::none writes Content-Length if
// head.content_length is set (never with 1xx and 204): an empty answer to anything but HEAD needs it set to 0.
// Framing::until_close always adds Connection: close.
struct ResponseOptions {
  Framing framing = Framing::none;
  Version client_version = Version::http11;
  bool close = false;
  bool keep_alive_10 = false;
  std::string_view date{};
  std::string_view upgrade{};  // with 101 (and 426)
};
[[nodiscard]] size_t write_response_head(std::span<char> out, const ResponseHead& head, const ResponseOptions& options,
                                         uint32_t* dropped = nullptr);
// "<hex>\r\n"; out of at least 18 bytes. The chunk's data and "\r\n" follow.
[[nodiscard]] size_t write_chunk_head(std::span<char> out, uint64_t size);
inline constexpr std::string_view kChunkEnd = "\r\n";
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
// "0\r\n" fields "\r\n"
[[nodiscard]] size_t write_trailers(std::span<char> out, const Fields& trailers, uint32_t* dropped = nullptr);
// The standard phrase of a status (RFC 9110 15), or an empty one.
[[nodiscard]] std::string_view reason_phrase(uint16_t status);

}  // namespace sluice::http::h1
