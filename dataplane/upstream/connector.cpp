#include "dataplane/upstream/connector.h"

#include "dataplane/upstream/cluster.h"

namespace sluice::upstream {
namespace {

class TcpConnector final : public Connector {
 public:
  std::unique_ptr<net::Transport> connect(const net::Address& to, Cluster&) override {
    UniqueFd fd = net::start_connect(to);
    if (!fd) return nullptr;
    return net::make_plain(std::move(fd));
  }
};

}  // namespace

std::unique_ptr<Connector> make_connector() { return std::make_unique<TcpConnector>(); }

}  // namespace sluice::upstream
