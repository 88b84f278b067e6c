// TLS sessions that upstreams offered to resume, so that a new connection to the same endpoint costs no certificate.
// One cache per thread (worker), bounded over all contexts; a key says policy, endpoint and name, so a session verified
// for one is never used for another. Room-internal. Sessions hold secrets: never logged, never shared.
#pragma once
#include <array>
#include <cstdint>
#include <list>
#include <string>
#include <unordered_map>

#include "dataplane/net/openssl_handles.h"

namespace sluice::net {

using SessionPtr = std::unique_ptr<SSL_SESSION, Freer<SSL_SESSION_free>>;

class TlsSessions {
 public:
  static constexpr size_t kMaxKeys = 256;
  static constexpr size_t kPerKey = 4;  // an upstream gives two tickets a handshake
  static constexpr int64_t kMaxAge =
      3600;  // seconds; a certificate that was revoked or expired since is seen again then

  [[nodiscard]] static TlsSessions& of_thread();
  // Takes ownership. Drops the oldest of the key, and the key that was used longest ago.
  void put(const std::string& key, SessionPtr session, int64_t now);
  // The newest that may still be used; null if there is none. One of TLS 1.3 is given out once (RFC 8446 C.4).
  [[nodiscard]] SessionPtr take(const std::string& key, int64_t now);
  // A handshake failed: whatever is left is not trusted.
  void forget(const std::string& key);
  [[nodiscard]] size_t keys() const { return order_.size(); }

 private:
  struct Entry {
    std::string key;
    std::array<SessionPtr, kPerKey> sessions;  // oldest first
    size_t count = 0;
  };
  std::list<Entry> order_;  // last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> found_;
};

}  // namespace sluice::net
