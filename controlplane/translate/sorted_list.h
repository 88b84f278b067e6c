// Sorted lists that are kept up to date piece by piece: the work is that of the keys named, beside one pass of moves
// when entries come or go. Internal to this room.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>
#include <vector>

#include "controlplane/store/problem.h"

namespace sluice::translate {

// Brings `list`, in the order of key_of, up to date for `keys`, which are in the same order: make(key) says what is
// there now, if anything. True if anything came or went.
template <class T, class Keys, class KeyOf, class Make>
bool patch(std::vector<T>& list, const Keys& keys, const KeyOf& key_of, const Make& make) {
  std::vector<T> come;
  std::vector<size_t> gone;  // indexes, rising
  for (const auto& key : keys) {
    const auto at = std::ranges::lower_bound(list, key, {}, key_of);
    const bool there = at != list.end() && key_of(*at) == key;
    std::optional<T> now = make(key);
    if (there && now) *at = std::move(*now);
    else if (there) gone.push_back(static_cast<size_t>(at - list.begin()));
    else if (now) come.push_back(std::move(*now));
  }
  if (come.empty() && gone.empty()) return false;
  std::vector<T> merged;
  merged.reserve(list.size() + come.size() - gone.size());
  auto next_come = come.begin();
  auto next_gone = gone.begin();
  for (size_t i = 0; i < list.size(); ++i) {
    if (next_gone != gone.end() && *next_gone == i) {
      ++next_gone;
      continue;
    }
    while (next_come != come.end() && key_of(*next_come) < key_of(list[i])) merged.push_back(std::move(*next_come++));
    merged.push_back(std::move(list[i]));
  }
  std::move(next_come, come.end(), std::back_inserter(merged));
  list = std::move(merged);
  return true;
}

// The problems of all that is remembered, as one sorted list in which each stands once, however many say it.
class ProblemList {
 public:
  void add(const std::vector<store::Problem>& problems) { come_.insert(come_.end(), problems.begin(), problems.end()); }
  void remove(const std::vector<store::Problem>& problems) {
    gone_.insert(gone_.end(), problems.begin(), problems.end());
  }
  // What was added and removed since the last call takes effect in `list`, which must be the one of the last call.
  void settle(std::vector<store::Problem>& list);

 private:
  std::vector<store::Problem> come_, gone_;
  std::vector<uint32_t> counts_;  // how many say it, of each in the list
};

}  // namespace sluice::translate
