#include "controlplane/store/store.h"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace sluice::store {
namespace {

template <class T>
auto& map_of(Snapshot& snapshot) {
  if constexpr (std::is_same_v<T, Ingress>) return snapshot.ingresses;
  else if constexpr (std::is_same_v<T, IngressClass>) return snapshot.ingress_classes;
  else if constexpr (std::is_same_v<T, Service>) return snapshot.services;
  else if constexpr (std::is_same_v<T, EndpointSlice>) return snapshot.endpoint_slices;
  else if constexpr (std::is_same_v<T, Secret>) return snapshot.secrets;
  else if constexpr (std::is_same_v<T, ConfigMap>) return snapshot.config_maps;
  else if constexpr (std::is_same_v<T, Namespace>) return snapshot.namespaces;
  else if constexpr (std::is_same_v<T, Route>) return snapshot.routes;
  else return snapshot.rate_limit_policies;
}

// Calls f(map) with the snapshot's map of that kind.
template <class F>
auto with_map(Snapshot& snapshot, Kind kind, F&& f) {
  switch (kind) {
    case Kind::ingress:
      return f(snapshot.ingresses);
    case Kind::ingress_class:
      return f(snapshot.ingress_classes);
    case Kind::service:
      return f(snapshot.services);
    case Kind::endpoint_slice:
      return f(snapshot.endpoint_slices);
    case Kind::secret:
      return f(snapshot.secrets);
    case Kind::config_map:
      return f(snapshot.config_maps);
    case Kind::namespace_:
      return f(snapshot.namespaces);
    case Kind::route:
      return f(snapshot.routes);
    case Kind::rate_limit_policy:
      break;
  }
  return f(snapshot.rate_limit_policies);
}

// A resourceVersion moves with every write, also of fields that are not ours (status, managedFields): it must not make
// a new table.
template <class T>
bool same_but_version(const T& a, const T& b) {
  if (a.meta.generation != b.meta.generation || a.meta.uid != b.meta.uid) return false;
  T copy = b;
  copy.meta.resource_version = a.meta.resource_version;
  return a == copy;
}

}  // namespace

namespace {
Newest* newest_of(Snapshot& snapshot, Kind kind) {
  if (kind == Kind::route) return &snapshot.newest_routes;
  return kind == Kind::rate_limit_policy ? &snapshot.newest_policies : nullptr;
}
}  // namespace

bool Store::upsert(Object object) {
  const ObjectRef ref = ref_of(object);
  if (Newest* newest = newest_of(snapshot_, ref.kind)) newest->note(ref.key.ns, meta_of(object).resource_version);
  const bool had_problems = problems_.erase(ref) > 0;
  const bool changed = std::visit(
      [&]<class T>(T&& typed) {
        using Type = std::decay_t<T>;
        auto& slot = map_of<Type>(snapshot_)[typed.meta.key()];
        const bool same = slot != nullptr && same_but_version(*slot, typed);
        // The newest version is kept even if nothing else differs: writers of status need it.
        slot = std::make_shared<const Type>(std::forward<T>(typed));
        return !same;
      },
      std::move(object));
  return changed || had_problems;
}

bool Store::erase(const ObjectRef& ref) {
  const bool had_problems = problems_.erase(ref) > 0;
  const bool erased = with_map(snapshot_, ref.kind, [&](auto& map) { return map.erase(ref.key) > 0; });
  return erased || had_problems;
}

bool Store::replace(Replace replace) {
  std::vector<ObjectKey> kept;
  kept.reserve(replace.objects.size());
  for (const Object& object : replace.objects) kept.push_back(meta_of(object).key());
  std::ranges::sort(kept);
  // A list may be older than what was seen before it: the API server's storage was restored.
  if (Newest* newest = newest_of(snapshot_, replace.kind)) {
    if (replace.ns.empty()) *newest = {};
    else newest->by_namespace.erase(replace.ns);
  }
  const auto in_scope = [&](const ObjectKey& key) { return replace.ns.empty() || key.ns == replace.ns; };
  const auto is_gone = [&](const ObjectKey& key) { return in_scope(key) && !std::ranges::binary_search(kept, key); };
  bool changed = with_map(snapshot_, replace.kind, [&](auto& map) {
    return std::erase_if(map, [&](const auto& entry) { return is_gone(entry.first); }) > 0;
  });
  changed |= std::erase_if(problems_, [&](const auto& entry) {
               return entry.first.kind == replace.kind && is_gone(entry.first.key);
             }) > 0;
  for (Object& object : replace.objects) {
    if (kind_of(object) == replace.kind) changed |= upsert(std::move(object));
  }
  return changed;
}

namespace {

Kind kind_of_change(const Change& change) {
  return std::visit(
      []<class T>(const T& typed) {
        if constexpr (std::is_same_v<T, Upsert>) return kind_of(typed.object);
        else if constexpr (std::is_same_v<T, Replace>) return typed.kind;
        else return typed.ref.kind;
      },
      change);
}

}  // namespace

// Counts the kind's version and writes into its journal what is touched; a whole list begins a new one.
void Store::note(const Change& change) {
  const auto kind = static_cast<size_t>(kind_of_change(change));
  const uint64_t version = ++snapshot_.kind_versions[kind];
  Snapshot::Journal& journal = snapshot_.journals[kind];
  if (std::holds_alternative<Replace>(change)) {
    journal = {version, {}};
    return;
  }
  if (journal.keys.size() == kMaxJournal) {
    constexpr auto kDropped = kMaxJournal / 2;
    journal.keys.erase(journal.keys.begin(), journal.keys.begin() + kDropped);
    journal.from += kDropped;
  }
  journal.keys.push_back(std::visit(
      []<class T>(const T& typed) {
        if constexpr (std::is_same_v<T, Upsert>) return meta_of(typed.object).key();
        else if constexpr (std::is_same_v<T, Replace>) return ObjectKey{};
        else return typed.ref.key;
      },
      change));
}

bool Store::apply(Change change) {
  note(change);
  const bool changed = std::visit(
      [&]<class T>(T&& typed) {
        using Type = std::decay_t<T>;
        if constexpr (std::is_same_v<Type, Upsert>) {
          return upsert(std::forward<T>(typed).object);
        } else if constexpr (std::is_same_v<Type, Delete>) {
          return erase(typed.ref);
        } else if constexpr (std::is_same_v<Type, Replace>) {
          return replace(std::forward<T>(typed));
        } else {
          auto& slot = problems_[typed.ref];
          const bool gone =
              with_map(snapshot_, typed.ref.kind, [&](auto& map) { return map.erase(typed.ref.key) > 0; });
          const bool different = slot != typed.problems;
          slot = std::move(typed.problems);
          return gone || different;
        }
      },
      std::move(change));
  if (changed) ++snapshot_.version;
  return changed;
}

bool Store::resolved(const std::string& name, std::shared_ptr<const ResolvedName> now) {
  const auto found = snapshot_.names.find(name);
  const bool same = found == snapshot_.names.end() ? now == nullptr : now != nullptr && *found->second == *now;
  if (same) return false;
  if (now == nullptr) snapshot_.names.erase(found);
  else snapshot_.names.insert_or_assign(name, std::move(now));
  ++snapshot_.version;
  return true;
}

std::vector<Problem> Store::problems() const {
  std::vector<Problem> all;
  for (const auto& [ref, problems] : problems_) all.insert(all.end(), problems.begin(), problems.end());
  return all;
}

size_t Store::size(Kind kind) const {
  return with_map(const_cast<Snapshot&>(snapshot_), kind, [](const auto& map) { return map.size(); });
}

void Coalescer::changed(uint64_t now_ms) {
  if (!first_) {
    first_ = now_ms;
    in_a_row_ = last_round_ && now_ms < *last_round_ + kPauseMs ? in_a_row_ + 1 : 0;
  }
  if (in_a_row_ < 2) {
    due_ = std::min(now_ms + kQuietMs, *first_ + kMaxMs);
  } else {
    due_ = *first_ + std::min(kMaxMs << std::min<size_t>(in_a_row_ - 2, 8), kMaxBurstMs);
  }
}

void Coalescer::done(uint64_t now_ms) {
  first_.reset(), due_.reset();
  last_round_ = now_ms;
}

}  // namespace sluice::store
