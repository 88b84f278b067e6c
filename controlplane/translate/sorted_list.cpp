#include "controlplane/translate/sorted_list.h"

#include <tuple>

namespace sluice::translate {
namespace {

auto words(const store::Problem& p) { return std::tie(p.object, p.field, p.reason, p.text, p.severity); }

}  // namespace

void ProblemList::settle(std::vector<store::Problem>& list) {
  std::ranges::sort(come_, {}, words);
  std::ranges::sort(gone_, {}, words);
  // Most that is said anew was said before: it cancels out, and the list is not touched.
  if (come_ == gone_) {
    come_.clear(), gone_.clear();
    return;
  }
  std::vector<store::Problem> merged;
  std::vector<uint32_t> counts;
  merged.reserve(list.size() + come_.size());
  counts.reserve(list.size() + come_.size());
  auto come = come_.begin(), gone = gone_.begin();
  for (size_t i = 0; i < list.size() || come != come_.end();) {
    const bool from_list = i < list.size() && (come == come_.end() || words(list[i]) <= words(*come));
    store::Problem problem = std::move(from_list ? list[i] : *come);
    uint32_t count = from_list ? counts_[i++] : (++come, 1);
    for (; come != come_.end() && *come == problem; ++come) ++count;
    for (; gone != gone_.end() && *gone == problem; ++gone) --count;
    if (count == 0) continue;
    merged.push_back(std::move(problem));
    counts.push_back(count);
  }
  list = std::move(merged);
  counts_ = std::move(counts);
  come_.clear(), gone_.clear();
}

}  // namespace sluice::translate
