// Answers. The first byte chooses the request's method; the rest as for requests.
#include <cstdint>

#include "tests/fuzz/h1_properties.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::h1;

void check_rewrite(const ResponseHead& head, const fuzz::Seen& seen, Method method) {
  ResponseOptions options;
  options.framing = !head.has_body ? Framing::none : head.content_length ? Framing::length : Framing::chunked;
  options.upgrade = head.upgrade;
  std::string text(max_head_size(head), '\0');
  uint32_t dropped = 0;
  text.resize(write_response_head(text, head, options, &dropped));
  fuzz::require(!text.empty(), "max_head_size is enough");
  fuzz::require(dropped == 0, "what was read can be written");
  fuzz::require_clean(text, head.fields.size() + 6);
  ChunkPool pool;
  Arena arena(pool);
  ResponseReader reader;
  reader.reset(method);
  ResponseHead again(arena);
  const Step step = reader.next(Bytes(text.data(), text.size()), arena, again, Limits{65536, 200, 65536});
  fuzz::require(step.event == Event::head && step.consumed == text.size(), "what is written is read");
  fuzz::require(fuzz::text_of(again.fields) == seen.fields, "fields stay");
  fuzz::require(again.status == head.status && again.has_body == head.has_body, "status and framing stay");
}

fuzz::Seen read_again(const std::string& input, size_t step, Method method) {
  ChunkPool pool;
  Arena arena(pool);
  ResponseReader reader;
  reader.reset(method);
  ResponseHead head(arena);
  return fuzz::read(reader, input, step, arena, head);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const Method method = data[0] % 4 == 1 ? Method::head : Method::get;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  fuzz::Seen first;
  for (const size_t step : {size_t{0}, size_t{1}, size_t{1 + size % 29}}) {
    ChunkPool pool;
    Arena arena(pool);
    ResponseReader reader;
    reader.reset(method);
    ResponseHead head(arena);
    const fuzz::Seen seen = fuzz::read(reader, input, step, arena, head);
    const Step end = reader.eof();
    fuzz::require(end.event == Event::end || end.event == Event::error, "a close ends it one way or the other");
    if (seen.complete && seen.reason == Reason::none)
      fuzz::require(end.event == Event::end, "a whole answer is not cut by a close");
    fuzz::require(!reader.keep_alive(), "a closed connection is not used again");
    if (step == 0) {
      first = seen;
      if (seen.head) check_rewrite(head, seen, method);
      continue;
    }
    fuzz::require(seen.head == first.head && seen.complete == first.complete && seen.interim == first.interim,
                  "pieces do not matter: outcome");
    fuzz::require(seen.start == first.start && seen.fields == first.fields, "pieces do not matter: head");
    fuzz::require(seen.reason == Reason::none || first.reason != Reason::none, "pieces do not matter: verdict");
    // A line that is not whole may be judged later when it comes in pieces, but as soon as it is whole.
    if (first.reason != Reason::none && seen.reason == Reason::none) {
      fuzz::require(read_again(std::string(input) + "\r\n\r\n", step, method).reason != Reason::none,
                    "pieces do not matter: verdict in the end");
    }
    if (first.complete) fuzz::require(seen == first, "pieces do not matter: message");
  }
  return 0;
}
