// Clusters and their endpoints: by Service, its EndpointSlices, the DNS name it leads to, and the authorities that its
// TLS policy names.
#include <algorithm>

#include "controlplane/translate/backends.h"
#include "controlplane/translate/memo.h"

namespace sluice::translate {
namespace {

// The Service that the API server makes for itself.
const store::ObjectKey kApiServer{"default", "kubernetes"};

std::shared_ptr<const void> object_of(const store::Snapshot& snapshot, const store::ObjectRef& ref) {
  const auto find = [&](const auto& map) -> std::shared_ptr<const void> {
    const auto found = map.find(ref.key);
    return found == map.end() ? nullptr : found->second;
  };
  return ref.kind == store::Kind::secret ? find(snapshot.secrets) : find(snapshot.config_maps);
}

std::shared_ptr<const store::ResolvedName> name_of(const store::Snapshot& snapshot, const std::string& host) {
  const auto found = snapshot.names.find(host);
  return found == snapshot.names.end() ? nullptr : found->second;
}

}  // namespace

// Beside those of changed Services and slices.
void Translator::Memo::find_dirty_clusters(const store::Snapshot& snapshot, Dirty& dirty) {
  const auto all_of = [&](const std::set<store::ObjectKey>& keys) {
    for (const auto& service : keys) {
      const auto found = service_clusters.find(service);
      if (found != service_clusters.end()) dirty.clusters.insert(found->second.begin(), found->second.end());
    }
  };
  all_of(dirty.services);
  all_of(dirty.slice_services);
  for (const auto& [ref, users] : ca_users) {
    if (object_of(snapshot, ref) != clusters.at(*users.begin()).ca_source)
      dirty.clusters.insert(users.begin(), users.end());
  }
  const bool api_server = dirty.slice_services.contains(kApiServer);
  for (const auto& [host, users] : name_users) {
    if (api_server || name_of(snapshot, host) != clusters.at(*users.begin()).resolved)
      dirty.clusters.insert(users.begin(), users.end());
  }
}

void Translator::Memo::drop_policy(const std::string& name, ClusterEntry& entry, Dirty& dirty) {
  problems.remove(entry.policy_problems);
  entry.policy_problems.clear();
  out.secrets_pending -= entry.ca_pending ? 1 : 0;
  entry.ca_pending = entry.closed = false;
  if (!entry.ca) return;
  erase_value(ca_users, *entry.ca, name);
  (entry.ca->kind == store::Kind::secret ? dirty.secrets : dirty.config_maps).insert(entry.ca->key);
  entry.ca.reset();
  entry.ca_source.reset();
}

void Translator::Memo::make_policy(const std::string& name, ClusterEntry& entry, const store::Service& service,
                                   const store::Snapshot& snapshot, Dirty& dirty) {
  // The authority's content is on its way (it was changed, and its metadata comes first): what it said goes on.
  const bool usable = entry.cluster && !entry.closed;
  const auto before = entry.ca;
  drop_policy(name, entry, dirty);
  MadeCluster made = make_cluster(entry.use, service, snapshot, entry.policy_problems);
  problems.add(entry.policy_problems);
  if (made.ca) {
    entry.ca = made.ca;
    entry.ca_source = object_of(snapshot, *made.ca);
    ca_users[*made.ca].insert(name);
    (made.ca->kind == store::Kind::secret ? dirty.secrets : dirty.config_maps).insert(made.ca->key);
  }
  entry.ca_pending = made.pending;
  out.secrets_pending += made.pending ? 1 : 0;
  if (made.pending && usable && before == made.ca) return;
  entry.closed = made.closed;
  auto cluster = std::make_shared<const ir::ClusterT>(std::move(made.cluster));
  // An equal value keeps its address: whoever memoises by address sees no change.
  if (!entry.cluster || *entry.cluster != *cluster) entry.cluster = std::move(cluster);
}

void Translator::Memo::use_name(const std::string& name, ClusterEntry& entry, std::string host, Dirty& dirty) {
  if (host == entry.external_host) return;
  dirty.external_names = true;
  if (!entry.external_host.empty()) erase_value(name_users, entry.external_host, name);
  if (!host.empty()) name_users[host].insert(name);
  entry.external_host = std::move(host);
  entry.resolved.reset();
}

void Translator::Memo::update_clusters(const store::Snapshot& snapshot, Dirty& dirty) {
  find_dirty_clusters(snapshot, dirty);
  const auto slices_of = [&](const store::ObjectKey& service) {
    Slices found;
    if (const auto keys = service_slices.find(service); keys != service_slices.end()) {
      for (const auto& key : keys->second) found.push_back(slices.at(key));
    }
    return found;
  };
  for (const std::string& name : dirty.clusters) {
    const auto found = clusters.find(name);
    if (found == clusters.end()) continue;
    ClusterEntry& entry = found->second;
    problems.remove(entry.problems);
    entry.problems.clear();
    if (entry.users == 0) {
      drop_policy(name, entry, dirty);
      use_name(name, entry, {}, dirty);
      erase_value(service_clusters, entry.use.service, name);
      clusters.erase(found);
      continue;
    }
    const auto service = services.find(entry.use.service);
    const store::Service* object = service == services.end() ? nullptr : service->second.get();
    const bool external = object != nullptr && object->type == "ExternalName";
    if (object == nullptr) drop_policy(name, entry, dirty);
    else if (!entry.cluster || dirty.services.contains(entry.use.service) ||
             (entry.ca && object_of(snapshot, *entry.ca) != entry.ca_source))
      make_policy(name, entry, *object, snapshot, dirty);
    use_name(name, entry, external && !parse_address(object->external_name) ? object->external_name : std::string{},
             dirty);
    entry.resolved = entry.external_host.empty() ? nullptr : name_of(snapshot, entry.external_host);
    ir::ClusterEndpointsT made =
        external ? make_external_endpoints(entry.use, *object, entry.resolved.get(), slices_of(kApiServer), options,
                                           entry.problems)
                 : make_endpoints(entry.use, object, slices_of(entry.use.service), options, entry.problems);
    if (entry.closed) {
      made.endpoints.clear();
      made.empty_reason = ir::word(ir::TableReason::backend_invalid);
    }
    problems.add(entry.problems);
    auto endpoints = std::make_shared<const ir::ClusterEndpointsT>(std::move(made));
    if (!entry.endpoints || *entry.endpoints != *endpoints) entry.endpoints = std::move(endpoints);
  }
  const bool other = patch(
      out.wanted_config_maps, dirty.config_maps,
      [](const store::ObjectKey& key) -> const store::ObjectKey& { return key; },
      [&](const store::ObjectKey& key) {
        return ca_users.contains({store::Kind::config_map, key}) ? std::optional(key) : std::nullopt;
      });
  if (other) ++out.wanted_version;
}

}  // namespace sluice::translate
