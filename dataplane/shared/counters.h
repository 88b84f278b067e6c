// Counters in shared memory: one page per worker index, a memfd made by the master, written by that worker alone (plain
// increments), mapped read-only by the agent, handed to the worker's successor so that sums never go back. No locks,
// pointers or lists. Layout is fixed-size and versioned; untouched slots cost no memory. Written with relaxed atomic
// stores so that readers never see torn values.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/http/error.h"

namespace sluice::shared {

// A number that one process writes and others read.
class Cell {
 public:
  void add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  void set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  [[nodiscard]] uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};
static_assert(sizeof(Cell) == 8 && std::atomic<uint64_t>::is_always_lock_free);

// Upper bounds in microseconds; one more bucket is +Inf.
inline constexpr std::array<uint32_t, 14> kDurationBoundsUs = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
struct Histogram {
  std::array<Cell, kDurationBoundsUs.size() + 1> buckets;  // not cumulative
  Cell sum_us;
  void record(uint64_t us) {
    size_t i = 0;
    while (i < kDurationBoundsUs.size() && us > kDurationBoundsUs[i]) ++i;
    buckets[i].add();
    sum_us.add(us);
  }
};

struct RouteSlot {
  static constexpr size_t kLabelBytes = 192;
  std::atomic<uint64_t> key{0};  // hash of label; 0 = free. Stored (release) after `label`
  char label[kLabelBytes];       // Route.metric, zero-terminated
  std::array<Cell, 6> requests;  // by status class: [1] 1xx .. [5] 5xx; [0] = no answer was sent
  Histogram duration;
  Histogram upstream_duration;  // head sent to head received
  Cell bytes_in, bytes_out;     // bodies, client side
  Cell retries;
};

struct ClusterSlot {
  static constexpr size_t kLabelBytes = 192;
  std::atomic<uint64_t> key{0};
  char label[kLabelBytes];
  Cell attempts, connect_failures, timeouts, resets, connections_opened;
  Cell active_connections, idle_connections;  // gauges
};

// Requests by what a rate limit said. A refused request counts at every limit that refused it, and at no other.
struct LimitSlot {
  static constexpr size_t kLabelBytes = 384;
  std::atomic<uint64_t> key{0};
  char label[kLabelBytes];           // Limit.id
  Cell admitted, limited, shadowed;  // a token was taken; there was none; there was none in shadow mode
};

inline constexpr size_t kRouteSlots = 16384;    // slot 0 = "other": when full, and for routes whose label does not fit
inline constexpr size_t kClusterSlots = 16384;  // slot 0 = "other"
inline constexpr size_t kLimitSlots = 4096;     // slot 0 = "other"

struct CounterPage {
  static constexpr uint64_t kMagic = 0x534c554943450003;
  uint64_t magic;
  Cell heartbeat_ms;  // monotonic; a worker at rest still writes it each 250 ms
  Cell pid;
  Cell sequence;  // of the state it runs
  Cell connections_accepted, connections_active, tls_handshakes, tls_resumed, tls_failures, streams_active,
      streams_total;
  Cell log_lines, log_dropped, upgrades;
  Cell tables_mapped;  // gauge
  Cell tables_applied;
  Cell rate_limit_evictions;
  std::array<Cell, static_cast<size_t>(http::Reason::kCount)> reasons;  // local answers by reason
  std::array<RouteSlot, kRouteSlots> routes;
  std::array<LimitSlot, kLimitSlots> limits;
  std::array<ClusterSlot, kClusterSlots> clusters;
};

// Finds or claims the slot of a label in this worker's page; slot 0 when none is left. Writer side only.
[[nodiscard]] RouteSlot& route_slot(CounterPage& page, std::string_view label);
[[nodiscard]] LimitSlot& limit_slot(CounterPage& page, std::string_view label);
[[nodiscard]] ClusterSlot& cluster_slot(CounterPage& page, std::string_view label);

}  // namespace sluice::shared
