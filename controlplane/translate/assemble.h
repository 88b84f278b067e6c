// One virtual host out of the drafts of all objects that name it: who owns the host, which of equal matches wins, and
// in what order routes are tried. Pure function of its input; the translator memoises its result per host.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "controlplane/translate/plan.h"

namespace sluice::translate {

struct HostMember {
  const Plan* plan;
  const HostDrafts* drafts;
};

struct AssembledHost {
  std::shared_ptr<const ir::VirtualHostT> host;  // null: no route is left
  std::string owner;                             // namespace; empty = nobody claims it (only default backends)
  std::vector<store::Problem> problems;
  std::vector<store::ObjectRef> served;  // members with at least one route, sorted
};

// A default backend beside rules answers for a host without claiming it.
[[nodiscard]] bool claims_host(const HostDrafts& drafts);

// For the loser: "which is older", or that the name decided.
[[nodiscard]] const char* why_first(const Plan& winner, const Plan& loser);

// `tls`: the host has a certificate of its own, so plain HTTP is redirected where a draft wants that.
// `fallback`: the controller's default backend, or null.
[[nodiscard]] AssembledHost assemble_host(const std::string& host, std::vector<HostMember> members, bool tls,
                                          const ir::RouteT* fallback, const config::Options& options);

}  // namespace sluice::translate
