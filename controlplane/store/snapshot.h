// All objects at one moment. Objects are shared and immutable; a snapshot is numbered by the store that made it. Lookup
// only, no I/O.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/store/objects.h"
#include "controlplane/store/versions.h"

namespace sluice::store {

template <class T>
using ObjectMap = std::map<ObjectKey, std::shared_ptr<const T>>;

// What a DNS name has come to (controlplane/resolve), for Services of type ExternalName. Unchecked.
struct ResolvedName {
  std::vector<std::string> addresses;  // literal; the last good ones if `error` says something
  std::string error;                   // why the newest question failed; a sentence without its subject
  bool operator==(const ResolvedName&) const = default;
};

struct Snapshot {
  uint64_t version = 0;
  // Per kind (index = Kind): another number whenever an entry of that map may be another one, so that readers need not
  // compare maps that did not change. 0 = not counted.
  std::array<uint64_t, kKinds> kind_versions{};
  // Per kind: the keys that the latest changes touched; keys[i] belongs to version from + i + 1. A hint: whoever has
  // seen version `from` or a later one need look at those only. It counts if from + keys.size() is the kind's version.
  struct Journal {
    uint64_t from = 0;
    std::vector<ObjectKey> keys;
  };
  std::array<Journal, kKinds> journals{};
  // Of the kinds whose status waits for every replica.
  Newest newest_routes, newest_policies;
  ObjectMap<Ingress> ingresses;
  ObjectMap<IngressClass> ingress_classes;
  ObjectMap<Service> services;
  ObjectMap<EndpointSlice> endpoint_slices;
  ObjectMap<Secret> secrets;
  ObjectMap<ConfigMap> config_maps;
  ObjectMap<Namespace> namespaces;
  ObjectMap<Route> routes;
  ObjectMap<RateLimitPolicy> rate_limit_policies;
  std::map<std::string, std::shared_ptr<const ResolvedName>> names;
};

}  // namespace sluice::store
