// Credentials that may live in files: read again when they change (projected tokens and certificates rotate), never
// printed. TlsFiles sets up one OpenSSL context per connection; TokenFile gives the bearer token per request. Neither
// is on any hot path.
#pragma once
#include <mutex>
#include <string>

#include <openssl/ssl.h>
#include <sys/stat.h>

#include "common/base/result.h"
#include "common/base/secret.h"
#include "controlplane/kube/access.h"

namespace sluice::kube {

// A file's content, kept until its modification time, size or inode changes.
class WatchedFile {
 public:
  explicit WatchedFile(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] Result<SecretBytes> read();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  timespec modified_{};
  off_t size_ = -1;
  ino_t inode_ = 0;
  SecretBytes content_;
};

// One thread.
class TokenFile {
 public:
  TokenFile(SecretBytes token, std::string path) : token_(std::move(token)), file_(std::move(path)) {}
  // Empty = no token. A file that cannot be read just now gives the token read last.
  [[nodiscard]] Result<SecretBytes> current();

 private:
  SecretBytes token_;
  WatchedFile file_;
};

// Any thread.
class TlsFiles {
 public:
  explicit TlsFiles(const ClusterAccess& access);
  // Minimum version, trusted authorities (only ours if one was named) and client certificate.
  [[nodiscard]] Status apply(SSL_CTX* context);

 private:
  std::mutex mutex_;
  std::string ca_pem_, certificate_pem_;
  SecretBytes key_pem_;
  WatchedFile ca_, certificate_, key_;
};

// Builds a context once and throws it away.
[[nodiscard]] Status check_tls_files(const ClusterAccess& access);

}  // namespace sluice::kube
