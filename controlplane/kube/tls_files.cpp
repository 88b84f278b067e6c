#include "controlplane/kube/tls_files.h"

#include <cerrno>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "common/base/freer.h"
#include "common/base/unique_fd.h"

namespace sluice::kube {
namespace {

constexpr off_t kMaxFile = 1 << 20;

using Bio = std::unique_ptr<BIO, Freer<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Store = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using Context = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;

Bio bio_of(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string reason() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return text != nullptr ? text : "no PEM block of the right kind";
}

Status trust(SSL_CTX* context, std::string_view pem, const std::string& name) {
  Store store(X509_STORE_new());
  const Bio bio = bio_of(pem);
  size_t count = 0;
  ERR_clear_error();
  while (X509Ptr certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (X509_STORE_add_cert(store.get(), certificate.get()) != 1) return fail("{}: {}", name, reason());
    ++count;
  }
  if (count == 0) return fail("{}: no authority certificate: {}", name, reason());
  ERR_clear_error();
  SSL_CTX_set_cert_store(context, store.release());  // replaces the system's authorities
  return {};
}

Status present(SSL_CTX* context, std::string_view pem, std::string_view key_pem, const std::string& name,
               const std::string& key_name) {
  ERR_clear_error();
  const Bio bio = bio_of(pem);
  const X509Ptr leaf(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!leaf) return fail("{}: no client certificate: {}", name, reason());
  if (SSL_CTX_use_certificate(context, leaf.get()) != 1) return fail("{}: {}", name, reason());
  while (X509Ptr chain{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context, chain.get()) != 1) return fail("{}: {}", name, reason());
  }
  ERR_clear_error();
  const Bio key_bio = bio_of(key_pem);
  // No password is asked for on a terminal.
  const Key key(PEM_read_bio_PrivateKey(
      key_bio.get(), nullptr, [](char*, int, int, void*) { return 0; }, nullptr));
  if (!key) return fail("{}: no client key: {}", key_name, reason());
  if (SSL_CTX_use_PrivateKey(context, key.get()) != 1)
    return fail("{}: does not belong to {}: {}", key_name, name, reason());
  return {};
}

}  // namespace

Result<SecretBytes> WatchedFile::read() {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat now {};
  if (!fd || fstat(fd.get(), &now) != 0) return fail("{}: cannot be read: {}", path_, std::strerror(errno));
  if (!S_ISREG(now.st_mode)) return fail("{}: not a file", path_);
  if (now.st_size > kMaxFile) return fail("{}: larger than 1 MiB", path_);
  if (now.st_mtim.tv_sec == modified_.tv_sec && now.st_mtim.tv_nsec == modified_.tv_nsec && now.st_size == size_ &&
      now.st_ino == inode_) {
    return content_;
  }
  std::string text(static_cast<size_t>(now.st_size), '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + have, text.size() - have);
    if (got < 0) return fail("{}: cannot be read: {}", path_, std::strerror(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  text.resize(have);
  content_ = SecretBytes(std::move(text));
  modified_ = now.st_mtim;
  size_ = now.st_size;
  inode_ = now.st_ino;
  return content_;
}

Result<SecretBytes> TokenFile::current() {
  if (file_.path().empty()) return token_;
  auto content = file_.read();
  if (!content) {
    if (token_.empty()) return std::unexpected(content.error());
    return token_;
  }
  std::string_view text = content->reveal();
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (text.empty()) return fail("{}: the token file is empty", file_.path());
  for (char c : text) {
    if (c <= ' ' || c >= 0x7F) return fail("{}: the token has bytes that are no token", file_.path());
  }
  token_ = SecretBytes(std::string(text));
  return token_;
}

TlsFiles::TlsFiles(const ClusterAccess& access)
    : ca_pem_(access.ca_pem),
      certificate_pem_(access.certificate_pem),
      key_pem_(access.key_pem),
      ca_(access.ca_file),
      certificate_(access.certificate_file),
      key_(access.key_file) {}

Status TlsFiles::apply(SSL_CTX* context) {
  std::lock_guard lock(mutex_);
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  if (!ca_pem_.empty()) {
    if (auto ok = trust(context, ca_pem_, "certificate-authority-data"); !ok) return ok;
  } else if (!ca_.path().empty()) {
    const auto pem = ca_.read();
    if (!pem) return std::unexpected(pem.error());
    if (auto ok = trust(context, pem->reveal(), ca_.path()); !ok) return ok;
  }
  if (certificate_pem_.empty() && certificate_.path().empty()) return {};
  SecretBytes certificate(certificate_pem_), key = key_pem_;
  if (certificate.empty()) {
    auto pem = certificate_.read();
    if (!pem) return std::unexpected(pem.error());
    certificate = std::move(*pem);
  }
  if (key.empty()) {
    auto pem = key_.read();
    if (!pem) return std::unexpected(pem.error());
    key = std::move(*pem);
  }
  return present(context, certificate.reveal(), key.reveal(),
                 certificate_.path().empty() ? "client-certificate-data" : certificate_.path(),
                 key_.path().empty() ? "client-key-data" : key_.path());
}

Status check_tls_files(const ClusterAccess& access) {
  const Context context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_default_verify_paths(context.get());
  return TlsFiles(access).apply(context.get());
}

}  // namespace sluice::kube
