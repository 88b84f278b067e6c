#include "dataplane/shared/counters.h"

#include <cstring>

#include <xxhash.h>

namespace sluice::shared {
namespace {

// Tenants choose labels: a bounded number of probes, so that no set of names makes this slow; what finds no place
// counts as "other".
constexpr size_t kProbes = 32;

template <class Slot>
bool is(const Slot& slot, uint64_t key, std::string_view label) {
  return slot.key.load(std::memory_order_relaxed) == key && std::memcmp(slot.label, label.data(), label.size()) == 0 &&
         slot.label[label.size()] == '\0';
}

template <class Slot>
void claim(Slot& slot, uint64_t key, std::string_view label) {
  std::memcpy(slot.label, label.data(), label.size());
  slot.label[label.size()] = '\0';
  // Readers look at the label only after they saw the key. Dying in between leaves a free slot.
  slot.key.store(key, std::memory_order_release);
}

template <class Slot, size_t N>
Slot& find(std::array<Slot, N>& slots, std::string_view label) {
  if (!label.empty() && label.size() < Slot::kLabelBytes && label.find('\0') == label.npos) {
    const uint64_t hash = XXH3_64bits(label.data(), label.size());
    const uint64_t key = hash == 0 ? 1 : hash;
    for (size_t probe = 0; probe < kProbes; ++probe) {
      Slot& slot = slots[1 + (hash + probe) % (N - 1)];
      if (is(slot, key, label)) return slot;
      if (slot.key.load(std::memory_order_relaxed) == 0) {
        claim(slot, key, label);
        return slot;
      }
    }
  }
  if (slots[0].key.load(std::memory_order_relaxed) == 0) claim(slots[0], 1, "other");
  return slots[0];
}

}  // namespace

RouteSlot& route_slot(CounterPage& page, std::string_view label) { return find(page.routes, label); }
LimitSlot& limit_slot(CounterPage& page, std::string_view label) { return find(page.limits, label); }
ClusterSlot& cluster_slot(CounterPage& page, std::string_view label) { return find(page.clusters, label); }

}  // namespace sluice::shared
