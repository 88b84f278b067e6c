// Policy towards TLS upstreams, and the client side of a connection.

#include <ctime>

#include <openssl/x509v3.h>

#include "dataplane/net/address.h"
#include "dataplane/net/openssl_handles.h"
#include "dataplane/net/tls.h"
#include "dataplane/net/tls_context.h"
#include "dataplane/net/tls_sessions.h"
#include "dataplane/net/tls_transport.h"

namespace sluice::net {
namespace {
constexpr size_t kMaxName = 253;
// ALPN names as they travel. One at a time: a connection is made for one protocol.
constexpr unsigned char kAlpnHttp1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
constexpr unsigned char kAlpnH2[] = {2, 'h', '2'};

int on_new_session(SSL* ssl, SSL_SESSION* session);

// Reading the system's store takes milliseconds and a MiB: once a thread.
X509_STORE* system_store() {
  thread_local const StorePtr store = [] {
    StorePtr made(X509_STORE_new());
    if (made) X509_STORE_set_default_paths(made.get());
    ERR_clear_error();
    return made;
  }();
  return store.get();
}

Status trust(SSL_CTX* ctx, std::string_view ca_pem) {
  if (ca_pem.empty()) {
    X509_STORE* store = system_store();
    if (store == nullptr) return fail("the system's certificate store cannot be read");
    SSL_CTX_set1_cert_store(ctx, store);
    return {};
  }
  auto authorities = read_certificates(ca_pem);
  if (!authorities) return fail("CA: {}", authorities.error().message);
  for (const CertificatePtr& authority : *authorities) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority.get()) != 1)
      return fail("CA: {}", take_openssl_error());
  }
  return {};
}
}  // namespace

struct TlsClientContext::Impl {
  ContextPtr context;
  bool verify = true;
  // Never used again, so that no session outlives the policy (names, authorities) it was verified under.
  uint64_t id = [] {
    thread_local uint64_t last = 0;
    return ++last;
  }();
};

TlsClientContext::TlsClientContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TlsClientContext::~TlsClientContext() = default;

Result<std::shared_ptr<TlsClientContext>> TlsClientContext::make(const TlsClientOptions& options) {
  TlsPolicy policy;
  policy.ciphers = std::string(options.ciphers);
  auto context = make_context(TLS_client_method(), policy);
  if (!context) return std::unexpected(context.error());
  SSL_CTX* ctx = context->get();
  SSL_CTX_set_verify(ctx, options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.verify) {
    if (auto trusted = trust(ctx, options.ca_pem); !trusted) return std::unexpected(trusted.error());
  }
  if (options.h2) SSL_CTX_set_alpn_protos(ctx, kAlpnH2, sizeof kAlpnH2);
  else SSL_CTX_set_alpn_protos(ctx, kAlpnHttp1, sizeof kAlpnHttp1);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(ctx, on_new_session);
  auto impl = std::make_unique<Impl>();
  impl->context = std::move(*context);
  impl->verify = options.verify;
  return std::shared_ptr<TlsClientContext>(new TlsClientContext(std::move(impl)));
}

// One connection's way to its context.
class TlsClient final : public TlsSide {
 public:
  TlsClient(std::shared_ptr<TlsClientContext> context, std::string_view sni, std::string_view name, const Address& to)
      : context_(std::move(context)), sni_(sni), name_(name) {
    const uint64_t id = context_->impl_->id;
    key_.reserve(sizeof id + to.bytes.size() + sizeof to.port + sni.size() + 1 + name.size());
    key_.append(reinterpret_cast<const char*>(&id), sizeof id);
    key_.append(reinterpret_cast<const char*>(to.bytes.data()), to.bytes.size());
    key_.append(reinterpret_cast<const char*>(&to.port), sizeof to.port);
    key_.append(sni);
    key_.push_back('\0');  // in neither of them
    key_.append(name);
  }

  SSL* begin(TlsTransport& transport) override {
    const TlsClientContext::Impl& policy = *context_->impl_;
    SslPtr ssl(SSL_new(policy.context.get()));
    if (!ssl) return nullptr;
    // RFC 6066 3: literal addresses are not permitted in SNI.
    const bool sent = !sni_.empty() && !Address::parse(sni_).has_value();
    if (sent && SSL_set_tlsext_host_name(ssl.get(), sni_.c_str()) != 1) return nullptr;
    if (policy.verify) {
      const bool literal = Address::parse(name_).has_value();
      SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      const int set = literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name_.c_str())
                              : SSL_set1_host(ssl.get(), name_.c_str());
      if (set != 1) return nullptr;
    }
    if (const SessionPtr session = TlsSessions::of_thread().take(key_, std::time(nullptr)))
      SSL_set_session(ssl.get(), session.get());
    transport.set_server_name(sni_);
    return ssl.release();
  }
  void finished(bool good, bool) override {
    if (!good) TlsSessions::of_thread().forget(key_);
  }
  void keep(SSL_SESSION* session) { TlsSessions::of_thread().put(key_, SessionPtr(session), std::time(nullptr)); }

 private:
  std::shared_ptr<TlsClientContext> context_;
  std::string sni_, name_, key_;
};

namespace {
// TLS 1.2: at the end of a handshake; TLS 1.3: when a ticket comes, with or after the first answer.
int on_new_session(SSL* ssl, SSL_SESSION* session) {
  static_cast<TlsClient&>(static_cast<TlsTransport*>(SSL_get_app_data(ssl))->side()).keep(session);
  return 1;
}
}  // namespace

std::unique_ptr<Transport> make_client(UniqueFd fd, std::shared_ptr<TlsClientContext> context, std::string_view sni,
                                       std::string_view name, const Address& to) {
  const bool verify = context->impl_->verify;
  for (const std::string_view one : {sni, name}) {
    if (one.size() > kMaxName || one.find('\0') != one.npos) return nullptr;
  }
  if (verify && name.empty()) return nullptr;
  auto side = std::make_shared<TlsClient>(std::move(context), sni, name, to);
  TlsSide& reference = *side;
  return std::make_unique<TlsTransport>(std::move(fd), TlsTransport::Role::client, reference, std::move(side));
}

}  // namespace sluice::net
