// HTTP/2 connections of an endpoint: how many, how long, and how they end.
#include "dataplane/upstream/idle_pool.h"
#include "tests/unit/dataplane/upstream/http2_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using http::Retry;
using ::testing::ElementsAre;
using testing::Exchange;
using testing::frame;
using testing::goaway;
using testing::Http2Fixture;
using testing::kAck;
using testing::kEndHeaders;
using testing::kGoaway;
using testing::kHeaders;
using testing::kPing;
using testing::ok_head;
using testing::settings;
using testing::word;

namespace h2 = http::h2;
struct Http2PoolTest : Http2Fixture {};

TEST_F(Http2PoolTest, PeersLimitOpensAnother) {
  h2::Settings two;
  two.concurrent_streams = 2;
  Exchange& first = get();
  turn();
  good(0, two);
  play();
  get();
  EXPECT_EQ(connector->calls, 1);
  get();
  EXPECT_EQ(connector->calls, 2);
  play();
  EXPECT_EQ(good(0).calls.size(), 2u);
  good(0).call(0).respond(200, "ok");
  play();
  EXPECT_TRUE(first.events.ended);
  get();
  get();
  EXPECT_EQ(connector->calls, 2) << "places that became free are used";
}

TEST_F(Http2PoolTest, PlacesArePromisedByStart) {
  h2::Settings two;
  two.concurrent_streams = 2;
  get();
  turn();
  good(0, two);
  play();
  Exchange& second = start();
  Exchange& third = start();
  EXPECT_EQ(connector->calls, 2);
  third.sink->send_head(third.request, true);
  second.sink->send_head(second.request, true);
  play();
  EXPECT_EQ(good(0).calls.size(), 2u);
  EXPECT_TRUE(second.events.log.empty());
}

TEST_F(Http2PoolTest, AHundredBeforeThePeerSaidMore) {
  for (int i = 0; i < 100; ++i) get();
  EXPECT_EQ(connector->calls, 1);
  get();
  EXPECT_EQ(connector->calls, 2);
}

TEST_F(Http2PoolTest, EndpointWithoutRoomIsOverloaded) {
  upstreams->limit_http2({.streams = 1, .connections = 2});
  get();
  get();
  Exchange& third = start();
  EXPECT_EQ(third.sink, nullptr);
  EXPECT_EQ(third.refused.reason, Reason::overloaded);
  EXPECT_EQ(slot().connect_failures.get(), 0u);
}

TEST_F(Http2PoolTest, FullEndpointIsPassedOver) {
  apply({h2_cluster({{"10.0.0.1"}, {"10.0.0.2"}}, 2)});
  upstreams->limit_http2({.streams = 1, .connections = 1});
  EXPECT_NE(get().sink, nullptr);
  EXPECT_NE(start().sink, nullptr);
  EXPECT_EQ(start().refused.reason, Reason::overloaded);
  EXPECT_NE(peer(0).address, peer(1).address);
}

TEST_F(Http2PoolTest, GoawayLetsOthersFinish) {
  Exchange& taken = get();
  Exchange& not_taken = get();
  turn();
  raw().send(settings());
  turn();
  raw().send(goaway(1));
  turn();
  EXPECT_EQ(not_taken.events.error.retry, Retry::yes);
  EXPECT_EQ(not_taken.events.flushes, 1);
  EXPECT_FALSE(taken.events.ended);
  get();
  EXPECT_EQ(connector->calls, 2) << "no new streams";
  turn();
  raw(0).send(ok_head(1, true));
  turn();
  EXPECT_THAT(taken.events.log, ElementsAre("head 200 end"));
  EXPECT_TRUE(raw(0).of(kHeaders).size() == 2 && peer(0).closed());
}

TEST_F(Http2PoolTest, GoawayBetweenStartAndSend) {
  Exchange& first = get();
  Exchange& late = start();
  turn();
  raw().send(settings() + goaway(1));
  turn();
  EXPECT_TRUE(late.events.log.empty());
  late.sink->send_head(late.request, true);
  EXPECT_EQ(word(late), "upstream_closed");
  EXPECT_EQ(late.events.error.retry, Retry::yes);
  EXPECT_FALSE(first.events.ended);
}

TEST_F(Http2PoolTest, GoawayAtRestCloses) {
  warm_up();
  good().session.shutdown(h2::ErrorCode::no_error);
  play();
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_EQ(slot().idle_connections.get(), 0u);
  get();
  EXPECT_EQ(connector->calls, 2);
}

TEST_F(Http2PoolTest, LostBeforeTheHead) {
  Exchange& fresh = get();
  Exchange& silent = start();
  turn();
  (void)peer().received();
  peer().close();
  turn();
  EXPECT_EQ(word(fresh), "upstream_closed");
  EXPECT_EQ(fresh.events.error.retry, Retry::no) << "a fresh connection: it may have been processed";
  EXPECT_EQ(silent.events.error.retry, Retry::yes) << "nothing was sent";
  EXPECT_EQ(fresh.events.flushes, 1);
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_EQ(slot().active_connections.get(), 0u);
}

TEST_F(Http2PoolTest, LostOnAConnectionThatStoodBefore) {
  warm_up();
  Exchange& one = get();
  EXPECT_TRUE(one.attempts.reused);
  EXPECT_EQ(slot().idle_connections.get(), 0u);
  turn();
  peer().close();
  turn(2);
  EXPECT_EQ(one.events.error.retry, Retry::if_reused);
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(Http2PoolTest, LostBeforeItsRequestWasWritten) {
  warm_up();
  peer().close();
  Exchange& one = get();  // within the few milliseconds in which nobody asks
  turn(3);
  ASSERT_TRUE(one.events.ended || connector->calls == 2);
  if (connector->calls == 1) {
    EXPECT_NE(one.events.error.retry, Retry::no);
  }
}

TEST_F(Http2PoolTest, LostInTheAnswer) {
  Exchange& one = get();
  turn();
  raw().send(settings() + ok_head(1, false));
  turn();
  peer().close();
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error response_cut"));
  EXPECT_EQ(one.events.error.retry, Retry::no);
}

TEST_F(Http2PoolTest, RepeatedInTheEventOfALostConnection) {
  Exchange& one = get();
  Exchange again(pool);
  one.events.hook = [&](std::string_view what) {
    if (!what.starts_with("error")) return;
    start(again);
    again.sink->send_head(again.request, true);
  };
  turn();
  peer().close();
  turn(2);
  EXPECT_EQ(connector->calls, 2);
  raw(1).send(settings() + ok_head(1, true));
  turn();
  EXPECT_THAT(again.events.log, ElementsAre("head 200 end"));
}

TEST_F(Http2PoolTest, ConnectFails) {
  connector->gate_closed = true;
  Exchange& a = get();
  Exchange& b = get();
  connector->handshake_fails = ECONNREFUSED;
  turn();
  for (const Exchange* one : {&a, &b}) {
    EXPECT_EQ(word(*one), "connect_failed");
    EXPECT_EQ(one->events.error.retry, Retry::yes);
    EXPECT_EQ(one->events.flushes, 1);
  }
  EXPECT_EQ(slot().connect_failures.get(), 2u) << "of attempts";
}

TEST_F(Http2PoolTest, ConnectTakesTooLong) {
  connector->gate_closed = true;
  Exchange& one = get("c", {.connect_ms = 1});
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(word(one), "connect_timeout");
  EXPECT_EQ(one.events.error.retry, Retry::yes);
  EXPECT_EQ(slot().timeouts.get(), 1u);
}

TEST_F(Http2PoolTest, CancelledWhileConnecting) {
  connector->gate_closed = true;
  Exchange& one = get();
  one.sink->cancel();
  turn();
  connector->gate_closed = false;
  turn(3);
  EXPECT_TRUE(one.events.log.empty());
  EXPECT_EQ(upstreams->idle_connections(), 1u) << "the connection may still be of use";
  Exchange& next = get();
  turn();
  good();
  play();
  good().calls.back()->respond(200, "ok");
  play();
  EXPECT_EQ(next.events.body, "ok");
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(Http2PoolTest, RestingConnectionsEndInTime) {
  apply(std::make_unique<testing::State>(std::vector{h2_cluster()}, 512, 20));
  warm_up();
  turn_until([&] { return upstreams->idle_connections() == 0; });
  play();
  EXPECT_TRUE(good().said_goodbye) << "GOAWAY before the end";
  EXPECT_EQ(slot().idle_connections.get(), 0u);
}

TEST_F(Http2PoolTest, FewRestPerEndpoint) {
  upstreams->limit_http2({.streams = 1, .idle = 2});
  std::vector<Exchange*> all;
  for (size_t i = 0; i < 4; ++i) all.push_back(&get());
  turn();
  for (size_t i = 0; i < 4; ++i) raw(i).send(settings() + ok_head(1, true));
  turn();
  for (const Exchange* one : all) EXPECT_THAT(one->events.log, ElementsAre("head 200 end"));
  EXPECT_EQ(upstreams->idle_connections(), 2u);
  EXPECT_EQ(slot().idle_connections.get(), 2u);
}

TEST_F(Http2PoolTest, CapOverAllIsKept) {
  apply(std::make_unique<testing::State>(std::vector{h2_cluster()}, 1, 60000));
  upstreams->limit_http2({.streams = 1, .idle = 5});
  get();
  get();
  turn();
  for (size_t i = 0; i < 2; ++i) raw(i).send(settings() + ok_head(1, true));
  turn();
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(Http2PoolTest, EndedWhileResting) {
  warm_up();
  peer().close();
  turn();
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

// What came while it rested is read before it is used again.
TEST_F(Http2PoolTest, AskedBeforeItIsUsedAgain) {
  warm_up();
  const uint64_t rested = reactor.now_ms();
  while (reactor.now_ms() <= rested + IdlePool::kProbeAfterMs) reactor.run_once(2);
  good().session.shutdown(h2::ErrorCode::no_error);
  good().write();
  Exchange& one = get();
  EXPECT_EQ(connector->calls, 2);
  EXPECT_FALSE(one.attempts.reused);
}

TEST_F(Http2PoolTest, OldConnectionsTakeNothingNew) {
  upstreams->limit_http2({.age_ms = 0});
  Exchange& one = get();
  get();
  EXPECT_EQ(connector->calls, 2);
  turn();
  raw(0).send(settings() + ok_head(1, true));
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200 end"));
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_THAT(raw(0).of(kGoaway), ::testing::SizeIs(1));
  EXPECT_TRUE(peer(0).closed());
}

TEST_F(Http2PoolTest, LeavingEndpointFinishesItsStreams) {
  Exchange& one = get();
  turn();
  good();
  play();
  apply({h2_cluster({{"10.0.0.2"}})});
  good().call(0).respond(200, "ok");
  play();
  EXPECT_EQ(one.events.body, "ok");
  EXPECT_TRUE(good().said_goodbye);
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  get();
  EXPECT_EQ(connector->peers.back().address, testing::address("10.0.0.2", 80));
}

TEST_F(Http2PoolTest, LeavingEndpointAtRestCloses) {
  warm_up();
  apply({h2_cluster({{"10.0.0.1", 80, ir::EndpointState::Draining}, {"10.0.0.2"}})});
  (void)upstreams->cluster("c");
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(Http2PoolTest, RetiredClusterEnds) {
  Exchange& one = get();
  turn();
  good();
  play();
  apply({h2_cluster({{"10.0.0.1"}}, 2)});
  get();
  EXPECT_EQ(connector->calls, 2) << "another policy is another connection";
  good().call(0).respond(200, "ok");
  play();
  EXPECT_EQ(one.events.body, "ok");
  EXPECT_TRUE(good().said_goodbye);
}

TEST_F(Http2PoolTest, SilenceIsAsked) {
  upstreams->limit_http2({.quiet_ms = 1, .ping_ms = 60'000});
  Exchange& one = get();
  turn();
  raw().send(settings());
  for (size_t pings = 1; pings <= 3; ++pings) {
    turn_until([&] { return raw().of(kPing).size() >= pings; });
    ASSERT_EQ(raw().of(kPing).size(), pings);
    raw().send(frame(kPing, kAck, 0, raw().of(kPing).back().payload));
  }
  EXPECT_FALSE(one.events.ended) << "it answers";
  raw().send(ok_head(1, true));
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200 end"));
}

TEST_F(Http2PoolTest, SilenceWithoutAnAnswerIsTheEnd) {
  upstreams->limit_http2({.quiet_ms = 1, .ping_ms = 1});
  Exchange& one = get();
  turn();
  raw().send(settings());
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(word(one), "upstream_reset");
  EXPECT_EQ(one.events.flushes, 1);
  EXPECT_FALSE(raw().of(kPing).empty());
  turn();
  EXPECT_TRUE(peer().closed());
}

TEST_F(Http2PoolTest, NothingIsAskedAtRest) {
  upstreams->limit_http2({.quiet_ms = 1, .ping_ms = 1});
  Exchange& first = get();
  turn();
  raw().send(settings() + ok_head(1, true));
  turn();
  EXPECT_TRUE(first.events.ended);
  // Something else that takes time.
  connector->gate_closed = true;
  apply({h2_cluster({{"10.0.0.1"}, {"10.0.0.2"}})});
  Exchange& timed = start("c", {.connect_ms = 100});
  while (timed.sink != nullptr && timed.attempts.reused) {
    timed.sink->cancel();
    start(timed, "c", {.connect_ms = 100});
  }
  turn_until([&] { return timed.events.ended; });
  EXPECT_TRUE(raw(0).of(kPing).empty());
}

TEST_F(Http2PoolTest, Garbage) {
  Exchange& one = get();
  turn();
  peer().send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
  turn();
  EXPECT_TRUE(one.events.ended);
  EXPECT_NE(one.events.error.reason, Reason::none);
  EXPECT_EQ(one.events.error.retry, Retry::no);
  EXPECT_EQ(one.events.flushes, 1);
  turn();
  (void)peer().received();
  EXPECT_TRUE(peer().closed());
  get();
  EXPECT_EQ(connector->calls, 2);
}

TEST_F(Http2PoolTest, Floods) {
  std::string pings, empty, endless = frame(kHeaders, 0, 1, "\x88");
  for (int i = 0; i < 5000; ++i) {
    pings += frame(kPing, 0, 0, "12345678");
    empty += testing::data(1, {}, false);
  }
  for (int i = 0; i < 2000; ++i) endless += frame(testing::kContinuation, 0, 1, std::string("\0\1a\1b", 5));
  size_t at = 0;
  for (const std::string& flood : {settings() + pings, settings() + ok_head(1, false) + empty, settings() + endless}) {
    Exchange& one = get();
    turn();
    for (size_t done = 0; done < flood.size() && !one.events.ended; done += 30000) {
      peer(at).try_send(std::string_view(flood).substr(done, 30000));
      turn(2);
    }
    EXPECT_TRUE(one.events.ended) << at;
    turn();
    (void)peer(at).received();
    EXPECT_TRUE(peer(at).closed()) << at;
    ++at;
  }
}

// A whole connection's worth of streams that end with it.
TEST_F(Http2PoolTest, ManyEndAtOnce) {
  std::vector<Exchange*> all;
  for (int i = 0; i < 100; ++i) all.push_back(&get());
  turn();
  (void)peer().received();
  peer().close();
  turn();
  for (const Exchange* one : all) {
    EXPECT_EQ(word(*one), "upstream_closed");
    EXPECT_EQ(one->events.flushes, 1);
  }
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_EQ(slot().resets.get(), 100u);
}

TEST_F(Http2PoolTest, AlpnDecides) {
  connector->secure = true;
  connector->protocol = "http/1.1";
  connector->gate_closed = true;
  Exchange& one = get();
  connector->gate_closed = false;
  turn();
  EXPECT_EQ(word(one), "upstream_tls_failed");
  EXPECT_EQ(one.events.error.retry, Retry::yes);
  EXPECT_EQ(peer().received(), "") << "not a byte to one that speaks something else";
  connector->protocol = "h2";
  Exchange& two = get();
  turn();
  good(1);
  play();
  good(1).call(0).respond(200, "ok");
  play();
  EXPECT_EQ(two.events.body, "ok");
  EXPECT_EQ(slot().connections_opened.get(), 1u);
}

}  // namespace
}  // namespace sluice::upstream
