// Applies what sources tell (change.h) to the snapshot, and says when a new table is due. Single-threaded, no I/O; the
// clock is passed in.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "controlplane/store/change.h"
#include "controlplane/store/snapshot.h"

namespace sluice::store {

class Store {
 public:
  // True if the snapshot or the problems are different afterwards. An equal object, whatever its resourceVersion, is no
  // change.
  bool apply(Change change);
  // null: forgotten. True if the snapshot is different afterwards.
  bool resolved(const std::string& name, std::shared_ptr<const ResolvedName> now);
  [[nodiscard]] const Snapshot& snapshot() const { return snapshot_; }
  // Of objects that could not be decoded, by object. Such an object is not in the snapshot.
  [[nodiscard]] std::vector<Problem> problems() const;
  [[nodiscard]] size_t size(Kind kind) const;

 private:
  bool upsert(Object object);
  bool erase(const ObjectRef& ref);
  bool replace(Replace replace);
  void note(const Change& change);
  static constexpr size_t kMaxJournal = 4096;
  Snapshot snapshot_;
  std::map<ObjectRef, std::vector<Problem>> problems_;
};

// When to translate: a burst of changes becomes one table, a single change waits only a moment. The first change arms a
// deadline 1 ms away; each further one moves it to 1 ms from then, but not beyond 10 ms after the first. Changes that
// go on and on (a rollout) become few tables: when a third round would follow with less than 20 ms between one and the
// next change, it waits 10 ms, the next 20, and so on up to 100 ms.
class Coalescer {
 public:
  static constexpr uint64_t kQuietMs = 1;
  static constexpr uint64_t kMaxMs = 10, kMaxBurstMs = 100;
  static constexpr uint64_t kPauseMs = 20;
  void changed(uint64_t now_ms);
  [[nodiscard]] std::optional<uint64_t> due_ms() const { return due_; }
  // The round has been made.
  void done(uint64_t now_ms);

 private:
  std::optional<uint64_t> first_, due_, last_round_;
  size_t in_a_row_ = 0;  // rounds before this one without a pause between
};

}  // namespace sluice::store
