// HTTPS upstreams over real sockets: the worker's connector against a TLS server of our own.
#include <functional>

#include <gmock/gmock.h>

#include "dataplane/net/socket.h"
#include "tests/unit/dataplane/net/tls_fixture.h"
#include "tests/unit/dataplane/upstream/test_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using testing::ClusterSpec;
using testing::Exchange;
using testing::kOk;

struct TlsTest : ::testing::Test {
  TlsTest()
      : page(std::make_unique<shared::CounterPage>()),
        ca("ca"),
        leaf("leaf", "DNS:svc.test", &ca),
        server(*page),
        upstreams(reactor, *page, pool) {
    listener = std::move(*net::listen_on(testing::address("127.0.0.1", 0)));
    port = net::local_address(listener.get())->port;
    server_state.certificate("ns/cert", leaf).host("svc.test", "ns/cert").table.default_certificate = "ns/cert";
    EXPECT_TRUE(server_state.apply(server).empty());
  }
  void apply(std::string sni, std::string ca_pem, std::string name = {}, bool verify = true) {
    ClusterSpec spec{"c", {{"127.0.0.1", port}}};
    spec.tls = true;
    spec.hash = std::hash<std::string>()(sni + ca_pem) + ++changes;
    spec.sni = std::move(sni);
    spec.ca_pem = std::move(ca_pem);
    spec.certificate_name = std::move(name);
    spec.verify = verify;
    auto next = std::make_unique<testing::State>(std::vector<ClusterSpec>{spec});
    upstreams.apply(next->table(), next->endpoints());
    state = std::move(next);
  }
  // Plays the server: answers each request with `kOk`.
  void serve() {
    if (!accepted) {
      UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return;
      ++connections;
      accepted = server.make_server(std::move(fd));
    }
    if (accepted->handshake().state != net::Io::ok) return;
    char buffer[4096];
    for (net::IoResult got; (got = accepted->read(buffer)).state == net::Io::ok && got.bytes > 0;) {
      request.append(buffer, got.bytes);
      if (got.drained && !accepted->readable_now()) break;
    }
    if (!request.ends_with("\r\n\r\n")) return;
    requests.push_back(std::exchange(request, {}));
    const iovec part{const_cast<char*>(kOk.data()), kOk.size()};
    EXPECT_NE(accepted->write({&part, 1}).state, net::Io::error);
  }
  void run(Exchange& one) {
    const auto sink = upstreams.start(*upstreams.cluster("c"), one.events, one.arena, one.attempts, {});
    if (!sink.has_value()) {
      one.refused = sink.error();
      return;
    }
    (*sink)->send_head(one.request, true);
    (*sink)->flush();
    for (int i = 0; i < 2000 && !one.events.ended; ++i) {
      reactor.run_once(1);
      serve();
    }
  }
  std::unique_ptr<shared::CounterPage> page;
  net::Reactor reactor;
  ChunkPool pool;
  net::test::Made ca, leaf;
  net::TlsServer server;
  net::test::State server_state;
  Upstreams upstreams;
  UniqueFd listener;
  uint16_t port = 0;
  std::unique_ptr<testing::State> state;
  std::unique_ptr<net::Transport> accepted;
  std::string request;
  std::vector<std::string> requests;
  int connections = 0;
  uint64_t changes = 0;
};

TEST_F(TlsTest, VerifiedAndReused) {
  apply("svc.test", ca.chain);
  for (int i = 0; i < 3; ++i) {
    Exchange one(pool);
    run(one);
    EXPECT_EQ(one.events.body, "ok") << http::describe(one.events.error.reason).word;
    for (int turns = 0; turns < 5; ++turns) reactor.run_once(1);  // session tickets are no reason to close
    EXPECT_EQ(upstreams.idle_connections(), 1u);
    EXPECT_EQ(one.attempts.reused, i > 0);
  }
  EXPECT_EQ(connections, 1);
  EXPECT_EQ(accepted->server_name(), "svc.test");
  EXPECT_THAT(requests.at(0), ::testing::StartsWith("GET / HTTP/1.1\r\n"));
}

// A new connection to an endpoint that was met before costs no certificate; each ticket is used once, and the resumed
// connection brings the next.
TEST_F(TlsTest, NewConnectionsResume) {
  apply("svc.test", ca.chain);
  for (uint64_t i = 0; i < 5; ++i) {
    Exchange one(pool);
    run(one);
    ASSERT_EQ(one.events.body, "ok") << http::describe(one.events.error.reason).word;
    for (int turns = 0; turns < 5; ++turns) reactor.run_once(1);
    EXPECT_EQ(page->tls_handshakes.get(), i + 1);
    EXPECT_EQ(page->tls_resumed.get(), i);
    accepted.reset();  // ends the connection
    for (int turns = 0; turns < 5; ++turns) reactor.run_once(1);
    ASSERT_EQ(upstreams.idle_connections(), 0u);
  }
}

TEST_F(TlsTest, AnotherPolicyOrNameResumesNothing) {
  const net::test::Made other_ca("other");
  server_state.host("two.test", "ns/two").certificate("ns/two", net::test::Made("two", "DNS:two.test", &ca));
  EXPECT_TRUE(server_state.apply(server).empty());
  auto connect_once = [&] {
    auto one = std::make_unique<Exchange>(pool);
    run(*one);
    accepted.reset();
    for (int turns = 0; turns < 5; ++turns) reactor.run_once(1);
    return one->events.error.reason;
  };
  apply("svc.test", ca.chain);
  EXPECT_EQ(connect_once(), Reason::none);
  EXPECT_EQ(connect_once(), Reason::none);
  EXPECT_EQ(page->tls_resumed.get(), 1u);
  apply("two.test", ca.chain);
  EXPECT_EQ(connect_once(), Reason::none);
  EXPECT_EQ(page->tls_resumed.get(), 1u);
  // The authority is gone: no ticket opens what a certificate could not.
  apply("svc.test", other_ca.chain);
  EXPECT_EQ(connect_once(), Reason::upstream_tls_unverified);
  apply("svc.test", ca.chain);
  EXPECT_EQ(connect_once(), Reason::none);
  EXPECT_EQ(page->tls_resumed.get(), 1u) << "a new policy begins anew";
}

TEST_F(TlsTest, AnotherNameIsRefused) {
  apply("other.test", ca.chain);
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_unverified);
  EXPECT_EQ(one.events.error.retry, http::Retry::yes);
  EXPECT_TRUE(requests.empty()) << "nothing may be sent to the wrong one";
}

TEST_F(TlsTest, AnotherAuthorityIsRefused) {
  const net::test::Made other("other ca");
  apply("svc.test", other.chain);
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_unverified);
  EXPECT_TRUE(requests.empty());
}

TEST_F(TlsTest, TheSystemsStoreDoesNotKnowAPrivateAuthority) {
  apply("svc.test", "");
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_unverified);
}

TEST_F(TlsTest, NameOfItsOwnBesideTheSni) {
  apply("front.test", ca.chain, "svc.test");
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.body, "ok") << http::describe(one.events.error.reason).word;
  EXPECT_EQ(accepted->server_name(), "front.test");
}

TEST_F(TlsTest, NameOfItsOwnIsTheOneThatCounts) {
  apply("svc.test", ca.chain, "other.test");
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_unverified);
}

TEST_F(TlsTest, UnverifiedOnlyWhenAsked) {
  apply("other.test", "", "", false);
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.events.body, "ok") << http::describe(one.events.error.reason).word;
}

TEST_F(TlsTest, WhatIsNoTlsIsAnotherReason) {
  apply("svc.test", ca.chain);
  Exchange one(pool);
  const auto sink = upstreams.start(*upstreams.cluster("c"), one.events, one.arena, one.attempts, {});
  ASSERT_TRUE(sink.has_value());
  (*sink)->send_head(one.request, true);
  (*sink)->flush();
  UniqueFd fd;
  for (int i = 0; i < 2000 && !one.events.ended; ++i) {
    reactor.run_once(1);
    if (fd) continue;
    fd = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (fd) {
      ASSERT_GT(::send(fd.get(), kOk.data(), kOk.size(), MSG_NOSIGNAL), 0);
    }
  }
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_failed);
}

TEST_F(TlsTest, PolicyThatCannotBeHonouredRefusesEveryRequest) {
  apply("svc.test", "no certificate");
  for (int i = 0; i < 2; ++i) {
    Exchange one(pool);
    run(one);
    EXPECT_EQ(one.refused.reason, Reason::upstream_tls_failed);
    EXPECT_EQ(one.refused.retry, http::Retry::no);
  }
  apply("", ca.chain);
  Exchange one(pool);
  run(one);
  EXPECT_EQ(one.refused.reason, Reason::upstream_tls_failed) << "verification needs a name";
}

}  // namespace
}  // namespace sluice::upstream
