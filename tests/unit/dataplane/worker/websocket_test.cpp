// The last word of a drain to a WebSocket.
#include "dataplane/http/websocket.h"

#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

const std::string kClose(http::kGoingAway.data(), http::kGoingAway.size());
const std::string kMaskedClose = std::string("\x88\x82", 2) + std::string("\0\0\0\0\x03\xE9", 6);

struct WebSocketTest : ::testing::Test {
  WorkerRig rig;
  std::string heard;
  Origin origin{rig.reactor, [this](const std::string& bytes) -> std::string {
                  if (bytes.find("Upgrade: websocket") != std::string::npos)
                    return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                           "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
                  heard = bytes;
                  return "";
                }};
  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
    route.upgrades = {"websocket"};
    route.metric = "socket";
    rig.apply();
  }
  Client open() {
    Client client = rig.connect();
    client.send(
        "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
    EXPECT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
    handshake = client.received();
    client.forget();
    return client;
  }
  void cut_off() {
    rig.context.draining = true;
    rig.context.connections->cut_off();
  }
  std::string handshake;
};

TEST_F(WebSocketTest, ItsFieldsPassUntouched) {
  const Client client = open();
  EXPECT_TRUE(handshake.starts_with("HTTP/1.1 101 ")) << handshake;
  for (const char* field :
       {"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "Sec-WebSocket-Protocol: chat\r\n"})
    EXPECT_NE(handshake.find(field), std::string::npos) << handshake;
  for (const char* field :
       {"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Protocol: chat, superchat\r\n", "Sec-WebSocket-Extensions: permessage-deflate\r\n"})
    EXPECT_NE(origin.requests[0].find(field), std::string::npos) << origin.requests[0];
}

TEST_F(WebSocketTest, BothSidesAreToldAndAnswer) {
  Client client = open();
  origin.send_all("\x81\x02hi");
  ASSERT_TRUE(rig.until([&] { return client.received() == "\x81\x02hi"; }));
  cut_off();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "\x81\x02hi" + kClose);
  ASSERT_TRUE(rig.until([&] { return heard.size() == kMaskedClose.size(); }));
  http::FrameTracker tracker;
  tracker.follow(heard);
  EXPECT_TRUE(tracker.closed());
  // The origin ended with the end that it was sent; now the client does.
  client.send(kMaskedClose);
  client.finish();
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::draining)].get(), 1u);
  EXPECT_EQ(heard.size(), kMaskedClose.size()) << "nothing behind our Close";
  EXPECT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 0; }));
}

TEST_F(WebSocketTest, AFrameUnderWayComesFirst) {
  Client client = open();
  origin.send_all("\x81\x05he");
  ASSERT_TRUE(rig.until([&] { return client.received() == "\x81\x05he"; }));
  // On its way when the time is over: the loop looks at it before it looks at the clock.
  origin.send_all("llo\x81\x05world");
  cut_off();
  EXPECT_EQ(client.received(), "\x81\x05he");
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "\x81\x05hello" + kClose);
}

TEST_F(WebSocketTest, AFrameOfTheClientsComesFirst) {
  Client client = open();
  const std::string frame = std::string("\x81\x82", 2) + std::string("\0\0\0\0hi", 6);
  client.send(frame.substr(0, 3));
  ASSERT_TRUE(rig.until([&] { return heard.size() == 3; }));
  client.send(frame.substr(3));
  cut_off();
  ASSERT_TRUE(rig.until([&] { return heard.size() == frame.size() + kMaskedClose.size(); }));
  EXPECT_EQ(heard.substr(0, frame.size()), frame);
  EXPECT_EQ(client.received(), kClose);
}

TEST_F(WebSocketTest, WhoStaysIsCut) {
  Client client = open();
  origin.send_all("\x81\x05he");
  ASSERT_TRUE(rig.until([&] { return client.received() == "\x81\x05he"; }));
  cut_off();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "\x81\x05he");
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  EXPECT_EQ(rig.context.upstreams.active_exchanges(), 0u);
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::draining)].get(), 1u);
}

}  // namespace
}  // namespace sluice::worker
