#include "dataplane/net/tls_sessions.h"

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

SessionPtr session(int version, long at) {
  SessionPtr made(SSL_SESSION_new());
  SSL_SESSION_set_protocol_version(made.get(), version);
  SSL_SESSION_set_time(made.get(), at);
  // What makes OpenSSL call it resumable: an id.
  const unsigned char id[1] = {1};
  SSL_SESSION_set1_id(made.get(), id, sizeof id);
  return made;
}

TEST(TlsSessions, Tls12MayBeUsedAgainUntilItIsOld) {
  TlsSessions sessions;
  sessions.put("k", session(TLS1_2_VERSION, 1000), 1000);
  EXPECT_EQ(sessions.take("other", 1000), nullptr);
  EXPECT_NE(sessions.take("k", 1000), nullptr);
  EXPECT_NE(sessions.take("k", 1000 + TlsSessions::kMaxAge - 1), nullptr);
  EXPECT_EQ(sessions.take("k", 1000 + TlsSessions::kMaxAge), nullptr);
  EXPECT_EQ(sessions.keys(), 0u) << "what is too old goes";
}

TEST(TlsSessions, AClockThatWentBackIsNotTrusted) {
  TlsSessions sessions;
  sessions.put("k", session(TLS1_2_VERSION, 1000), 1000);
  EXPECT_EQ(sessions.take("k", 999), nullptr);
}

// RFC 8446 4.6.1: a lifetime of zero means that the ticket is to be discarded at once.
TEST(TlsSessions, Tls13WithoutLifetimeIsNotKept) {
  TlsSessions sessions;
  sessions.put("k", session(TLS1_3_VERSION, 1000), 1000);
  EXPECT_EQ(sessions.keys(), 0u);
}

TEST(TlsSessions, KeysAndSessionsAreBounded) {
  TlsSessions sessions;
  for (int i = 0; i < 20; ++i) sessions.put("0", session(TLS1_2_VERSION, 1000), 1000);
  for (size_t i = 1; i < TlsSessions::kMaxKeys; ++i)
    sessions.put(std::to_string(i), session(TLS1_2_VERSION, 1000), 1000);
  EXPECT_EQ(sessions.keys(), TlsSessions::kMaxKeys);
  sessions.put("0", session(TLS1_2_VERSION, 1000), 1000);  // now used last
  sessions.put("new", session(TLS1_2_VERSION, 1000), 1000);
  EXPECT_EQ(sessions.keys(), TlsSessions::kMaxKeys);
  EXPECT_NE(sessions.take("0", 1000), nullptr);
  EXPECT_EQ(sessions.take("1", 1000), nullptr) << "longest unused";
  sessions.forget("0");
  EXPECT_EQ(sessions.take("0", 1000), nullptr);
}

}  // namespace
}  // namespace sluice::net
