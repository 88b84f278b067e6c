// Clients that take their time: each deadline holds whatever they send to win some.
#include "dataplane/worker/body_rate.h"
#include "http2_frames.h"
#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

struct SlowClientTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  // Waits for the whole body.
  Origin body_origin{
      rig.reactor, [](const std::string& request) -> std::string {
        return request.find("the end") == std::string::npos ? "" : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole";
      }};
  ir::TimeoutSettingsT& timeouts() { return *rig.table.settings->timeouts; }
  void SetUp() override {
    rig.add_cluster("ns/web:80", {origin.port()});
    rig.add_cluster("ns/body:80", {body_origin.port()});
    rig.add_route("a.example", "", "ns/web:80");
    rig.add_route("body.example", "", "ns/body:80");
  }
  // Sends the same now and then until the connection has ended: seldom enough that no other limit is met first. False:
  // it never ended.
  bool dripped(Client& client, std::string_view drop) {
    uint64_t last_ms = 0;
    return rig.until([&] {
      if (monotonic_ms() >= last_ms + 20) {
        last_ms = monotonic_ms();
        (void)client.send_some(drop);
      }
      return client.ended();
    });
  }
  // The error code of the GOAWAY that ended it (RFC 9113 6.8); -1 without one.
  static int goodbye(Client& client) {
    const std::vector<Frame> got = frames(client.received());
    const Frame* const last = last_of(got, FrameType::goaway, 0);
    return last == nullptr || last->payload.size() < 8 ? -1 : last->payload[7];
  }
};

TEST_F(SlowClientTest, AHeadHasOneDeadline) {
  timeouts().request_header = 300;
  rig.apply();
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: a.example\r\n");
  EXPECT_TRUE(dripped(client, "A: b\r\n"));
  EXPECT_NE(client.received().find("request_header_timeout"), std::string::npos) << client.received();
}

TEST_F(SlowClientTest, AHandshakeHasOneDeadline) {
  timeouts().tls_handshake = 300;
  rig.apply();
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
  ClientConnection::start(rig.context, UniqueFd(ends[0]), *net::Address::parse("192.0.2.7"), 8443, true);
  Client client{UniqueFd(ends[1])};
  client.send({"\x16\x03\x01\x20\x00", 5});  // a record of 8 KiB, of which little comes
  EXPECT_TRUE(dripped(client, "x"));
  EXPECT_EQ(client.received(), "") << "not even an alert: nothing was wrong with it";
}

TEST_F(SlowClientTest, PingsKeepNoConnection) {
  timeouts().request_header = 300;
  timeouts().keep_alive = 300;
  rig.apply();
  Client fresh = rig.connect();
  fresh.send(preface());
  EXPECT_TRUE(dripped(fresh, ping()));
  EXPECT_EQ(goodbye(fresh), 0) << "NO_ERROR";
  Client used = rig.connect();
  used.send(preface() + request(1, "a.example"));
  ASSERT_TRUE(rig.until([&] { return has(used.received(), FrameType::data, 1); }));
  EXPECT_TRUE(dripped(used, ping()));
  EXPECT_EQ(goodbye(used), 0);
}

TEST_F(SlowClientTest, AnHttp2HeadHasOneDeadline) {
  timeouts().request_header = 300;
  rig.apply();
  Client client = rig.connect();
  // One field of 10,000 bytes (HPACK: a literal, its length in three bytes), a byte at a time.
  const std::string head = std::string("\x82\x86\x84\x00\x01", 5) + "a\x7f\x91\x4d" + std::string(10'000, 'v');
  const std::string whole = frame(FrameType::headers, 0x05, 1, head);
  client.send(preface() + whole.substr(0, whole.size() - 10'000));
  EXPECT_TRUE(dripped(client, "v"));
  EXPECT_EQ(goodbye(client), 11) << "ENHANCE_YOUR_CALM";
  EXPECT_EQ(rig.page->streams_active.get(), 0u);
}

TEST_F(SlowClientTest, WhoDoesNotReadIsNotKeptByWhatItSends) {
  Origin large(rig.reactor, [](const std::string& request) -> std::string {
    if (request.find("\r\n\r\n") == std::string::npos) return "";
    return "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + std::string(300'000, 'x');
  });
  rig.add_cluster("ns/large:80", {large.port()});
  rig.add_route("large.example", "", "ns/large:80");
  timeouts().request_body_idle = 300;
  rig.apply();
  // The window is open: it is the socket that is full.
  Client full = rig.connect("192.0.2.7", 4096), shut = rig.connect("192.0.2.8");
  full.send(preface(setting(4, 0x7fffffff)) + frame(FrameType::window_update, 0, 0, {"\x7f\x00\x00\x00", 4}) +
            request(1, "large.example"));
  EXPECT_TRUE(rig.until([&] {
    if (large.requests.size() == 1) (void)full.send_some(ping());
    return large.requests.size() == 1 && rig.context.connection_count == 1;
  })) << "its connection ends";
  // The same in HTTP/1.1, by a body that goes on and on.
  Client http1 = rig.connect("192.0.2.9", 4096);
  http1.send("POST / HTTP/1.1\r\nHost: large.example\r\nContent-Length: 1000000\r\n\r\n");
  EXPECT_TRUE(rig.until([&] {
    if (large.requests.size() == 2) (void)http1.send_some("x");
    return large.requests.size() == 2 && rig.context.connection_count == 1;
  }));
  // The other one reads, but opens no window, and sends a body meanwhile.
  shut.send(preface(setting(4, 0)) + request(1, "large.example", true));
  EXPECT_TRUE(rig.until([&] {
    (void)shut.send_some(frame(FrameType::data, 0, 1, "x"));
    return has(shut.received(), FrameType::rst_stream, 1);
  }));
}

TEST_F(SlowClientTest, ABodyThatWasHeldUpHasADeadlineAgain) {
  timeouts().request_body_idle = 300;
  auto listening = net::listen_on(*net::Address::parse("127.0.0.1"));
  ASSERT_TRUE(listening);
  rig.add_cluster("ns/later:80", {net::local_address(listening->get())->port});
  rig.add_route("later.example", "", "ns/later:80");
  rig.apply();
  Client client = rig.connect();
  client.send("POST / HTTP/1.1\r\nHost: later.example\r\nContent-Length: 100000000\r\n\r\n");
  // Until neither the upstream's socket nor we take more, for longer than the deadline of a body.
  const std::string block(65536, 'b');
  int full = 0;
  ASSERT_TRUE(rig.until([&] {
    full = client.send_some(block) == 0 ? full + 1 : 0;
    return full >= 100;
  }));
  EXPECT_EQ(client.received(), "") << "it was we who kept it from sending";
  UniqueFd upstream(::accept4(listening->get(), nullptr, nullptr, SOCK_NONBLOCK));
  ASSERT_TRUE(upstream);
  std::vector<char> sink(1 << 20);
  EXPECT_TRUE(rig.until([&] {
    while (::recv(upstream.get(), sink.data(), sink.size(), 0) > 0) {
    }
    return client.received().find("request_body_timeout") != std::string::npos;
  }));
}

TEST_F(SlowClientTest, ABodyMayBeTooSlowOnAverage) {
  rig.table.settings->limits->min_body_rate = 100'000;
  timeouts().request_body_idle = 600'000;
  rig.apply();
  Client http1 = rig.connect(), http2 = rig.connect(), fast = rig.connect(), waits = rig.connect();
  http1.send("POST / HTTP/1.1\r\nHost: body.example\r\nContent-Length: 1000000\r\n\r\n");
  http2.send(preface() + request(1, "body.example", true));
  fast.send("POST / HTTP/1.1\r\nHost: body.example\r\nContent-Length: 2000007\r\n\r\n");
  waits.send("POST / HTTP/1.1\r\nHost: body.example\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n");
  const std::string block(2'000'000, 'x');
  size_t sent = 0;
  ASSERT_TRUE(rig.until([&] {
    if (sent < block.size()) sent += fast.send_some(std::string_view(block).substr(sent));
    (void)http1.send_some("x");
    (void)http2.send_some(frame(FrameType::data, 0, 1, "x"));
    return http1.received().find("request_body_timeout") != std::string::npos &&
           http2.received().find("request_body_timeout") != std::string::npos;
  }));
  EXPECT_TRUE(http1.received().starts_with("HTTP/1.1 408 ")) << http1.received();
  EXPECT_NE(http1.received().find("Connection: close\r\n"), std::string::npos);
  // Twenty seconds' worth of bytes: it is not late, whatever the others are.
  ASSERT_EQ(sent, block.size());
  fast.send("the end");
  waits.send("the end");
  ASSERT_TRUE(rig.until([&] { return fast.received().ends_with("whole") && waits.received().ends_with("whole"); }))
      << fast.received() << waits.received();
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::request_body_timeout)].get(), 2u);
}

}  // namespace
}  // namespace sluice::worker
