#include "controlplane/resolve/names.h"

#include <chrono>
#include <deque>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/resolve/own_addresses.h"
#include "controlplane/resolve/system_lookup.h"

namespace sluice::resolve {
namespace {

using testing::Contains;
using testing::ElementsAre;

using Addresses = std::vector<std::string>;

struct NamesTest : testing::Test {
  // Questions wait here until the test answers them.
  struct Question {
    std::string name;
    std::function<void(Answer)> done;
  };

  void start(Timings timings) {
    names = std::make_unique<Names>(
        io,
        [this](const std::string& name, std::function<void(Answer)> done) {
          asked.push_back({name, done});
        },
        timings);
    names->start(
        [this](const std::string& name, std::shared_ptr<const store::ResolvedName> now) {
          ++changes;
          if (now) known[name] = *now;
          else known.erase(name);
        },
        [this] { ++settled; });
  }
  void answer(Answer with) {
    ASSERT_FALSE(asked.empty());
    Question question = std::move(asked.front());
    asked.pop_front();
    question.done(std::move(with));
  }
  // Runs until `done` or, so that a fault does not hang, for two minutes.
  template <class Done>
  bool run_until(const Done& done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (!done() && std::chrono::steady_clock::now() < end) {
      io.restart();
      io.run_one_for(std::chrono::milliseconds(10));
    }
    return done();
  }
  bool asked_again() {
    return run_until([this] { return !asked.empty(); });
  }

  boost::asio::io_context io;
  std::deque<Question> asked;
  std::unique_ptr<Names> names;
  std::map<std::string, store::ResolvedName> known;
  int changes = 0, settled = 0;
};

constexpr Timings kQuick{.refresh_ms = 1, .retry_ms = 1, .retry_cap_ms = 1, .settle_ms = 60'000};
constexpr Timings kOnce{.refresh_ms = 3'600'000, .retry_ms = 3'600'000, .retry_cap_ms = 3'600'000, .settle_ms = 60'000};

TEST_F(NamesTest, AskedAtOnceAndAgain) {
  start(kQuick);
  EXPECT_TRUE(names->settled()) << "nothing is wanted";
  names->want({"a.example.com", "a.example.com"});
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_FALSE(names->settled());
  EXPECT_TRUE(known.empty());
  answer(Addresses{"10.0.0.2", "10.0.0.1", "10.0.0.2"});
  EXPECT_TRUE(names->settled());
  EXPECT_EQ(settled, 1);
  EXPECT_THAT(known["a.example.com"].addresses, ElementsAre("10.0.0.1", "10.0.0.2"));
  ASSERT_TRUE(asked_again());
  answer(Addresses{"10.0.0.1", "10.0.0.2"});
  EXPECT_EQ(changes, 1) << "the same is not told twice";
  ASSERT_TRUE(asked_again());
  answer(Addresses{"10.0.0.3"});
  EXPECT_THAT(known["a.example.com"].addresses, ElementsAre("10.0.0.3"));
  EXPECT_EQ(changes, 2);
}

TEST_F(NamesTest, FailureKeepsTheLastGood) {
  start(kQuick);
  names->want({"a"});
  answer(fail("cannot be resolved: try again"));
  EXPECT_TRUE(known["a"].addresses.empty());
  EXPECT_EQ(known["a"].error, "cannot be resolved: try again");
  ASSERT_TRUE(asked_again());
  answer(Addresses{"10.0.0.1"});
  EXPECT_EQ(known["a"], (store::ResolvedName{{"10.0.0.1"}, ""}));
  ASSERT_TRUE(asked_again());
  answer(Addresses{});
  EXPECT_EQ(known["a"], (store::ResolvedName{{"10.0.0.1"}, "has no address"}));
  ASSERT_TRUE(asked_again());
  answer(Addresses{"10.0.0.2"});
  EXPECT_EQ(known["a"], (store::ResolvedName{{"10.0.0.2"}, ""}));
}

TEST_F(NamesTest, WhatIsNoLongerWantedIsForgotten) {
  start(kOnce);
  names->want({"a", "b"});
  ASSERT_EQ(asked.size(), 2u);
  answer(Addresses{"10.0.0.1"});
  names->want({"b"});
  EXPECT_FALSE(known.contains("a"));
  names->want({"a"});  // b's question is still under way, and nobody's now
  ASSERT_EQ(asked.size(), 2u);
  answer(Addresses{"10.0.0.9"});
  EXPECT_FALSE(known.contains("b"));
  answer(Addresses{"10.0.0.2"});
  EXPECT_THAT(known["a"].addresses, ElementsAre("10.0.0.2"));
}

TEST_F(NamesTest, BoundedInEveryWay) {
  start(kOnce);
  std::vector<std::string> many;
  for (size_t i = 0; i < Names::kMaxNames + 2; ++i) many.push_back(fmt::format("n{:05}", i));
  names->want(many);
  EXPECT_EQ(asked.size(), Names::kMaxInFlight);
  EXPECT_EQ(known.size(), 2u);
  EXPECT_EQ(known[many.back()].error, "is one of more than 1024 names");
  size_t questions = 0;
  Addresses addresses;
  for (int i = 0; i < 200; ++i) addresses.push_back(fmt::format("10.0.0.{}", i));
  while (!asked.empty()) {
    EXPECT_LE(asked.size(), Names::kMaxInFlight);
    answer(addresses);
    ++questions;
  }
  EXPECT_EQ(questions, Names::kMaxNames);
  EXPECT_EQ(known[many.front()].addresses.size(), Names::kMaxAddresses);
  EXPECT_TRUE(names->settled());
  names->want({many.front(), many.back()});
  EXPECT_EQ(known.size(), 2u);
  ASSERT_EQ(asked.size(), 1u) << "there is room for it now";
  answer(Addresses{"10.0.0.1"});
  EXPECT_EQ(known[many.back()].error, "");
}

TEST_F(NamesTest, AFirstStateWaitsOnlySoLong) {
  start({.refresh_ms = 3'600'000, .retry_ms = 3'600'000, .retry_cap_ms = 3'600'000, .settle_ms = 1});
  names->want({"slow"});
  EXPECT_TRUE(run_until([this] { return names->settled(); }));
  answer(Addresses{"10.0.0.1"});
  EXPECT_THAT(known["slow"].addresses, ElementsAre("10.0.0.1"));
}

TEST_F(NamesTest, AnswersAfterTheEndAreNothing) {
  start(kOnce);
  names->want({"a"});
  names.reset();
  answer(Addresses{"10.0.0.1"});
  EXPECT_TRUE(known.empty());
}

TEST_F(NamesTest, TheSystemKnowsLocalhost) {
  const Lookup lookup = make_system_lookup(io);
  std::optional<Answer> got;
  lookup("localhost", [&](Answer answer) { got = std::move(answer); });
  auto work = boost::asio::make_work_guard(io);
  ASSERT_TRUE(run_until([&] { return got.has_value(); }));
  ASSERT_TRUE(got->has_value()) << got->error().message;
  EXPECT_THAT(**got, Contains("127.0.0.1"));
  const Answer none = ask_system("no such name");
  ASSERT_FALSE(none.has_value());
  EXPECT_TRUE(none.error().message.starts_with("cannot be resolved: ")) << none.error().message;
}

TEST(OwnAddresses, TheApiServersIfItIsLiteral) {
  EXPECT_THAT(own_addresses("https://198.18.7.9:6443/x"), Contains("198.18.7.9"));
  EXPECT_THAT(own_addresses("https://[2001:db8::7]:6443"), Contains("2001:db8::7"));
  EXPECT_THAT(own_addresses("https://api.example.com"), testing::Not(Contains("api.example.com")));
  EXPECT_THAT(own_addresses("https://198.18.7.9"), testing::Not(Contains("127.0.0.1")));
}

}  // namespace
}  // namespace sluice::resolve
