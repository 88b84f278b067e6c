// Clusters and endpoints over time: choice, idle connections, changes of state.
#include <functional>
#include <map>

#include <gmock/gmock.h>

#include "dataplane/upstream/lb.h"
#include "tests/unit/dataplane/upstream/test_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using testing::ClusterSpec;
using testing::Exchange;
using testing::kOk;
using testing::State;

struct PoolTest : testing::Fixture {
  // Answers all that wait.
  void answer_all() {
    for (testing::Peer& one : connector->peers) {
      if (!one.received().empty()) one.try_send(kOk);
    }
    turn();
  }
};

TEST_F(PoolTest, UnknownAndEmptyClusters) {
  EXPECT_EQ(upstreams->cluster("c"), nullptr) << "before any state";
  apply({{"a", {}, "service_not_found"},
         {"b", {}, "no_endpoints"},
         {"d", {{"10.0.0.1", 80, ir::EndpointState::Draining}}},
         {"i", {}, "backend_invalid"},
         {"n", {}, "name_not_resolved"},
         {"p", {}, "port_not_found"},
         {"u", {}, "a word of a newer control plane"}});
  EXPECT_EQ(upstreams->cluster("c"), nullptr);
  EXPECT_EQ(start("a").refused.reason, Reason::service_not_found);
  EXPECT_EQ(start("b").refused.reason, Reason::no_endpoints);
  EXPECT_EQ(start("p").refused.reason, Reason::port_not_found);
  EXPECT_EQ(start("n").refused.reason, Reason::name_not_resolved);
  EXPECT_EQ(start("i").refused.reason, Reason::backend_invalid);
  EXPECT_EQ(start("u").refused.reason, Reason::no_endpoints);
  EXPECT_EQ(start("d").refused.reason, Reason::no_endpoints);
}

TEST_F(PoolTest, DrainingEndpointsGetNothingNew) {
  apply({{"c", {{"10.0.0.1", 80, ir::EndpointState::Draining}, {"10.0.0.2"}}}});
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get().attempts.last_address, testing::address("10.0.0.2", 80));
}

TEST_F(PoolTest, RoundRobinGoesRound) {
  ClusterSpec spec{"c", {{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.3"}}};
  spec.lb = ir::LbPolicy::RoundRobin;
  apply({spec});
  std::map<std::string, int> hits;
  for (int i = 0; i < 9; ++i) ++hits[get().attempts.last_address.text()];
  EXPECT_EQ(hits.size(), 3u);
  for (const auto& [where, count] : hits) EXPECT_EQ(count, 3) << where;
}

TEST_F(PoolTest, LeastRequestAvoidsTheBusyOne) {
  apply({{"c", {{"10.0.0.1"}, {"10.0.0.2"}}}});
  std::map<std::string, int> hits;
  for (int i = 0; i < 10; ++i) ++hits[get().attempts.last_address.text()];  // none is answered
  for (const auto& [where, count] : hits) EXPECT_EQ(count, 5) << where << ": of two choices the less busy one, always";
}

TEST_F(PoolTest, LeastRequestSpreadsWhenAllAreIdle) {
  apply({{"c", {{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.3"}, {"10.0.0.4"}}}});
  std::map<std::string, int> hits;
  for (int i = 0; i < 400; ++i) {
    Exchange& one = get();
    ++hits[one.attempts.last_address.text()];
    one.sink->cancel();
  }
  EXPECT_EQ(hits.size(), 4u);
  for (const auto& [where, count] : hits) EXPECT_GT(count, 40) << where;
}

TEST_F(PoolTest, RetriesGoToEndpointsNotTried) {
  apply({{"c", {{"10.0.0.1"}, {"10.0.0.2"}, {"10.0.0.3"}}}});
  for (int round = 0; round < 20; ++round) {
    Exchange& one = start();
    std::map<std::string, int> hits;
    ++hits[one.attempts.last_address.text()];
    for (int i = 0; i < 2; ++i) {
      one.sink->cancel();
      start(one);
      ++hits[one.attempts.last_address.text()];
    }
    EXPECT_EQ(hits.size(), 3u);
    one.sink->cancel();
    start(one);
    EXPECT_NE(one.sink, nullptr) << "when all were tried, any";
    one.sink->cancel();
  }
}

TEST_F(PoolTest, LastUsedFirst) {
  apply({{"c", {{"10.0.0.1"}}}});
  get();
  get();
  get();
  answer_all();
  EXPECT_EQ(upstreams->idle_connections(), 3u);
  peer(1).received();
  get();  // peers were answered in order 0, 1, 2: the last is used
  EXPECT_NE(peer(2).received(), "");
  peer(2).send(kOk);
  turn();
  get();
  EXPECT_NE(peer(2).received(), "");
  EXPECT_EQ(connector->calls, 3);
}

TEST_F(PoolTest, TheOldestIdleConnectionGoesAtTheCap) {
  apply(std::make_unique<State>(std::vector<ClusterSpec>{{"c", {{"10.0.0.1"}}}, {"d", {{"10.0.0.2"}}}}, 2));
  get("c");
  get("d");
  get("d");
  for (size_t i = 0; i < 3; ++i) {
    peer(i).received();
    peer(i).send(kOk);
    turn();
  }
  EXPECT_EQ(upstreams->idle_connections(), 2u);
  EXPECT_TRUE(peer(0).closed());
  EXPECT_FALSE(peer(1).closed());
  upstreams->set_workers(2);
  EXPECT_EQ(upstreams->idle_connections(), 1u);
  EXPECT_TRUE(peer(1).closed());
  EXPECT_EQ(slot("c").idle_connections.get(), 0u);
  EXPECT_EQ(slot("d").idle_connections.get(), 1u);
}

TEST_F(PoolTest, NoIdleConnectionsAtAll) {
  apply(std::make_unique<State>(std::vector<ClusterSpec>{{"c", {{"10.0.0.1"}}}}, 0));
  get();
  answer_all();
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_TRUE(peer().closed());
}

TEST_F(PoolTest, IdleTimeout) {
  apply(std::make_unique<State>(std::vector<ClusterSpec>{{"c", {{"10.0.0.1"}}}}, 512, 20));
  get();
  get();
  answer_all();
  EXPECT_EQ(upstreams->idle_connections(), 2u);
  turn_until([&] { return upstreams->idle_connections() == 0; });
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_TRUE(peer(0).closed());
}

TEST_F(PoolTest, ADeadRestedConnectionIsNotUsed) {
  apply({{"c", {{"10.0.0.1"}}}});
  get();
  answer_all();
  const uint64_t since = reactor.now_ms();
  while (reactor.now_ms() < since + 20) reactor.run_once(10);
  peer().close();  // its event has not been seen yet
  Exchange& one = get();
  EXPECT_FALSE(one.attempts.reused);
  EXPECT_EQ(connector->calls, 2);
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_EQ(slot().idle_connections.get(), 0u);
}

TEST_F(PoolTest, EndpointsChangeInPlace) {
  apply({{"c", {{"10.0.0.1"}, {"10.0.0.2"}}}});
  const auto before = upstreams->cluster("c");
  std::map<std::string, size_t> where;
  for (int i = 0; i < 10; ++i) {
    get();
    where[exchanges.back().attempts.last_address.text()] = connector->peers.size() - 1;
  }
  ASSERT_EQ(where.size(), 2u);
  answer_all();
  EXPECT_EQ(upstreams->idle_connections(), 10u);
  apply({{"c", {{"10.0.0.2"}, {"10.0.0.3"}}}});
  EXPECT_EQ(upstreams->idle_connections(), 5u) << "those of 10.0.0.1 are closed at once";
  EXPECT_EQ(upstreams->cluster("c"), before);
  EXPECT_TRUE(peer(where["10.0.0.1:80"]).closed());
  EXPECT_FALSE(peer(where["10.0.0.2:80"]).closed());
  for (int i = 0; i < 20; ++i) EXPECT_NE(get().attempts.last_address, testing::address("10.0.0.1", 80));
}

TEST_F(PoolTest, ExchangesOnADepartedEndpointGoOn) {
  apply({{"c", {{"10.0.0.1"}}}});
  Exchange& one = get();
  peer().received();
  apply({{"c", {{"10.0.0.2"}}}});
  peer().send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
  turn();
  apply({{"c", {}}});
  peer().send("cd");
  turn();
  EXPECT_EQ(one.events.body, "abcd");
  EXPECT_TRUE(one.events.ended);
  EXPECT_EQ(upstreams->idle_connections(), 0u) << "not kept for an endpoint that is gone";
}

TEST_F(PoolTest, DrainingClosesIdleAndFinishesActive) {
  apply({{"c", {{"10.0.0.1"}}}});
  get();
  get();
  peer(0).received();
  peer(0).send(kOk);
  turn();
  apply({{"c", {{"10.0.0.1", 80, ir::EndpointState::Draining}, {"10.0.0.2"}}}});
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  peer(1).send(kOk);
  turn();
  EXPECT_EQ(exchanges[1].events.body, "ok");
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(PoolTest, AnotherClusterOfTheSameName) {
  ClusterSpec spec{"c", {{"10.0.0.1"}}};
  apply({spec});
  get();
  answer_all();
  Exchange& active = get();
  const auto before = upstreams->cluster("c");
  spec.hash = 2;
  apply({spec});
  EXPECT_NE(upstreams->cluster("c"), before);
  peer().received();
  peer().send(kOk);
  turn();
  EXPECT_EQ(active.events.body, "ok");
  EXPECT_EQ(upstreams->idle_connections(), 0u) << "a connection of the old policy is not used by the new one";
}

TEST_F(PoolTest, AStreamMayHoldAClusterThatIsGone) {
  apply({{"c", {{"10.0.0.1"}}}});
  const auto held = upstreams->cluster("c");
  apply({{"d", {{"10.0.0.9"}}}});
  EXPECT_EQ(upstreams->cluster("c"), nullptr);
  Exchange& one = exchanges.emplace_back(pool);
  auto sink = upstreams->start(*held, one.events, one.arena, one.attempts, {});
  ASSERT_TRUE(sink.has_value());
  (*sink)->send_head(one.request, true);
  (*sink)->flush();
  answer_all();
  EXPECT_EQ(one.events.body, "ok");
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(PoolTest, ManyClustersAreSweptALittleAtATime) {
  std::vector<ClusterSpec> specs;
  for (int i = 0; i < 1000; ++i)
    specs.push_back({"c" + std::to_string(1000 + i), {{"10.0.0.1", static_cast<uint16_t>(1000 + i)}}});
  apply(specs);
  for (const ClusterSpec& spec : specs) get(spec.name);
  for (testing::Peer& one : connector->peers) one.send(kOk);
  for (int i = 0; i < 20; ++i) turn();
  ASSERT_EQ(upstreams->idle_connections(), 512u) << "the cap";
  specs.resize(1);
  apply(specs);
  turn_until([&] { return upstreams->idle_connections() <= 1; });
  EXPECT_LE(upstreams->idle_connections(), 1u);
}

TEST_F(PoolTest, GaugesOfADeadWorkerAreNotTakenOver) {
  slot().idle_connections.set(7);
  slot().active_connections.set(3);
  slot().attempts.set(100);
  apply({{"c", {{"10.0.0.1"}}}});
  get();
  EXPECT_EQ(slot().idle_connections.get(), 0u);
  EXPECT_EQ(slot().active_connections.get(), 1u);
  EXPECT_EQ(slot().attempts.get(), 101u) << "sums go on";
}

// Random lives: many exchanges over a set that changes; in the end every counter is back at zero.
TEST_F(PoolTest, CountsAreExactWhateverHappens) {
  Random random(7);
  const auto random_state = [&] {
    ClusterSpec spec{"c", {}};
    for (uint16_t i = 1; i <= 6; ++i) {
      if (random.below(3) != 0)
        spec.endpoints.push_back({"10.0.0." + std::to_string(i), 80,
                                  random.below(4) == 0 ? ir::EndpointState::Draining : ir::EndpointState::Ready});
    }
    spec.hash = random.below(20) == 0 ? random.below(1000) : 1;
    return std::vector<ClusterSpec>{spec};
  };
  apply(random_state());
  std::vector<Exchange*> open;
  for (int step = 0; step < 4000; ++step) {
    switch (random.below(8)) {
      case 0:
        if (random.below(4) == 0) apply(random_state());
        break;
      case 1:
      case 2: {
        connector->gate_closed = random.below(4) == 0;
        Exchange& one = start();
        if (one.sink == nullptr) break;
        one.sink->send_head(one.request, true);
        one.sink->flush();
        open.push_back(&one);
        break;
      }
      case 3:
        if (!open.empty()) {
          Exchange* const one = open[random.below(static_cast<uint32_t>(open.size()))];
          if (!one->events.ended) one->sink->cancel();
          std::erase(open, one);
        }
        break;
      case 4:
        if (!connector->peers.empty())
          connector->peers[random.below(static_cast<uint32_t>(connector->peers.size()))].close();
        break;
      case 5:
        connector->gate_closed = false;
        turn();
        break;
      default:
        if (!connector->peers.empty()) {
          testing::Peer& one = connector->peers[random.below(static_cast<uint32_t>(connector->peers.size()))];
          if (!one.received().empty())
            one.try_send(random.below(8) == 0 ? "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf" : kOk);
        }
        turn();
    }
    std::erase_if(open, [](const Exchange* one) { return one->events.ended; });
    ASSERT_EQ(upstreams->active_exchanges(), open.size()) << step;
    ASSERT_EQ(slot().active_connections.get(), open.size()) << step;
    ASSERT_EQ(slot().idle_connections.get(), upstreams->idle_connections()) << step;
  }
  for (Exchange* one : open) one->sink->cancel();
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_GT(slot().attempts.get(), 500u);
}

}  // namespace
}  // namespace sluice::upstream
