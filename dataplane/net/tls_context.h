// Parts of TLS contexts that both sides share: protocol policy, PEM reading with bounds, the self-made certificate.
// Room-internal.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "dataplane/net/openssl_handles.h"

namespace sluice::net {

// TLS 1.2 suites with forward secrecy and AEAD only; the cheaper AES-128 first.
inline constexpr const char* kDefaultCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-"
    "SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// No SHA-1, no SHA-224, no DSA (RFC 9155, RFC 8446 4.2.3).
inline constexpr const char* kSignatures =
    "ECDSA+SHA256:RSA-PSS+SHA256:ed25519:ECDSA+SHA384:RSA-PSS+SHA384:ECDSA+SHA512:RSA-PSS+SHA512:ed448:"
    "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:RSA+SHA256:RSA+SHA384:RSA+SHA512";
inline constexpr const char* kSuites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct TlsPolicy {
  uint16_t min_version = 0x0303;
  std::string ciphers;  // empty = kDefaultCiphers
  bool alpn_h2 = false;
  bool operator==(const TlsPolicy&) const = default;
  [[nodiscard]] uint64_t hash() const;
};

// A context without certificate that follows the policy; no compression, renegotiation, session cache, early data.
[[nodiscard]] Result<ContextPtr> make_context(const SSL_METHOD* method, const TlsPolicy& policy);

struct KeyPair {
  std::vector<CertificatePtr> chain;  // leaf first, never empty
  KeyPtr key;
  int64_t not_after = 0;  // Unix seconds of the leaf
};
[[nodiscard]] Result<std::vector<CertificatePtr>> read_certificates(std::string_view pem);
// Checks that the key belongs to the leaf. Encrypted keys are refused (nobody could type a passphrase).
[[nodiscard]] Result<KeyPair> read_key_pair(std::string_view chain_pem, std::string_view key_pem);
[[nodiscard]] Status use_key_pair(SSL_CTX* context, const KeyPair& pair);
// P-256, CN = "sluice default", ten years.
[[nodiscard]] Result<KeyPair> make_default_pair();

}  // namespace sluice::net
