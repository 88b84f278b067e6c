// The body of a message, requests and answers alike (RFC 9112 6 and 7): by length, chunked with trailers, or until the
// peer closes. Views into the input, nothing copied but trailers. Owned by a reader; never decides which framing
// applies.
#pragma once
#include <cstdint>
#include <span>

#include "dataplane/http/error.h"
#include "dataplane/http/h1/head_scan.h"
#include "dataplane/http/message.h"
#include "dataplane/http/stream_io.h"

namespace sluice::http::h1 {

struct Limits {
  uint32_t header_bytes = 32768;  // request line not included; trailers have the same bound
  uint32_t header_count = 100;
  uint32_t request_line = 8192;
};

enum class Event : uint8_t {
  need_more,  // `consumed` may be above 0 here too
  head,       // the head is filled (its bytes copied to the arena). end = there is no body
  body,       // `body` is a view into the input. end = that was the last of it
  trailers,   // trailers() is filled; ends the message
  end,        // the message ended without anything further
  error,
};
struct Step {
  Event event = Event::need_more;
  bool end = false;
  size_t consumed = 0;  // drop so many bytes from the front of the input
  Bytes body{};
  Error error{};
};

class BodyReader {
 public:
  void start_none() { state_ = State::done; }
  void start_length(uint64_t length) {
    state_ = length == 0 ? State::done : State::length;
    remaining_ = length;
  }
  void start_chunked() {
    state_ = State::chunk_size;
    extension_bytes_ = 0;
    trailers_ = nullptr;
    scan_ = {};
  }
  void start_until_close() { state_ = State::until_close; }

  // Errors carry the plain reason and side client; the owner translates them for answers.
  Step next(Bytes in, Arena& arena, const Limits& limits);
  [[nodiscard]] bool until_close() const { return state_ == State::until_close; }
  [[nodiscard]] bool done() const { return state_ == State::done; }
  [[nodiscard]] const Fields* trailers() const { return trailers_; }

 private:
  enum class State : uint8_t { done, length, until_close, chunk_size, chunk_data, chunk_end, trailers };
  // Parses "size [extensions] CR LF" at in[at..]; moves `at` behind it. need_more or error are in `step`.
  bool chunk_size(Bytes in, size_t& at, Step& step);
  Step trailer_section(Bytes in, size_t at, Arena& arena, const Limits& limits);

  State state_ = State::done;
  uint32_t extension_bytes_ = 0;  // over the whole body: they are dropped, so they must stay small
  uint64_t remaining_ = 0;
  const Fields* trailers_ = nullptr;
  HeadScan scan_;
};

}  // namespace sluice::http::h1
