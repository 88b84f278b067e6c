#include "dataplane/net/tls_sessions.h"

#include <algorithm>

namespace sluice::net {
namespace {
bool is_13(const SSL_SESSION* session) { return SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION; }

// RFC 8446 4.6.1, RFC 5077 3.3: the lifetime is the server's; 0 is "unspecified" in TLS 1.2 and "never" in 1.3.
int64_t lifetime(const SSL_SESSION* session) {
  const auto hint = static_cast<int64_t>(SSL_SESSION_get_ticket_lifetime_hint(session));
  if (hint == 0) return is_13(session) ? 0 : TlsSessions::kMaxAge;
  return std::min(hint, TlsSessions::kMaxAge);
}
bool usable(const SSL_SESSION* session, int64_t now) {
  const int64_t age = now - static_cast<int64_t>(SSL_SESSION_get_time(session));
  return SSL_SESSION_is_resumable(session) == 1 && age >= 0 && age < lifetime(session);
}
}  // namespace

TlsSessions& TlsSessions::of_thread() {
  thread_local TlsSessions sessions;
  return sessions;
}

void TlsSessions::put(const std::string& key, SessionPtr session, int64_t now) {
  if (!usable(session.get(), now)) return;
  auto at = found_.find(key);
  if (at == found_.end()) {
    if (order_.size() == kMaxKeys) {
      found_.erase(order_.back().key);
      order_.pop_back();
    }
    order_.emplace_front().key = key;
    at = found_.emplace(key, order_.begin()).first;
  } else {
    order_.splice(order_.begin(), order_, at->second);
  }
  Entry& entry = *at->second;
  if (entry.count == kPerKey) {
    std::move(entry.sessions.begin() + 1, entry.sessions.end(), entry.sessions.begin());
    --entry.count;
  }
  entry.sessions[entry.count++] = std::move(session);
}

SessionPtr TlsSessions::take(const std::string& key, int64_t now) {
  const auto at = found_.find(key);
  if (at == found_.end()) return nullptr;
  Entry& entry = *at->second;
  SessionPtr out;
  while (out == nullptr && entry.count != 0) {
    SessionPtr& newest = entry.sessions[entry.count - 1];
    if (usable(newest.get(), now) && !is_13(newest.get())) {
      SSL_SESSION_up_ref(newest.get());
      return SessionPtr(newest.get());
    }
    if (usable(newest.get(), now)) out = std::move(newest);
    newest.reset();
    --entry.count;
  }
  if (entry.count == 0) forget(key);
  return out;
}

void TlsSessions::forget(const std::string& key) {
  const auto at = found_.find(key);
  if (at == found_.end()) return;
  order_.erase(at->second);
  found_.erase(at);
}

}  // namespace sluice::net
