// Is this part safe to read in place? The flatbuffers verifier (every offset, vector and nested virtual host inside its
// buffer) and then what it cannot know: versions, sorted unique keys, indexes in range, closed enums and unions,
// statuses, bounds of strings and numbers, no control bytes where HTTP would be split. Pure; never throws, never
// crashes whatever the bytes. After it, workers read without further checks.
// `known`: a part of the same kind that passed before, or nothing. Virtual hosts whose bytes are those of the known
// table, byte for byte, are not judged again; the verdict is the same with and without it.
// A table in shards has passed when its head, each shard, and then verify_shards did.
#pragma once
#include <cstddef>
#include <span>

#include "common/base/result.h"
#include "common/ir/push_frame.h"
#include "common/ir/table_view.h"

namespace sluice::ir {

// Bounds of what a part may hold, beside kMaxPartBytes.
inline constexpr size_t kMaxHostBytes = 255;
inline constexpr size_t kMaxPathBytes = 8192;
inline constexpr size_t kMaxRegexBytes = 4096;
inline constexpr size_t kMaxNameBytes = 1024;    // object names, labels, header names
inline constexpr size_t kMaxValueBytes = 16384;  // header values, log formats
inline constexpr size_t kMaxBodyBytes = size_t{1} << 20;
inline constexpr size_t kMaxPemBytes = size_t{4} << 20;
inline constexpr size_t kMaxTicketKeys = 16, kTicketKeyBytes = 80;
inline constexpr uint32_t kMaxLimitRequests = 1'000'000, kMinLimitMs = 1000, kMaxLimitMs = 86'400'000;
inline constexpr size_t kMaxLimitKeys = 4;
inline constexpr size_t kMaxListenerAddresses = 16;  // over all listeners
inline constexpr uint32_t kMaxTableWorkers = 128;
inline constexpr uint32_t kMinHeaderBytes = 1024, kMaxHeaderBytes = 1u << 20;
inline constexpr uint32_t kMinRequestLine = 256, kMaxRequestLine = 1u << 20;
inline constexpr uint32_t kMaxHeaderCount = 10000;
inline constexpr uint32_t kMaxBodyRate = 1u << 30;
inline constexpr uint32_t kMaxHttp2Streams = 1000;
inline constexpr uint32_t kMinHttp2Window = 65535, kMaxHttp2Window = 16u << 20;
inline constexpr size_t kMaxUpgrades = 8;

// The error says where: "host a.example.com, route 3: redirect status 399".
[[nodiscard]] Status verify_table(std::span<const std::byte> bytes, std::span<const std::byte> known = {});
[[nodiscard]] Status verify_shard(std::span<const std::byte> bytes, std::span<const std::byte> known = {});
[[nodiscard]] Status verify_endpoints(std::span<const std::byte> bytes);
[[nodiscard]] Status verify_secrets(std::span<const std::byte> bytes);
[[nodiscard]] Status verify_part(PartKind kind, std::span<const std::byte> bytes,
                                 std::span<const std::byte> known = {});
// What no shard knows of itself: that its names belong to it, and that the clusters which its routes name are there.
// `known`: the view that passed before. Its shards that are in this one, at the same address, are not judged again
// unless a cluster is gone. Costs by what changed.
[[nodiscard]] Status verify_shards(const TableView& table, const TableView& known = {});

}  // namespace sluice::ir
