#include "controlplane/translate/certificates.h"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/base/freer.h"

namespace sluice::translate {
namespace {

using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

constexpr size_t kMaxPem = 256 * 1024;
constexpr size_t kMaxChain = 16;
constexpr size_t kMaxAuthorities = 512;
// OpenSSL's security level 2, Debian's default: a worker could not load a weaker key.
constexpr int kMinSecurityBits = 112;

BioPtr reader(std::string_view text) { return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string{};
}

// An encrypted key must not make OpenSSL ask on a terminal.
int no_password(char*, int, int, void*) { return -1; }

std::vector<X509Ptr> read_chain(std::string_view pem, size_t most = kMaxChain) {
  std::vector<X509Ptr> out;
  const BioPtr bio = reader(pem);
  while (out.size() <= most) {
    X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
    if (!certificate) break;
    out.push_back(std::move(certificate));
  }
  ERR_clear_error();
  return out;
}

int64_t unix_time(const ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  return timegm(&parts);
}

std::vector<std::string> dns_names(X509* leaf) {
  std::vector<std::string> out;
  const NamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()) && out.size() < 1000; ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    std::string text(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                     static_cast<size_t>(ASN1_STRING_length(name->d.dNSName)));
    for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    out.push_back(std::move(text));
  }
  return out;
}

CheckedCertificate refuse(std::string text) {
  ERR_clear_error();
  CheckedCertificate out;
  out.reason = "InvalidCertificate";
  out.problem = std::move(text);
  return out;
}

std::string chain_pem(const std::vector<X509Ptr>& chain) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  for (const X509Ptr& certificate : chain) PEM_write_bio_X509(bio.get(), certificate.get());
  return contents(bio.get());
}

std::string key_pem(EVP_PKEY* key) {
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return contents(bio.get());
}

}  // namespace

CheckedCertificate check_certificate(const store::Secret& secret) {
  const auto crt = secret.data.find("tls.crt"), key_entry = secret.data.find("tls.key");
  if (crt == secret.data.end() || crt->second.empty()) return refuse("has no tls.crt");
  if (key_entry == secret.data.end() || key_entry->second.empty()) return refuse("has no tls.key");
  if (crt->second.size() > kMaxPem || key_entry->second.size() > kMaxPem)
    return refuse(fmt::format("holds more than {} bytes", kMaxPem));
  const std::vector<X509Ptr> chain = read_chain(crt->second.reveal());
  if (chain.empty()) return refuse("tls.crt holds no PEM certificate");
  if (chain.size() > kMaxChain) return refuse(fmt::format("tls.crt holds more than {} certificates", kMaxChain));
  const BioPtr bio = reader(key_entry->second.reveal());
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key) return refuse("tls.key holds no PEM private key, or an encrypted one");
  if (X509_check_private_key(chain.front().get(), key.get()) != 1)
    return refuse("tls.key does not belong to the first certificate of tls.crt");
  if (EVP_PKEY_get_security_bits(key.get()) < kMinSecurityBits)
    return refuse("the key is too weak (RSA needs 2048 bits, EC 224)");
  const int64_t not_after = unix_time(X509_get0_notAfter(chain.front().get()));
  if (not_after == 0) return refuse("tls.crt holds an unreadable time");
  CheckedCertificate out;
  auto certificate = std::make_shared<ir::CertificateT>();
  certificate->id = secret.meta.ns + "/" + secret.meta.name;
  certificate->chain_pem = chain_pem(chain);
  certificate->key_pem = key_pem(key.get());
  certificate->not_after = not_after;
  if (certificate->chain_pem.empty() || certificate->key_pem.empty()) return refuse("cannot be written as PEM");
  out.not_before = unix_time(X509_get0_notBefore(chain.front().get()));
  out.names = dns_names(chain.front().get());
  out.certificate = std::move(certificate);
  ERR_clear_error();
  return out;
}

Result<std::string> check_authorities(std::string_view pem) {
  if (pem.empty()) return fail("is missing");
  if (pem.size() > kMaxPem) return fail("has more than {} bytes", kMaxPem);
  const std::vector<X509Ptr> authorities = read_chain(pem, kMaxAuthorities);
  if (authorities.empty()) return fail("holds no PEM certificate");
  if (authorities.size() > kMaxAuthorities) return fail("holds more than {} certificates", kMaxAuthorities);
  return chain_pem(authorities);
}

bool covers(const std::vector<std::string>& names, std::string_view host) {
  const size_t dot = host.find('.');
  const std::string wildcard = dot == std::string_view::npos ? std::string{} : "*" + std::string(host.substr(dot));
  return std::ranges::any_of(
      names, [&](const std::string& name) { return name == host || (!wildcard.empty() && name == wildcard); });
}

}  // namespace sluice::translate
