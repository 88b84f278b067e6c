#include "controlplane/admin/inspect.h"

#include <fstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/log.h"
#include "controlplane/admin/metrics.h"

namespace sluice::admin {
namespace {
using nlohmann::json;

store::Problem problem(const std::string& name, const std::string& text) {
  store::Problem out;
  out.object.kind = store::Kind::ingress;
  out.object.key = {"shop", name};
  out.field = "spec.rules[0]";
  out.reason = "BackendNotFound";
  out.text = text;
  return out;
}

TEST(Inspect, StatusSaysWhatIsMissingAndWhatCannotBeHonoured) {
  Condition condition;
  condition.newest.sequence = 3;
  // A name may hold bytes that are no UTF-8.
  const std::vector<store::Problem> problems{problem("web", "no such Service"), problem("bad", "\xff\"\n")};
  const json status = json::parse(status_json(condition, {"1.2.3", {}, "", &problems}));
  EXPECT_EQ(status["plane"], "control");
  EXPECT_EQ(status["version"], "1.2.3");
  EXPECT_EQ(status["ready"], false);
  EXPECT_EQ(status["missing"].size(), 1u);
  EXPECT_EQ(status["generation"], 3);
  ASSERT_EQ(status["problems"].size(), 2u);
  EXPECT_EQ(status["problems"][0]["object"], "Ingress shop/web");
  EXPECT_EQ(status["problems"][0]["field"], "spec.rules[0]");
  EXPECT_EQ(status["problems"][0]["reason"], "BackendNotFound");
  EXPECT_EQ(status["problems"][0]["severity"], "error");
}

TEST(Inspect, StatusSaysWhoWritesStatus) {
  Condition condition;
  EXPECT_FALSE(json::parse(status_json(condition, {})).contains("writes_status")) << "a folder has no status";
  condition.in_cluster = true;
  condition.leader = "gateway-b";
  json status = json::parse(status_json(condition, {}));
  EXPECT_EQ(status["writes_status"], false);
  EXPECT_EQ(status["leader"], "gateway-b");
  condition.leads = true;
  condition.lease_failures = 3;
  EXPECT_EQ(json::parse(status_json(condition, {}))["writes_status"], true);
  const std::string metrics = Metrics().render(condition);
  EXPECT_NE(metrics.find("\nsluice_controlplane_leader 1\n"), std::string::npos);
  EXPECT_NE(metrics.find("\nsluice_controlplane_lease_failures_total 3\n"), std::string::npos);
}

TEST(Inspect, RefusedOptionsAreTold) {
  Condition condition;
  EXPECT_EQ(json::parse(status_json(condition, {}))["options_refused"], false);
  EXPECT_NE(Metrics().render(condition).find("\nsluice_controlplane_options_refused 0\n"), std::string::npos);
  condition.options_refused = true;
  EXPECT_EQ(json::parse(status_json(condition, {}))["options_refused"], true);
  EXPECT_NE(Metrics().render(condition).find("\nsluice_controlplane_options_refused 1\n"), std::string::npos);
}

TEST(Inspect, ProblemsAreBounded) {
  const std::vector<store::Problem> problems(kMaxProblems + 5, problem("web", "x"));
  const json status = json::parse(status_json({}, {"", {}, "", &problems}));
  EXPECT_EQ(status["problems"].size(), kMaxProblems);
  EXPECT_EQ(status["problems_left_out"], 5);
}

TEST(Inspect, DumpHoldsOptionsAndMetrics) {
  const std::string path = testing::TempDir() + "options.yaml";
  std::ofstream(path) << "workers: 2\n";
  const json dump = json::parse(dump_json({}, {"1", {"sluice-controlplane", "--x"}, path, nullptr}, "a 1\n"));
  EXPECT_EQ(dump["options"], "workers: 2\n");
  EXPECT_EQ(dump["arguments"][1], "--x");
  EXPECT_EQ(dump["metrics"], "a 1\n");
  EXPECT_EQ(json::parse(dump_json({}, {"1", {}, "/nonexistent", nullptr}, ""))["options"], "");
}

TEST(Inspect, LogLevel) {
  const log::Level before = log::level();
  EXPECT_EQ(answer_log_level({"/log-level", "level=error", true}).status, 200);
  EXPECT_EQ(log::level(), log::Level::error);
  EXPECT_EQ(answer_log_level({"/log-level", "level=loud", true}).status, 400);
  EXPECT_EQ(answer_log_level({"/log-level", "", true}).status, 400);
  EXPECT_EQ(json::parse(answer_log_level({"/log-level", "level=debug", false}).body)["log_level"], "error");
  EXPECT_EQ(log::level(), log::Level::error);
  log::set_level(before);
}

TEST(Inspect, TheUnixSocketTakesPutAndThePortDoesNot) {
  boost::asio::io_context io(1);
  std::string folder = testing::TempDir() + "inspect.XXXXXX";
  mkdtemp(folder.data());
  const std::string path = folder + "/admin.sock";
  std::string seen;
  const Handler handler = [&](const Request& request) {
    seen = std::string(request.put ? "PUT " : "GET ") + std::string(request.path) + " " +
           std::string(request.parameter("level"));
    return Answer{200, "ok\n"};
  };
  auto server = AdminServer::listen(io, path, handler);
  ASSERT_TRUE(server.has_value()) << server.error().message;
  boost::asio::local::stream_protocol::socket client(io);
  client.connect(path);
  const std::string request = "PUT /log-level?a=1&level=debug HTTP/1.1\r\nHost: x\r\n\r\n";
  boost::asio::write(client, boost::asio::buffer(request));
  std::string answer(4096, '\0');
  bool done = false;
  client.async_read_some(boost::asio::buffer(answer), [&](boost::system::error_code, size_t size) {
    answer.resize(size);
    done = true;
  });
  while (!done) io.run_one();
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 ")) << answer;
  EXPECT_EQ(seen, "PUT /log-level debug");
}

}  // namespace
}  // namespace sluice::admin
