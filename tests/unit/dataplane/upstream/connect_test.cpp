// Connecting, deadlines, and what is told about failures.
#include <functional>

#include <gmock/gmock.h>

#include "dataplane/net/socket.h"
#include "tests/unit/dataplane/upstream/test_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using http::Retry;
using ::testing::ElementsAre;
using testing::Exchange;
using testing::kOk;
using ::testing::StartsWith;

struct ConnectTest : testing::Fixture {
  ConnectTest() { apply({{"c", {{"10.0.0.1"}, {"10.0.0.2"}}}}); }
};

TEST_F(ConnectTest, RequestWaitsForTheHandshake) {
  connector->gate_closed = true;
  Exchange& one = get();
  turn(2);
  EXPECT_EQ(peer().received(), "");
  connector->gate_closed = false;
  turn();
  EXPECT_THAT(peer().received(), StartsWith("GET / "));
  EXPECT_GT(one.attempts.connect_us, 0u);
  peer().send(kOk);
  turn();
  EXPECT_EQ(one.events.body, "ok");
}

TEST_F(ConnectTest, BodyIsHeldBackWhileConnecting) {
  connector->gate_closed = true;
  Exchange& one = start();
  const std::string piece(40 * 1024, 'x');
  one.request.has_body = true;
  one.request.content_length = 2 * piece.size();
  one.sink->send_head(one.request, false);
  EXPECT_TRUE(one.sink->send_body(http::Bytes(piece.data(), piece.size()), false));
  one.sink->flush();
  one.sink->send_body(http::Bytes(piece.data(), piece.size()), true);
  one.sink->flush();
  connector->gate_closed = false;
  std::string got;
  for (int i = 0; i < 20; ++i) {
    turn();
    got += peer().received();
  }
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4).size(), 2 * piece.size());
}

TEST_F(ConnectTest, CancelWhileConnecting) {
  connector->gate_closed = true;
  Exchange& one = get();
  one.sink->cancel();
  connector->gate_closed = false;
  turn(2);
  EXPECT_TRUE(one.events.log.empty());
  EXPECT_TRUE(peer().closed());
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
}

TEST_F(ConnectTest, RefusedAtOnceGoesToAnotherEndpoint) {
  connector->refuse = {testing::address("10.0.0.1", 80)};
  for (int i = 0; i < 8; ++i) {
    Exchange& one = get();
    EXPECT_EQ(one.attempts.last_address, testing::address("10.0.0.2", 80));
    one.sink->cancel();
  }
}

TEST_F(ConnectTest, RefusedByAll) {
  connector->refuse = {testing::address("10.0.0.1", 80), testing::address("10.0.0.2", 80)};
  Exchange& one = start();
  EXPECT_EQ(one.sink, nullptr);
  EXPECT_EQ(one.refused.reason, Reason::connect_failed);
  EXPECT_EQ(one.refused.retry, Retry::yes);
  EXPECT_EQ(one.attempts.count, 2);
  EXPECT_EQ(slot().connect_failures.get(), 2u);
}

TEST_F(ConnectTest, FailureAtTheFirstLookIsAFailureAtOnce) {
  connector->handshake_fails = EHOSTUNREACH;
  Exchange& one = start();
  EXPECT_EQ(one.refused.reason, Reason::connect_failed);
  EXPECT_EQ(one.refused.retry, Retry::yes);
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
}

TEST_F(ConnectTest, OutOfDescriptorsIsOurs) {
  connector->refuse = {testing::address("10.0.0.1", 80), testing::address("10.0.0.2", 80)};
  connector->refuse_errno = EMFILE;
  Exchange& one = start();
  EXPECT_EQ(one.refused.reason, Reason::overloaded);
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(ConnectTest, LaterFailureIsAnEvent) {
  connector->gate_closed = true;
  Exchange& one = get();
  connector->handshake_fails = ECONNREFUSED;
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("error connect_failed"));
  EXPECT_EQ(one.events.error.retry, Retry::yes);
  EXPECT_EQ(one.events.error.detail, ECONNREFUSED);
  connector->handshake_fails = 0;
  connector->gate_closed = false;
  const net::Address failed = one.attempts.last_address;
  start(one);
  EXPECT_NE(one.attempts.last_address, failed) << "the second attempt goes elsewhere";
  EXPECT_EQ(one.attempts.count, 2);
}

TEST_F(ConnectTest, HandshakeFailureOverTls) {
  connector->gate_closed = true;
  connector->secure = true;
  Exchange& one = get();
  connector->handshake_fails = 1;
  turn();
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_failed);
}

TEST_F(ConnectTest, ConnectTimeout) {
  connector->gate_closed = true;
  Exchange& one = get("c", {.connect_ms = 20});
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::connect_timeout);
  EXPECT_EQ(one.events.error.retry, Retry::yes);
  EXPECT_EQ(slot().timeouts.get(), 1u);
}

TEST_F(ConnectTest, ResponseTimeout) {
  Exchange& one = get("c", {.response_ms = 20});
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::response_timeout);
  EXPECT_EQ(one.events.error.retry, Retry::no);
}

TEST_F(ConnectTest, NoResponseTimeoutWhileTheRequestIsNotSent) {
  Exchange& one = start("c", {.response_ms = 20});
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  one.sink->flush();
  for (int i = 0; i < 20; ++i) reactor.run_once(10);
  EXPECT_TRUE(one.events.log.empty());
  one.sink->send_body({}, true);
  one.sink->flush();
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::response_timeout);
}

TEST_F(ConnectTest, BodyIdleTimeoutButNotWhilePaused) {
  Exchange& one = get("c", {.idle_ms = 20});
  peer().send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
  turn();
  one.sink->pause_response();
  for (int i = 0; i < 20; ++i) reactor.run_once(10);
  EXPECT_FALSE(one.events.ended) << "it is the client that is slow";
  one.sink->resume_response();
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::response_timeout);
}

// The real connector, on loopback.
struct LoopbackTest : ::testing::Test {
  LoopbackTest() : page(std::make_unique<shared::CounterPage>()), upstreams(reactor, *page, pool) {}
  std::unique_ptr<shared::CounterPage> page;
  net::Reactor reactor;
  ChunkPool pool;
  Upstreams upstreams;
};

TEST_F(LoopbackTest, RealSocketsBothFamilies) {
  for (const char* const ip : {"127.0.0.1", "::1"}) {
    auto listener = net::listen_on(testing::address(ip, 0));
    if (!listener.has_value()) continue;  // no IPv6 here
    const uint16_t port = net::local_address(listener->get())->port;
    testing::State state({{"c", {{ip, port}}}});
    upstreams.apply(state.table(), state.endpoints());
    UniqueFd accepted;
    for (int round = 0; round < 2; ++round) {
      Exchange one(pool);
      auto sink = upstreams.start(*upstreams.cluster("c"), one.events, one.arena, one.attempts, {});
      ASSERT_TRUE(sink.has_value());
      EXPECT_EQ(one.attempts.reused, round == 1);
      (*sink)->send_head(one.request, true);
      (*sink)->flush();
      if (!accepted) {
        for (int i = 0; i < 500 && !accepted; ++i) {
          reactor.run_once(2);
          accepted.reset(::accept(listener->get(), nullptr, nullptr));
        }
      }
      ASSERT_TRUE(accepted);
      char buffer[4096];
      std::string got;
      for (int i = 0; i < 500 && !got.ends_with("\r\n\r\n"); ++i) {
        reactor.run_once(2);
        const ssize_t n = ::recv(accepted.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        if (n > 0) got.append(buffer, static_cast<size_t>(n));
      }
      EXPECT_THAT(got, StartsWith("GET / HTTP/1.1\r\n"));
      ASSERT_GT(::send(accepted.get(), kOk.data(), kOk.size(), MSG_NOSIGNAL), 0);
      for (int i = 0; i < 500 && !one.events.ended; ++i) reactor.run_once(2);
      EXPECT_EQ(one.events.body, "ok");
      EXPECT_EQ(upstreams.idle_connections(), 1u);
    }
  }
}

TEST_F(LoopbackTest, ClosedPort) {
  auto listener = net::listen_on(testing::address("127.0.0.1", 0));
  const uint16_t port = net::local_address(listener->get())->port;
  listener->reset();
  testing::State state({{"c", {{"127.0.0.1", port}}}});
  upstreams.apply(state.table(), state.endpoints());
  Exchange one(pool);
  const auto sink = upstreams.start(*upstreams.cluster("c"), one.events, one.arena, one.attempts, {});
  if (sink.has_value()) {
    for (int i = 0; i < 500 && !one.events.ended; ++i) reactor.run_once(2);
    EXPECT_EQ(one.events.error.reason, Reason::connect_failed);
  } else {
    EXPECT_EQ(sink.error().reason, Reason::connect_failed);
    EXPECT_EQ(sink.error().detail, ECONNREFUSED);
  }
}

}  // namespace
}  // namespace sluice::upstream
