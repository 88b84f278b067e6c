// What the translator keeps from one snapshot to the next. Internal to this room.
// Everything in it is a function of the last snapshot and options, except `last_good` certificates.
#pragma once
#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controlplane/translate/assemble.h"
#include "controlplane/translate/certificates.h"
#include "controlplane/translate/endpoints.h"
#include "controlplane/translate/plan.h"

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
};
struct ClusterEntry {
  ClusterUse use;
  size_t users = 0;
  std::shared_ptr<const ir::ClusterT> cluster;
  std::shared_ptr<const ir::ClusterEndpointsT> endpoints;
  std::string external_host;  // a name that somebody has to resolve
  std::vector<store::Problem> problems;
};
struct CertificateEntry {
  std::shared_ptr<const store::Secret> source;
  CheckedCertificate checked;
  std::shared_ptr<const ir::CertificateT> last_good;
  std::vector<std::string> last_good_names;
};
// What a change touches; filled while walking the difference between two snapshots.
struct Dirty {
  std::set<store::ObjectRef> objects;
  std::set<std::string> hosts, tls_hosts, clusters;
  std::set<store::ObjectKey> services, slice_services;
  bool everything = false;
};

struct Translator::Memo {
  bool valid = false;
  config::Options options;
  Classes classes;
  std::array<uint64_t, store::kKinds> kind_versions{};
  store::ObjectMap<store::Ingress> ingresses;
  store::ObjectMap<store::Route> routes;
  store::ObjectMap<store::Service> services;
  store::ObjectMap<store::EndpointSlice> slices;

  std::map<store::ObjectRef, std::unique_ptr<ObjectEntry>> objects;  // ours only
  std::map<store::ObjectKey, std::set<store::ObjectRef>> service_users;
  std::map<store::ObjectKey, std::set<store::ObjectKey>> service_slices;
  std::map<store::ObjectKey, std::set<std::string>> service_clusters;
  std::map<std::string, HostEntry> hosts;
  std::map<std::string, TlsEntry> tls;
  std::map<std::string, ClusterEntry> clusters;
  std::map<store::ObjectKey, CertificateEntry> certificates;
  std::unique_ptr<ir::RouteT> fallback;  // the controller's default backend
  Plan fallback_plan;

  void reset();
  void update(const store::Snapshot& snapshot, const config::Options& new_options);

 private:
  void diff(const store::Snapshot& snapshot, Dirty& dirty);
  void replan(const store::Snapshot& snapshot, Dirty& dirty);
  void add(std::unique_ptr<ObjectEntry> entry, Dirty& dirty);
  void remove(const store::ObjectRef& ref, Dirty& dirty);
  void use_clusters(const Plan& plan, bool add, Dirty& dirty);
  void update_fallback(const store::Snapshot& snapshot, Dirty& dirty);
  [[nodiscard]] std::string owner_of(const std::string& host) const;
  void update_tls(Dirty& dirty);
  void judge_tls(const std::string& host, TlsEntry& entry);
  [[nodiscard]] bool has_tls(const std::string& host) const;
  void update_hosts(const Dirty& dirty);
  void update_clusters(const Dirty& dirty);
};

}  // namespace sluice::translate
