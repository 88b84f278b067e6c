// Runs the codec as a connection would: any split of the input, events gathered as text.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/http/h1/codec.h"

namespace sluice::http::h1 {

struct Message {
  bool head_seen = false;
  bool complete = false;
  std::string body;
  std::vector<std::pair<std::string, std::string>> trailers;
  Error error{};
  size_t consumed = 0;
  bool keep_alive = false;
  std::vector<int> interim;
};

// Feeds `input` in pieces of `step` bytes (0 = all at once) from memory of exactly that size, so that a sanitizer sees
// each byte too far. The memory is wiped after each piece, so that a view left in it is seen without one.
template <class Reader, class Head>
void feed(Reader& reader, std::string_view input, size_t step, Arena& arena, Head& head, Message& out,
          const Limits& limits = {}) {
  size_t available = step == 0 ? input.size() : 0;
  while (!out.complete && out.error.reason == Reason::none) {
    const size_t size = available - out.consumed;
    std::unique_ptr<char[]> exact(new char[size]);
    if (size != 0) std::memcpy(exact.get(), input.data() + out.consumed, size);
    const Step got = reader.next(Bytes(exact.get(), size), arena, head, limits);
    out.consumed += got.consumed;
    switch (got.event) {
      case Event::need_more:
        if (available == input.size()) return;
        available = std::min(input.size(), available + step);
        break;
      case Event::head:
        if constexpr (requires { head.status; }) {
          if (head.status < 200 && head.status != 101) {
            out.interim.push_back(head.status);
            break;
          }
        }
        out.head_seen = true;
        out.keep_alive = reader.keep_alive();
        out.complete = got.end;
        break;
      case Event::body:
        out.body.append(got.body.data(), got.body.size());
        out.complete = got.end;
        break;
      case Event::trailers:
        for (const Field& field : reader.trailers()->all()) out.trailers.emplace_back(field.name, field.value);
        out.complete = true;
        break;
      case Event::end:
        out.complete = true;
        break;
      case Event::error:
        out.error = got.error;
        break;
    }
    explicit_bzero(exact.get(), size);
  }
}

struct RequestRun {
  explicit RequestRun(std::string_view input, size_t step = 0, const Limits& limits = {}) {
    feed(reader, input, step, arena, head, message, limits);
  }
  [[nodiscard]] std::string_view word() const { return describe(message.error.reason).word; }
  ChunkPool pool;
  Arena arena{pool};
  RequestHead head{arena};
  RequestReader reader;
  Message message;
};

struct ResponseRun {
  explicit ResponseRun(std::string_view input, size_t step = 0, Method method = Method::get,
                       const Limits& limits = {}) {
    reader.reset(method);
    feed(reader, input, step, arena, head, message, limits);
  }
  [[nodiscard]] std::string_view word() const { return describe(message.error.reason).word; }
  [[nodiscard]] Reason detail() const { return static_cast<Reason>(message.error.detail); }
  ChunkPool pool;
  Arena arena{pool};
  ResponseHead head{arena};
  ResponseReader reader;
  Message message;
};

}  // namespace sluice::http::h1
