// Finds the addresses that statuses are to tell, as the options say, and says so when they move: the publish Service is
// one list and one watch of its own. Lives on the io_context's thread; the transport must outlive it. Knows nothing of
// who writes them.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "controlplane/config/options.h"
#include "controlplane/kube/reflector.h"
#include "controlplane/kube/transport.h"
#include "controlplane/status/addresses.h"

namespace boost::asio {
class io_context;
}

namespace sluice::status {

class AddressSource {
 public:
  // nullopt = not known, or nobody asked: what stands in a status stays. That is also so while the Service is missing
  // or cannot be read: names that follow the addresses (external-dns) must not go for that.
  using Told = std::function<void(std::optional<Addresses>)>;
  AddressSource(boost::asio::io_context& io, kube::Transport& transport, kube::ReflectorTimings timings, Told told);
  ~AddressSource();
  // At the start and when the options changed.
  void set(const config::Options& options);
  // Statuses are to have addresses, known or not yet.
  [[nodiscard]] bool wanted() const;
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sluice::status
