#include "dataplane/agent/condition.h"

#include <sys/mman.h>
#include <sys/stat.h>

namespace sluice::agent {
using shared::CounterPage;

CounterView::CounterView(UniqueFd fd) : fd_(std::move(fd)) {
  struct stat info {};
  if (fstat(fd_.get(), &info) != 0 || info.st_size < static_cast<off_t>(sizeof(CounterPage))) return;
  void* memory = mmap(nullptr, sizeof(CounterPage), PROT_READ, MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED) return;
  page_ = static_cast<const CounterPage*>(memory);
  if (page_->magic == CounterPage::kMagic) return;
  munmap(memory, sizeof(CounterPage));
  page_ = nullptr;
}

CounterView::CounterView(CounterView&& other) noexcept
    : fd_(std::move(other.fd_)), page_(std::exchange(other.page_, nullptr)) {}
CounterView& CounterView::operator=(CounterView&& other) noexcept {
  fd_ = std::move(other.fd_);
  std::swap(page_, other.page_);
  return *this;
}
CounterView::~CounterView() {
  if (page_ != nullptr) munmap(const_cast<CounterPage*>(page_), sizeof(CounterPage));
}

std::string Condition::not_ready_because() const {
  if (draining) return "draining";
  if (running == nullptr) return "no state yet";
  if (workers_total == 0) return "no workers";
  if (workers_ready != workers_total) return fmt::format("{} of {} workers ready", workers_ready, workers_total);
  return {};
}

}  // namespace sluice::agent
