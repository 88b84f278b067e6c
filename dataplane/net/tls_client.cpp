// Policy towards TLS upstreams, and the client side of a connection.

#include <openssl/x509v3.h>

#include "dataplane/net/address.h"
#include "dataplane/net/openssl_handles.h"
#include "dataplane/net/tls.h"
#include "dataplane/net/tls_context.h"
#include "dataplane/net/tls_transport.h"

namespace sluice::net {
namespace {
constexpr size_t kMaxName = 253;
// ALPN: HTTP/1.1 is all that upstream connections speak here.
constexpr unsigned char kAlpn[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

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
  SSL_CTX_set_alpn_protos(ctx, kAlpn, sizeof kAlpn);
  auto impl = std::make_unique<Impl>();
  impl->context = std::move(*context);
  impl->verify = options.verify;
  return std::shared_ptr<TlsClientContext>(new TlsClientContext(std::move(impl)));
}

// One connection's way to its context.
class TlsClient final : public TlsSide {
 public:
  TlsClient(std::shared_ptr<TlsClientContext> context, std::string_view name)
      : context_(std::move(context)), name_(name) {}

  SSL* begin(TlsTransport& transport) override {
    const TlsClientContext::Impl& policy = *context_->impl_;
    SslPtr ssl(SSL_new(policy.context.get()));
    if (!ssl) return nullptr;
    const bool literal = Address::parse(name_).has_value();
    if (!literal && !name_.empty() && SSL_set_tlsext_host_name(ssl.get(), name_.c_str()) != 1) return nullptr;
    if (policy.verify) {
      SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
      const int set = literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()), name_.c_str())
                              : SSL_set1_host(ssl.get(), name_.c_str());
      if (set != 1) return nullptr;
    }
    transport.set_server_name(name_);
    return ssl.release();
  }
  void finished(bool, bool) override {}

 private:
  std::shared_ptr<TlsClientContext> context_;
  std::string name_;
};

std::unique_ptr<Transport> make_client(UniqueFd fd, std::shared_ptr<TlsClientContext> context, std::string_view name) {
  const bool verify = context->impl_->verify;
  if (name.size() > kMaxName || name.find('\0') != name.npos || (verify && name.empty())) return nullptr;
  auto side = std::make_shared<TlsClient>(std::move(context), name);
  TlsSide& reference = *side;
  return std::make_unique<TlsTransport>(std::move(fd), TlsTransport::Role::client, reference, std::move(side));
}

}  // namespace sluice::net
