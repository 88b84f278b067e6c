// The client side of HTTP/2: how a connection becomes one, what its streams share, how it ends. Frames by hand.
#include "dataplane/worker/http2_connection.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/dataplane/worker/http2_frames.h"
#include "tests/unit/dataplane/worker/worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

constexpr char kHost[] = "h2.test";
constexpr uint32_t kNoStreamYet = 0x7FFFFFFF;

struct Http2ConnectionTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, [this](const std::string& request) { return answer(request); }};
  std::function<std::string(const std::string&)> answer = simple_origin;

  Http2ConnectionTest() {
    rig.add_cluster("c", {origin.port()});
    rig.add_route(kHost, "", "c");
    rig.apply();
  }
  // Waits for the end of an answer on a stream.
  bool answered(Client& client, uint32_t stream) {
    return rig.until([&] {
      for (const Frame& one : frames(client.received())) {
        if (one.stream == stream && (one.type == FrameType::data || one.type == FrameType::headers) &&
            (one.flags & 1) != 0)
          return true;
      }
      return false;
    });
  }
  static std::string body(Client& client, uint32_t stream) {
    std::string out;
    for (const Frame& one : frames(client.received())) {
      if (one.stream == stream && one.type == FrameType::data) out += one.payload;
    }
    return out;
  }
  static std::vector<uint32_t> goaways(Client& client) {
    std::vector<uint32_t> out;
    for (const Frame& one : frames(client.received())) {
      if (one.type != FrameType::goaway) continue;
      uint32_t last = 0;
      for (int i = 0; i < 4; ++i) last = last << 8 | static_cast<unsigned char>(one.payload[static_cast<size_t>(i)]);
      out.push_back(last);
    }
    return out;
  }
  static uint32_t reset_code(Client& client, uint32_t stream) {
    const auto list = frames(client.received());
    const Frame* const found = last_of(list, FrameType::rst_stream, stream);
    return found == nullptr ? UINT32_MAX : static_cast<unsigned char>(found->payload[3]);
  }
};

TEST_F(Http2ConnectionTest, ThePrefaceMayComeInPieces) {
  const std::string all = preface() + request(1, kHost);
  for (const size_t cut :
       {size_t{1}, size_t{3}, size_t{4}, size_t{15}, size_t{16}, size_t{20}, size_t{24}, size_t{30}}) {
    Client client = rig.connect();
    client.send(all.substr(0, cut));
    rig.settle(3);
    EXPECT_FALSE(client.ended()) << cut;
    client.send(all.substr(cut));
    ASSERT_TRUE(answered(client, 1)) << cut;
    EXPECT_EQ(body(client, 1), "hello");
  }
}

TEST_F(Http2ConnectionTest, WhatOnlyBeginsLikeAPrefaceIsHttp1) {
  const std::string answer = rig.ask("PRI /x HTTP/1.1\r\nHost: h2.test\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_TRUE(rig.ask("PRI * HTTP/1.1\r\nHost: h2.test\r\n\r\n").starts_with("HTTP/1.1 400"));
}

TEST_F(Http2ConnectionTest, OnlyTheFirstBytesOfAConnection) {
  Client client = rig.connect();
  client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  client.forget();
  client.send(preface());
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 505"));
}

TEST_F(Http2ConnectionTest, NotWhereItIsSwitchedOff) {
  rig.table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
  rig.table.settings->http2->cleartext = false;
  rig.apply();
  EXPECT_TRUE(rig.ask(preface()).starts_with("HTTP/1.1 505"));
  EXPECT_TRUE(rig.ask("INVALID CONNECTION PREFACE\r\n\r\n").starts_with("HTTP/1.1 400"));
}

TEST_F(Http2ConnectionTest, ThreeWordsWithoutPathAndVersionAreClosed) {
  Client client = rig.connect();
  client.send("INVALID CONNECTION PREFACE\r\n\r\n");
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(client.received(), "");
  EXPECT_TRUE(rig.ask("GET\r\n\r\n").starts_with("HTTP/1.1 400"));
}

TEST_F(Http2ConnectionTest, StreamsAreServedSideBySide) {
  answer = [](const std::string& request) {
    return request.find("POST") != std::string::npos ? std::string() : simple_origin(request);
  };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost, true) + request(3, kHost) + request(5, kHost));
  ASSERT_TRUE(answered(client, 3));
  ASSERT_TRUE(answered(client, 5));
  EXPECT_EQ(rig.page->streams_active.get(), 1u);
  EXPECT_EQ(rig.context.connection_count, 1u);
}

TEST_F(Http2ConnectionTest, AnswersOfOneBatchLeaveInOneWrite) {
  // All answered here: in the very read that brought them.
  Client client = rig.connect();
  client.send(preface());
  rig.settle();
  client.received();
  client.reads = 0;
  client.send(request(1, "none.test") + request(3, "none.test") + request(5, "none.test"));
  ASSERT_TRUE(answered(client, 5));
  EXPECT_TRUE(answered(client, 1) && answered(client, 3));
  EXPECT_EQ(client.reads, 1u);
}

TEST_F(Http2ConnectionTest, AnAnswerThatBreaksOffIsReset) {
  answer = [](const std::string& request) {
    return simple_origin(request).empty() ? ""
                                          : "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhello";
  };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost));
  ASSERT_TRUE(rig.until([&] { return has(client.received(), FrameType::rst_stream, 1); }));
  EXPECT_EQ(reset_code(client, 1), 2u) << "INTERNAL_ERROR";
  EXPECT_FALSE(client.ended());
  answer = simple_origin;
  client.send(request(3, kHost));
  EXPECT_TRUE(answered(client, 3));
}

TEST_F(Http2ConnectionTest, AClientThatResetsEndsWhatWasUnderWay) {
  answer = [](const std::string&) { return std::string(); };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost));
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 1; }));
  client.send(frame(FrameType::rst_stream, 0, 1, std::string("\0\0\0\x08", 4)));
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 0; }));
  EXPECT_EQ(rig.page->streams_active.get(), 0u);
  EXPECT_FALSE(client.ended());
}

TEST_F(Http2ConnectionTest, AClientThatIsGoneEndsWhatWasUnderWay) {
  answer = [](const std::string&) { return std::string(); };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost) + request(3, kHost));
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 2; }));
  client.close();
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 0; }));
  EXPECT_EQ(rig.context.connection_count, 0u);
}

// RFC 9113 6.8.
TEST_F(Http2ConnectionTest, DrainsInTwoSteps) {
  Client client = rig.connect();
  client.send(preface() + request(1, kHost));
  ASSERT_TRUE(answered(client, 1));
  rig.context.draining = true;
  rig.context.connections->drain();
  ASSERT_TRUE(rig.until([&] { return goaways(client) == std::vector<uint32_t>{kNoStreamYet}; }));
  client.send(request(3, kHost));  // was on its way
  ASSERT_TRUE(answered(client, 3));
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(goaways(client), (std::vector<uint32_t>{kNoStreamYet, 3}));
  EXPECT_EQ(reset_code(client, 3), UINT32_MAX);
}

TEST_F(Http2ConnectionTest, ALongAnswerOutlivesTheDrainsBegin) {
  answer = [](const std::string&) { return std::string(); };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost));
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 1; }));
  rig.context.draining = true;
  rig.context.connections->drain();
  ASSERT_TRUE(rig.until([&] { return goaways(client).size() == 2; }));
  EXPECT_FALSE(client.ended());
  origin.send_all("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  ASSERT_TRUE(answered(client, 1));
  EXPECT_TRUE(rig.until([&] { return client.ended(); }));
}

TEST_F(Http2ConnectionTest, WhoIsCutOffIsToldWhy) {
  answer = [](const std::string&) { return std::string(); };
  Client client = rig.connect();
  client.send(preface() + request(1, kHost));
  ASSERT_TRUE(rig.until([&] { return rig.context.upstreams.active_exchanges() == 1; }));
  rig.context.draining = true;
  rig.context.connections->cut_off();
  ASSERT_TRUE(answered(client, 1));
  EXPECT_NE(body(client, 1).find("\"draining\""), std::string::npos);
  EXPECT_TRUE(rig.until([&] { return client.ended(); }));
}

TEST_F(Http2ConnectionTest, GarbageIsToldByGoaway) {
  Client client = rig.connect();
  client.send(preface() + std::string(64, 'x'));
  ASSERT_TRUE(rig.until([&] { return client.ended(); }));
  EXPECT_EQ(goaways(client).size(), 1u);
}

#ifndef __SANITIZE_ADDRESS__
// KiB of memory that is this process' own.
size_t own_memory() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("RssAnon:")) return std::stoul(line.substr(8));
  }
  return 0;
}

TEST_F(Http2ConnectionTest, WhoRestsHoldsLessAndIsServedAgain) {
  constexpr size_t kClients = 200;
  std::vector<Client> clients;
  for (size_t i = 0; i < kClients; ++i) {
    clients.push_back(rig.connect());
    clients.back().send(preface() + request(1, kHost));
  }
  for (Client& client : clients) ASSERT_TRUE(answered(client, 1));
  const size_t before = own_memory();
  EXPECT_TRUE(rig.until([&] { return own_memory() + 3 * kClients < before; })) << before << " " << own_memory();
  for (Client& client : clients) {
    client.send(request(3, kHost));
    ASSERT_TRUE(answered(client, 3));
  }
}
#endif

}  // namespace
}  // namespace sluice::worker
