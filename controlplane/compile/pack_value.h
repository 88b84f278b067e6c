// A value with its hash filled in: XXH3-64 of its packed bytes without the hash. Internal to this room.
#pragma once
#include <cstdint>

#include <flatbuffers/flatbuffers.h>
#include <xxhash.h>

namespace sluice::compile {

[[nodiscard]] inline uint64_t hash_of(const flatbuffers::FlatBufferBuilder& builder) {
  return XXH3_64bits(builder.GetBufferPointer(), builder.GetSize());
}

// `value` is left with its hash; the builder is finished.
template <class T>
void pack_hashed(flatbuffers::FlatBufferBuilder& builder, T& value) {
  value.hash = 0;
  builder.Clear();
  builder.Finish(T::TableType::Pack(builder, &value));
  value.hash = hash_of(builder);
  builder.Clear();
  builder.Finish(T::TableType::Pack(builder, &value));
}

}  // namespace sluice::compile
