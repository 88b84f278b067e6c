// What the control plane knows of itself at the moment somebody asks: plain values, filled in by controlplane/main.cpp
// from the loop, the source and the publisher. Owns nothing and remembers nothing.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/ir/push_frame.h"
#include "controlplane/store/objects.h"
#include "controlplane/store/problem.h"

namespace sluice::admin {

// One list and watch at the API server: a kind in a namespace, or in all.
struct Watched {
  std::string kind, ns;
  bool listed = false;  // its first whole list is there
  uint64_t lists = 0, watches = 0, events = 0, failures = 0;
};

struct Condition {
  bool in_cluster = false;                          // an API server; otherwise a folder
  bool api_connected = false;                       // it answered the last time it was asked
  std::vector<Watched> watched;                     // in a cluster
  bool listed = false;                              // every kind's first list is there
  size_t contents_wanted = 0, contents_loaded = 0;  // Secrets and ConfigMaps that accepted objects name
  std::array<size_t, store::kKinds> objects{};      // by Kind
  // Of the newest translation and of what cannot be decoded, by reason.
  std::map<std::pair<std::string, store::Severity>, size_t> problems;

  ir::StateId newest, acknowledged;  // acknowledged: by all workers, of this control plane's states; 0 = none
  std::array<uint64_t, ir::kParts> part_bytes{};
  size_t hosts = 0, clusters = 0, certificates = 0;  // of the newest state
  // Whether this replica writes status; alone it always does where there is an API server. Who does, as last read.
  bool leads = false;
  std::string leader;
  uint64_t lease_failures = 0;  // calls for Leases that failed
  // The newest options file was refused: the options of the one before are in force.
  bool options_refused = false;
  bool dataplane_connected = false;
  uint32_t workers_ready = 0, workers_total = 0;
};

// A line for each thing that readiness waits for; empty = ready. Goes by the first state: it never becomes "not ready"
// again.
[[nodiscard]] std::vector<std::string> missing(const Condition& condition);

}  // namespace sluice::admin
