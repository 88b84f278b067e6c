// What both sides of a stream put into their batch of output: bytes made here, framed bodies, trailers. `Batch` is
// net::Batch, or what looks like it; whoever calls has made room for it. Framing is decided elsewhere.
#pragma once
#include <algorithm>
#include <cstring>
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

// A piece of a chunked body. Chunks mean nothing (RFC 9112 7.1), so small pieces are copied together into one: who
// sends a body byte by byte must not cost three parts of a write for each.
template <class Batch>
void put_chunk(Batch& batch, Bytes bytes) {
  constexpr size_t kSmall = 256, kLargest = 0xFFF, kEnds = 4;  // both CR LF
  if (bytes.size() > kSmall || batch.space().size() < bytes.size() + kFramingRoom) {
    batch.wrote(write_chunk_head(batch.space(), bytes.size()));
    batch.add(bytes);
    batch.add(kChunkEnd);
    return;
  }
  const auto fill = [&](char* to, size_t head, size_t kept) {
    std::memcpy(to + head + kept, bytes.data(), bytes.size());
    std::memcpy(to + head + kept + bytes.size(), kChunkEnd.data(), kChunkEnd.size());
    return head + kept + bytes.size() + kChunkEnd.size();
  };
  const std::span<char> open = batch.open();
  if (!open.empty()) {
    const auto digits = static_cast<size_t>(std::find(open.begin(), open.end(), '\r') - open.begin());
    const size_t kept = open.size() - digits - kEnds;
    if (kept + bytes.size() <= kLargest) {
      char head[32];
      const size_t size = write_chunk_head(head, kept + bytes.size());
      if (size != digits + 2) std::memmove(open.data() + size, open.data() + digits + 2, kept);
      std::memcpy(open.data(), head, size);
      batch.grown(fill(open.data(), size, kept) - open.size());
      return;
    }
  }
  batch.wrote_open(fill(batch.space().data(), write_chunk_head(batch.space(), bytes.size()), 0));
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
      if (!bytes.empty()) put_chunk(batch, bytes);
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
