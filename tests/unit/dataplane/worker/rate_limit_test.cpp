// Rate limits in a whole worker: client addresses, tables that change, fields on every answer, log and counters.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

struct RateLimits : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  void SetUp() override { rig.add_cluster("ns/web:80", {origin.port()}); }
  // `burst` requests of each client, and nothing comes back within a test.
  static void add_limit(ir::RouteT& route, uint32_t burst, bool shadow = false) {
    ir::RateLimitT config;
    auto limit = std::make_unique<ir::LimitT>();
    limit->id = "ns/policy/clients";
    limit->name = "policy.clients";
    limit->requests = 1;
    limit->per_ms = 86'400'000;
    limit->burst = burst;
    limit->shadow = shadow;
    limit->keys.push_back(std::make_unique<ir::LimitKeyT>());
    config.limits.push_back(std::move(limit));
    WorkerRig::add_filter(route, std::move(config));
  }
  std::string ask(const std::string& more = "", std::string_view peer = "192.0.2.7", const std::string& path = "/") {
    return rig.ask("GET " + path + " HTTP/1.1\r\nHost: a.example\r\n" + more + "\r\n", peer);
  }
  int admitted(const std::string& more = "", std::string_view peer = "192.0.2.7", int n = 6) {
    int count = 0;
    for (int i = 0; i < n; ++i) count += ask(more, peer).starts_with("HTTP/1.1 200 ") ? 1 : 0;
    return count;
  }
};

TEST_F(RateLimits, RefusedRequestsReachNoUpstream) {
  add_limit(rig.add_route("a.example", "", "ns/web:80"), 2);
  rig.apply();
  EXPECT_EQ(admitted(), 2);
  EXPECT_EQ(origin.requests.size(), 2u);
  const std::string answer = ask();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n")) << answer;
  EXPECT_NE(answer.find("\r\nRetry-After: 86400\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("\r\nRateLimit-Policy: \"policy.clients\";q=2;w=172800\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("\r\nRateLimit: \"policy.clients\";r=0;t=86400\r\n"), std::string::npos) << answer;
  EXPECT_NE(answer.find("\"reason\":\"rate_limited\""), std::string::npos) << answer;
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::rate_limited)].get(), 5u);
  EXPECT_EQ(shared::limit_slot(*rig.page, "ns/policy/clients").limited.get(), 5u);
  EXPECT_EQ(admitted("", "192.0.2.8"), 2);
}

TEST_F(RateLimits, TheClientIsWhoTrustedProxiesSay) {
  add_limit(rig.add_route("a.example", "", "ns/web:80"), 2);
  auto proxy = std::make_unique<ir::CidrT>();
  proxy->address = std::make_unique<ir::EndpointAddress>(0, 0xffff0a000000);
  proxy->bits = 96 + 8;
  rig.table.settings->trusted_proxies.push_back(std::move(proxy));
  rig.apply();
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.1\r\n", "10.0.0.1"), 2);
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.1\r\n", "10.0.0.2"), 0);
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.2\r\n", "10.0.0.1"), 2);
  // A stranger says what he likes.
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.3\r\n", "192.0.2.7"), 2);
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.4\r\n", "192.0.2.7"), 0);
  EXPECT_EQ(admitted("X-Forwarded-For: 198.51.100.5, 198.51.100.1\r\n", "10.0.0.1"), 0);
}

TEST_F(RateLimits, BucketsOutliveTables) {
  ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
  add_limit(route, 5);
  rig.apply();
  int sum = 0;
  for (int table = 0; table < 20; ++table) {
    sum += admitted("", "192.0.2.7", 1);
    route.metric = "route/test/" + std::to_string(table);
    rig.apply();
  }
  EXPECT_EQ(sum, 5);
}

TEST_F(RateLimits, FieldsAreOnEveryAnswerOfTheRoute) {
  rig.add_cluster("ns/empty:80", {});
  add_limit(rig.add_route("a.example", "/empty", "ns/empty:80"), 10);
  ir::RouteT& secure = rig.add_route("a.example", "/secure", "ns/web:80");
  secure.https_only = true;
  add_limit(secure, 10);
  ir::RouteT& moved = rig.add_route("a.example", "/moved");
  moved.action.Set(ir::RedirectT());
  add_limit(moved, 10);
  rig.apply();
  for (const auto& [path, status] : {std::pair("/empty", "503"), {"/secure", "308"}, {"/moved", "302"}}) {
    const std::string answer = ask("", "192.0.2.7", path);
    EXPECT_EQ(answer.substr(9, 3), status);
    EXPECT_NE(answer.find("\r\nRateLimit-Policy: \"policy.clients\";q=10;"), std::string::npos) << answer;
    EXPECT_EQ(answer.find("\r\nRateLimit: ") != std::string::npos, std::string_view(path) != "/secure") << answer;
  }
}

TEST_F(RateLimits, TheAccessLogNamesTheLimit) {
  add_limit(rig.add_route("a.example", "", "ns/web:80"), 1);
  add_limit(rig.add_route("b.example", "", "ns/web:80"), 1, true);
  rig.apply();
  char path[] = "/tmp/sluice-limits-XXXXXX";
  const UniqueFd file(mkstemp(path));
  ASSERT_TRUE(file);
  rig.context.log.configure(path, "json");
  EXPECT_EQ(admitted("", "192.0.2.7", 2), 1);
  for (int i = 0; i < 2; ++i)
    EXPECT_TRUE(rig.ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n").starts_with("HTTP/1.1 200 "));
  rig.context.log.flush();
  std::ifstream in(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  std::filesystem::remove(path);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_FALSE(lines[0].contains("rate_limit"));
  EXPECT_EQ(lines[1]["rate_limit"], "ns/policy/clients");
  EXPECT_EQ(lines[1]["reason"], "rate_limited");
  // In shadow: the same bucket, whose token is gone.
  EXPECT_EQ(lines[2]["rate_limit"], "ns/policy/clients");
  EXPECT_EQ(lines[3]["rate_limit"], "ns/policy/clients");
  EXPECT_FALSE(lines[3].contains("reason"));
  EXPECT_EQ(lines[3]["status"], 200);
}

}  // namespace
}  // namespace sluice::worker
