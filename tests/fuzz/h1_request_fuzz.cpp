// Requests. Any bytes: no crash, the same verdict whatever the pieces, and what is accepted survives being written and
// read again unchanged.
#include <cstdint>

#include "tests/fuzz/h1_properties.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::h1;

void check_rewrite(const RequestHead& head, const fuzz::Seen& seen) {
  const Framing framing = !head.has_body ? Framing::none : head.content_length ? Framing::length : Framing::chunked;
  std::string text(max_head_size(head), '\0');
  uint32_t dropped = 0;
  text.resize(write_request_head(text, head, framing, &dropped));
  fuzz::require(!text.empty(), "max_head_size is enough");
  fuzz::require(dropped == 0, "what was read can be written");
  fuzz::require_clean(text, head.fields.size() + 7);
  // HTTP/1.0 may come without Host; it is written as an empty one, which the stream must not let happen: nothing to
  // compare then.
  if (head.host.empty()) return;
  ChunkPool pool;
  Arena arena(pool);
  RequestReader reader;
  RequestHead again(arena);
  // Room for the framing fields that are made anew.
  const Step step = reader.next(Bytes(text.data(), text.size()), arena, again, Limits{65536, 200, 65536});
  fuzz::require(step.event == Event::head && step.consumed == text.size(), "what is written is read");
  fuzz::require(fuzz::text_of(again.fields) == seen.fields, "fields stay");
  fuzz::require(again.path == head.path && again.query == head.query && again.has_query == head.has_query,
                "targets stay");
  fuzz::require(again.method_name == head.method_name && again.host == head.host && again.port == head.port,
                "method and host stay");
  fuzz::require(
      again.has_body == head.has_body && again.wants_trailers == head.wants_trailers && again.upgrade == head.upgrade,
      "framing stays");
}

fuzz::Seen read_again(const std::string& input, size_t step) {
  ChunkPool pool;
  Arena arena(pool);
  RequestReader reader;
  RequestHead head(arena);
  return fuzz::read(reader, input, step, arena, head);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  fuzz::Seen first;
  for (const size_t step : {size_t{0}, size_t{1}, size_t{1 + size % 29}}) {
    ChunkPool pool;
    Arena arena(pool);
    RequestReader reader;
    RequestHead head(arena);
    const fuzz::Seen seen = fuzz::read(reader, input, step, arena, head);
    if (step == 0) {
      first = seen;
      if (seen.head) check_rewrite(head, seen);
      continue;
    }
    fuzz::require(seen.head == first.head && seen.complete == first.complete, "pieces do not matter: outcome");
    fuzz::require(seen.start == first.start && seen.fields == first.fields, "pieces do not matter: head");
    fuzz::require(seen.reason == Reason::none || first.reason != Reason::none, "pieces do not matter: verdict");
    // A line that is not whole may be judged later when it comes in pieces, but as soon as it is whole.
    if (first.reason != Reason::none && seen.reason == Reason::none) {
      fuzz::require(read_again(std::string(input) + "\r\n\r\n", step).reason != Reason::none,
                    "pieces do not matter: verdict in the end");
    }
    if (first.complete) fuzz::require(seen == first, "pieces do not matter: message");
  }
  return 0;
}
