// Translation -> the parts that are pushed: table, endpoints, secrets, and the shards of a large table
// (ir/table_view.h). Each entry (virtual host, cluster, endpoints, certificate) is packed once, as long as translation
// hands out the same object; a part is a head of offsets plus those bytes copied (part_writer.h). Equal translations
// give equal bytes. A regex that does not compile or is too large never gets here (translate checks).
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "common/ir/push_frame.h"
#include "common/ir/table_view.h"
#include "controlplane/translate/translate.h"

namespace sluice::compile {

struct Part {
  std::shared_ptr<const std::vector<std::byte>> bytes;
  ir::ContentHash hash;
};
struct Compiled {
  Part parts[ir::kParts];    // by PartKind
  std::vector<Part> shards;  // of the table; none = it is whole in its part
};

class Compiler {
 public:
  // A table of more hosts or clusters than `shard_above` is cut; tests want small ones cut too.
  explicit Compiler(size_t shard_above = ir::kShardAbove);
  ~Compiler();
  [[nodiscard]] Compiled compile(const translate::Translation& translation);

 private:
  struct Memo;
  std::unique_ptr<Memo> memo_;
};

}  // namespace sluice::compile
