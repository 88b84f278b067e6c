#include "controlplane/status/replicas.h"

#include "common/base/log.h"
#include "controlplane/status/election.h"
#include "controlplane/status/json_text.h"

namespace sluice::status {
namespace {
using nlohmann::json;

constexpr const char* kGroup = "sluice.dev/replicas-of";
constexpr const char* kVersions = "sluice.dev/applied-versions";
constexpr const char* kReady = "sluice.dev/ready";
// An object's annotations may have 256 KiB.
constexpr size_t kMaxVersionsBytes = 200u << 10;

json annotations(const Versions& versions, bool ready) {
  return {{kVersions, dumped(json(versions)).substr(0, kMaxVersionsBytes)}, {kReady, ready ? "true" : "false"}};
}

Versions parse_versions(const std::string& body) {
  Versions out;
  const json parsed = body.size() <= kMaxVersionsBytes ? json::parse(body, nullptr, false) : json();
  if (!parsed.is_object()) return out;
  for (const auto& [key, value] : parsed.items()) {
    if (value.is_string() && store::is_version(value.get_ref<const std::string&>()))
      out.emplace(key, value.get<std::string>());
  }
  return out;
}

std::string key_of(store::Kind kind, std::string_view ns) { return fmt::format("{}/{}", store::kind_name(kind), ns); }
}  // namespace

Versions versions_of(const store::Snapshot& snapshot, bool by_namespace) {
  Versions out;
  for (const auto& [kind, newest] : {std::pair{store::Kind::route, &snapshot.newest_routes},
                                     std::pair{store::Kind::rate_limit_policy, &snapshot.newest_policies}}) {
    if (!by_namespace && !newest->everywhere.empty()) out.emplace(store::kind_name(kind), newest->everywhere);
    if (!by_namespace) continue;
    for (const auto& [ns, version] : newest->by_namespace) out.emplace(key_of(kind, ns), version);
  }
  return out;
}

bool holds(const Versions& versions, store::Kind kind, const std::string& ns, std::string_view version) {
  for (const std::string& key : {std::string(store::kind_name(kind)), key_of(kind, ns)}) {
    const auto found = versions.find(key);
    if (found != versions.end() && store::at_least(found->second, version)) return true;
  }
  return false;
}

void OwnVersions::seen(uint64_t sequence, Versions versions) {
  if (!waiting_.empty() && waiting_.back().sequence == sequence) waiting_.back().versions = std::move(versions);
  else waiting_.push_back({sequence, std::move(versions)});
  // The oldest of too many is overtaken by the next: later is always safe.
  if (waiting_.size() > kMaxWaiting) waiting_.pop_front();
  take();
}

void OwnVersions::acknowledged(uint64_t sequence) {
  acknowledged_ = std::max(acknowledged_, sequence);
  take();
}

void OwnVersions::take() {
  while (!waiting_.empty() && waiting_.front().sequence <= acknowledged_) {
    applied_ = std::move(waiting_.front().versions);
    waiting_.pop_front();
    ready_ = true;
  }
}

std::string replica_lease(const Identity& self, const Versions& versions, bool ready, int64_t wall_us) {
  json metadata{{"name", self.pod},
                {"namespace", self.ns},
                {"labels", {{kGroup, self.group}}},
                {"annotations", annotations(versions, ready)}};
  if (!self.uid.empty())
    metadata["ownerReferences"] = {{{"apiVersion", "v1"}, {"kind", "Pod"}, {"name", self.pod}, {"uid", self.uid}}};
  const std::string now = micro_time(wall_us);
  return dumped({{"apiVersion", "coordination.k8s.io/v1"},
                 {"kind", "Lease"},
                 {"metadata", metadata},
                 {"spec",
                  {{"holderIdentity", self.pod},
                   {"leaseDurationSeconds", Replicas::kStaleMs / 1000},
                   {"acquireTime", now},
                   {"renewTime", now}}}});
}

std::string replica_patch(const Identity& self, const Versions& versions, int64_t wall_us) {
  return dumped({{"metadata", {{"labels", {{kGroup, self.group}}}, {"annotations", annotations(versions, true)}}},
                 {"spec", {{"holderIdentity", self.pod}, {"renewTime", micro_time(wall_us)}}}});
}

std::string replica_selector(const Identity& self) { return fmt::format("{}={}", kGroup, self.group); }

bool Replicas::listed(const std::string& body, const std::string& self_pod, uint64_t now_ms) {
  const json list = json::parse(body, nullptr, false);
  if (!list.is_object() || !list.contains("items") || !list["items"].is_array()) return false;
  std::map<std::string, Replica> next;
  for (const json& lease : list["items"]) {
    if (!lease.is_object()) continue;
    const json& metadata = part(lease, "metadata");
    const std::string pod = text(metadata, "name");
    if (pod.empty() || pod == self_pod) continue;
    if (next.size() == kMax) {
      log::warning("more replicas than are counted", {{"counted", kMax}});
      break;
    }
    Replica replica;
    if (const auto old = replicas_.find(pod); old != replicas_.end()) replica = std::move(old->second);
    std::string changed = text(part(lease, "spec"), "renewTime") + "\n" + text(metadata, "resourceVersion");
    if (changed != replica.changed) {
      replica.changed = std::move(changed);
      replica.changed_ms = now_ms;
      replica.pod_ready = true;
      replica.versions = parse_versions(text(part(metadata, "annotations"), kVersions));
      replica.ready = text(part(metadata, "annotations"), kReady) == "true";
    }
    next.emplace(pod, std::move(replica));
  }
  replicas_ = std::move(next);
  return true;
}

std::vector<std::string> Replicas::to_ask(uint64_t now_ms) {
  std::vector<std::string> out;
  for (auto& [pod, replica] : replicas_) {
    if (now_ms - replica.changed_ms < kStaleMs || (replica.asked_ms != 0 && now_ms - replica.asked_ms < kAskPodMs))
      continue;
    replica.asked_ms = now_ms;
    out.push_back(pod);
  }
  return out;
}

void Replicas::pod(const std::string& name, int status, const std::string& body) {
  const auto found = replicas_.find(name);
  if (found != replicas_.end()) found->second.pod_ready = pod_serves(status, body).value_or(found->second.pod_ready);
}

std::optional<bool> pod_serves(int status, const std::string& body) {
  if (status == 404) return false;
  if (status != 200) return std::nullopt;
  const json pod = json::parse(body, nullptr, false);
  if (!pod.is_object()) return std::nullopt;
  if (!text(part(pod, "metadata"), "deletionTimestamp").empty()) return false;
  const json& state = part(pod, "status");
  const auto conditions = state.find("conditions");
  if (conditions == state.end() || !conditions->is_array()) return false;
  for (const json& condition : *conditions) {
    if (condition.is_object() && text(condition, "type") == "Ready") return text(condition, "status") == "True";
  }
  return false;
}

std::optional<std::string> Replicas::missing(uint64_t now_ms, store::Kind kind, const std::string& ns,
                                             std::string_view version) const {
  for (const auto& [pod, replica] : replicas_) {
    // One that does not renew its Lease may serve all the same: only its Pod knows.
    const bool counts = now_ms - replica.changed_ms < kStaleMs ? replica.ready : replica.pod_ready;
    if (counts && !holds(replica.versions, kind, ns, version)) return pod;
  }
  return std::nullopt;
}

}  // namespace sluice::status
