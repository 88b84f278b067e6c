#include "dataplane/shared/counters.h"

#include <algorithm>
#include <cstring>

#include <xxhash.h>

#include "common/base/clock.h"

namespace sluice::shared {
namespace {

// Tenants choose labels: a bounded number of probes, so that no set of names makes this slow; what finds no place
// counts as "other".
constexpr size_t kProbes = 32;

bool fits(std::string_view label, size_t room) {
  return !label.empty() && label.size() < room && label.find('\0') == label.npos;
}
uint64_t key_of(std::string_view label) { return std::max<uint64_t>(1, XXH3_64bits(label.data(), label.size())); }

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
  if (fits(label, Slot::kLabelBytes)) {
    const uint64_t key = key_of(label);
    for (size_t probe = 0; probe < kProbes; ++probe) {
      Slot& slot = slots[1 + (key + probe) % (N - 1)];
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

// In slots taken in order from `first` to `end`: the keys lie side by side, so that looking through all of them is
// cheap. Null when none is left.
template <class Slot, size_t N>
Slot* find_in_order(std::array<Slot, N>& slots, std::array<std::atomic<uint64_t>, N>& keys, size_t first, size_t end,
                    std::string_view label) {
  if (!fits(label, Slot::kLabelBytes)) return nullptr;
  const uint64_t key = key_of(label);
  for (size_t i = first; i < end; ++i) {
    const uint64_t found = keys[i].load(std::memory_order_relaxed);
    Slot& slot = slots[i];
    if (found == key && std::string_view(slot.label) == label) return &slot;
    if (found != 0) continue;
    std::memcpy(slot.label, label.data(), label.size());
    slot.label[label.size()] = '\0';
    slot.claimed_ns.set(monotonic_ns());
    keys[i].store(key, std::memory_order_release);
    return &slot;
  }
  return nullptr;
}

}  // namespace

std::string_view namespace_of(std::string_view label) {
  const size_t from = label.find('/');
  if (from == label.npos) return kNone;
  return label.substr(from + 1, label.find('/', from + 1) - from - 1);
}

RouteSlots route_slots(CounterPage& page, std::string_view label) {
  NamespaceSlot* const known =
      find_in_order(page.namespaces, page.namespace_keys, 1, kNamespaceSlots, namespace_of(label));
  if (known != nullptr) {
    const size_t limit = std::min<size_t>(page.route_limit.get(), kRouteSlots);
    RouteSlot* const own = find_in_order(page.routes, page.route_keys, 0, limit, label);
    return {own != nullptr ? own->counters : known->rest, *known};
  }
  NamespaceSlot* const other = find_in_order(page.namespaces, page.namespace_keys, 0, 1, kOther);
  return {other->rest, *other};
}
LimitSlot& limit_slot(CounterPage& page, std::string_view label) { return find(page.limits, label); }
ClusterSlot& cluster_slot(CounterPage& page, std::string_view label) { return find(page.clusters, label); }

}  // namespace sluice::shared
