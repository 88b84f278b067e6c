// What both sides of a stream put into their batch of output: bytes made here, framed bodies, trailers. `Batch` is
// net::Batch, or what looks like it; whoever calls has made room for it. Framing is decided elsewhere.
#pragma once
#include <span>

#include "dataplane/http/h1/codec.h"

namespace sluice::http::h1 {

// Room for the framing of one piece of a body.
inline constexpr size_t kFramingRoom = 64;

// `write(span)` fills at most `most` bytes and says how many: in the batch's own space, or in the arena if it lacks it.
template <class Batch, class Write>
size_t put_made(Batch& batch, Arena& arena, size_t most, Write&& write) {
  size_t size;
  if (most <= batch.space().size()) {
    size = write(batch.space());
    batch.wrote(size);
  } else {
    const std::span<char> out = arena.array<char>(most);
    size = write(out);
    batch.add(out.first(size));
  }
  return size;
}

// False: the bytes do not agree with the length that is on the wire. They must never be read as another message, so
// nothing was put.
template <class Batch>
[[nodiscard]] bool put_body(Batch& batch, Framing framing, uint64_t& left, Bytes bytes, bool end) {
  switch (framing) {
    case Framing::none:
      break;
    case Framing::length:
      if (bytes.size() > left || (end && bytes.size() < left)) return false;
      left -= bytes.size();
      batch.add(bytes);
      break;
    case Framing::chunked:
      if (!bytes.empty()) {
        batch.wrote(write_chunk_head(batch.space(), bytes.size()));
        batch.add(bytes);
        batch.add(kChunkEnd);
      }
      if (end) batch.add(kLastChunk);
      break;
    case Framing::until_close:
      batch.add(bytes);
      break;
  }
  return true;
}

[[nodiscard]] inline size_t max_trailers_size(const Fields& trailers) {
  size_t size = 16;
  for (const Field& field : trailers.all()) size += field.name.size() + field.value.size() + 4;
  return size;
}

}  // namespace sluice::http::h1
