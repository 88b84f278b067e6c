// What one object (Ingress, Route) asks for, made from that object, the Services it names, the classes and the policies
// that target it: the unit of memoisation. Input languages (ingress/, route/) make plans; the translator keeps them and
// assembles virtual hosts out of their drafts (assemble.h). A plan never looks at other Ingresses or Routes: conflicts
// and ownership are decided where a host is assembled.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/config/options.h"
#include "controlplane/store/problem.h"
#include "controlplane/store/snapshot.h"
#include "controlplane/translate/policies.h"
#include "controlplane/translate/translate.h"

namespace sluice::translate {

// Place of a draft among all of its host, smaller first. Gateway API's order: exact path, (regex), longest prefix,
// method, number of header matches, number of query matches, oldest object, namespace/name, order in the object.
// Default backends come after everything.
struct Precedence {
  enum Rank : uint8_t { exact, regex, prefix, default_backend, controller_default };
  Rank rank = prefix;
  uint32_t path_length = 0;
  bool has_method = false;
  uint32_t headers = 0, query = 0;
  int64_t age = 0;  // age_of()
  store::ObjectKey key;
  store::Kind kind{};
  uint32_t rule = 0, match = 0;
  [[nodiscard]] bool operator<(const Precedence& other) const;
};

// Objects without a creation time (files) count as the youngest; between those the name decides.
[[nodiscard]] inline int64_t age_of(const store::Meta& meta) { return meta.creation == 0 ? INT64_MAX : meta.creation; }

// One route of one host before it is known whether it wins. `same` tells equal matches: the second of two with the same
// is never reached.
struct Draft {
  Precedence order;
  std::shared_ptr<const ir::RouteT> route;  // the same for every host of an object; https_only is decided later
  std::string same;
  std::string field;  // of the object, for problems
  bool https_redirect = false;
  bool hard_claim = true;  // counts for host ownership; a default backend beside rules does not
};
// Equal for routes that match the same requests at the same place.
[[nodiscard]] std::string match_key(Precedence::Rank rank, const ir::RouteT& route);

struct HostDrafts {
  std::string host;
  std::string field;
  std::vector<Draft> drafts;  // may be empty: a host that is only named
};
struct TlsClaim {
  std::string host;
  store::ObjectKey secret;
  std::string field;  // of the host; the Secret's is `secret_field`
  std::string secret_field;
};
// A cluster that a plan's routes name: which Service and port make it.
struct ClusterUse {
  std::string name;  // "NS/SERVICE/PORT"
  store::ObjectKey service;
  uint16_t port = 0;
  auto operator<=>(const ClusterUse&) const = default;
};

struct Plan {
  store::ObjectRef ref;
  int64_t generation = 0;
  int64_t age = 0;
  bool ours = false;
  bool resolved_refs = true;
  std::vector<store::ParentRef> parents;
  std::vector<std::string> classes;
  std::vector<HostDrafts> hosts;  // each host once
  std::vector<TlsClaim> tls;
  std::vector<ClusterUse> clusters;        // each once, sorted
  std::vector<store::ObjectKey> services;  // all that were looked up, found or not; sorted
  std::vector<store::Problem> problems;

  std::unordered_map<std::string, size_t> host_index;  // into hosts

  // The entry of `host`, made when missing. References die with the next call.
  HostDrafts& host(const std::string& host, const std::string& field);
  // What decode could not read of the object: told only of objects that are ours.
  void take_flaws(const store::Meta& meta);
  void problem(std::string field, std::string reason, std::string text,
               store::Severity severity = store::Severity::error);
};

void report_flaws(const store::ObjectRef& ref, const store::Meta& meta, std::vector<store::Problem>& problems);
// Annotations of our own prefix that nothing reads: most likely misspelt.
void report_unknown_annotations(const store::ObjectRef& ref, const store::Meta& meta,
                                std::vector<store::Problem>& problems);

// Classes of this controller, resolved once a snapshot.
struct Classes {
  std::map<std::string, std::shared_ptr<const store::IngressClass>> ours;
  std::string default_class;       // empty = none
  std::set<std::string> siblings;  // of other gateways of this kind: their controllers are named "sluice.dev/..." too
  bool operator==(const Classes&) const = default;
};
[[nodiscard]] Classes resolve_classes(const store::ObjectMap<store::IngressClass>& classes,
                                      const std::string& controller_name);

struct PlanContext {
  const config::Options& options;
  const Classes& classes;
  const store::ObjectMap<store::Service>& services;
  const PolicyIndex& policies;
};

// Not ours: an empty plan with ours == false.
[[nodiscard]] Plan plan_ingress(const store::Ingress& ingress, const PlanContext& context);
[[nodiscard]] Plan plan_route(const store::Route& route, const PlanContext& context);

}  // namespace sluice::translate
