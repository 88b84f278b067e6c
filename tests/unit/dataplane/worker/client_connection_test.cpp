#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

size_t count(const std::string& text, std::string_view what) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

struct ConnectionTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    rig.add_route("a.example", "", "ns/web:80");
    rig.apply();
  }
};
constexpr std::string_view kGet = "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n\r\n";

TEST_F(ConnectionTest, AnswersInOneWriteAndStaysOpen) {
  Client client = rig.connect();
  for (int i = 0; i < 3; ++i) {
    client.send(kGet);
    ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
    EXPECT_TRUE(client.received().starts_with("HTTP/1.1 200 OK\r\n")) << client.received();
    EXPECT_TRUE(client.received().ends_with("\r\n\r\nhello"));
    client.forget();
  }
  EXPECT_EQ(client.reads, 3u);
  EXPECT_EQ(origin.accepted, 1u);
  EXPECT_EQ(rig.page->streams_active.get(), 0u);
  EXPECT_EQ(rig.page->streams_total.get(), 3u);
  EXPECT_TRUE(origin.requests[0].starts_with("GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\n")) << origin.requests[0];
}

TEST_F(ConnectionTest, PipelinedRequestsAreAnsweredInOrder) {
  Client client = rig.connect();
  client.send(std::string(kGet) + "GET /none HTTP/1.1\r\nHost: other\r\n\r\n" + std::string(kGet));
  ASSERT_TRUE(rig.until([&] { return count(client.received(), "hello") == 2; }));
  const size_t first = client.received().find("hello"), second = client.received().find("no_route"),
               third = client.received().rfind("hello");
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(ConnectionTest, PipelineOfManyIsBoundedAndComplete) {
  Client client = rig.connect();
  std::string many;
  for (int i = 0; i < 300; ++i) many += "GET /" + std::string(400, 'a') + " HTTP/1.1\r\nHost: a.example\r\n\r\n";
  size_t sent = 0;
  ASSERT_TRUE(rig.until([&] {
    if (sent < many.size()) sent += client.send_some(std::string_view(many).substr(sent));
    return count(client.received(), "hello") == 300;
  }));
}

TEST_F(ConnectionTest, ByteByByte) {
  Client client = rig.connect();
  const std::string request =
      "POST /x HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: "
      "1\r\n\r\n";
  for (const char c : request) {
    client.send({&c, 1});
    rig.reactor.run_once(1);
  }
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ConnectionTest, HalfClosedClientsGetTheirAnswers) {
  Client client = rig.connect();
  client.send(std::string(kGet) + std::string(kGet));
  client.finish();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(count(client.received(), "hello"), 2u);
  EXPECT_EQ(rig.context.connection_count, 0u);
}

// What was read ahead while the answer was under way.
TEST_F(ConnectionTest, NoWholeRequestBehindTheLastEndsToo) {
  for (const char* rest : {"\r\n", "GET / HT", "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab"}) {
    Client client = rig.connect();
    client.send(std::string(kGet) + rest);
    client.finish();
    ASSERT_TRUE(rig.until([&] { return client.ended(); })) << rest;
    EXPECT_EQ(count(client.received(), "HTTP/1.1 "), 1u) << client.received();
    EXPECT_EQ(count(client.received(), "hello"), 1u);
    EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  }
}

TEST_F(ConnectionTest, ARefusedHeadHasNoBody) {
  Client client = rig.connect();
  client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\nContent-Length: x\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(client.received().ends_with("\r\n\r\n")) << client.received();
}

TEST_F(ConnectionTest, HalfARequestIsNoRequest) {
  Origin silent(rig.reactor, [](const std::string&) { return std::string(); });
  rig.add_cluster("ns/silent:80", {silent.port()});
  rig.add_route("b.example", "", "ns/silent:80");
  rig.apply();
  Client client = rig.connect();
  client.send("POST /x HTTP/1.1\r\nHost: b.example\r\nContent-Length: 10\r\n\r\nabc");
  rig.settle();
  client.finish();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received().find("200"), std::string::npos);
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::client_closed)].get(), 1u);
}

TEST_F(ConnectionTest, MalformedRequestsAreAnsweredAndTheConnectionEnds) {
  struct {
    const char* request;
    const char* status;
  } cases[] = {{"GET / HTTP/1.1\r\n\r\n", "400"},
               {"GET / HTTP/1.1\nHost: a\n\n", "400"},
               {"GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
               {"GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", "505"},
               {"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n", "501"}};
  for (const auto& one : cases) {
    Client client = rig.connect();
    client.send(one.request);
    ASSERT_TRUE(rig.until([&] { return client.ended(); })) << one.request;
    EXPECT_EQ(client.received().substr(9, 3), one.status) << one.request;
    EXPECT_NE(client.received().find("Connection: close\r\n"), std::string::npos);
    client.close();
    EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; })) << one.request;
  }
  EXPECT_TRUE(origin.requests.empty());
}

TEST_F(ConnectionTest, LimitsOfHeads) {
  rig.table.settings->limits->header_bytes = 1000;
  rig.table.settings->limits->header_count = 10;
  rig.table.settings->limits->request_line = 100;
  rig.apply();
  std::string many;
  for (int i = 0; i < 12; ++i) many += "a: b\r\n";
  EXPECT_EQ(rig.ask("GET / HTTP/1.1\r\nHost: a.example\r\nX: " + std::string(2000, 'a') + "\r\n\r\n").substr(9, 3),
            "431");
  EXPECT_EQ(rig.ask("GET / HTTP/1.1\r\nHost: a.example\r\n" + many + "\r\n").substr(9, 3), "431");
  EXPECT_EQ(rig.ask("GET /" + std::string(200, 'a') + " HTTP/1.1\r\nHost: a.example\r\n\r\n").substr(9, 3), "414");
}

TEST_F(ConnectionTest, BodyOverTheLimitIsToldBeforeItIsRead) {
  rig.table.settings->limits->body_bytes = 100;
  rig.apply();
  Client client = rig.connect();
  client.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n" + std::string(50000, 'a'));
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 413 "));
  // Still taken, so that no reset destroys the answer.
  client.send(std::string(50000, 'a'));
  rig.settle();
  EXPECT_EQ(rig.context.connection_count, 1u);
  client.close();
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
}

TEST_F(ConnectionTest, ContinueIsSentWhenTheBodyIsWanted) {
  Client client = rig.connect();
  client.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(rig.until([&] {
    return client.received() == "HTTP/1.1 100 Continue\r\n\r\n" || client.received().find("200") != std::string::npos;
  }));
  client.send("abc");
  ASSERT_TRUE(rig.until([&] { return client.received().find("hello") != std::string::npos; }));
}

TEST_F(ConnectionTest, WithoutContinueTheConnectionEnds) {
  Client client = rig.connect();
  client.send("POST /x HTTP/1.1\r\nHost: other\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 404 "));
  EXPECT_NE(client.received().find("Connection: close\r\n"), std::string::npos);
}

TEST_F(ConnectionTest, Http10) {
  Client plain = rig.connect();
  plain.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return plain.ended(); }));
  EXPECT_NE(plain.received().find("Connection: close"), std::string::npos);
  Client keep = rig.connect();
  keep.send("GET / HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(keep.received()); }));
  rig.settle();
  EXPECT_FALSE(keep.ended());
  EXPECT_NE(keep.received().find("Connection: keep-alive"), std::string::npos);
}

TEST_F(ConnectionTest, HeadOfALocalAnswerHasNoBody) {
  Client client = rig.connect();
  client.send("HEAD / HTTP/1.1\r\nHost: other\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
  rig.settle();
  EXPECT_TRUE(client.received().ends_with("\r\n\r\n"));
  EXPECT_NE(client.received().find("Content-Length: "), std::string::npos);
}

void drain(WorkerRig& rig) {
  rig.context.draining = true;
  for (ClientLink* at = rig.context.connections; at != nullptr;) {
    ClientLink* const next = at->next();
    at->drain();
    at = next;
  }
}

TEST_F(ConnectionTest, DrainingEndsIdleConnectionsAndSaysClose) {
  Client idle = rig.connect();
  idle.send(kGet);
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(idle.received()); }));
  drain(rig);
  EXPECT_TRUE(rig.until([&] { return idle.ended(); }));
  // What meets our end half-way is no reason for a reset: the client hears of a connection that ended before an answer.
  idle.forget();
  idle.send(kGet);
  rig.settle();
  char byte;
  EXPECT_EQ(::recv(idle.fd(), &byte, 1, MSG_DONTWAIT), 0);
  EXPECT_EQ(rig.context.connection_count, 1u);
  idle.close();
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  Client late = rig.connect();
  late.send(kGet);
  ASSERT_TRUE(rig.until([&] { return late.ended(); }));
  EXPECT_NE(late.received().find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(late.received().ends_with("hello"));
}

// The request came between the last look at the socket and the drain.
TEST_F(ConnectionTest, DrainingAnswersWhatLiesInTheSocket) {
  Client client = rig.connect();
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  client.forget();
  client.send(kGet);
  drain(rig);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().ends_with("hello")) << client.received();
  EXPECT_NE(client.received().find("Connection: close\r\n"), std::string::npos);
}

TEST_F(ConnectionTest, AnIdleConnectionIsToldCloseByItsNextAnswer) {
  Client client = rig.connect();
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  client.forget();
  drain(rig);
  rig.settle();
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_NE(client.received().find("Connection: close\r\n"), std::string::npos) << client.received();
}

// Its head did not say close, so its client will use the connection again.
TEST_F(ConnectionTest, AnAnswerBegunBeforeTheDrainLeavesRoomForOneMore) {
  Origin slow(rig.reactor, [](const std::string& request) {
    return request.find("\r\n\r\n") == std::string::npos ? "" : "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
  });
  rig.add_cluster("ns/slow:80", {slow.port()});
  rig.add_route("b.example", "", "ns/slow:80");
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with("hello"); }));
  drain(rig);
  slow.send_all("world");
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with("world"); }));
  client.forget();
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().ends_with("hello")) << client.received();
  EXPECT_NE(client.received().find("Connection: close\r\n"), std::string::npos);
}

TEST_F(ConnectionTest, ARequestBehindTheLastAnswerDestroysNothing) {
  Client client = rig.connect();
  client.send(kGet);
  drain(rig);
  ASSERT_TRUE(rig.until([&] { return client.received().ends_with("hello"); }));
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  char byte;
  EXPECT_EQ(::recv(client.fd(), &byte, 1, MSG_DONTWAIT), 0);
  EXPECT_EQ(count(client.received(), "hello"), 1u);
}

TEST_F(ConnectionTest, DestroyedClientsCancelTheirUpstream) {
  Origin silent(rig.reactor, [](const std::string&) { return std::string(); });
  rig.add_cluster("ns/silent:80", {silent.port()});
  rig.add_route("b.example", "", "ns/silent:80");
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 1; }));
  client.close();
  EXPECT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 0; }));
}

TEST_F(ConnectionTest, SlowReadersStopTheUpstream) {
  Origin large(rig.reactor, [&](const std::string& request) -> std::string {
    return request.find("\r\n\r\n") == std::string::npos
               ? ""
               : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string("10000\r\n") +
                     std::string(65536, 'z') + "\r\n0\r\n\r\n";
  });
  rig.add_cluster("ns/large:80", {large.port()});
  rig.add_route("c.example", "", "ns/large:80");
  rig.apply();
  Client client = rig.connect("192.0.2.7", 4096);
  std::string requests;
  for (int i = 0; i < 20; ++i) requests += "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n";
  client.send(requests);
  rig.settle(50);
  // The client reads nothing: what is kept for it is bounded, so most requests have not even been looked at.
  EXPECT_LT(rig.page->streams_total.get(), 5u);
  EXPECT_TRUE(rig.ask(kGet).ends_with("hello")) << "nobody else waits for it";
  ASSERT_TRUE(rig.until([&] { return count(client.received(), "0\r\n\r\n") == 20; }));
  EXPECT_GE(client.received().size(), 20u * 65536);
}

// An upstream may answer before the request was read. What is left is thrown away, up to a bound; beyond it the
// connection ends (RFC 9112 9.6). No byte of it is read as a request.
TEST_F(ConnectionTest, TheRestOfAnAnsweredRequestIsBounded) {
  Origin early(rig.reactor, [](const std::string& bytes) -> std::string {
    return bytes.starts_with("POST ") ? "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly" : "";
  });
  rig.add_cluster("ns/early:80", {early.port()});
  rig.add_route("b.example", "", "ns/early:80");
  rig.apply();
  for (const size_t size : {size_t{100'000}, size_t{1'000'000}}) {
    const uint64_t streams = rig.page->streams_total.get();
    Client client = rig.connect();
    client.send("POST / HTTP/1.1\r\nHost: b.example\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
    ASSERT_TRUE(rig.until([&] { return client.received().ends_with("early"); }));
    client.forget();
    std::string rest;
    while (rest.size() < size) rest += "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
    rest.resize(size);
    const bool bounded = size > 256 * 1024;
    size_t sent = 0;
    ASSERT_TRUE(rig.until([&] {
      if (sent < rest.size()) sent += client.send_some(std::string_view(rest).substr(sent));
      return bounded ? client.ended() : sent == rest.size();
    }));
    if (!bounded) {
      client.send(kGet);
      ASSERT_TRUE(rig.until([&] { return client.received().ends_with("hello"); }));
    }
    EXPECT_EQ(rig.page->streams_total.get(), streams + (bounded ? 1 : 2));
  }
}

TEST_F(ConnectionTest, AnswersThatBreakOffAreCut) {
  Origin broken(rig.reactor, [](const std::string& request) -> std::string {
    return request.find("\r\n\r\n") == std::string::npos
               ? ""
               : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: Connection: close\r\n\r\n5\r\nhel";
  });
  rig.add_cluster("ns/broken:80", {broken.port()});
  rig.add_route("d.example", "", "ns/broken:80");
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: d.example\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received().find("0\r\n\r\n"), std::string::npos);
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::response_cut)].get(), 1u);
}

TEST_F(ConnectionTest, ConnectionLimit) {
  rig.table.settings->limits->connections = 1;
  rig.apply();
  Client first = rig.connect(), second = rig.connect();
  first.send(kGet);
  second.send(std::string(kGet) + std::string(kGet));
  ASSERT_TRUE(rig.until([&] { return second.ended() && WorkerRig::answered(first.received()); }));
  EXPECT_TRUE(second.received().starts_with("HTTP/1.1 503 ")) << second.received();
  EXPECT_NE(second.received().find("Retry-After: 1\r\n"), std::string::npos);
  EXPECT_NE(second.received().find("Connection: close\r\n"), std::string::npos);
  EXPECT_EQ(count(second.received(), "HTTP/1.1"), 1u);
  EXPECT_TRUE(first.received().ends_with("hello"));
  EXPECT_EQ(origin.requests.size(), 1u);
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::overloaded)].get(), 1u);
  // Even that has an end.
  std::vector<Client> many;
  for (int i = 0; i < 300; ++i) many.push_back(rig.connect());
  EXPECT_LE(rig.context.connection_count, 1u + 256u);
  EXPECT_TRUE(many.back().ended());
  EXPECT_FALSE(first.ended());
}

TEST_F(ConnectionTest, UpgradesNotOfferedAreRefusedOrIgnored) {
  EXPECT_EQ(
      rig.ask("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").substr(9, 3),
      "400");
  EXPECT_EQ(rig.ask("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade, http2-settings\r\nUpgrade: "
                    "h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
                .substr(9, 3),
            "200");
  ASSERT_EQ(origin.requests.size(), 1u);
  EXPECT_EQ(origin.requests[0].find("h2c"), std::string::npos);
  EXPECT_EQ(origin.requests[0].find("AAMAAABk"), std::string::npos);
}

TEST_F(ConnectionTest, TunnelCarriesBytesBothWays) {
  Origin tunnel(rig.reactor, [](const std::string& request) -> std::string {
    if (request.find("Upgrade: echo") != std::string::npos)
      return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
    return "<" + request + ">";
  });
  rig.add_cluster("ns/tunnel:80", {tunnel.port()});
  rig.add_route("t.example", "", "ns/tunnel:80").upgrades = {"echo"};
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: t.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 101 ")) << client.received();
  EXPECT_NE(client.received().find("Upgrade: echo\r\n"), std::string::npos);
  client.forget();
  client.send("GET / not HTTP at all\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.received() == "<GET / not HTTP at all\r\n\r\n>"; }));
  client.finish();
  EXPECT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(rig.page->upgrades.get(), 1u);
}

// A tunnel to an origin that echoes, but for "still...", which it only hears; it ends when the client does.
struct TunnelTest : ConnectionTest {
  Origin tunnel{rig.reactor, [this](const std::string& bytes) -> std::string {
                  if (bytes.find("Upgrade: echo") != std::string::npos)
                    return "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
                  heard = bytes;
                  return bytes.starts_with("still") ? "" : "<" + bytes + ">";
                }};
  std::string heard;
  void SetUp() override {
    ConnectionTest::SetUp();
    rig.add_cluster("ns/tunnel:80", {tunnel.port()});
    ir::RouteT& route = rig.add_route("t.example", "", "ns/tunnel:80");
    route.upgrades = {"echo"};
    route.metric = "tunnel";
    rig.apply();
  }
  Client open(std::string_view behind = "") {
    Client client = rig.connect();
    client.send("GET / HTTP/1.1\r\nHost: t.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n" +
                std::string(behind));
    EXPECT_TRUE(rig.until([&] { return client.received().find("\r\n\r\n") != std::string::npos; }));
    if (behind.empty()) client.forget();
    return client;
  }
};

TEST_F(TunnelTest, TheClientEndsFirst) {
  Client client = open();
  client.send("a");
  client.finish();
  // The origin hears the end and answers it with its own.
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "<a>");
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  const shared::RouteCounters& slot = shared::route_slots(*rig.page, "tunnel").route;
  EXPECT_EQ(slot.bytes_in.get(), 1u);
  EXPECT_EQ(slot.bytes_out.get(), 3u);
}

TEST_F(TunnelTest, TheUpstreamEndsFirst) {
  Client client = open();
  tunnel.half_close_all();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  client.send("still heard");
  ASSERT_TRUE(rig.until([&] { return heard == "still heard"; }));
  EXPECT_EQ(rig.context.connection_count, 1u);
  client.finish();
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  EXPECT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 0; }));
}

TEST_F(TunnelTest, TheClientEndedWithItsRequest) {
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: t.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nearly");
  client.finish();
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().ends_with("<early>")) << client.received();
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
}

TEST_F(TunnelTest, IdleTunnelsEnd) {
  rig.table.settings->timeouts->tunnel_idle = 50;
  rig.apply();
  Client client = open();
  EXPECT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(rig.until([&] { return rig.context.connection_count == 0; }));
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::tunnel_idle)].get(), 1u);
  EXPECT_EQ(rig.context.upstreams.active_exchanges(), 0u);
}

TEST_F(TunnelTest, DrainLeavesThemUntilItsTimeIsOver) {
  Client client = open();
  drain(rig);
  client.send("b");
  ASSERT_TRUE(rig.until([&] { return client.received() == "<b>"; }));
  rig.context.connections->cut_off();
  EXPECT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::draining)].get(), 1u);
  EXPECT_EQ(rig.context.connection_count, 0u);
}

// The last word of a drain: who waits for an answer hears one.
TEST_F(ConnectionTest, CutOffRequestsAreAnswered503) {
  Origin silent(rig.reactor, [](const std::string&) { return std::string(); });
  rig.add_cluster("ns/silent:80", {silent.port()});
  rig.add_route("b.example", "", "ns/silent:80");
  rig.apply();
  Client waiting = rig.connect(), half = rig.connect(), fresh = rig.connect();
  waiting.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
  half.send("GET / HTTP/1.1\r\nHo");
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 1; }));
  drain(rig);
  for (ClientLink* at = rig.context.connections; at != nullptr;) std::exchange(at, at->next())->cut_off();
  for (Client* client : {&waiting, &half}) {
    ASSERT_TRUE(rig.until([&] { return client->ended(); }));
    EXPECT_TRUE(client->received().starts_with("HTTP/1.1 503 ")) << client->received();
    EXPECT_NE(client->received().find("Retry-After: 1\r\n"), std::string::npos);
    EXPECT_NE(client->received().find("\"draining\""), std::string::npos);
  }
  EXPECT_TRUE(rig.until([&] { return fresh.ended(); }));
  EXPECT_EQ(fresh.received(), "");
}

TEST_F(ConnectionTest, OptionsAsterisk) {
  EXPECT_TRUE(rig.ask("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n").ends_with("hello"));
  EXPECT_TRUE(origin.requests[0].starts_with("OPTIONS * HTTP/1.1\r\n"));
  // Nobody's server: ours.
  EXPECT_EQ(rig.ask("OPTIONS * HTTP/1.1\r\nHost: other\r\n\r\n").substr(9, 3), "200");
  EXPECT_EQ(origin.requests.size(), 1u);
}

TEST_F(ConnectionTest, HeadersInPartsTimeOutWith408) {
  rig.table.settings->timeouts->request_header = 50;
  rig.table.settings->timeouts->request_body_idle = 50;
  rig.apply();
  Client head = rig.connect();
  head.send("GET / HTTP/1.1\r\nHo");
  ASSERT_TRUE(rig.until([&] { return head.ended(); }));
  EXPECT_TRUE(head.received().starts_with("HTTP/1.1 408 "));
  Client body = rig.connect();
  body.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\na");
  ASSERT_TRUE(rig.until([&] { return body.ended(); }));
  Client silent = rig.connect();
  ASSERT_TRUE(rig.until([&] { return silent.ended(); }));
  EXPECT_EQ(silent.received(), "");
}

TEST_F(ConnectionTest, IdleConnectionsTimeOut) {
  rig.table.settings->timeouts->keep_alive = 50;
  rig.apply();
  Client client = rig.connect();
  client.send(kGet);
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().ends_with("hello"));
}

TEST_F(ConnectionTest, ProxyHeader) {
  auto cidr = std::make_unique<ir::CidrT>();
  cidr->address = std::make_unique<ir::EndpointAddress>(0, 0x0000ffffc0000200u);
  cidr->bits = 96 + 24;
  rig.table.settings->proxy_protocol.push_back(std::move(cidr));
  rig.apply();
  Client client = rig.connect();
  client.send("PROXY TCP4 203.0.113.5 198.51.100.1 1234 80\r\n" + std::string(kGet));
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  EXPECT_NE(origin.requests[0].find("X-Forwarded-For: 203.0.113.5\r\n"), std::string::npos) << origin.requests[0];
  Client bad = rig.connect();
  bad.send(kGet);
  EXPECT_TRUE(rig.until([&] { return bad.ended(); }));
  EXPECT_EQ(bad.received(), "");
  // Others begin with HTTP.
  EXPECT_EQ(rig.ask(kGet, "198.51.100.9").substr(9, 3), "200");
}

TEST_F(ConnectionTest, IdleConnectionsAreSmall) { EXPECT_LE(sizeof(ClientConnection), 640u); }

}  // namespace
}  // namespace sluice::worker
