// What a tunnel holds while it rests, over HTTP/1.1 and in a stream of HTTP/2 (RFC 8441), and that its log line says
// all.
#include <filesystem>
#include <fstream>

#include <nlohmann/json.hpp>

#include "dataplane/http/websocket.h"
#include "dataplane/net/websocket_key.h"
#include "dataplane/worker/active_request.h"
#include "http2_frames.h"
#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

struct TunnelMemoryTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, [](const std::string& bytes) { return answer(bytes); }};
  char path[32] = "/tmp/sluice-tunnel-XXXXXX";
  UniqueFd file{mkstemp(path)};

  // Accepts what asks, and sends back what comes.
  static std::string answer(const std::string& bytes) {
    constexpr std::string_view kField = "Sec-WebSocket-Key: ";
    const size_t at = bytes.find(kField);
    if (at == std::string::npos) return bytes;
    char accept[net::kWebSocketAccept];
    net::websocket_accept(std::string_view(bytes).substr(at + kField.size(), 24),
                          std::span<char, net::kWebSocketAccept>(accept));
    return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Long: " +
           std::string(300, 'l') + "\r\nSec-WebSocket-Accept: " + std::string(accept, sizeof accept) + "\r\n\r\n";
  }
  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
    route.upgrades = {"websocket"};
    route.origin = std::make_unique<ir::OriginT>();
    route.origin->kind = "Ingress";
    route.origin->name = "web";
    ir::RewriteT rewrite;  // the log names the path that was asked for
    rewrite.path_kind = ir::RewriteKind::FullPath;
    rewrite.path = "/rewritten";
    WorkerRig::add_filter(route, std::move(rewrite));
    rig.table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
    rig.table.settings->http2->extended_connect = true;
    rig.apply();
    rig.context.log.configure(path, "json");
  }
  void TearDown() override { std::filesystem::remove(path); }

  ActiveRequest* request() {
    return rig.context.connections == nullptr ? nullptr : rig.context.connections->next_request(nullptr);
  }
  // The chunks that were given back belong to others now.
  void overwrite_chunks() {
    std::vector<void*> taken;
    while (rig.context.chunks.idle() != 0) taken.push_back(rig.context.chunks.take());
    for (void* chunk : taken) std::memset(chunk, 0xEE, ChunkPool::kChunkSize);
    for (void* chunk : taken) rig.context.chunks.give(chunk);
  }
  void expect_settled() {
    rig.settle(3);
    ASSERT_NE(request(), nullptr);
    EXPECT_EQ(request()->stream().phase(), http::Stream::Phase::tunnel);
    EXPECT_LT(request()->stream().arena().held(), 512u);
    overwrite_chunks();
  }
  nlohmann::json line() {
    rig.context.log.flush();
    std::ifstream in(path);
    std::string text;
    EXPECT_TRUE(std::getline(in, text));
    return nlohmann::json::parse(text);
  }
  void expect_line(std::string_view protocol) {
    ASSERT_TRUE(rig.until([&] { return request() == nullptr; }));
    const nlohmann::json said = line();
    EXPECT_EQ(said["method"], "GET") << said;
    EXPECT_EQ(said["host"], "a.example") << said;
    EXPECT_EQ(said["path"], "/chat") << said;
    EXPECT_EQ(said["query"], "room=1") << said;
    EXPECT_EQ(said["user_agent"], "agent/1.0") << said;
    EXPECT_EQ(said["referer"], "http://b.example/") << said;
    EXPECT_EQ(said["protocol"], protocol) << said;
    EXPECT_EQ(said["status"], 101) << said;
    EXPECT_EQ(said["client"], "192.0.2.7") << said;
    EXPECT_EQ(said["request_id"].get<std::string>().size(), 32u) << said;
    EXPECT_EQ(said["bytes_in"], 4) << said;
    EXPECT_EQ(said["bytes_out"], 4) << said;
    EXPECT_EQ(said["attempts"], 1) << said;
    EXPECT_NE(origin.requests[0].find(said["request_id"].get<std::string>()), std::string::npos) << said;
    EXPECT_NE(origin.requests[0].find("GET /rewritten"), std::string::npos) << origin.requests[0];
  }
};

TEST_F(TunnelMemoryTest, OfHttp1) {
  Client client = rig.connect();
  client.send(
      "GET /chat?room=1 HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: agent/1.0\r\n"
      "Referer: http://b.example/\r\nCookie: " +
      std::string(1000, 'c') + "\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
  client.forget();
  expect_settled();
  client.send("\x82\x02hi");
  ASSERT_TRUE(rig.until([&] { return client.received().size() == 4; }));
  expect_settled();
  client.close();
  expect_line("HTTP/1.1");
}

// A client of HTTP/2, its tunnel in stream 1.
struct TunnelMemoryHttp2Test : TunnelMemoryTest {
  static std::string field(std::string_view name, std::string_view value) {
    std::string out(1, '\0');
    for (const std::string_view text : {name, value}) {
      out.push_back(static_cast<char>(text.size()));
      out.append(text);
    }
    return out;
  }
  Client open() {
    Client client = rig.connect();
    client.send(preface() + frame(FrameType::headers, 0x04, 1,
                                  field(":method", "CONNECT") + field(":protocol", "websocket") +
                                      field(":scheme", "http") + field(":path", "/chat?room=1") +
                                      field(":authority", "a.example") + field("user-agent", "agent/1.0") +
                                      field("referer", "http://b.example/") + field("sec-websocket-version", "13")));
    EXPECT_TRUE(rig.until([&] { return has(client.received(), FrameType::headers, 1); }));
    return client;
  }
};

TEST_F(TunnelMemoryHttp2Test, OfAStream) {
  Client client = open();
  expect_settled();
  client.send(frame(FrameType::data, 0, 1, "\x82\x02hi"));
  ASSERT_TRUE(rig.until([&] { return has(client.received(), FrameType::data, 1); }));
  client.send(frame(FrameType::data, 1, 1, ""));
  rig.settle();
  client.close();
  expect_line("HTTP/2");
}

// What half a header section has put into the arena is still used when the tunnel begins; and what comes later is put
// into a chunk of its own.
TEST_F(TunnelMemoryHttp2Test, WithHalfASectionUnderWay) {
  for (const bool before : {true, false}) {
    Client client = rig.connect();
    client.send(preface() +
                frame(FrameType::headers, 0x04, 1,
                      field(":method", "CONNECT") + field(":protocol", "websocket") + field(":scheme", "http") +
                          field(":path", "/chat") + field(":authority", "a.example")));
    if (!before) {
      ASSERT_TRUE(rig.until([&] { return has(client.received(), FrameType::headers, 1); }));
      expect_settled();
    }
    client.send(frame(FrameType::headers, 0x01, 1, field("x-first", "1")));
    ASSERT_TRUE(rig.until([&] { return has(client.received(), FrameType::headers, 1); }));
    rig.settle(3);
    ASSERT_NE(request(), nullptr);
    EXPECT_GE(request()->stream().arena().held(), ChunkPool::kChunkSize) << before;
    overwrite_chunks();
    client.send(frame(tests::h2::kContinuation, 0x04, 1, field("x-second", "2")));
    ASSERT_TRUE(rig.until([&] { return has(client.received(), FrameType::rst_stream, 1); }));
    client.close();
    ASSERT_TRUE(rig.until([&] { return rig.context.connections == nullptr; }));
  }
}

TEST_F(TunnelMemoryTest, ADrainStillClosesIt) {
  Client client = rig.connect();
  client.send(
      "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
  client.forget();
  expect_settled();
  const size_t idle = rig.context.chunks.idle();
  rig.context.draining = true;
  rig.context.connections->cut_off();
  EXPECT_EQ(rig.context.chunks.idle(), idle);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), std::string(http::kGoingAway.data(), http::kGoingAway.size()));
}

}  // namespace
}  // namespace sluice::worker
