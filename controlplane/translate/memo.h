// What the translator keeps from one snapshot to the next, the result among it. Internal to this room.
// Everything in it is a function of the last snapshot, options and time, except `last_good` certificates and ticket
// keys.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/translate/assemble.h"
#include "controlplane/translate/certificates.h"
#include "controlplane/translate/endpoints.h"
#include "controlplane/translate/plan.h"
#include "controlplane/translate/policies.h"
#include "controlplane/translate/sorted_list.h"
#include "controlplane/translate/ticket_keys.h"
#include "controlplane/translate/translate.h"

namespace sluice::translate {

struct ObjectEntry {
  Plan plan;
  size_t served_hosts = 0;
};
struct HostEntry {
  std::map<store::ObjectRef, size_t> members;  // index into the member's plan.hosts
  AssembledHost result;
};
struct TlsEntry {
  std::set<std::pair<store::ObjectRef, size_t>> claims;  // index into the plan's tls
  bool has_tls = false;                                  // a claim was accepted
  store::ObjectRef winner;
  TlsClaim claim;  // the winner's
  std::vector<store::Problem> problems;
  // What follows from the Secret; set by update_certificates.
  std::optional<store::ObjectKey> secret;      // whose user this host is
  std::optional<store::ObjectRef> unresolved;  // the object that named it, if it cannot be used
  std::vector<store::Problem> secret_problems;
  std::shared_ptr<const ir::TlsHostT> listed;
};
struct ClusterEntry {
  ClusterUse use;
  size_t users = 0;
  std::shared_ptr<const ir::ClusterT> cluster;
  std::shared_ptr<const ir::ClusterEndpointsT> endpoints;
  std::string external_host;                            // a name that somebody has to resolve
  std::shared_ptr<const store::ResolvedName> resolved;  // what it had come to
  std::vector<store::Problem> problems;
  // What its TLS policy depends on and says; kept while only endpoints change.
  std::optional<store::ObjectRef> ca;
  std::shared_ptr<const void> ca_source;
  bool ca_pending = false, closed = false;
  std::vector<store::Problem> policy_problems;
};
// What the users of a Secret get.
struct CertificateVerdict {
  std::shared_ptr<const ir::CertificateT> certificate;  // null: none
  std::vector<std::string> names;                       // of the certificate
  bool resolved = true, pending = false;
  std::string reason, text;  // of the problem that each user has; empty = none
  store::Severity severity = store::Severity::error;
  bool operator==(const CertificateVerdict&) const = default;
};
struct CertificateEntry {
  std::shared_ptr<const store::Secret> source;
  CheckedCertificate checked;
  std::shared_ptr<const ir::CertificateT> last_good;
  std::vector<std::string> last_good_names;
  CertificateVerdict verdict;
  std::vector<store::Problem> flaws;  // of the Secret itself, as long as it is used
  int64_t judge_again = INT64_MAX;    // when time alone may change the verdict
  std::set<std::string> hosts;        // TLS hosts that use it
  bool is_default = false;
};
// Of the Secret with ticket keys; the keys themselves, and so the last good ones, are the result's.
struct TicketsEntry {
  std::optional<store::ObjectKey> secret;
  bool pending = false;
  std::vector<store::Problem> problems;
};
struct PolicyEntry {
  std::shared_ptr<const store::RateLimitPolicy> source;
  std::shared_ptr<const CheckedPolicy> checked;
  std::vector<TargetMeaning> meanings;  // of its targets, by index
  // What it is told.
  bool ours = false;
  std::vector<store::ParentRef> targets;  // those that are limited
  std::vector<store::Problem> problems;
};
// What a change touches; filled while walking the difference between two snapshots.
struct Dirty {
  std::set<store::ObjectRef> objects, statuses;
  std::set<std::string> hosts, tls_hosts, clusters;
  std::set<store::ObjectKey> services, slice_services, secrets, config_maps, policies;
  bool everything = false, classes = false, external_names = false;
};

// Out of an index of sets, whose empty ones go.
template <class Map, class Key, class Value>
void erase_value(Map& map, const Key& key, const Value& value) {
  const auto found = map.find(key);
  if (found == map.end()) return;
  found->second.erase(value);
  if (found->second.empty()) map.erase(found);
}

struct Translator::Memo {
  bool valid = false;
  config::Options options;
  Classes classes;
  std::array<uint64_t, store::kKinds> kind_versions{};
  store::ObjectMap<store::Ingress> ingresses;
  store::ObjectMap<store::Route> routes;
  store::ObjectMap<store::Service> services;
  store::ObjectMap<store::EndpointSlice> slices;
  store::ObjectMap<store::RateLimitPolicy> rate_limit_policies;

  std::map<store::ObjectRef, std::unique_ptr<ObjectEntry>> objects;  // ours only
  std::map<store::ObjectKey, std::set<store::ObjectRef>> service_users;
  std::map<store::ObjectKey, std::set<store::ObjectKey>> service_slices;
  std::map<store::ObjectKey, std::set<std::string>> service_clusters;
  std::map<store::ObjectKey, PolicyEntry> policies;
  PolicyIndex policy_index;
  std::map<store::ObjectRef, std::set<store::ObjectKey>> policy_users;  // policies that target the object, there or not
  std::map<std::string, HostEntry> hosts;
  std::map<std::string, TlsEntry> tls;
  std::map<std::string, ClusterEntry> clusters;
  std::map<store::ObjectRef, std::set<std::string>> ca_users;  // clusters whose policy names the object
  std::map<std::string, std::set<std::string>> name_users;     // clusters that lead to the DNS name
  std::map<store::ObjectKey, CertificateEntry> certificates;
  std::set<std::pair<int64_t, store::ObjectKey>> judge_again;  // of the certificates
  int64_t judged_at = 0;
  std::optional<store::ObjectKey> default_certificate;
  TicketsEntry tickets;
  std::vector<store::Problem> default_problems, class_problems;
  std::map<store::ObjectRef, size_t> unresolved;  // how many TLS hosts of an object lack their Secret
  std::unique_ptr<ir::RouteT> fallback;           // the controller's default backend
  Plan fallback_plan;
  ProblemList problems;
  Translation out;

  void reset();
  void update(const store::Snapshot& snapshot, const config::Options& new_options, int64_t now);

 private:
  void diff(const store::Snapshot& snapshot, Dirty& dirty);
  [[nodiscard]] bool watches(const std::string& ns) const;
  void replan(const store::Snapshot& snapshot, Dirty& dirty);
  void add(std::unique_ptr<ObjectEntry> entry, Dirty& dirty);
  void remove(const store::ObjectRef& ref, Dirty& dirty);
  void use_clusters(const Plan& plan, bool add, Dirty& dirty);
  void update_fallback(const store::Snapshot& snapshot, Dirty& dirty);
  [[nodiscard]] std::string owner_of(const std::string& host) const;
  void update_tls(Dirty& dirty);
  void judge_tls(const std::string& host, TlsEntry& entry);
  [[nodiscard]] bool has_tls(const std::string& host) const;
  void update_hosts(Dirty& dirty);
  // memo_clusters.cpp
  void find_dirty_clusters(const store::Snapshot& snapshot, Dirty& dirty);
  void update_clusters(const store::Snapshot& snapshot, Dirty& dirty);
  void make_policy(const std::string& name, ClusterEntry& entry, const store::Service& service,
                   const store::Snapshot& snapshot, Dirty& dirty);
  void drop_policy(const std::string& name, ClusterEntry& entry, Dirty& dirty);
  void use_name(const std::string& name, ClusterEntry& entry, std::string host, Dirty& dirty);
  // memo_certificates.cpp
  void use_secret(const std::optional<store::ObjectKey>& key, const std::string& host, bool use, Dirty& dirty);
  void update_certificates(const store::Snapshot& snapshot, int64_t now, Dirty& dirty);
  void judge_secrets(const store::Snapshot& snapshot, int64_t now, Dirty& dirty);
  [[nodiscard]] CertificateVerdict judge_secret(const store::Snapshot& snapshot, const store::ObjectKey& key,
                                                CertificateEntry& entry, int64_t now) const;
  void drop_tls(const std::string& host, TlsEntry& entry, Dirty& dirty);
  void list_tls(const std::string& host, TlsEntry& entry, Dirty& dirty);
  // memo_tickets.cpp
  void update_ticket_keys(const store::Snapshot& snapshot, Dirty& dirty);
  void judge_ticket_keys(const store::Snapshot& snapshot);
  // memo_policies.cpp
  void update_policies(const store::Snapshot& snapshot, Dirty& dirty);
  void index_policy(const store::ObjectKey& key, PolicyEntry& entry, bool add, const store::Snapshot& snapshot,
                    Dirty& dirty);
  void replan_target(const store::ObjectRef& target, const store::Snapshot& snapshot, Dirty& dirty);
  void judge_policies(const store::Snapshot& snapshot, Dirty& dirty);
  void judge_policy(PolicyEntry& entry, const store::Snapshot& snapshot);
  [[nodiscard]] bool judge_target(const store::ObjectRef& ref, const std::string& section,
                                  const store::Snapshot& snapshot, TargetMeaning& verdict) const;
  // translator.cpp: the lists of `out`
  void list_all(const Dirty& dirty);
  void list_clusters(const Dirty& dirty);
  [[nodiscard]] std::optional<ObjectStatus> policy_status(const store::ObjectRef& ref) const;
};

}  // namespace sluice::translate
