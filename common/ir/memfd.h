// Sealed memory files: how a part travels. Sealed against write, grow and shrink, so what was verified cannot change
// under a reader.
#pragma once
#include <cstddef>
#include <span>
#include <string>

#include "common/base/result.h"
#include "common/base/unique_fd.h"

namespace sluice::ir {

// An empty memfd (name shows in /proc) that has its pages already: most of what filling a new one costs is finding
// them.
[[nodiscard]] Result<UniqueFd> make_room(const char* name, size_t bytes);
// Copies bytes into `room`, or without it into a new memfd, and seals it.
[[nodiscard]] Result<UniqueFd> make_sealed(const char* name, std::span<const std::byte> bytes, UniqueFd room = {});

// A read-only mapping; unmapped when destroyed. Moves only.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  [[nodiscard]] std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  // Maps all of fd. With `require_sealed`, refuses a memfd that could still change; sizes over max_bytes are refused.
  [[nodiscard]] static Result<Mapping> map(int fd, size_t max_bytes, bool require_sealed = true);

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sluice::ir
