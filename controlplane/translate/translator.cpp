#include <algorithm>

#include "controlplane/translate/memo.h"
#include "controlplane/translate/translate.h"

namespace sluice::translate {
namespace {

void list_listeners(const config::Options& options, Translation& out) {
  out.listeners.clear();
  const auto add = [&](const char* name, ir::ListenerProtocol protocol, const std::optional<uint16_t>& port) {
    if (!port) return;
    ir::ListenerT& listener = out.listeners.emplace_back();
    listener.name = name;
    listener.protocol = protocol;
    listener.port = *port;
    listener.addresses = options.bind;
  };
  add("http", ir::ListenerProtocol::Http, options.http_port);
  add("https", ir::ListenerProtocol::Https, options.https_port);
}

// What is listed for an entry of the memo: absent and null are nothing.
template <class Map, class Member>
auto listed(const Map& map, const std::string& name, const Member& member) {
  const auto found = map.find(name);
  using T = std::decay_t<decltype(member(found->second))>;
  return found != map.end() && member(found->second) ? std::optional<T>(member(found->second)) : std::nullopt;
}

}  // namespace

void Translator::Memo::list_clusters(const Dirty& dirty) {
  const auto name_of = [](const auto& value) -> const std::string& { return value->name; };
  patch(out.clusters, dirty.clusters, name_of, [&](const std::string& name) {
    return listed(clusters, name, [](const ClusterEntry& entry) { return entry.cluster; });
  });
  patch(out.endpoints, dirty.clusters, name_of, [&](const std::string& name) {
    return listed(clusters, name, [](const ClusterEntry& entry) { return entry.endpoints; });
  });
  if (!dirty.external_names) return;
  out.external_names.clear();
  for (const auto& [name, entry] : clusters) {
    if (!entry.external_host.empty()) out.external_names.push_back({entry.use.service, entry.external_host});
  }
  out.external_names.erase(std::unique(out.external_names.begin(), out.external_names.end()), out.external_names.end());
}

std::optional<ObjectStatus> Translator::Memo::policy_status(const store::ObjectRef& ref) const {
  const auto found = policies.find(ref.key);
  if (found == policies.end() || !found->second.ours) return std::nullopt;
  const PolicyEntry& entry = found->second;
  return ObjectStatus{ref, entry.source->meta.generation, !entry.checked->closed && !entry.targets.empty(), true,
                      entry.targets};
}

void Translator::Memo::list_all(const Dirty& dirty) {
  out.settings = options.settings;
  list_listeners(options, out);
  patch(
      out.hosts, dirty.hosts, [](const auto& host) -> const std::string& { return host->host; },
      [&](const std::string& name) {
        return listed(hosts, name, [](const HostEntry& entry) { return entry.result.host; });
      });
  list_clusters(dirty);
  patch(
      out.tls_hosts, dirty.tls_hosts, [](const auto& host) -> const std::string& { return host->host; },
      [&](const std::string& name) { return listed(tls, name, [](const TlsEntry& entry) { return entry.listed; }); });
  patch(
      out.statuses, dirty.statuses, [](const ObjectStatus& status) -> const store::ObjectRef& { return status.object; },
      [&](const store::ObjectRef& ref) -> std::optional<ObjectStatus> {
        if (ref.kind == store::Kind::rate_limit_policy) return policy_status(ref);
        const auto found = objects.find(ref);
        if (found == objects.end()) return std::nullopt;
        const ObjectEntry& entry = *found->second;
        return ObjectStatus{ref, entry.plan.generation, entry.served_hosts > 0,
                            entry.plan.resolved_refs && !unresolved.contains(ref), entry.plan.parents};
      });
  problems.settle(out.problems);
}

Translator::Translator() : memo_(std::make_unique<Memo>()) {}
Translator::~Translator() = default;

const Translation& Translator::translate(const store::Snapshot& snapshot, const config::Options& options, int64_t now) {
  memo_->update(snapshot, options, now);
  return memo_->out;
}

}  // namespace sluice::translate
