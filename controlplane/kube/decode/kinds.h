// One decoder per kind: fills the typed object from the whole JSON object; problems go to the node's context. Internal
// to this room.
#pragma once
#include "controlplane/kube/decode/json_node.h"
#include "controlplane/store/objects.h"

namespace sluice::kube {

// Longest texts and lists. The API server bounds an object at 1.5 MiB (etcd) to 3 MiB; these bounds keep each part far
// below that.
inline constexpr size_t kMaxName = 253;
inline constexpr size_t kMaxHost = 253;
inline constexpr size_t kMaxPath = 4096;
inline constexpr size_t kMaxItems = 4096;              // rules, paths, hosts of a core kind
inline constexpr size_t kMaxAnnotations = 256 * 1024;  // the API's own limit

void decode_meta(const JsonNode& object, bool namespaced, store::Meta& out);

void decode_kind(const JsonNode& object, store::Ingress& out);
void decode_kind(const JsonNode& object, store::IngressClass& out);
void decode_kind(const JsonNode& object, store::Service& out);
void decode_kind(const JsonNode& object, store::EndpointSlice& out);
void decode_kind(const JsonNode& object, store::Secret& out);
void decode_kind(const JsonNode& object, store::ConfigMap& out);
void decode_kind(const JsonNode& object, store::Namespace& out);
void decode_kind(const JsonNode& object, store::Route& out);
void decode_kind(const JsonNode& object, store::RateLimitPolicy& out);

// Parts of Route, in route_filters.cpp.
void decode_route_filters(const JsonNode& rule, std::vector<store::RouteFilter>& out);

}  // namespace sluice::kube
