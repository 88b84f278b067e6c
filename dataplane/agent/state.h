// A state as the agent has it: verified, sealed parts, and the table's shards if it has any. Parts are shared between
// states that have them in common.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "common/base/unique_fd.h"
#include "common/ir/memfd.h"
#include "common/ir/push_frame.h"
#include "common/ir/route_table_generated.h"
#include "common/ir/table_view.h"

namespace sluice::agent {

struct Part {
  UniqueFd fd;
  ir::Mapping mapping;
  ir::ContentHash hash;
  [[nodiscard]] std::span<const std::byte> bytes() const { return mapping.bytes(); }
};

struct State {
  ir::StateId id;
  uint64_t published_ns = 0;  // 0 = unknown: from disk, or from an earlier agent
  std::array<std::shared_ptr<const Part>, ir::kParts> parts;
  std::vector<std::shared_ptr<const Part>> shards;  // of the table, in its order
  [[nodiscard]] const ir::RouteTable& head() const {
    return *flatbuffers::GetRoot<ir::RouteTable>(parts[0]->bytes().data());
  }
  // Head and shards as one; valid as long as the state.
  [[nodiscard]] ir::TableView table() const;
  [[nodiscard]] const ir::SecretSet& secrets() const {
    return *flatbuffers::GetRoot<ir::SecretSet>(parts[static_cast<size_t>(ir::PartKind::secrets)]->bytes().data());
  }
};

// What was wrong with a part, in the protocol's words.
struct PartError {
  ir::NackReason reason{};
  std::string text;
};

// Maps, hashes and verifies: sealed, of that hash, readable without further checks. `known`: a part of that kind that
// passed before, or null; it saves work.
[[nodiscard]] std::expected<std::shared_ptr<const Part>, PartError> check_part(ir::PartKind kind, UniqueFd fd,
                                                                               const ir::ContentHash& hash,
                                                                               const Part* known = nullptr);
// The last check of a state that has all its parts: what the shards are to each other. `known`: one that passed, or
// null; it saves work.
[[nodiscard]] Status check_whole(const State& state, const State* known = nullptr);
// The same as check_part for bytes from disk: copied into a sealed memfd first.
[[nodiscard]] std::expected<std::shared_ptr<const Part>, PartError> make_part(ir::PartKind kind,
                                                                              std::span<const std::byte> bytes);

[[nodiscard]] const char* part_name(ir::PartKind kind);

}  // namespace sluice::agent
