#include "dataplane/upstream/connector.h"

#include <cerrno>

#include "common/base/log.h"
#include "dataplane/net/tls.h"
#include "dataplane/upstream/cluster.h"

namespace sluice::upstream {
namespace {

class TcpConnector final : public Connector {
 public:
  std::unique_ptr<net::Transport> connect(const net::Address& to, Cluster& cluster) override {
    const TlsPolicy* const tls = cluster.tls();
    if (tls != nullptr && !prepare(cluster, *tls)) {
      errno = EKEYREJECTED;
      return nullptr;
    }
    UniqueFd fd = net::start_connect(to);
    if (!fd) return nullptr;
    if (tls == nullptr) return net::make_plain(std::move(fd));
    auto transport = net::make_client(std::move(fd), cluster.tls_context, tls->sni, tls->name, to);
    if (transport == nullptr) errno = EKEYREJECTED;
    return transport;
  }

 private:
  // The context of a cluster is made once; a policy that cannot be honoured is said once and then refuses every
  // request.
  static bool prepare(Cluster& cluster, const TlsPolicy& tls) {
    if (cluster.tls_context != nullptr) return true;
    if (cluster.tls_refused) return false;
    auto made = net::TlsClientContext::make({.verify = tls.verify,
                                             .ca_pem = tls.ca_pem,
                                             .ciphers = {},
                                             .h2 = cluster.protocol() == ir::UpstreamProtocol::H2});
    if (!made.has_value()) {
      cluster.tls_refused = true;
      log::error("the cluster's TLS policy cannot be used",
                 {{"cluster", cluster.name()}, {"error", made.error().message}});
      return false;
    }
    cluster.tls_context = std::move(*made);
    return true;
  }
};

}  // namespace

std::unique_ptr<Connector> make_connector() { return std::make_unique<TcpConnector>(); }

}  // namespace sluice::upstream
