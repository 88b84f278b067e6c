// The Leases of a gateway's replicas at the API server: which replica leads (writes status and Events), and what each
// one's workers run. The calls around election.h and replicas.h. Lives on the io_context's thread; the transport must
// outlive it. Its failures cost status, never traffic.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "controlplane/kube/transport.h"
#include "controlplane/status/replicas.h"

namespace boost::asio {
class io_context;
}

namespace sluice::status {

struct LeaseOptions {
  Identity self;                                 // its group is also the name of the leader's Lease
  uint64_t tick_ms = 50;                         // how often what is due is looked for
  uint64_t write_ms = 200;                       // our own Lease is written at most so often,
  uint64_t renew_ms = 5'000;                     // and at least so often
  uint64_t list_ms = 200, idle_list_ms = 5'000;  // others' Leases: while somebody waits for them, and else
};

class Leases {
 public:
  virtual ~Leases() = default;
  // `changed`: leadership, or what the others run, may be different.
  virtual void start(std::function<void()> changed) = 0;
  [[nodiscard]] virtual bool leading() const = 0;
  [[nodiscard]] virtual const std::string& leader() const = 0;  // as last read; "" = nobody, or not known
  // What our own states hold, and which of them all workers run.
  virtual void seen(uint64_t sequence, Versions versions) = 0;
  virtual void acknowledged(uint64_t sequence) = 0;
  // Only while we lead. `since_ms` (monotonic): only what was asked of the API server later counts, so that no replica
  // is overlooked that became Ready before. Why not every Ready replica runs this version: a Pod's name, or a phrase;
  // nullopt = all do.
  [[nodiscard]] virtual std::optional<std::string> missing(store::Kind kind, const std::string& ns,
                                                           std::string_view version, uint64_t since_ms) const = 0;
  virtual void waiting(bool somebody) = 0;  // somebody waits for others: they are asked more often
  // The leader's Lease is released, and our own deleted if our Pod ends too; then done, at the latest after a second.
  // Nothing else follows.
  virtual void leave(std::function<void()> done) = 0;
  struct Counts {
    uint64_t failures = 0;
    size_t replicas = 0;  // beside us
  };
  [[nodiscard]] virtual Counts counts() const = 0;
};

[[nodiscard]] std::unique_ptr<Leases> make_leases(boost::asio::io_context& io, kube::Transport& transport,
                                                  LeaseOptions options);

}  // namespace sluice::status
