// The API server as a store::Source: a reflector per kind and scope, and the contents of the Secrets and ConfigMaps
// that are wanted. Of all others only metadata ever reaches us. Lives on the io_context's thread; the transport must
// outlive it and be shut down by its owner.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "controlplane/kube/reflector.h"
#include "controlplane/kube/transport.h"
#include "controlplane/store/source.h"

namespace boost::asio {
class io_context;
}

namespace sluice::kube {

struct ClusterSourceOptions {
  std::vector<std::string> watch_namespaces;  // empty = all
  ReflectorTimings timings;
  // A small question asked this often finds out that the network is back after it was away: watches that may be
  // half-open are then renewed, each from its version. 0 = not asked.
  uint64_t pulse_ms = 10'000, pulse_answer_ms = 5'000;
  Reflector::Chance chance;  // default: std::mt19937 from the system's entropy
};

struct ClusterSourceStatus {
  struct Kind {
    std::string name, ns;
    bool synced = false;
    Reflector::Counts counts;
  };
  std::vector<Kind> kinds;
  size_t wanted = 0, loaded = 0;
  bool connected = false;
};

class ClusterSource : public store::Source {
 public:
  [[nodiscard]] virtual ClusterSourceStatus status() const = 0;  // for /debug and metrics
};

[[nodiscard]] std::unique_ptr<ClusterSource> make_cluster_source(boost::asio::io_context& io, Transport& transport,
                                                                 ClusterSourceOptions options);

// Every list and watch a source with these namespaces makes.
[[nodiscard]] std::vector<ReflectorScope> scopes_of(const std::vector<std::string>& watch_namespaces);

}  // namespace sluice::kube
