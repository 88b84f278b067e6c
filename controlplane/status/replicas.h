// What the replicas of one gateway have said in their Leases: which versions of which kinds all of their workers run.
// Programmed waits for every Ready one of them. Pure: Leases, Pods and the clock are passed in. Other machines' clocks
// are never compared with ours: a Lease is fresh while it keeps changing.
#pragma once
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/store/snapshot.h"

namespace sluice::status {

// "Route", "RateLimitPolicy", and "Route/NAMESPACE" where namespaces are watched one by one -> resourceVersion.
using Versions = std::map<std::string, std::string, std::less<>>;
[[nodiscard]] Versions versions_of(const store::Snapshot& snapshot, bool by_namespace);
[[nodiscard]] bool holds(const Versions& versions, store::Kind kind, const std::string& ns, std::string_view version);

// The versions that belong to our own states, until all workers have acknowledged them.
class OwnVersions {
 public:
  void seen(uint64_t sequence, Versions versions);
  void acknowledged(uint64_t sequence);
  [[nodiscard]] bool ready() const { return ready_; }  // a state has been acknowledged
  [[nodiscard]] const Versions& applied() const { return applied_; }

 private:
  static constexpr size_t kMaxWaiting = 256;
  struct Waiting {
    uint64_t sequence;
    Versions versions;
  };
  void take();
  std::deque<Waiting> waiting_;  // by sequence
  uint64_t acknowledged_ = 0;
  bool ready_ = false;
  Versions applied_;
};

struct Identity {
  std::string ns, group, pod, uid;  // group: what the Leases of one gateway have in common; uid may be empty
};

// The Lease of a replica, named like its Pod and going with it, and the patch that renews it.
[[nodiscard]] std::string replica_lease(const Identity& self, const Versions& versions, bool ready, int64_t wall_us);
[[nodiscard]] std::string replica_patch(const Identity& self, const Versions& versions, int64_t wall_us);
[[nodiscard]] std::string replica_selector(const Identity& self);  // of all of them, for a list

// A Pod as the API server answers it (status 0 = it did not): Ready, and not on its way out. nullopt = unknown.
[[nodiscard]] std::optional<bool> pod_serves(int status, const std::string& body);

class Replicas {
 public:
  static constexpr uint64_t kStaleMs = 15'000;
  static constexpr uint64_t kAskPodMs = 5'000;
  static constexpr size_t kMax = 1'000;  // further ones are not counted, which is said

  // The answer to a list of the Leases, whole. False if it cannot be read: then everything stays as it is.
  bool listed(const std::string& body, const std::string& self_pod, uint64_t now_ms);
  [[nodiscard]] size_t size() const { return replicas_.size(); }
  // Pods to be asked about now: their Leases do not change any more. Each at most every kAskPodMs.
  [[nodiscard]] std::vector<std::string> to_ask(uint64_t now_ms);
  // status: HTTP status of the Pod's reading (0 = none).
  void pod(const std::string& name, int status, const std::string& body);
  // A Ready replica, beside us, that does not run this version; nullopt = all do.
  [[nodiscard]] std::optional<std::string> missing(uint64_t now_ms, store::Kind kind, const std::string& ns,
                                                   std::string_view version) const;

 private:
  struct Replica {
    std::string changed;  // renewTime and version as last seen
    uint64_t changed_ms = 0, asked_ms = 0;
    bool ready = false, pod_ready = true;
    Versions versions;
  };
  std::map<std::string, Replica> replicas_;  // by Pod
};

}  // namespace sluice::status
