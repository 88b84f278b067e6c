// What must hold for any bytes whatever, checked with abort(): by libFuzzer, by the corpus runners and by unit tests
// alike.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/http/h1/codec.h"

namespace sluice::http::h1::fuzz {

inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "property broken: %s\n", what);
  std::abort();
}

// Everything that a reader said about the first message of some bytes.
struct Seen {
  bool head = false, complete = false, keep_alive = false;
  Reason reason = Reason::none;
  int detail = 0;
  int interim = 0;
  size_t consumed = 0;
  std::string start, fields, body, trailers;
  bool operator==(const Seen&) const = default;
};

inline std::string text_of(const Fields& fields) {
  std::string out;
  for (const Field& field : fields.all()) out.append(field.name).append(": ").append(field.value).append("\n");
  return out;
}
inline std::string start_of(const RequestHead& head) {
  std::string out(head.method_name);
  out.append(" ").append(head.host).append(":").append(std::to_string(head.port)).append(head.path);
  if (head.has_query) out.append("?").append(head.query);
  out.append(head.has_body ? " body" : "")
      .append(head.content_length ? " length " + std::to_string(*head.content_length) : "");
  return out.append(head.wants_trailers ? " trailers" : "").append(" upgrade ").append(head.upgrade);
}
inline std::string start_of(const ResponseHead& head) {
  std::string out = std::to_string(head.status);
  out.append(" ").append(head.reason).append(head.has_body ? " body" : "");
  return out.append(head.content_length ? " length " + std::to_string(*head.content_length) : "")
      .append(" upgrade ")
      .append(head.upgrade);
}

// Reads the first message in pieces of `step` bytes (0 = all at once), each time from memory of exactly the size
// presented.
template <class Reader, class Head>
Seen read(Reader& reader, std::string_view input, size_t step, Arena& arena, Head& head) {
  const Limits limits{4096, 40, 1024};
  Seen seen;
  size_t available = step == 0 ? input.size() : 0;
  int idle = 0;
  while (!seen.complete && seen.reason == Reason::none) {
    const size_t size = available - seen.consumed;
    std::unique_ptr<char[]> exact(new char[size]);
    if (size != 0) std::memcpy(exact.get(), input.data() + seen.consumed, size);
    const Step got = reader.next(Bytes(exact.get(), size), arena, head, limits);
    require(got.consumed <= size, "no more is consumed than was given");
    seen.consumed += got.consumed;
    idle = got.consumed == 0 && got.event != Event::need_more ? idle + 1 : 0;
    require(idle < 3, "events without progress");
    switch (got.event) {
      case Event::need_more:
        if (available == input.size()) return seen;
        available = std::min(input.size(), available + step);
        break;
      case Event::head:
        if constexpr (requires { head.status; }) {
          if (head.status < 200 && head.status != 101) {
            ++seen.interim;
            break;
          }
        }
        require(got.end == !head.has_body, "end says whether there is a body");
        seen.head = true;
        seen.complete = got.end;
        seen.keep_alive = reader.keep_alive();
        seen.start = start_of(head);
        seen.fields = text_of(head.fields);
        break;
      case Event::body:
        require(seen.head && !got.body.empty(), "bodies are not empty and follow heads");
        seen.body.append(got.body.data(), got.body.size());
        seen.complete = got.end;
        break;
      case Event::trailers:
        require(reader.trailers() != nullptr, "there are trailers");
        seen.trailers = text_of(*reader.trailers());
        seen.complete = true;
        break;
      case Event::end:
        seen.complete = true;
        break;
      case Event::error:
        seen.reason = got.error.reason;
        seen.detail = got.error.detail;
        require(head.fields.size() == 0 || seen.head, "no fields after a refused head");
        break;
    }
  }
  return seen;
}

// A head that was written holds one line for each field and nothing that could end a line early.
inline void require_clean(std::string_view text, size_t most_lines) {
  size_t lines = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '\r') {
      require(i + 1 < text.size() && text[i + 1] == '\n', "every CR has its LF");
      ++lines;
      ++i;
    } else {
      require((c >= 0x20 && c != 0x7F) || c == '\t', "no control byte is written");
    }
  }
  require(text.ends_with("\r\n\r\n") && text.find("\r\n\r\n") == text.size() - 4, "one empty line, at the end");
  require(lines <= most_lines, "no line is made up");
}

}  // namespace sluice::http::h1::fuzz
