// gRPC requests in a whole worker. They come by HTTP/1.1 here: what is theirs does not depend on the version.
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "dataplane/worker/silence.h"
#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

constexpr std::string_view kHead =
    "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr std::string_view kTrailers = "0\r\ngrpc-status: 5\r\n\r\n";

std::string call(const std::string& host, const std::string& more = "") {
  return "POST /pkg.Service/Method HTTP/1.1\r\nHost: " + host +
         "\r\nContent-Type: application/grpc+proto\r\nTE: trailers\r\n" + more + "Content-Length: 5\r\n\r\nhello";
}

struct GrpcTest : ::testing::Test {
  WorkerRig rig;
  // Says what `answer` is, when the whole request is there; nothing if that is empty.
  std::string answer = std::string(kHead) + "1\r\nm\r\n" + std::string(kTrailers);
  Origin origin{rig.reactor, [this](const std::string& request) -> std::string {
                  return request.ends_with("hello") ? answer : std::string();
                }};
  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    rig.add_route("a.example", "", "ns/web:80").metric = "route/ns/api/0";
  }
  shared::RouteCounters& counters() { return shared::route_slots(*rig.page, "route/ns/api/0").route; }
};

TEST_F(GrpcTest, StatusesAreCountedAndLogged) {
  rig.add_route("gone.example", "", "ns/absent:80").metric = "route/ns/gone/0";
  rig.apply();
  char path[] = "/tmp/sluice-grpc-XXXXXX";
  const UniqueFd file(mkstemp(path));
  ASSERT_TRUE(file);
  rig.context.log.configure(path, "json");
  Client client = rig.connect();
  client.send(call("a.example"));
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with(kTrailers); })) << client.received();
  const std::string none = rig.ask(call("nobody.example"));
  EXPECT_TRUE(none.starts_with("HTTP/1.1 200 OK\r\n")) << none;
  EXPECT_NE(none.find("\r\ngrpc-status: 12\r\n"), std::string::npos) << none;
  EXPECT_NE(none.find("\r\nContent-Type: application/grpc\r\n"), std::string::npos) << none;
  EXPECT_TRUE(none.ends_with("\r\n\r\n")) << none;
  EXPECT_NE(rig.ask(call("gone.example")).find("\r\ngrpc-status: 14\r\n"), std::string::npos);
  EXPECT_TRUE(rig.ask("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n").starts_with("HTTP/1.1 404 "));
  EXPECT_EQ(counters().grpc[5].get(), 1u);
  EXPECT_EQ(counters().requests[2].get(), 1u);
  EXPECT_EQ(rig.context.unmatched.route.grpc[12].get(), 1u);
  EXPECT_EQ(shared::route_slots(*rig.page, "route/ns/gone/0").route.grpc[14].get(), 1u);
  rig.context.log.flush();
  std::ifstream in(path);
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  std::filesystem::remove(path);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0]["grpc_status"], 5);
  EXPECT_FALSE(lines[0].contains("reason"));
  EXPECT_EQ(lines[1]["grpc_status"], 12);
  EXPECT_EQ(lines[1]["reason"], "no_route");
  EXPECT_EQ(lines[2]["grpc_status"], 14);
  EXPECT_FALSE(lines[3].contains("grpc_status"));
}

TEST_F(GrpcTest, TheForwardedDeadlineIsTheRoutesIfThatIsShorter) {
  rig.hosts["a.example"].routes[0]->timeouts = std::make_unique<ir::TimeoutsT>();
  rig.hosts["a.example"].routes[0]->timeouts->request_ms = 3'600'000;
  rig.apply();
  Client client = rig.connect();
  client.send(call("a.example", "grpc-timeout: 2H\r\n"));
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with(kTrailers); }));
  EXPECT_NE(origin.requests[0].find("grpc-timeout: 1H\r\n"), std::string::npos) << origin.requests[0];
}

TEST_F(GrpcTest, UnavailableGoesToAnotherEndpointWhereTheRouteSaysSo) {
  answer = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n";
  Origin other(rig.reactor, [this](const std::string& request) -> std::string {
    return request.ends_with("hello") ? answer : std::string();
  });
  rig.add_cluster("ns/two:80", {origin.port(), other.port()});
  ir::RouteT& route = rig.add_route("two.example", "", "ns/two:80");
  route.retry = std::make_unique<ir::RetryT>();
  route.retry->attempts = 1;
  route.retry->statuses = {503};
  route.retry->on_non_idempotent = true;
  rig.apply();
  EXPECT_NE(rig.ask(call("two.example")).find("\r\ngrpc-status: 14\r\n"), std::string::npos);
  EXPECT_EQ(origin.requests.size(), 1u);
  EXPECT_EQ(other.requests.size(), 1u);
  EXPECT_NE(rig.ask(call("a.example")).find("\r\ngrpc-status: 14\r\n"), std::string::npos);
  EXPECT_EQ(origin.requests.size() + other.requests.size(), 3u) << "without a word from the route: once";
}

TEST_F(GrpcTest, SilenceIsATunnels) {
  Settings settings;
  ChunkPool chunks;
  Arena arena(chunks);
  http::RequestHead head(arena);
  EXPECT_EQ(attempt_options(head, settings).response_ms, settings.upstream_response_ms);
  EXPECT_EQ(attempt_options(head, settings).idle_ms, settings.upstream_response_ms);
  EXPECT_EQ(body_silence_ms(head, settings), settings.request_body_idle_ms);
  head.grpc = true;
  EXPECT_EQ(attempt_options(head, settings).response_ms, settings.tunnel_idle_ms);
  EXPECT_EQ(attempt_options(head, settings).idle_ms, settings.tunnel_idle_ms);
  EXPECT_EQ(body_silence_ms(head, settings), settings.tunnel_idle_ms);
}

// Both ways are silent for longer than others may be: before the answer's head, inside it, inside the request.
TEST_F(GrpcTest, AQuietStreamIsNotCut) {
  rig.table.settings->timeouts->upstream_response = 50;
  rig.table.settings->timeouts->request_body_idle = 50;
  answer.clear();
  rig.apply();
  const auto pass = [&] {
    const uint64_t end = monotonic_ms() + 300;
    rig.until([&] { return monotonic_ms() >= end; });
  };
  Client stream = rig.connect();
  stream.send(
      "POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n");
  pass();
  stream.send("5\r\nhello\r\n");
  pass();
  stream.send("0\r\n\r\n");
  pass();
  EXPECT_EQ(stream.received(), "");
  origin.send_all(kHead);
  ASSERT_TRUE(rig.until([&] { return stream.received().find("\r\n\r\n") != std::string::npos; }));
  pass();
  origin.send_all("1\r\nm\r\n");
  ASSERT_TRUE(rig.until([&] { return stream.received().ends_with("m\r\n"); }));
  pass();
  origin.send_all(kTrailers);
  ASSERT_TRUE(rig.until([&] { return stream.received().ends_with(kTrailers); })) << stream.received();
  EXPECT_EQ(counters().grpc[5].get(), 1u);

  // The same by one that is no gRPC.
  Client other = rig.connect();
  other.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(other.received()); }));
  EXPECT_TRUE(other.received().starts_with("HTTP/1.1 504 ")) << other.received();
}

// Server-sent events: each piece is there before the next is made; what ends them is silence of the upstream's.
TEST_F(GrpcTest, EventsPassAsTheyAreMade) {
  rig.table.settings->timeouts->upstream_response = 60'000;
  Origin events(rig.reactor, [](const std::string& request) -> std::string {
    return request.ends_with("\r\n\r\n")
               ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
               : "";
  });
  rig.add_cluster("ns/events:80", {events.port()});
  rig.add_route("events.example", "", "ns/events:80");
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: events.example\r\nAccept: text/event-stream\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with("\r\n\r\n"); })) << "the head alone";
  for (const std::string_view event : {"9\r\ndata: 1\n\n\r\n", "9\r\ndata: 2\n\n\r\n"}) {
    client.forget();
    events.send_all(event);
    ASSERT_TRUE(rig.until([&] { return client.received() == event; })) << client.received();
  }
}

}  // namespace
}  // namespace sluice::worker
