// WebSockets that are told to go: a Close with 1001 each way, between two frames.
#include <gtest/gtest.h>

#include "dataplane/http/websocket.h"
#include "stream_fakes.h"

namespace sluice::http {
namespace {

const std::string kClose(kGoingAway.data(), kGoingAway.size());
constexpr size_t kMaskedClose = 8;
const std::string kHello = "\x81\x05hello";
const std::string kMaskedHi = std::string("\x81\x82", 2) + std::string("\0\0\0\0hi", 6);
const std::string kMaskedReply = std::string("\x88\x82", 2) + std::string("\0\0\0\0\x03\xE9", 6);

struct SocketRig : TunnelRig {
  SocketRig() : TunnelRig("WebSocket") {}
  FakeExchange& upstream() { return environment.last(); }
  void down(std::string_view bytes, bool end = false) {
    events->on_response_body({bytes.data(), bytes.size()}, end);
    events->on_response_flush();
  }
  void up(std::string_view bytes, bool end = false) { body(bytes, end); }
  void leave() { stream.on_client_error({Reason::draining, Side::internal, Retry::no, 0}); }
  void both_end() {
    up(kMaskedReply);
    up("", true);
    down(kClose, true);
  }
  [[nodiscard]] bool is_close(std::string_view bytes) const {
    FrameTracker tracker;
    tracker.follow({bytes.data(), bytes.size()});
    return bytes.size() == kMaskedClose && tracker.closed();
  }
};

TEST(StreamWebSocket, IsClosedBothWaysAndItsEndIsWaitedFor) {
  SocketRig rig;
  rig.up(kMaskedHi);
  rig.down(kHello);
  rig.client.log.clear();
  rig.leave();
  EXPECT_EQ(rig.client.body, kHello + kClose);
  EXPECT_TRUE(rig.client.log.ends_with("end flush")) << "with an end, and out";
  EXPECT_EQ(rig.upstream().body.substr(0, kMaskedHi.size()), kMaskedHi);
  EXPECT_TRUE(rig.is_close(rig.upstream().body.substr(kMaskedHi.size())));
  EXPECT_TRUE(rig.upstream().ended);
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.leave();
  EXPECT_EQ(rig.client.body, kHello + kClose) << "told twice, said once";
  rig.both_end();
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_EQ(rig.summary().error.reason, Reason::draining);
  EXPECT_FALSE(rig.client.aborted);
  EXPECT_FALSE(rig.upstream().cancelled);
  EXPECT_EQ(rig.client.body, kHello + kClose) << "nothing behind a Close";
  EXPECT_EQ(rig.upstream().body.size(), kMaskedHi.size() + kMaskedClose);
}

// RFC 8441 5: what asks by an extended CONNECT takes any 2xx for a tunnel; the key is ours then.
TEST(StreamWebSocket, AnswersThatDoNotSwitchAreNoTunnel) {
  for (const bool ours : {false, true}) {
    for (const uint16_t status : {uint16_t{200}, uint16_t{204}, uint16_t{403}}) {
      StreamRig rig;
      rig.stream.head().upgrade = "websocket";
      if (ours) rig.stream.head().websocket_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
      rig.request();
      ResponseHead head(rig.answers);
      head.status = status;
      head.content_length = 0;
      rig.environment.last().events->on_response_head(head, true);
      rig.environment.last().events->on_response_flush();
      EXPECT_EQ(rig.client.status, ours && status < 300 ? 502 : status) << status;
    }
  }
}

TEST(StreamWebSocket, TheUpstreamMayEndFirst) {
  SocketRig rig;
  rig.leave();
  rig.down(kClose, true);
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.up(kMaskedReply, true);
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_FALSE(rig.client.aborted);
  EXPECT_FALSE(rig.upstream().cancelled);
  EXPECT_EQ(rig.client.body, kClose);
}

// Wherever the answer's bytes stand when the time is over.
TEST(StreamWebSocket, AFrameUnderWayIsFinishedFirst) {
  const std::string frames = kHello + kHello + kHello;
  for (size_t split = 0; split <= frames.size(); ++split) {
    SocketRig rig;
    rig.down(frames.substr(0, split));
    rig.leave();
    const size_t whole = (split + kHello.size() - 1) / kHello.size() * kHello.size();
    const bool between = whole == split;
    EXPECT_EQ(rig.client.body, frames.substr(0, split) + (between ? kClose : "")) << split;
    EXPECT_EQ(rig.client.ended, between);
    EXPECT_TRUE(rig.is_close(rig.upstream().body)) << "the other way does not wait";
    rig.down(frames.substr(split));
    EXPECT_EQ(rig.client.body, frames.substr(0, whole) + kClose) << split;
    EXPECT_TRUE(rig.client.ended);
    rig.both_end();
    EXPECT_EQ(rig.client.body, frames.substr(0, whole) + kClose) << split;
    ASSERT_EQ(rig.environment.summaries.size(), 1u);
    EXPECT_FALSE(rig.client.aborted);
  }
}

TEST(StreamWebSocket, AFrameOfTheClientsIsFinishedFirst) {
  for (size_t split = 1; split < kMaskedHi.size(); ++split) {
    SocketRig rig;
    rig.up(kMaskedHi.substr(0, split));
    rig.leave();
    EXPECT_EQ(rig.client.body, kClose);
    EXPECT_EQ(rig.upstream().body, kMaskedHi.substr(0, split));
    EXPECT_FALSE(rig.upstream().ended);
    rig.up(kMaskedHi.substr(split) + kMaskedHi);
    EXPECT_EQ(rig.upstream().body.substr(0, kMaskedHi.size()), kMaskedHi);
    EXPECT_TRUE(rig.is_close(rig.upstream().body.substr(kMaskedHi.size()))) << split;
    EXPECT_TRUE(rig.upstream().ended);
    rig.both_end();
    ASSERT_EQ(rig.environment.summaries.size(), 1u);
    EXPECT_FALSE(rig.client.aborted);
  }
}

TEST(StreamWebSocket, WhoDoesNotComeToAnEndIsCut) {
  SocketRig half;
  half.down(kHello.substr(0, 3));
  half.leave();
  half.environment.pass(Stream::kLeaveMs / 2);
  half.down(kHello.substr(3, 1));
  EXPECT_TRUE(half.environment.summaries.empty());
  half.environment.pass(Stream::kLeaveMs);
  ASSERT_EQ(half.environment.summaries.size(), 1u) << "bytes do not make the bound longer";
  EXPECT_TRUE(half.client.aborted);
  EXPECT_TRUE(half.upstream().cancelled);
  EXPECT_EQ(half.client.body, kHello.substr(0, 4));
  EXPECT_EQ(half.summary().error.reason, Reason::draining);

  SocketRig mute;  // hears its Close and says nothing
  mute.leave();
  mute.environment.pass(2 * Stream::kLeaveMs);
  ASSERT_EQ(mute.environment.summaries.size(), 1u);
  EXPECT_EQ(mute.client.body, kClose);
  EXPECT_EQ(mute.summary().error.reason, Reason::draining);
}

TEST(StreamWebSocket, WhatIsNoFrameIsCutAtOnce) {
  SocketRig rig;
  rig.down(std::string("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00", 10));
  rig.leave();
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_TRUE(rig.client.aborted);

  SocketRig later;
  later.up(std::string("\x82\xFF", 2));
  later.leave();
  later.up(std::string("\x80\x00\x00\x00\x00\x00\x00\x00", 8));
  ASSERT_EQ(later.environment.summaries.size(), 1u);
  EXPECT_TRUE(later.client.aborted);
}

TEST(StreamWebSocket, AWayThatIsClosedAlreadyIsLeftAlone) {
  SocketRig rig;
  rig.down(kClose);
  rig.up(kMaskedReply);
  rig.leave();
  EXPECT_EQ(rig.client.body, kClose) << "not a second one";
  EXPECT_TRUE(rig.client.ended);
  EXPECT_EQ(rig.upstream().body, kMaskedReply);
  EXPECT_TRUE(rig.upstream().ended);

  SocketRig ended;
  ended.down(kHello, true);
  ended.leave();
  EXPECT_EQ(ended.client.body, kHello);
  EXPECT_TRUE(ended.is_close(ended.upstream().body));
  ended.up("", true);
  ASSERT_EQ(ended.environment.summaries.size(), 1u);
  EXPECT_FALSE(ended.upstream().cancelled);

  SocketRig gone;
  gone.up("", true);
  gone.leave();
  EXPECT_EQ(gone.client.body, kClose);
  EXPECT_EQ(gone.upstream().body, "");
  gone.down("", true);
  ASSERT_EQ(gone.environment.summaries.size(), 1u);
}

TEST(StreamWebSocket, AnErrorMeanwhileEndsItAsDrained) {
  SocketRig client;
  client.leave();
  client.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  EXPECT_EQ(client.summary().error.reason, Reason::draining);
  EXPECT_TRUE(client.upstream().cancelled);
  SocketRig upstream;
  upstream.leave();
  upstream.events->on_exchange_error({Reason::upstream_reset, Side::upstream, Retry::no, 0});
  EXPECT_EQ(upstream.summary().error.reason, Reason::draining);
  EXPECT_EQ(upstream.client.body, kClose);
}

TEST(StreamWebSocket, OtherTunnelsAreCut) {
  TunnelRig rig("echo");
  rig.stream.on_client_error({Reason::draining, Side::internal, Retry::no, 0});
  EXPECT_TRUE(rig.client.aborted);
  EXPECT_EQ(rig.client.body, "");
}

}  // namespace
}  // namespace sluice::http
