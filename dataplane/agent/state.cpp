#include "dataplane/agent/state.h"

#include "common/ir/verify.h"

namespace sluice::agent {

const char* part_name(ir::PartKind kind) {
  switch (kind) {
    case ir::PartKind::table:
      return "table";
    case ir::PartKind::endpoints:
      return "endpoints";
    case ir::PartKind::secrets:
      return "secrets";
    case ir::PartKind::shard:
      return "shard";
  }
  return "unknown";
}

ir::TableView State::table() const {
  std::vector<const ir::RouteTable*> roots;
  roots.reserve(shards.size());
  for (const auto& shard : shards) roots.push_back(flatbuffers::GetRoot<ir::RouteTable>(shard->bytes().data()));
  return {head(), roots};
}

Status check_whole(const State& state, const State* known) {
  if (state.shards.empty()) return {};
  return ir::verify_shards(state.table(), known == nullptr ? ir::TableView() : known->table());
}

std::expected<std::shared_ptr<const Part>, PartError> check_part(ir::PartKind kind, UniqueFd fd,
                                                                 const ir::ContentHash& hash, const Part* known) {
  auto part = std::make_shared<Part>();
  auto mapping = ir::Mapping::map(fd.get(), ir::kMaxPartBytes);
  if (!mapping) {
    const bool unsealed = mapping.error().message.find("sealed") != std::string::npos;
    return std::unexpected(
        PartError{unsealed ? ir::NackReason::not_sealed : ir::NackReason::too_large, mapping.error().message});
  }
  part->mapping = std::move(*mapping);
  part->fd = std::move(fd);
  part->hash = ir::content_hash(part->bytes());
  if (part->hash != hash)
    return std::unexpected(
        PartError{ir::NackReason::bad_hash, fmt::format("{}: other bytes than announced", part_name(kind))});
  if (Status verified =
          ir::verify_part(kind, part->bytes(), known != nullptr ? known->bytes() : std::span<const std::byte>());
      !verified) {
    return std::unexpected(
        PartError{ir::NackReason::bad_schema, fmt::format("{}: {}", part_name(kind), verified.error().message)});
  }
  return part;
}

std::expected<std::shared_ptr<const Part>, PartError> make_part(ir::PartKind kind, std::span<const std::byte> bytes) {
  auto fd = ir::make_sealed(part_name(kind), bytes);
  if (!fd) return std::unexpected(PartError{ir::NackReason::internal, fd.error().message});
  return check_part(kind, std::move(*fd), ir::content_hash(bytes));
}

}  // namespace sluice::agent
