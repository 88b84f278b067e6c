// Certificates of one worker and the choice between them.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <span>
#include <unordered_map>

#include <xxhash.h>

#include "common/base/log.h"
#include "dataplane/net/openssl_handles.h"
#include "dataplane/net/tls.h"
#include "dataplane/net/tls_context.h"
#include "dataplane/net/tls_tickets.h"
#include "dataplane/net/tls_transport.h"

namespace sluice::net {
namespace {
constexpr size_t kMaxName = 253;       // RFC 1035 2.3.4, as text
constexpr long kTicketSeconds = 3600;  // the page rotates hourly and keeps the previous key
constexpr size_t kMaxProblems = 256;

// ALPN names as they travel: a length and the name each.
constexpr unsigned char kAlpnHttp1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr unsigned char kAlpnBoth[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

// The host name of a server_name extension (RFC 6066 section 3) in lower case and zero-terminated; empty if there is
// none that could be ours. OpenSSL judges the extension itself afterwards.
struct Name {
  char text[kMaxName + 1];
  size_t size = 0;
  [[nodiscard]] std::string_view view() const { return {text, size}; }
};
void read_name(SSL* ssl, Name& name) {
  const unsigned char* data = nullptr;
  size_t size = 0;
  name.text[0] = '\0';
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) != 1 || size < 5) return;
  const size_t list = static_cast<size_t>(data[0] << 8 | data[1]);
  const size_t length = static_cast<size_t>(data[3] << 8 | data[4]);
  if (list != size - 2 || data[2] != TLSEXT_NAMETYPE_host_name || length > size - 5) return;
  const char* from = reinterpret_cast<const char*>(data + 5);
  size_t n = length;
  if (n != 0 && from[n - 1] == '.') --n;  // RFC 6066: without the root's dot; some send it
  if (n == 0 || n > kMaxName) return;
  for (size_t i = 0; i < n; ++i) {
    const char c = from[i];
    if (c >= 'A' && c <= 'Z') name.text[i] = static_cast<char>(c | 0x20);
    else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_') name.text[i] = c;
    else return;
  }
  name.text[n] = '\0';
  name.size = n;
}
}  // namespace

struct TlsServer::Impl final : TlsSide {
  // One certificate id that was asked for. What it holds may be of an earlier, last good form.
  struct Entry {
    uint64_t wanted = 0;  // hash in the current SecretSet
    uint64_t built = 0;   // hash `pair` was read from
    KeyPair pair;         // empty chain = none
    ContextPtr context;   // of `pair` under the current policy; null until asked for after a change of policy
    [[nodiscard]] bool has_pair() const { return !pair.chain.empty(); }
  };
  // One host's choice: context and the certificate id (for binding tickets).
  struct Choice {
    SSL_CTX* context;
    std::string_view id;
  };

  Impl(shared::CounterPage& counters_, const shared::TicketKeyPage* keys) : counters(counters_), tickets(keys) {
    auto pair = make_default_pair();
    if (pair) default_pair = std::move(*pair);
    Status ready = pair ? set_policy({}) : Status(std::unexpected(pair.error()));
    if (!ready) {
      // OpenSSL itself is unusable: only at start, and nothing could be served.
      log::error("TLS cannot start", {{"reason", ready.error().message}});
      std::abort();
    }
  }

  // ---- contexts
  Result<ContextPtr> make_ready(const KeyPair& pair) {
    auto context = make_context(TLS_server_method(), policy);
    if (!context) return context;
    SSL_CTX* ctx = context->get();
    if (auto used = use_key_pair(ctx, pair); !used) return std::unexpected(used.error());
    SSL_CTX_set_client_hello_cb(ctx, on_client_hello, this);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, this);
    TicketBox::install(ctx, on_ticket);
    SSL_CTX_set_timeout(ctx, kTicketSeconds);
    SSL_CTX_set_num_tickets(ctx, 2);
    ++built;
    return context;
  }
  Status set_policy(const TlsPolicy& wanted) {
    const TlsPolicy old = std::exchange(policy, wanted);
    auto made = make_ready(default_pair);
    if (!made) {
      policy = old;
      return std::unexpected(made.error());
    }
    base = std::move(*made);
    policy_hash = policy.hash();
    for (auto& [id, entry] : entries) entry.context.reset();
    return {};
  }
  void report(std::string_view id, std::string text) {
    if (problems.size() < kMaxProblems) problems.push_back({"Secret " + std::string(id), std::move(text)});
  }
  const ir::Certificate* find_certificate(const char* id) const {
    return secrets == nullptr || secrets->certificates() == nullptr ? nullptr
                                                                    : secrets->certificates()->LookupByKey(id);
  }
  // A context costs some 17 KiB beside its certificate: of too many the one built first goes; who uses it has it to the
  // end. It is built again when its name is asked for.
  void keep(const std::string& id, Entry& entry, ContextPtr context) {
    if (kept.size() < max_contexts) {
      kept.push_back(id);
    } else {
      std::string& first = kept[oldest];
      if (const auto at = entries.find(first); at != entries.end()) at->second.context.reset();
      first = id;
      oldest = (oldest + 1) % kept.size();
    }
    entry.context = std::move(context);
  }
  // Brings an entry to the form the current SecretSet has; on failure what it had stays.
  void build(const std::string& id, Entry& entry, const ir::Certificate* certificate) {
    if (certificate == nullptr) {
      entry.wanted = 0;
      report(id, entry.has_pair() ? "is not there (any more); its last good certificate stays in use"
                                  : "is not there; the default certificate is used");
      return;
    }
    entry.wanted = certificate->hash();
    if (entry.has_pair() && entry.built == entry.wanted) return;
    auto view = [](const flatbuffers::String* text) {
      return text == nullptr ? std::string_view() : text->string_view();
    };
    Status good;
    if (auto pair = read_key_pair(view(certificate->chain_pem()), view(certificate->key_pem())); !pair) {
      good = std::unexpected(pair.error());
    } else if (auto made = make_ready(*pair); !made) {
      good = std::unexpected(made.error());
    } else {
      keep(id, entry, std::move(*made));
      entry.built = entry.wanted;
      entry.pair = std::move(*pair);
      if (entry.pair.not_after < std::time(nullptr)) report(id, "tls.crt has expired");
    }
    if (!good)
      report(id, good.error().message + (entry.has_pair() ? "; the last good certificate stays in use"
                                                          : "; the default certificate is used"));
  }
  // Empty: the self-made one.
  std::string_view default_certificate() const {
    const auto* id = table.empty() ? nullptr : table.head().default_certificate();
    return id == nullptr ? std::string_view() : id->string_view();
  }
  // Whether the table refers to this id at all.
  bool names(std::string_view id) const {
    if (default_certificate() == id && !id.empty()) return true;
    const auto named_in = [&](const ir::RouteTable* list) {
      return list->tls_hosts() != nullptr &&
             std::any_of(list->tls_hosts()->begin(), list->tls_hosts()->end(), [&](const ir::TlsHost* host) {
               return host->certificate() != nullptr && host->certificate()->string_view() == id;
             });
    };
    return std::any_of(table.lists().begin(), table.lists().end(), named_in);
  }
  Entry& entry_of(const char* id) {
    auto [at, fresh] = entries.try_emplace(id);
    if (fresh) build(at->first, at->second, find_certificate(id));
    return at->second;
  }

  // ---- choice
  const char* certificate_id(const Name& name) const {
    if (name.size != 0) {
      const ir::TlsHost* host = table.tls_host(name.view());
      if (host == nullptr) {
        // One label only: "*.example.com" is for a.example.com, not for a.b.example.com.
        if (const char* dot = std::strchr(name.text, '.'); dot != nullptr && dot != name.text) {
          char wildcard[kMaxName + 2] = "*";
          std::memcpy(wildcard + 1, dot, name.size - static_cast<size_t>(dot - name.text) + 1);
          host = table.tls_host(wildcard);
        }
      }
      if (host != nullptr && host->certificate() != nullptr) return host->certificate()->c_str();
    }
    return nullptr;
  }
  std::optional<Choice> usable(const char* id) {
    Entry& entry = entry_of(id);
    if (!entry.has_pair()) return std::nullopt;
    // A last good form is used only within its validity.
    if (entry.built != entry.wanted && entry.pair.not_after < std::time(nullptr)) return std::nullopt;
    if (!entry.context) {
      auto made = make_ready(entry.pair);
      if (!made) return std::nullopt;
      keep(id, entry, std::move(*made));
    }
    return Choice{entry.context.get(), id};
  }
  Choice choose(const Name& name) {
    if (const char* id = certificate_id(name)) {
      if (auto choice = usable(id)) return *choice;
    }
    if (const std::string_view id = default_certificate(); !id.empty()) {
      if (auto choice = usable(id.data())) return *choice;  // the table's own bytes: they end with a NUL
    }
    return {base.get(), {}};
  }

  // ---- OpenSSL's callbacks
  // First of all: before versions, tickets and ciphers are looked at.
  static int on_client_hello(SSL* ssl, int*, void* self_) {
    auto& self = *static_cast<Impl*>(self_);
    Name name;
    read_name(ssl, name);
    const Choice choice = self.choose(name);
    if (choice.context != SSL_get_SSL_CTX(ssl) && SSL_set_SSL_CTX(ssl, choice.context) == nullptr)
      return SSL_CLIENT_HELLO_ERROR;
    self.bind(ssl, name, choice.id);
    static_cast<TlsTransport*>(SSL_get_app_data(ssl))->set_server_name(name.view());
    return SSL_CLIENT_HELLO_SUCCESS;
  }
  // A ticket opens only a session of the same name, certificate and policy; anything else is a full handshake.
  void bind(SSL* ssl, const Name& name, std::string_view id) const {
    char bytes[kMaxName + 1 + 16];
    std::memcpy(bytes, name.text, name.size + 1);
    const uint64_t rest[2] = {XXH3_64bits(id.data(), id.size()), policy_hash};
    std::memcpy(bytes + name.size + 1, rest, sizeof rest);
    const XXH128_hash_t digest = XXH3_128bits(bytes, name.size + 1 + sizeof rest);
    SSL_set_session_id_context(ssl, reinterpret_cast<const unsigned char*>(&digest), sizeof digest);
  }
  // Only so that the name is acknowledged (RFC 6066 section 3).
  static int on_server_name(SSL* ssl, int*, void*) {
    return static_cast<TlsTransport*>(SSL_get_app_data(ssl))->server_name().empty() ? SSL_TLSEXT_ERR_NOACK
                                                                                    : SSL_TLSEXT_ERR_OK;
  }
  static int on_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                     unsigned in_size, void* self_) {
    const auto& self = *static_cast<Impl*>(self_);
    const auto ours =
        self.policy.alpn_h2 ? std::span<const unsigned char>(kAlpnBoth) : std::span<const unsigned char>(kAlpnHttp1);
    unsigned char* chosen = nullptr;
    // RFC 7301 3.2: nothing in common ends the handshake (no_application_protocol).
    if (SSL_select_next_proto(&chosen, out_size, ours.data(), static_cast<unsigned>(ours.size()), in, in_size) !=
        OPENSSL_NPN_NEGOTIATED) {
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  }
  static int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac,
                       int sealing) {
    auto& self = static_cast<Impl&>(static_cast<TlsTransport*>(SSL_get_app_data(ssl))->side());
    if (sealing != 0) return self.tickets.seal(name, iv, cipher, mac);
    const int opened = self.tickets.open(name, iv, cipher, mac);
    // RFC 8446 C.4: a client uses a ticket once; without a new one each second connection would be a full handshake.
    return opened == 1 && SSL_version(ssl) == TLS1_3_VERSION ? 2 : opened;
  }

  // ---- TlsSide
  SSL* begin(TlsTransport&) override { return SSL_new(base.get()); }
  void finished(bool good, bool resumed) override {
    (good ? counters.tls_handshakes : counters.tls_failures).add();
    if (good && resumed) counters.tls_resumed.add();
  }

  shared::CounterPage& counters;
  TicketBox tickets;
  TlsPolicy policy;
  uint64_t policy_hash = 0;
  KeyPair default_pair;
  ContextPtr base;  // the self-made certificate; every connection begins with it
  std::unordered_map<std::string, Entry> entries;
  size_t max_contexts = kMaxContexts;
  std::vector<std::string> kept;  // ids in the order in which contexts were built, a ring once it is full
  size_t oldest = 0;              // in the ring
  ir::TableView table;
  const ir::SecretSet* secrets = nullptr;
  std::vector<TlsProblem> problems;
  uint64_t built = 0;
};

TlsServer::TlsServer(shared::CounterPage& counters, const shared::TicketKeyPage* keys)
    : impl_(std::make_unique<Impl>(counters, keys)) {}
TlsServer::~TlsServer() = default;

std::vector<TlsProblem> TlsServer::apply(const ir::TableView& table, const ir::SecretSet& secrets) {
  Impl& self = *impl_;
  self.problems.clear();
  self.table = table;
  self.secrets = &secrets;
  TlsPolicy policy;
  const ir::Settings* settings = table.head().settings();
  policy.alpn_h2 = settings == nullptr || settings->http2() == nullptr || settings->http2()->enabled();
  if (settings != nullptr && settings->tls() != nullptr) {
    const ir::TlsSettings& tls = *settings->tls();
    policy.min_version = tls.min_version();
    if (tls.ciphers() != nullptr) policy.ciphers = tls.ciphers()->str();
  }
  if (policy != self.policy) {
    if (auto set = self.set_policy(policy); !set)
      self.problems.push_back({"Settings tls", set.error().message + "; the settings before it stay in use"});
  }
  if (std::string problem = self.tickets.apply(secrets); !problem.empty())
    self.problems.push_back({"Secret (ticket keys)", std::move(problem)});
  // Only what was asked for since the start: few, and each is found again by its hash.
  for (auto at = self.entries.begin(); at != self.entries.end();) {
    const ir::Certificate* certificate = self.find_certificate(at->first.c_str());
    Impl::Entry& entry = at->second;
    if (certificate == nullptr && !self.names(at->first)) {
      at = self.entries.erase(at);
      continue;
    }
    if ((certificate == nullptr ? 0 : certificate->hash()) != entry.wanted) self.build(at->first, entry, certificate);
    ++at;
  }
  return std::exchange(self.problems, {});
}

std::vector<TlsProblem> TlsServer::take_problems() { return std::exchange(impl_->problems, {}); }

std::unique_ptr<Transport> TlsServer::make_server(UniqueFd fd) {
  return std::make_unique<TlsTransport>(std::move(fd), TlsTransport::Role::server, *impl_);
}

bool TlsServer::same_settings(std::string_view sni, std::string_view host) const {
  if (sni == host) return true;
  // What a name gets depends on its certificate only: protocol settings are the same for all.
  auto id_of = [this](std::string_view of) -> std::string_view {
    Name name;
    name.size = of.size() <= kMaxName ? of.size() : 0;
    if (name.size != 0) std::memcpy(name.text, of.data(), name.size);
    name.text[name.size] = '\0';
    if (const char* id = impl_->certificate_id(name)) return id;
    return impl_->default_certificate();
  };
  return id_of(sni) == id_of(host);
}

uint64_t TlsServer::contexts_built() const { return impl_->built; }
void TlsServer::limit_contexts(size_t count) { impl_->max_contexts = count; }

}  // namespace sluice::net
