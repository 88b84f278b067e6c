// The counter pages (dataplane/shared/counters.h): one memfd for each live worker process, kept when it ends and given
// to a later one, so sums never go back. The master reads heartbeats, clears the gauges of the dead and says how many
// routes count; everything else in a page belongs to the worker that has it.
#pragma once
#include <cstdint>
#include <vector>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "dataplane/shared/counters.h"

namespace sluice::master {

class CounterPages {
 public:
  static constexpr size_t kMaxPages = 1024;
  CounterPages() = default;
  CounterPages(const CounterPages&) = delete;
  CounterPages& operator=(const CounterPages&) = delete;
  ~CounterPages();
  // A free page, `preferred` if it is free; else a new one.
  [[nodiscard]] Result<unsigned> take(unsigned preferred);
  // Its worker is gone: gauges become zero.
  void give_back(unsigned page);
  [[nodiscard]] int fd(unsigned page) const { return pages_[page].fd.get(); }
  [[nodiscard]] const UniqueFd& handle(unsigned page) const { return pages_[page].fd; }
  [[nodiscard]] shared::CounterPage& at(unsigned page) const { return *pages_[page].memory; }
  [[nodiscard]] size_t count() const { return pages_.size(); }
  [[nodiscard]] bool used(unsigned page) const { return pages_[page].used; }
  // Taking over from an earlier master; in order of their numbers.
  [[nodiscard]] Status adopt(UniqueFd fd, bool used);

 private:
  struct Page {
    UniqueFd fd;
    shared::CounterPage* memory = nullptr;
    bool used = false;
  };
  std::vector<Page> pages_;
};

}  // namespace sluice::master
