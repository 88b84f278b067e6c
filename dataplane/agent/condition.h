// What the agent knows about the data plane's condition: filled by agent.cpp, read by the admin port and by reports to
// the control plane.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/unique_fd.h"
#include "dataplane/agent/state.h"
#include "dataplane/shared/counters.h"
#include "dataplane/sync/messages.h"

namespace sluice::agent {

// A worker's counters, mapped read-only. Holes are never read: that would fill them.
class CounterView {
 public:
  CounterView() = default;
  explicit CounterView(UniqueFd fd);
  CounterView(CounterView&& other) noexcept;
  CounterView& operator=(CounterView&& other) noexcept;
  ~CounterView();
  [[nodiscard]] const shared::CounterPage* page() const { return page_; }
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
  const shared::CounterPage* page_ = nullptr;
};

struct Condition {
  std::shared_ptr<const State> running;  // acknowledged by all workers
  uint32_t workers_ready = 0, workers_total = 0, worker_restarts = 0;
  std::vector<std::pair<std::string, uint16_t>> bound;  // listener name, port
  bool draining = false;
  bool connected = false;  // to the control plane
  uint64_t states_applied = 0, states_refused = 0, persist_failures = 0;
  std::vector<CounterView> counters;

  // Published by the control plane until all workers acknowledged.
  shared::Histogram propagation;

  // Empty = ready.
  [[nodiscard]] std::string not_ready_because() const;
};

}  // namespace sluice::agent
