// How many calls are under way at once and who goes first; no sockets. A call is a Place that the test gives back.
#include "controlplane/kube/call_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/base/asio.h"

namespace sluice::kube {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CallGateTest : public testing::Test {
 protected:
  CallGate::Ticket enter(const std::string& name, Urgency urgency) {
    return gate->enter(urgency, [this, name](CallGate::Place place) {
      begun.push_back(name);
      places[name] = std::move(place);
    });
  }
  CallGate::Ticket urgent(const std::string& name) { return enter(name, Urgency::urgent); }
  CallGate::Ticket normal(const std::string& name) { return enter(name, Urgency::normal); }
  CallGate::Ticket background(const std::string& name) { return enter(name, Urgency::background); }
  // The call ends, and what its end sets going happens.
  void end(const std::string& name) {
    ASSERT_EQ(places.erase(name), 1u) << name << " is not under way";
    run();
  }
  void run() {
    io.restart();
    io.poll();
  }
  // What has begun since last asked.
  std::vector<std::string> news() { return std::exchange(begun, {}); }

  boost::asio::io_context io;
  std::shared_ptr<CallGate> gate = std::make_shared<CallGate>(io);
  std::vector<std::string> begun;
  std::map<std::string, CallGate::Place> places;
};

TEST_F(CallGateTest, TwoOrdinaryCallsAtOnceAndTheThirdPlaceForAnUrgentOne) {
  normal("a"), background("b"), normal("c"), background("d");
  EXPECT_THAT(news(), ElementsAre("a", "b"));
  urgent("u"), urgent("v");
  EXPECT_THAT(news(), ElementsAre("u"));
  EXPECT_EQ(gate->under_way(), 3u);
  EXPECT_EQ(gate->waiting(), 3u);
  end("a");
  EXPECT_THAT(news(), ElementsAre("v")) << "urgent before what came earlier";
  end("b");
  EXPECT_THAT(news(), ElementsAre("c"));
  end("u");
  EXPECT_THAT(news(), ElementsAre("d"));
  end("v"), end("c"), end("d");
  EXPECT_EQ(gate->under_way(), 0u);
  EXPECT_EQ(gate->waiting(), 0u);
}

TEST_F(CallGateTest, UrgentCallsMayHaveEveryPlace) {
  for (const char* name : {"u", "v", "w", "x"}) urgent(name);
  normal("a");
  EXPECT_THAT(news(), ElementsAre("u", "v", "w"));
  end("v");
  EXPECT_THAT(news(), ElementsAre("x"));
  end("u");
  EXPECT_THAT(news(), ElementsAre("a"));
}

TEST_F(CallGateTest, EachUrgencyInTheOrderItCame) {
  background("b0"), background("b1");
  background("b2"), normal("n0"), background("b3"), normal("n1");
  EXPECT_THAT(news(), ElementsAre("b0", "b1"));
  for (const char* name : {"b0", "b1", "n0", "n1", "b2", "b3"}) end(name);
  EXPECT_THAT(news(), ElementsAre("n0", "n1", "b2", "b3"));
}

TEST_F(CallGateTest, BackgroundCallsAreOvertakenButNotForEver) {
  normal("held");
  normal("n0");
  for (int i = 1; i < 12; ++i) normal("n" + std::to_string(i));
  background("b0"), background("b1");
  news();
  std::string last = "n0";
  std::vector<std::string> order;
  for (int i = 0; i < 13; ++i) {
    end(last);
    ASSERT_EQ(begun.size(), 1u);
    last = news().front();
    order.push_back(last);
  }
  EXPECT_THAT(order, ElementsAre("n1", "n2", "n3", "n4", "b0", "n5", "n6", "n7", "n8", "b1", "n9", "n10", "n11"));
}

TEST_F(CallGateTest, WhoWithdrawsNeverBegins) {
  normal("a"), normal("b");
  const CallGate::Ticket c = normal("c"), d = background("d");
  const CallGate::Ticket u = urgent("u"), v = urgent("v");
  normal("e");
  gate->withdraw(c), gate->withdraw(d), gate->withdraw(v);
  gate->withdraw(c);
  gate->withdraw(u);  // has begun: keeps its place
  EXPECT_EQ(gate->under_way(), 3u);
  EXPECT_EQ(gate->waiting(), 1u);
  news();
  end("a");
  EXPECT_THAT(news(), ElementsAre("e"));
  end("b"), end("u"), end("e");
  EXPECT_THAT(news(), IsEmpty());
  EXPECT_EQ(gate->under_way(), 0u);
}

TEST_F(CallGateTest, APlaceIsFreeOnceItsLastCopyIsGone) {
  normal("a"), normal("b"), normal("c"), normal("d");
  CallGate::Place copy = places["a"];
  end("a");
  EXPECT_THAT(news(), ElementsAre("a", "b"));
  EXPECT_EQ(gate->under_way(), 2u);
  copy.reset();
  copy.reset();
  run();
  EXPECT_THAT(news(), ElementsAre("c")) << "one place, one call";
}

TEST_F(CallGateTest, TheNextBeginsOnTheLoopNotWhereThePlaceIsGivenBack) {
  normal("a"), normal("b"), normal("c");
  news();
  std::thread library([this] { places.erase("a"); });
  library.join();
  EXPECT_THAT(begun, IsEmpty());
  run();
  EXPECT_THAT(news(), ElementsAre("c"));
}

TEST_F(CallGateTest, WhoArrivesBetweenThePlacesReturnAndTheLoopTakesItOnce) {
  normal("a"), normal("b"), normal("c");
  news();
  places.erase("a");
  urgent("u"), urgent("v");
  EXPECT_THAT(news(), ElementsAre("u", "c"));
  EXPECT_EQ(gate->under_way(), 3u);
  run();
  EXPECT_THAT(news(), IsEmpty());
  EXPECT_EQ(gate->under_way(), 3u);
}

TEST_F(CallGateTest, WhatBeginsMayEnterAgain) {
  size_t begun_inside = 0;
  std::function<void()> again = [&] {
    gate->enter(Urgency::background, [&](const CallGate::Place&) {  // fails at once: the place is given back here
      EXPECT_LE(gate->under_way(), CallGate::kPlaces);
      if (++begun_inside < 10'000) again();
    });
  };
  again();
  run();
  EXPECT_EQ(begun_inside, 10'000u);
  EXPECT_EQ(gate->under_way(), 0u);
}

TEST_F(CallGateTest, NothingBeginsAfterClose) {
  normal("a"), normal("b"), normal("c"), urgent("u"), urgent("v"), background("d");
  news();
  places.erase("a");  // the loop is told already
  gate->close();
  EXPECT_EQ(gate->waiting(), 0u);
  run();
  const CallGate::Ticket late = urgent("late");
  gate->withdraw(late);
  EXPECT_THAT(news(), IsEmpty());
  EXPECT_EQ(gate->under_way(), 2u);
}

TEST_F(CallGateTest, APlaceMayOutliveTheGateAndTheLoop) {
  CallGate::Place place;
  {
    boost::asio::io_context short_lived;
    auto closed = std::make_shared<CallGate>(short_lived);
    closed->enter(Urgency::normal, [&](CallGate::Place given) { place = std::move(given); });
    closed->close();
  }
  place.reset();
}

TEST_F(CallGateTest, ManyThreadsGiveBackAndTheBoundHolds) {
  constexpr size_t kCalls = 2'000;
  size_t started = 0, most = 0;
  std::vector<std::thread> library;
  for (size_t i = 0; i < kCalls; ++i) {
    gate->enter(static_cast<Urgency>(i % 3), [&](CallGate::Place place) {
      ++started;
      most = std::max(most, gate->under_way());
      library.emplace_back([held = std::move(place)]() mutable { held.reset(); });
    });
  }
  while (started < kCalls) run();
  for (std::thread& thread : library) thread.join();
  EXPECT_LE(most, CallGate::kPlaces);
  EXPECT_EQ(gate->under_way(), 0u);
}

}  // namespace
}  // namespace sluice::kube
