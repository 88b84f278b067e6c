// Writes Events, the status of Routes and policies, and the addresses of Ingresses to the API server. Of several
// replicas only the one that leads writes (leases.h), and says Programmed when every Ready one runs it. Slow and
// patient by design: a few calls at once, backoff, nothing written that is already there. Lives on the io_context's
// thread; the transport must outlive it. Its failures never reach the data plane.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/kube/transport.h"
#include "controlplane/status/addresses.h"
#include "controlplane/status/leases.h"
#include "controlplane/status/wanted.h"

namespace boost::asio {
class io_context;
}

namespace sluice::status {

struct StatusOptions {
  std::string controller_name;
  std::string host;          // reporting instance: the Pod's name
  Leases* leases = nullptr;  // null: there is no other replica. Must outlive the writer
  uint64_t pending_ms =
      2'000;  // what is not acknowledged for so long is said to be pending; before that nothing is written
  uint64_t backoff_start_ms = 800, backoff_cap_ms = 30'000;
  uint64_t tick_ms = 1'000;  // repeats and retries are looked for so often
};

class StatusWriter {
 public:
  virtual ~StatusWriter() = default;
  // After each translation. `sequence`: of the state it was published as (publish::Publisher::publish), also when
  // nothing had to be pushed.
  virtual void update(Wanted wanted, uint64_t sequence) = 0;
  // What accepted Ingresses and Routes are to say in status.loadBalancer; nullopt = what stands there stays.
  virtual void set_addresses(std::optional<Addresses> addresses) = 0;
  // All workers run this state.
  virtual void acknowledged(uint64_t sequence) = 0;
  virtual void stop() = 0;
  // Leadership or what other replicas run may be different.
  virtual void replicas_changed() = 0;
  struct Counts {
    uint64_t events_written = 0, statuses_written = 0, failures = 0;
    size_t events_wanted = 0, statuses_wanted = 0, statuses_waiting = 0;
  };
  [[nodiscard]] virtual Counts counts() const = 0;
};

[[nodiscard]] std::unique_ptr<StatusWriter> make_status_writer(boost::asio::io_context& io, kube::Transport& transport,
                                                               StatusOptions options);

}  // namespace sluice::status
