// Elections played against a small Lease that conflicts as the API server's does; clocks passed in.
#include "controlplane/status/election.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sluice::status {
namespace {
using nlohmann::json;

// The API server's Lease: one object with versions, 404 before, 409 for old versions.
struct Api {
  json lease;
  int version = 0;
  bool away = false;
  int put(const Election::Write& write, std::string& body) {
    if (away) return 0;
    json wanted = json::parse(write.body);
    if (write.create != lease.is_null()) return 409;
    if (!write.create && wanted["metadata"]["resourceVersion"] != lease["metadata"]["resourceVersion"]) return 409;
    lease = wanted;
    lease["metadata"]["resourceVersion"] = std::to_string(++version);
    body = lease.dump();
    return write.create ? 201 : 200;
  }
  int get(std::string& body) const {
    body = lease.dump();
    return away ? 0 : lease.is_null() ? 404 : 200;
  }
  std::string holder() const { return lease["spec"]["holderIdentity"]; }
};

struct Replica {
  explicit Replica(const std::string& name) : election("infra", "gateway", name) {}
  // One turn; `between`: what others do between our reading and our writing. Counts what was written.
  void turn(
      Api& api, uint64_t now, const std::function<void()>& between = [] {}) {
    if (!election.due(now)) return;
    std::string body;
    const int status = api.get(body);
    const auto write = election.read(now, static_cast<int64_t>(now) * 1000, status, body);
    between();
    if (!write) return;
    std::string answer;
    const int written = api.put(*write, answer);
    if (written == 200 || written == 201) ++writes;
    election.written(now, written, answer);
  }
  Election election;
  int writes = 0;
};

TEST(Election, TheFirstCreatesTheLeaseAndTheOthersFollow) {
  Api api;
  Replica a("a"), b("b"), c("c");
  for (uint64_t now = 0; now < 60'000; now += 500) {
    a.turn(api, now), b.turn(api, now), c.turn(api, now);
    EXPECT_TRUE(a.election.leading(now));
    EXPECT_FALSE(b.election.leading(now) || c.election.leading(now));
  }
  EXPECT_EQ(b.writes + c.writes, 0);
  EXPECT_EQ(a.writes, 12);  // one each five seconds
  EXPECT_EQ(b.election.holder(), "a");
  EXPECT_EQ(api.lease["spec"]["leaseDurationSeconds"], 15);
  EXPECT_EQ(api.lease["spec"]["leaseTransitions"], 0);
}

TEST(Election, ADeadLeaderIsFollowedAfterTheLeaseAndNeverTwoLead) {
  Api api;
  Replica a("a"), b("b"), c("c");
  uint64_t taken = 0;
  for (uint64_t now = 0; now < 60'000; now += 100) {
    if (now < 20'000) a.turn(api, now);  // then it is dead, or stopped, or cannot reach the API server
    b.turn(api, now), c.turn(api, now);
    EXPECT_LE(a.election.leading(now) + b.election.leading(now) + c.election.leading(now), 1) << now;
    if (taken == 0 && (b.election.leading(now) || c.election.leading(now))) taken = now;
  }
  EXPECT_GE(taken, 15'000u + Election::kLeaseMs);
  EXPECT_LE(taken, 20'000u + Election::kLeaseMs + Election::kRetryMs);
  EXPECT_EQ(api.lease["spec"]["leaseTransitions"], 1);
}

TEST(Election, AReleasedLeaseIsTakenAtOnce) {
  Api api;
  Replica a("a"), b("b");
  a.turn(api, 0), b.turn(api, 0);
  const auto released = a.election.release(1);
  ASSERT_TRUE(released);
  EXPECT_FALSE(a.election.leading(1));
  EXPECT_FALSE(a.election.release(1));
  std::string ignored;
  EXPECT_EQ(api.put({false, *released}, ignored), 200);
  b.turn(api, Election::kRetryMs);
  EXPECT_TRUE(b.election.leading(Election::kRetryMs));
  EXPECT_EQ(api.holder(), "b");
}

TEST(Election, OfTwoWhoWriteAtOnceOneLeads) {
  Api api;
  Replica a("a"), b("b");
  a.turn(api, 0, [&] { b.turn(api, 0); });  // both read 404
  EXPECT_EQ(api.holder(), "b");
  EXPECT_TRUE(b.election.leading(0));
  EXPECT_FALSE(a.election.leading(0));
  // The same when a Lease has run out.
  uint64_t now = 0;
  Replica c("c");
  for (; now < 14'000; now += 1000) a.turn(api, now), c.turn(api, now);
  for (; !a.election.leading(now) && !c.election.leading(now) && now < 60'000; now += 1000)
    a.turn(api, now, [&] { c.turn(api, now); });
  EXPECT_NE(a.election.leading(now), c.election.leading(now));
}

TEST(Election, WithoutRenewalTheLeaderGivesUpBeforeOthersTakeOver) {
  Api api;
  Replica a("a");
  a.turn(api, 0);
  api.away = true;
  for (uint64_t now = 0; now < Election::kRenewMs; now += 500) {
    a.turn(api, now);
    EXPECT_TRUE(a.election.leading(now));
  }
  EXPECT_FALSE(a.election.leading(Election::kRenewMs));
  api.away = false;
  a.turn(api, Election::kRenewMs + Election::kRetryMs);
  EXPECT_TRUE(a.election.leading(Election::kRenewMs + Election::kRetryMs));
}

TEST(Election, ARenewalCountsFromItsBeginning) {
  Api api;
  Replica a("a");
  a.turn(api, 0);
  std::string body;
  ASSERT_TRUE(a.election.due(5'000));
  const int status = api.get(body);
  const auto write = a.election.read(9'000, 0, status, body);
  ASSERT_TRUE(write);
  const int written = api.put(*write, body);
  a.election.written(14'000, written, body);  // the answer was long under way
  EXPECT_TRUE(a.election.leading(14'999));
  EXPECT_FALSE(a.election.leading(15'000));
}

TEST(Election, HolderClocksMeanNothing) {
  Api api;
  Replica a("a"), b("b");
  a.turn(api, 0);
  for (const char* time : {"1970-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z", "no time"}) {
    api.lease["spec"]["renewTime"] = time;
    b.turn(api, 2'000);
    EXPECT_FALSE(b.election.leading(2'000)) << time;
  }
}

TEST(Election, AnyAnswerIsSurvived) {
  for (const char* body : {"", "[]", "{", "null", R"({"spec":[]})",
                           R"({"spec":{"holderIdentity":7,"renewTime":{},"leaseTransitions":"x"}})",
                           R"({"metadata":[],"spec":{"leaseTransitions":9223372036854775807}})"}) {
    Election election("infra", "gateway", "a");
    ASSERT_TRUE(election.due(0));
    const auto write = election.read(0, 0, 200, body);
    EXPECT_FALSE(election.due(0));
    if (write) election.written(0, 500, body);
    EXPECT_FALSE(election.leading(0)) << body;
    EXPECT_TRUE(election.due(Election::kRetryMs)) << body;
  }
}

TEST(Election, MicroTime) { EXPECT_EQ(micro_time(1'700'000'000'000'042), "2023-11-14T22:13:20.000042Z"); }

}  // namespace
}  // namespace sluice::status
