// The part of a head (or the trailers) made of field lines, for requests and answers alike (RFC 9112 5, RFC 9110 5).
// Lines are validated and taken apart in one pass; what frames the message or concerns one connection only is put into
// FieldFacts, the rest into Fields. Internal to h1/.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/h1/body_reader.h"
#include "dataplane/http/message.h"

namespace sluice::http::h1 {

enum class Parse : uint8_t { complete, incomplete, failed };

// Which side sent it: decides which connection-level fields are dropped.
enum class Direction : uint8_t { request, response };

struct FieldFacts {
  static constexpr size_t kMaxConnections = 4;
  uint32_t hosts = 0, lengths = 0, encodings = 0, expects = 0, upgrades = 0, connections = 0;
  std::string_view host, length, encoding, expect, upgrade;
  std::array<std::string_view, kMaxConnections> connection{};
  bool wants_trailers = false;
};

// Takes one line apart. complete: `next` is behind its CR LF.
Parse parse_field_line(const char* p, const char* end, Field& field, const char*& next, Reason& reason);

// The reason why a line that starts with a byte that no name starts with is refused.
Reason refuse_line_start(const char* p, const char* end, bool& incomplete);

// All lines from p to the empty line. incomplete: `next` is the start of the first line that is not whole yet.
struct SectionResult {
  Parse parse = Parse::incomplete;
  Reason reason = Reason::none;
  const char* next = nullptr;
};
SectionResult parse_section(const char* p, const char* end, Direction direction, const Limits& limits, Fields& fields,
                            FieldFacts& facts);

// What Connection says (RFC 9112 9.3, RFC 9110 7.6.1). Removes the fields it names, except those that it may not name.
struct ConnectionOptions {
  Reason reason = Reason::none;
  bool close = false, keep_alive = false, upgrade = false;
};
ConnectionOptions apply_connection(const FieldFacts& facts, Fields& fields);

// One value of digits (RFC 9110 8.6); nullopt = malformed. At most 19 digits, so it cannot overflow; below 2^63.
std::optional<uint64_t> parse_length(std::string_view text);

// Moves views from one copy of the same bytes to another.
class Rebase {
 public:
  Rebase(const char* from, const char* to) : from_(from), to_(to) {}
  void operator()(std::string_view& view) const {
    if (view.data() != nullptr) view = {to_ + (view.data() - from_), view.size()};
  }
  void operator()(Fields& fields) const {
    for (Field& field : fields.all()) {
      (*this)(field.name);
      (*this)(field.value);
    }
  }
  void operator()(FieldFacts& facts) const;

 private:
  const char* from_;
  const char* to_;
};

}  // namespace sluice::http::h1
