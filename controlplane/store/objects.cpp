#include "controlplane/store/objects.h"

#include <iterator>

namespace sluice::store {

const char* kind_name(Kind kind) {
  static constexpr const char* kNames[] = {"Ingress",   "IngressClass", "Service", "EndpointSlice",  "Secret",
                                           "ConfigMap", "Namespace",    "Route",   "RateLimitPolicy"};
  static_assert(std::size(kNames) == kKinds);
  return kNames[static_cast<size_t>(kind)];
}

const Meta& meta_of(const Object& object) {
  return std::visit([](const auto& typed) -> const Meta& { return typed.meta; }, object);
}

}  // namespace sluice::store
