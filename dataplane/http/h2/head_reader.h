// A header section as HPACK gives it, field by field, to a message's head or trailers: the rules of RFC 9113 8.2, 8.3
// and 8.1 that make a message malformed, with the grammar and the limits of HTTP/1's reader. Made for one section, in
// the arena of its stream.
#pragma once
#include <cstdint>
#include <string_view>

#include "dataplane/http/h1/body_reader.h"
#include "dataplane/http/message.h"

namespace sluice::http::h2 {

class HeadReader {
 public:
  HeadReader(Arena& arena, const h1::Limits& limits, uint32_t most_decoded)
      : arena_(arena), limits_(limits), most_decoded_(most_decoded) {}

  // Copies what it keeps. False: so much was decoded that the connection has to end (docs/security.md: HPACK bomb).
  [[nodiscard]] bool add(std::string_view name, std::string_view value);
  // Each once, after the last field; the reason why the section is refused, or none. `end`: nothing follows it.
  // `extended_connect`: ours says that RFC 8441 is spoken here.
  [[nodiscard]] Reason finish(RequestHead& head, bool end, bool extended_connect);
  [[nodiscard]] Reason finish(ResponseHead& head, bool end, Method request_method);
  [[nodiscard]] Reason finish_trailers(Fields& trailers);
  // RFC 9218 4: u=0..7 and i, or 3 and false.
  [[nodiscard]] uint8_t urgency() const { return urgency_; }
  [[nodiscard]] bool incremental() const { return incremental_; }

 private:
  void pseudo(std::string_view name, std::string_view value);
  void refuse(Reason reason) {
    if (reason_ == Reason::none) reason_ = reason;
  }
  [[nodiscard]] Reason take_fields(Fields& into, bool request);
  [[nodiscard]] Reason set_host(RequestHead& head);
  void read_priority(std::string_view value);
  void join_cookies(Fields& fields);

  struct Once {
    std::string_view value;
    bool seen = false;
  };
  Arena& arena_;
  const h1::Limits& limits_;
  uint32_t most_decoded_;
  uint32_t decoded_ = 0, kept_bytes_ = 0, count_ = 0, cookies_ = 0;
  Reason reason_ = Reason::none;
  Once method_, scheme_, authority_, path_, protocol_, status_, host_, length_, expect_;
  bool any_pseudo_ = false, any_field_ = false, wants_trailers_ = false;
  bool incremental_ = false;
  uint8_t urgency_ = 3;
  Fields fields_{arena_};
};

// Whether RFC 9113 8.1.1 calls a message malformed that is refused for this reason: then the stream is reset. Others
// are answered.
[[nodiscard]] bool is_malformed(Reason reason);

}  // namespace sluice::http::h2
