// How an upstream connection comes to be: a transport on its way to an address. One per Upstreams; tests give their
// own.
#pragma once
#include <memory>

#include "dataplane/net/address.h"
#include "dataplane/net/transport.h"

namespace sluice::upstream {

class Cluster;

class Connector {
 public:
  virtual ~Connector() = default;
  // Null with errno if the connect failed at once; EKEYREJECTED: the cluster's TLS policy cannot be honoured.
  [[nodiscard]] virtual std::unique_ptr<net::Transport> connect(const net::Address& to, Cluster& cluster) = 0;
};

// TCP, with TLS where the cluster asks for it.
[[nodiscard]] std::unique_ptr<Connector> make_connector();

}  // namespace sluice::upstream
