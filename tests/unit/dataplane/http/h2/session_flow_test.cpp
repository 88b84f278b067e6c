// Flow control (RFC 9113 5.2) and what is held for whom: nobody can make either side keep more than its bounds.
#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h2/session_pair.h"

namespace sluice::http::h2 {
namespace {

using namespace tests::h2;

constexpr uint32_t kFirstWindow = 65535;

size_t content(const std::vector<Frame>& frames, uint32_t stream) {
  size_t size = 0;
  for (const Frame& frame : frames) size += frame.type == kData && frame.stream == stream ? frame.payload.size() : 0;
  return size;
}
bool ended(const std::vector<Frame>& frames, uint32_t stream) {
  return std::any_of(frames.begin(), frames.end(), [&](const Frame& frame) {
    return frame.type <= kHeaders && frame.stream == stream && (frame.flags & kEndStream) != 0;
  });
}

// ---------------------------------------------------------------- sending

TEST(Http2Flow, ASlowReaderStopsItsSender) {
  Alone alone(Role::server);
  alone.receive(headers(1, kGet, true));
  TestStream& stream = alone.end.at(0);
  alone.end.answer(stream, 200, false);
  const std::string piece(16 * 1024, 'x');
  size_t sent = 0;
  bool more = true;
  while (more && sent < 10 * 1024 * 1024) {
    more = alone.end.session.send_body(stream, bytes_of(piece), false);
    sent += piece.size();
    alone.receive({});
  }
  EXPECT_FALSE(more);
  EXPECT_EQ(content(alone.said, 1), kFirstWindow);
  EXPECT_EQ(stream.unsent(), sent - kFirstWindow);
  EXPECT_LE(stream.unsent(), Session::kHighWater + piece.size());
  EXPECT_EQ(stream.events(), "head!");
  // It takes a little: not yet enough to be told.
  alone.receive(window(1, 1000) + window(0, 1000));
  EXPECT_EQ(content(alone.said, 1), kFirstWindow + 1000);
  EXPECT_EQ(stream.events(), "head!");
  alone.receive(window(1, 1 << 20) + window(0, 1 << 20));
  EXPECT_EQ(stream.events(), "head! writable");
  EXPECT_EQ(stream.unsent(), 0u);
  EXPECT_EQ(content(alone.said, 1), sent);
  EXPECT_TRUE(alone.end.session.send_body(stream, {}, true));
  alone.receive({});
  EXPECT_TRUE(ended(alone.said, 1));
  EXPECT_EQ(stream.events(), "head! writable closed");
}

TEST(Http2Flow, TheEndWaitsBehindTheBody) {
  Alone alone(Role::server);
  alone.receive(headers(1, kGet, true));
  TestStream& stream = alone.end.at(0);
  alone.end.answer(stream, 200, false);
  (void)alone.end.session.send_body(stream, bytes_of(std::string(kFirstWindow + 1, 'x')), false);
  Fields trailers(stream.arena());
  trailers.add("a", "b");
  alone.end.session.send_trailers(stream, trailers);
  alone.receive({});
  EXPECT_FALSE(ended(alone.said, 1));
  alone.receive(window(1, 10) + window(0, 10));
  EXPECT_EQ(content(alone.said, 1), kFirstWindow + 1);
  EXPECT_TRUE(ended(alone.said, 1));
  EXPECT_EQ(stream.events(), "head! closed");
}

// RFC 9113 6.9.2: the peer may make windows smaller, below nothing.
TEST(Http2Flow, WindowsBelowNothing) {
  Alone alone(Role::server);
  alone.receive(headers(1, kGet, true));
  TestStream& stream = alone.end.at(0);
  alone.end.answer(stream, 200, false);
  (void)alone.end.session.send_body(stream, bytes_of(std::string(60000, 'x')), false);
  alone.receive(settings({{4, 10}}));
  (void)alone.end.session.send_body(stream, bytes_of("12345"), true);
  alone.receive(window(0, 100000));
  EXPECT_EQ(content(alone.said, 1), 60000u);
  alone.receive(window(1, 60000 - 10 + 3));
  EXPECT_EQ(content(alone.said, 1), 60003u);
  alone.receive(window(1, 2));
  EXPECT_EQ(content(alone.said, 1), 60005u);
  EXPECT_TRUE(ended(alone.said, 1));
}

// While the transport takes nothing, DATA stays with its stream; answers of others go on.
TEST(Http2Flow, OutputIsBounded) {
  Alone alone(Role::server);
  alone.receive(settings({{4, 0x7FFFFFFF}}) + window(0, 0x7FFF0000 - 65535));
  std::string requests;
  for (uint32_t i = 0; i < 20; ++i) requests += headers(1 + 2 * i, kGet, true);
  (void)alone.end.receive(requests);
  (void)alone.end.take();
  const std::string piece(100 * 1024, 'x');
  for (size_t i = 0; i < 20; ++i) {
    alone.end.answer(alone.end.at(i), 200, false);
    const bool room = alone.end.session.send_body(alone.end.at(i), bytes_of(piece), false);
    EXPECT_EQ(room, i == 0) << i;
  }
  EXPECT_GE(alone.end.session.output().size(), Session::kMostOutput);
  EXPECT_LE(alone.end.session.output().size(), Session::kMostOutput + 4096);  // heads
  // What the transport holds counts.
  const size_t taken = alone.end.take().size();
  alone.end.session.set_beyond(taken);
  alone.end.session.pump();
  EXPECT_TRUE(alone.end.session.output().empty());
  alone.end.session.set_beyond(Session::kMostOutput - 100);
  alone.end.session.pump();
  EXPECT_LE(alone.end.session.output().size(), 200u);
  EXPECT_FALSE(alone.end.session.output().empty());
  // And in the end everything comes.
  size_t total = taken;
  alone.end.session.set_beyond(0);
  for (int round = 0; round < 1000; ++round) {
    alone.end.session.pump();
    const size_t size = alone.end.take().size();
    if (size == 0) break;
    EXPECT_LE(size, Session::kMostOutput + 4096);
    total += size;
  }
  EXPECT_GE(total, 20 * piece.size());
  for (size_t i = 1; i < 20; ++i) EXPECT_EQ(alone.end.at(i).events(), "head! writable") << i;
}

TEST(Http2Flow, FramesAreNotLargerThanThePeerTakes) {
  Alone alone(Role::server);
  alone.receive(settings({{4, 1 << 20}}) + window(0, 1 << 20) + headers(1, kGet, true));
  alone.end.answer(alone.end.at(0), 200, false);
  (void)alone.end.session.send_body(alone.end.at(0), bytes_of(std::string(50000, 'x')), true);
  alone.receive({});
  EXPECT_EQ(content(alone.said, 1), 50000u);
  for (const Frame& frame : alone.said) EXPECT_LE(frame.payload.size(), 16384u);
}

// ---------------------------------------------------------------- receiving

Settings small_windows() {
  Settings of;
  of.stream_window = 100 * 1000;
  of.connection_window = 200 * 1000;
  of.most_held = 150 * 1000;
  return of;
}

TEST(Http2Flow, ASlowConsumerStopsItsOwnPeer) {
  Link link(small_windows());
  link.server.prepare = [&](TestStream& stream) { stream.consumes = link.server.streams.size() > 1; };
  auto post = [](RequestHead& head) { head.method = Method::post; };
  TestStream& slow = link.client.request(false, post);
  link.run();
  const std::string piece(20 * 1000, 'x');
  for (int i = 0; i < 20; ++i) (void)link.client.session.send_body(slow, bytes_of(piece), false);
  link.run();
  TestStream& held = link.server.at(0);
  EXPECT_EQ(held.body.size(), 100u * 1000);
  // Another is not touched by that.
  TestStream& fast = link.client.request(false, post);
  for (int i = 0; i < 50; ++i) {
    (void)link.client.session.send_body(fast, bytes_of(piece), i == 49);
    link.run();
  }
  EXPECT_EQ(link.server.at(1).body.size(), 50 * piece.size());
  EXPECT_EQ(link.server.at(1).events(), "head body end");
  // What it consumes is what may come.
  link.server.session.consumed(held, 60 * 1000);
  link.run();
  EXPECT_EQ(held.body.size(), 160u * 1000);
  // More than it was given cannot be given back.
  link.server.session.consumed(held, 1000 * 1000);
  link.run();
  EXPECT_EQ(held.body.size(), 260u * 1000);
}

TEST(Http2Flow, AllTogetherAreBounded) {
  Link link(small_windows());
  link.server.prepare = [](TestStream& stream) { stream.consumes = false; };
  const std::string piece(90 * 1000, 'x');
  for (int i = 0; i < 10; ++i) {
    TestStream& stream = link.client.request(false, [](RequestHead& head) { head.method = Method::post; });
    (void)link.client.session.send_body(stream, bytes_of(piece), true);
  }
  link.run();
  auto received = [&] {
    size_t total = 0;
    for (const auto& stream : link.server.streams) total += stream->body.size();
    return total;
  };
  // The connection's window beyond what may be held.
  EXPECT_GE(received(), 150u * 1000);
  EXPECT_LE(received(), (150u + 200u) * 1000);
  // Who is thrown away makes room for the rest.
  for (size_t i = 0; i < link.server.streams.size(); ++i) {
    TestStream& stream = link.server.at(i);
    if (i % 2 == 0) link.server.session.reset(stream, ErrorCode::cancel);
    else link.server.session.consumed(stream, stream.body.size());
    stream.consumes = true;
    link.run();
  }
  for (size_t i = 0; i < link.server.streams.size(); ++i) {
    if (i % 2 == 0) continue;
    EXPECT_EQ(link.server.at(i).body.size(), piece.size()) << i;
  }
}

// What nobody wants any more does not use up the connection.
TEST(Http2Flow, DataOfDeadStreamsIsGivenBack) {
  Alone alone(Role::server, small_windows());
  uint32_t id = 1;
  size_t given = 65535, used = 0;
  for (int i = 0; i < 100; ++i, id += 2) {
    alone.receive(headers(id, kPost, false));
    alone.end.session.reset(*alone.end.streams.back(), ErrorCode::cancel);
    const std::string piece(10000, 'x');
    alone.receive(data(id, piece, false));
    used += piece.size();
  }
  ASSERT_TRUE(alone.alive);
  for (const Frame& frame : alone.said) {
    if (frame.type == kWindowUpdate && frame.stream == 0) given += number_at(frame.payload, 0);
  }
  EXPECT_EQ(alone.goaway(), -1);
  EXPECT_GE(given, used);
}

TEST(Http2Flow, PaddingIsGivenBack) {
  Alone alone(Role::server, small_windows());
  alone.end.prepare = [](TestStream& stream) { stream.consumes = true; };
  alone.receive(headers(1, kPost, false));
  const std::string padded = std::string(1, '\xFF') + "x" + std::string(255, '\0');
  for (int i = 0; i < 2000; ++i) alone.receive(frame(kData, kPadded, 1, padded));
  EXPECT_TRUE(alone.alive);
  EXPECT_EQ(alone.goaway(), -1);
  EXPECT_EQ(alone.end.at(0).body.size(), 2000u);
  size_t given = 0;
  for (const Frame& frame : alone.said) given += frame.type == kWindowUpdate ? number_at(frame.payload, 0) : 0;
  EXPECT_GE(given, 2 * 2000 * padded.size() - 200 * 1000 - 100 * 1000);
}

// RFC 9113 6.9.1: who sends more than it may.
TEST(Http2Flow, MoreThanTheWindow) {
  Alone alone(Role::server, small_windows());
  alone.end.prepare = [](TestStream& stream) { stream.consumes = false; };
  alone.receive(headers(1, kPost, false));
  for (int i = 0; i < 7; ++i) alone.receive(data(1, std::string(16000, 'x'), false));
  EXPECT_LE(alone.end.at(0).body.size(), 112000u);
  EXPECT_TRUE(alone.reset_of(1) == 3 || alone.goaway() == 3);
  EXPECT_EQ(alone.end.at(0).events(), "head body error:client_closed");
}

TEST(Http2Flow, WindowsThatOverflow) {
  Alone alone(Role::server);
  alone.receive(headers(1, kPost, false) + window(1, 0x7FFFFFFF));
  EXPECT_EQ(alone.reset_of(1), 3);
  EXPECT_TRUE(alone.alive);
  alone.receive(window(0, 0x7FFFFFFF));
  EXPECT_EQ(alone.goaway(), 3);
  EXPECT_FALSE(alone.alive);
}

}  // namespace
}  // namespace sluice::http::h2
