// How a part is laid out, so that one change costs one entry. In front is a small flatbuffer of its own, the head: root
// table, settings, and for each list a vector of offsets. Behind it lie the entries, each made by a builder of its own.
// Offsets in flatbuffers are relative, so an entry's bytes may lie at any 8-byte boundary: an entry that did not change
// is copied from where it lay in the part made before, and only the heads' offsets are computed anew. The layout
// depends on the entries and their order alone: however a part came about, equal input gives equal bytes. Internal to
// this room.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <flatbuffers/flatbuffers.h>

#include "controlplane/compile/compile.h"

namespace sluice::compile {

// One entry's bytes: a whole number of 8-byte words; `root` is where its table begins in them.
struct Chunk {
  const uint8_t* bytes = nullptr;
  uint32_t size = 0, root = 0;
};

// Entries made in this round, until they are copied into their part.
class FreshChunks {
 public:
  // What the builder has finished.
  [[nodiscard]] Chunk keep(const flatbuffers::FlatBufferBuilder& builder);
  void wipe();  // before the memory goes: they held keys

 private:
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  std::vector<size_t> sizes_;
};

// A list of a part: its entries in order, and the offsets in the head that point to them.
struct ListLayout {
  size_t slots = 0;  // of the first offset in the head
  std::span<const Chunk> chunks;
};
// The head with all entries behind it, each list's after those of the list before; offsets filled in.
[[nodiscard]] Part write_part(const flatbuffers::FlatBufferBuilder& head, std::span<const ListLayout> lists);

// Where the entries begin.
[[nodiscard]] size_t head_bytes(const flatbuffers::FlatBufferBuilder& head);

// A list's entries and where they lie in the part made last.
template <class T>
class ListMemo {
 public:
  using Items = std::vector<std::shared_ptr<const T>>;
  [[nodiscard]] bool same(const Items& now) const { return items_ == now; }

  // The chunks of `now`, sorted by key_of as the last ones were: taken from `last`, the part made last, or made by
  // make(item). Immutable items that are held: the same address is the same value.
  template <class KeyOf, class Make>
  [[nodiscard]] std::vector<Chunk> chunks(const Items& now, const Part& last, const KeyOf& key_of, const Make& make) {
    std::vector<Chunk> out;
    out.reserve(now.size());
    const auto* bytes = last.bytes ? reinterpret_cast<const uint8_t*>(last.bytes->data()) : nullptr;
    size_t old = 0;
    for (const auto& item : now) {
      while (old < items_.size() && items_[old] != item && key_of(*items_[old]) < key_of(*item)) ++old;
      if (old < items_.size() && items_[old] == item) {
        out.push_back({bytes + places_[old].begin, places_[old].size, places_[old].root});
        ++old;
      } else {
        out.push_back(make(*item));
      }
    }
    return out;
  }
  // They lie in a part now, from `at` on; returns where they end. Each entry that is where it was keeps its count of
  // owners: touching all of them is most of what a small change would cost.
  size_t placed(const Items& now, std::span<const Chunk> chunks, size_t at) {
    items_.resize(now.size());
    for (size_t i = 0; i < now.size(); ++i) {
      if (items_[i] != now[i]) items_[i] = now[i];
    }
    places_.clear();
    places_.reserve(chunks.size());
    for (const Chunk& chunk : chunks) {
      places_.push_back({static_cast<uint32_t>(at), chunk.size, chunk.root});
      at += chunk.size;
    }
    return at;
  }

 private:
  struct Place {
    uint32_t begin, size, root;
  };
  Items items_;
  std::vector<Place> places_;
};

// The position of a vector's first offset in the buffer that holds it.
template <class T>
[[nodiscard]] size_t slots_of(const flatbuffers::FlatBufferBuilder& builder,
                              const flatbuffers::Vector<flatbuffers::Offset<T>>* vector) {
  return static_cast<size_t>(vector->Data() - builder.GetBufferPointer());
}

// A vector of `size` offsets that write_part fills in.
template <class T>
[[nodiscard]] flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<T>>> make_slots(
    flatbuffers::FlatBufferBuilder& builder, size_t size) {
  flatbuffers::uoffset_t* unset = nullptr;
  return builder.CreateUninitializedVector<flatbuffers::uoffset_t>(size, &unset).o;
}

}  // namespace sluice::compile
