// Counters in shared memory: one page per worker index, a memfd made by the master, written by that worker alone (plain
// increments), mapped read-only by the agent, handed to the worker's successor so that sums never go back. No locks,
// pointers or lists. Layout is fixed-size and versioned; untouched slots cost no memory. Written with relaxed atomic
// stores so that readers never see torn values. The number of routes and namespaces with numbers of their own is
// bounded; the others are counted together.
#pragma once
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/grpc.h"

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

// Upper bounds in microseconds of what each namespace has a histogram of: few, for every one is a series of each.
inline constexpr std::array<uint32_t, 10> kNamespaceBoundsUs = {1000,   2500,   5000,    10000,   25000,
                                                                100000, 250000, 1000000, 2500000, 10000000};
struct NamespaceHistogram {
  std::array<Cell, kNamespaceBoundsUs.size() + 1> buckets;  // not cumulative; the sum is that of the routes
  void record(uint64_t us) {
    size_t i = 0;
    while (i < kNamespaceBoundsUs.size() && us > kNamespaceBoundsUs[i]) ++i;
    buckets[i].add();
  }
};

struct RouteCounters {
  std::array<Cell, 6> requests;  // by status class: [1] 1xx .. [5] 5xx; [0] = no answer was sent
  Cell duration_us;
  Cell upstream_us, upstream_answers;  // head sent to head received
  Cell bytes_in, bytes_out;            // bodies, client side
  Cell retries;
  std::array<Cell, static_cast<size_t>(http::Reason::kCount)> reasons;  // local answers by reason
  // By grpc-status, of gRPC requests. A route's, because their HTTP status says nothing (it is 200); 136 bytes a slot.
  std::array<Cell, static_cast<size_t>(http::grpc::Status::kCount)> grpc;
};

struct RouteSlot {
  // An Ingress always fits; a Route with a rule nearly always.
  static constexpr size_t kLabelBytes = 384;
  char label[kLabelBytes];  // Route.metric, zero-terminated
  Cell claimed_ns;          // CLOCK_MONOTONIC: which of the labels of all pages came first
  RouteCounters counters;
};

struct NamespaceSlot {
  static constexpr size_t kLabelBytes = 64;
  char label[kLabelBytes];
  Cell claimed_ns;
  NamespaceHistogram duration, upstream;
  RouteCounters rest;  // of its routes that have no slot
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

inline constexpr size_t kRouteSlots = 10000;    // at most; CounterPage::route_limit says how many of them are used
inline constexpr size_t kDefaultRoutes = 1000;  // --metric-routes
inline constexpr size_t kNamespaceSlots = 256;  // slot 0 = other namespaces
inline constexpr size_t kClusterSlots = 16384;  // slot 0 = "other"
inline constexpr size_t kLimitSlots = 4096;     // slot 0 = "other"

struct CounterPage {
  static constexpr uint64_t kMagic = 0x534c554943450006;
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
  std::array<Cell, 3> overload_level;  // gauges, 0 to 5: memory, connections, delay (worker/overload.h)
  std::array<Cell, 3> overload_shed;   // requests: of sheddable, standard, critical routes
  Cell overload_refused, overload_reset;
  // connections.balance even: accepted here and handed to another worker; kept, because that one could not take it;
  // what came from another worker and was no connection.
  Cell handovers_done, handovers_kept, handovers_refused;
  std::array<Cell, static_cast<size_t>(http::Reason::kCount)> reasons;  // local answers by reason
  Cell route_limit;
  // Slots are taken in order; slot i is in use when key i (a hash of its label) is not 0, stored (release) after it.
  std::array<std::atomic<uint64_t>, kNamespaceSlots> namespace_keys;
  std::array<std::atomic<uint64_t>, kRouteSlots> route_keys;
  std::array<NamespaceSlot, kNamespaceSlots> namespaces;
  std::array<RouteSlot, kRouteSlots> routes;
  std::array<LimitSlot, kLimitSlots> limits;
  std::array<ClusterSlot, kClusterSlots> clusters;
};

// What a route counts in: its own slot, or what its namespace keeps for those without.
struct RouteSlots {
  RouteCounters& route;
  NamespaceSlot& of_namespace;
};
// Names that no Kubernetes object can have.
inline constexpr std::string_view kNone = "_none", kOther = "_other";
// The namespace in a route's label ("KIND/NS/NAME..."); kNone for what is of none.
[[nodiscard]] std::string_view namespace_of(std::string_view label);

// Finds or claims in this worker's page, writer side only. Routes beyond CounterPage::route_limit, labels that do not
// fit and routes of namespaces without a slot count as the rest of their namespace.
[[nodiscard]] RouteSlots route_slots(CounterPage& page, std::string_view label);
// Slot 0 when none is left.
[[nodiscard]] LimitSlot& limit_slot(CounterPage& page, std::string_view label);
[[nodiscard]] ClusterSlot& cluster_slot(CounterPage& page, std::string_view label);

}  // namespace sluice::shared
