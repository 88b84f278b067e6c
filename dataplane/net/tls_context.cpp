#include "dataplane/net/tls_context.h"

#include <ctime>

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <xxhash.h>

namespace sluice::net {
namespace {
constexpr size_t kMaxPem = 256 * 1024;
constexpr size_t kMaxChain = 16;
constexpr size_t kMaxAuthorities = 4096;
constexpr long kDefaultDays = 3650;

// OpenSSL would ask the terminal.
int no_passphrase(char*, int, int, void*) { return 0; }

BioPtr memory(std::string_view bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

int64_t seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

Result<std::vector<CertificatePtr>> read_up_to(std::string_view pem, size_t most, size_t most_bytes) {
  if (pem.size() > most_bytes) return fail("certificates are longer than {} bytes", most_bytes);
  const BioPtr bio = memory(pem);
  std::vector<CertificatePtr> found;
  for (;;) {
    CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!certificate) break;
    if (found.size() == most) return fail("more than {} certificates", most);
    found.push_back(std::move(certificate));
  }
  // The end of the text is reported as "no start line"; anything else is a damaged block.
  const unsigned long code = ERR_peek_last_error();
  const bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
  if (!at_end) return fail("certificate {} cannot be read: {}", found.size() + 1, take_openssl_error());
  ERR_clear_error();
  if (found.empty()) return fail("no certificate in PEM form");
  return found;
}
}  // namespace

uint64_t TlsPolicy::hash() const {
  return XXH3_64bits_withSeed(ciphers.data(), ciphers.size(),
                              static_cast<uint64_t>(min_version) << 1 | (alpn_h2 ? 1u : 0u));
}

Result<ContextPtr> make_context(const SSL_METHOD* method, const TlsPolicy& policy) {
  if (policy.min_version != TLS1_2_VERSION && policy.min_version != TLS1_3_VERSION) {
    return fail("minimum version 0x{:04x} is not TLS 1.2 (0x0303) or TLS 1.3 (0x0304)", policy.min_version);
  }
  ContextPtr context(SSL_CTX_new(method));
  if (!context) return fail("no TLS context: {}", take_openssl_error());
  SSL_CTX* ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, policy.min_version);
  SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
  const char* ciphers = policy.ciphers.empty() ? kDefaultCiphers : policy.ciphers.c_str();
  if (SSL_CTX_set_cipher_list(ctx, ciphers) != 1)
    return fail("no cipher of '{}' can be used: {}", policy.ciphers, take_openssl_error());
  if (SSL_CTX_set_ciphersuites(ctx, kSuites13) != 1 || SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384") != 1 ||
      SSL_CTX_set1_sigalgs_list(ctx, kSignatures) != 1) {
    return fail("TLS 1.3 suites, groups or signatures: {}", take_openssl_error());
  }
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  // Buffers are given back when empty; chains are as given (no building and looking up per handshake).
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(ctx, 0);
  SSL_CTX_set_read_ahead(ctx, 0);
  return context;
}

Result<std::vector<CertificatePtr>> read_certificates(std::string_view pem) {
  return read_up_to(pem, kMaxAuthorities, 16 * kMaxPem);
}

Result<KeyPair> read_key_pair(std::string_view chain_pem, std::string_view key_pem) {
  KeyPair pair;
  auto chain = read_up_to(chain_pem, kMaxChain, kMaxPem);
  if (!chain) return fail("tls.crt: {}", chain.error().message);
  pair.chain = std::move(*chain);
  if (key_pem.size() > kMaxPem) return fail("tls.key: longer than {} bytes", kMaxPem);
  const BioPtr bio = memory(key_pem);
  pair.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!pair.key) return fail("tls.key: no unencrypted private key in PEM form: {}", take_openssl_error());
  if (X509_check_private_key(pair.chain.front().get(), pair.key.get()) != 1) {
    ERR_clear_error();
    return fail("tls.key does not belong to the first certificate of tls.crt");
  }
  pair.not_after = seconds_of(X509_get0_notAfter(pair.chain.front().get()));
  return pair;
}

Status use_key_pair(SSL_CTX* context, const KeyPair& pair) {
  if (SSL_CTX_use_certificate(context, pair.chain.front().get()) != 1) return fail("tls.crt: {}", take_openssl_error());
  for (size_t i = 1; i < pair.chain.size(); ++i) {
    if (SSL_CTX_add1_chain_cert(context, pair.chain[i].get()) != 1)
      return fail("tls.crt: certificate {}: {}", i + 1, take_openssl_error());
  }
  if (SSL_CTX_use_PrivateKey(context, pair.key.get()) != 1) return fail("tls.key: {}", take_openssl_error());
  return {};
}

Result<KeyPair> make_default_pair() {
  KeyPair pair;
  pair.key.reset(EVP_EC_gen("P-256"));
  CertificatePtr certificate(X509_new());
  uint64_t serial = 0;
  if (!pair.key || !certificate || RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) != 1) {
    return fail("default certificate: {}", take_openssl_error());
  }
  X509* x = certificate.get();
  X509_set_version(x, X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), serial >> 1 | 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -86400);
  X509_time_adj_ex(X509_getm_notAfter(x), kDefaultDays, 0, nullptr);
  X509_set_pubkey(x, pair.key.get());
  X509_NAME* name = X509_get_subject_name(x);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("sluice default"), -1, -1,
                             0);
  X509_set_issuer_name(x, name);
  if (X509_sign(x, pair.key.get(), EVP_sha256()) == 0) return fail("default certificate: {}", take_openssl_error());
  pair.not_after = seconds_of(X509_get0_notAfter(x));
  pair.chain.push_back(std::move(certificate));
  return pair;
}

}  // namespace sluice::net
