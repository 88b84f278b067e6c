// A named set of endpoints with its policy. Made by Upstreams at first use, updated in place when endpoints change,
// replaced when its own content changes. Held by Upstreams, by streams, and by each of its connections. Never points
// into the mapped table.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/error.h"
#include "dataplane/net/address.h"
#include "dataplane/shared/counters.h"

namespace sluice::net {
class TlsClientContext;
}
namespace sluice::upstream {

class Multiplexed;
class Pooled;

// One address. Lives while it is in the set or a connection refers to it.
class Endpoint {
 public:
  explicit Endpoint(const net::Address& to) : address(to) {}
  net::Address address;
  bool ready = false;
  bool gone = false;                   // no longer in the set
  uint32_t active = 0;                 // exchanges
  uint32_t connections = 0;            // idle or not
  Pooled* idle = nullptr;              // last used first
  Multiplexed* multiplexed = nullptr;  // HTTP/2: all, newest first
};

// What TLS towards an upstream needs, copied from the table.
struct TlsPolicy {
  bool verify = true;
  std::string sni, ca_pem;
  std::string name;  // what the certificate must be for
};

class Cluster : public std::enable_shared_from_this<Cluster> {
 public:
  Cluster(const ir::Cluster& from, shared::ClusterSlot& counters);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] uint64_t hash() const { return hash_; }
  [[nodiscard]] ir::LbPolicy lb() const { return lb_; }
  [[nodiscard]] ir::UpstreamProtocol protocol() const { return protocol_; }
  [[nodiscard]] uint32_t connect_ms() const { return connect_ms_; }
  [[nodiscard]] const TlsPolicy* tls() const { return tls_.get(); }
  [[nodiscard]] shared::ClusterSlot& counters() const { return *counters_; }
  // Those that take new streams, in order of address.
  [[nodiscard]] const std::vector<Endpoint*>& ready() const { return ready_; }
  // Why there is none.
  [[nodiscard]] http::Reason empty_reason() const { return empty_reason_; }

  // Takes over the set, keeping the objects of endpoints that stay. Gives those with idle connections that must go to
  // `closing`. Null: the set has no such cluster.
  void update(const ir::ClusterEndpoints* from, std::vector<Endpoint*>& closing);
  // All leave; the cluster is no longer in the table.
  void retire(std::vector<Endpoint*>& closing);
  [[nodiscard]] bool retired() const { return retired_; }
  // A connection of this endpoint is gone for good.
  void released(Endpoint& endpoint);

  uint64_t epoch = 0;                                  // Upstreams': of the last look at the table
  uint32_t index = 0;                                  // Upstreams'
  uint32_t next = 0;                                   // round robin
  std::shared_ptr<net::TlsClientContext> tls_context;  // the connector's, made at first connect
  bool tls_refused = false;                            // it cannot be made

 private:
  std::string name_;
  uint64_t hash_;
  ir::LbPolicy lb_;
  ir::UpstreamProtocol protocol_;
  uint32_t connect_ms_;
  std::unique_ptr<TlsPolicy> tls_;
  shared::ClusterSlot* counters_;
  uint64_t endpoints_hash_ = 0;
  bool known_ = false;  // endpoints_hash_ is of a set
  bool retired_ = false;
  http::Reason empty_reason_ = http::Reason::no_endpoints;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;  // in the set, sorted by address and port
  std::vector<std::unique_ptr<Endpoint>> departed_;   // gone, with connections left
  std::vector<Endpoint*> ready_;
};

[[nodiscard]] net::Address to_address(const ir::Endpoint& endpoint);

}  // namespace sluice::upstream
