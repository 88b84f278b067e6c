// TLS by OpenSSL over the worker's sockets: one TlsServer per worker holds the certificates of the current state;
// TlsClientContext is one policy towards upstreams. No OpenSSL type shows here, and nothing outside dataplane/net
// includes it. A handshake costs one read and one write per flight; a small request one read and one write; an idle
// connection holds no buffer.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/ir/table_view.h"
#include "dataplane/net/transport.h"
#include "dataplane/shared/counters.h"
#include "dataplane/shared/ticket_keys.h"

namespace sluice::net {

// Something in the state that could not be honoured; what was there before stays.
struct TlsProblem {
  std::string object;  // "Secret shop/cert", "Settings tls.ciphers"
  std::string text;
};

// Certificates by server name: exact host, then one-label wildcard, then the default certificate, then a self-made one.
// A context is built when its certificate is first asked for and found again by id and hash: an unrelated change
// rebuilds nothing; of more than kMaxContexts the first built are let go. A certificate that turns out broken leaves
// the last good one of that id in use, as long as it is valid. Must outlive its transports.
class TlsServer {
 public:
  // Without `keys` (or while its page has none) ticket keys are this process's own.
  explicit TlsServer(shared::CounterPage& counters, const shared::TicketKeyPage* keys = nullptr);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  // Both must stay mapped until the next apply returns. Says what is wrong with those certificates that are in use;
  // others when first asked for.
  std::vector<TlsProblem> apply(const ir::TableView& table, const ir::SecretSet& secrets);
  // Problems found since, by first use.
  std::vector<TlsProblem> take_problems();
  // The server side of an accepted connection. Counts handshakes in the counter page. Costs nearly nothing until bytes
  // come.
  [[nodiscard]] std::unique_ptr<Transport> make_server(UniqueFd fd);
  // Whether a request for `host` (lower case) is served under the same TLS settings as a connection made for `sni`
  // (either may be empty). By the present table; no allocation.
  [[nodiscard]] bool same_settings(std::string_view sni, std::string_view host) const;
  // Contexts built so far, for tests and dumps.
  [[nodiscard]] uint64_t contexts_built() const;
  // Contexts held at once, at least 1; only before the first is built.
  static constexpr size_t kMaxContexts = 4096;
  void limit_contexts(size_t count);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct TlsClientOptions {
  bool verify = true;        // chain and name
  std::string_view ca_pem;   // empty = the system's store
  std::string_view ciphers;  // TLS 1.2 list; empty = ours
  bool h2 = false;           // ALPN: offers h2 alone, else http/1.1 alone. alpn() says what the peer chose
};

class TlsClientContext {
 public:
  [[nodiscard]] static Result<std::shared_ptr<TlsClientContext>> make(const TlsClientOptions& options);
  ~TlsClientContext();
  TlsClientContext(const TlsClientContext&) = delete;
  TlsClientContext& operator=(const TlsClientContext&) = delete;

 private:
  friend class TlsClient;
  friend std::unique_ptr<Transport> make_client(UniqueFd fd, std::shared_ptr<TlsClientContext> context,
                                                std::string_view sni, std::string_view name, const Address& to);
  struct Impl;
  explicit TlsClientContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The client side over a socket of start_connect to `to`: handshake() first waits for the connection. `sni` is sent
// unless it is empty or an address; `name` (a DNS name or an address) is what the certificate must be for. Sessions are
// resumed that the same context got from the same address under the same names. Null if they are unusable (no name with
// verification, over 253 bytes).
[[nodiscard]] std::unique_ptr<Transport> make_client(UniqueFd fd, std::shared_ptr<TlsClientContext> context,
                                                     std::string_view sni, std::string_view name, const Address& to);

}  // namespace sluice::net
