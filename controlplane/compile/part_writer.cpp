#include "controlplane/compile/part_writer.h"

#include <cstring>

namespace sluice::compile {
namespace {

constexpr size_t kWord = 8;
constexpr size_t padded(size_t size) { return (size + kWord - 1) / kWord * kWord; }

}  // namespace

Chunk FreshChunks::keep(const flatbuffers::FlatBufferBuilder& builder) {
  const size_t size = builder.GetSize(), whole = padded(size);
  auto& block = blocks_.emplace_back(std::make_unique_for_overwrite<uint8_t[]>(whole));
  sizes_.push_back(whole);
  std::memcpy(block.get(), builder.GetBufferPointer(), size);
  std::memset(block.get() + size, 0, whole - size);
  const auto root = flatbuffers::ReadScalar<flatbuffers::uoffset_t>(block.get());
  return {block.get(), static_cast<uint32_t>(whole), root};
}

void FreshChunks::wipe() {
  for (size_t i = 0; i < blocks_.size(); ++i) explicit_bzero(blocks_[i].get(), sizes_[i]);
}

size_t head_bytes(const flatbuffers::FlatBufferBuilder& head) { return padded(head.GetSize()); }

Part write_part(const flatbuffers::FlatBufferBuilder& head, std::span<const ListLayout> lists) {
  const size_t head_size = head_bytes(head);
  size_t total = head_size;
  for (const ListLayout& list : lists) {
    for (const Chunk& chunk : list.chunks) total += chunk.size;
  }
  auto bytes = std::make_shared<std::vector<std::byte>>();
  bytes->reserve(total);
  const auto append = [&bytes](const uint8_t* from, size_t size) {
    const auto* begin = reinterpret_cast<const std::byte*>(from);
    bytes->insert(bytes->end(), begin, begin + size);
  };
  append(head.GetBufferPointer(), head.GetSize());
  bytes->resize(head_size);
  for (const ListLayout& list : lists) {
    // Neighbours that were neighbours before are copied at once.
    const uint8_t* run = nullptr;
    size_t run_size = 0;
    size_t at = bytes->size(), slot = list.slots;
    for (const Chunk& chunk : list.chunks) {
      flatbuffers::WriteScalar(bytes->data() + slot, static_cast<flatbuffers::uoffset_t>(at + chunk.root - slot));
      slot += sizeof(flatbuffers::uoffset_t);
      at += chunk.size;
      if (run_size != 0 && run + run_size == chunk.bytes) {
        run_size += chunk.size;
        continue;
      }
      append(run, run_size);
      run = chunk.bytes;
      run_size = chunk.size;
    }
    append(run, run_size);
  }
  Part out;
  out.hash = ir::content_hash(*bytes);
  out.bytes = std::move(bytes);
  return out;
}

}  // namespace sluice::compile
