// Messages between a server's session and a client's: what one side sends, the other is told, whatever the pieces.
#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h2/session_pair.h"

namespace sluice::http::h2 {
namespace {

class Http2Messages : public testing::TestWithParam<size_t> {
 protected:
  Settings settings;
};
INSTANTIATE_TEST_SUITE_P(Pieces, Http2Messages, testing::Values(0, 1, 7));

TEST_P(Http2Messages, HeadsAlone) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request(true, [](RequestHead& head) {
    head.path = "/a";
    head.query = "b=c";
    head.has_query = true;
    head.fields.add("X-One", "1");
  });
  link.run();
  ASSERT_EQ(link.server.streams.size(), 1u);
  TestStream& server = link.server.at(0);
  EXPECT_EQ(server.events(), "head!");
  EXPECT_TRUE(server.received_all());
  EXPECT_EQ(server.head().path, "/a");
  EXPECT_EQ(server.head().query, "b=c");
  EXPECT_EQ(server.head().host, "a.example");
  EXPECT_EQ(server.head().fields.all()[0].name, "x-one");
  link.server.answer(server, 404, true, [](ResponseHead& head) {
    head.content_length = 0;
    head.fields.add("Server", "x");
  });
  link.run();
  EXPECT_EQ(server.events(), "head! closed");
  EXPECT_EQ(client.events(), "head! closed");
  EXPECT_EQ(client.status, 404);
  EXPECT_EQ(client.fields, "server: x\n");
  EXPECT_EQ(client.length, 0u);
  EXPECT_EQ(link.server.session.streams(), 0u);
  EXPECT_EQ(link.client.session.streams(), 0u);
  EXPECT_FALSE(client.attached());
}

TEST_P(Http2Messages, BodiesBothWays) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request(false, [](RequestHead& head) { head.method = Method::post; });
  EXPECT_TRUE(link.client.session.send_body(client, bytes_of("hello "), false));
  link.run();
  EXPECT_TRUE(link.client.session.send_body(client, bytes_of("world"), true));
  link.run();
  TestStream& server = link.server.at(0);
  EXPECT_EQ(server.events(), "head body end");
  EXPECT_EQ(server.body, "hello world");
  EXPECT_TRUE(server.head().has_body);
  link.server.answer(server, 200, false);
  link.run();
  EXPECT_EQ(client.events(), "head");
  EXPECT_TRUE(link.server.session.send_body(server, bytes_of("answer"), false));
  EXPECT_TRUE(link.server.session.send_body(server, {}, true));
  link.run();
  EXPECT_EQ(client.body, "answer");
  EXPECT_EQ(client.events(), "head body end closed");
  EXPECT_EQ(server.events(), "head body end closed");
}

TEST_P(Http2Messages, TrailersBothWays) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request(false, [](RequestHead& head) {
    head.method = Method::post;
    head.wants_trailers = true;
  });
  (void)link.client.session.send_body(client, bytes_of("abc"), false);
  Fields up(client.arena());
  up.add("X-Sum", "1");
  link.client.session.send_trailers(client, up);
  link.run();
  TestStream& server = link.server.at(0);
  EXPECT_EQ(server.events(), "head body trailers");
  EXPECT_EQ(server.trailers, "x-sum: 1\n");
  EXPECT_TRUE(server.head().wants_trailers);
  link.server.answer(server, 200, false);
  (void)link.server.session.send_body(server, bytes_of("def"), false);
  Fields down(server.arena());
  down.add("grpc-status", "0");
  link.server.session.send_trailers(server, down);
  link.run();
  EXPECT_EQ(client.trailers, "grpc-status: 0\n");
  EXPECT_EQ(client.body, "def");
  EXPECT_EQ(client.events(), "head body trailers closed");
  EXPECT_EQ(server.events(), "head body trailers closed");
}

TEST_P(Http2Messages, TrailersWithoutBody) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 200, false);
  Fields down(server.arena());
  down.add("grpc-status", "12");
  link.server.session.send_trailers(server, down);
  link.run();
  EXPECT_EQ(client.events(), "head trailers closed");
  EXPECT_EQ(client.trailers, "grpc-status: 12\n");
}

// Nothing of them can be written: the message ends all the same.
TEST_P(Http2Messages, TrailersOfWhichNothingIsLeft) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 200, false);
  Fields down(server.arena());
  down.add("content-length", "12");
  link.server.session.send_trailers(server, down);
  link.run();
  EXPECT_EQ(client.events(), "head end closed");
  EXPECT_EQ(server.events(), "head! closed");
}

TEST_P(Http2Messages, TrailersThatAreAllDropped) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 200, false);
  Fields down(server.arena());
  down.add("set-cookie", "a=b");
  link.server.session.send_trailers(server, down);
  link.run();
  EXPECT_EQ(client.events(), "head end closed");
}

TEST_P(Http2Messages, Informational) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 103);
  link.server.session.pump();
  link.run();
  EXPECT_EQ(client.events(), "103");
  link.server.answer(server, 100);
  link.server.answer(server, 200);
  link.server.answer(server, 103);  // too late: not sent
  link.run();
  EXPECT_EQ(client.events(), "103 100 head! closed");
}

TEST_P(Http2Messages, TooManyInformational) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request();
  link.run();
  for (int i = 0; i < Session::kMaxInformational; ++i) link.server.answer(link.server.at(0), 103);
  link.run();
  EXPECT_FALSE(client.is_over());
  link.server.answer(link.server.at(0), 103);
  link.run();
  EXPECT_TRUE(client.events().ends_with("103 error:bad_response")) << client.events();
  EXPECT_EQ(link.server.at(0).events(), "head! error:client_closed");
}

TEST_P(Http2Messages, AnswersWithoutBody) {
  Link link(settings, settings, GetParam());
  TestStream& head = link.client.request(true, [](RequestHead& of) { of.method = Method::head; });
  TestStream& not_modified = link.client.request();
  link.run();
  link.server.answer(link.server.at(0), 200, true, [](ResponseHead& of) { of.content_length = 12; });
  link.server.answer(link.server.at(1), 304, false, [](ResponseHead& of) { of.content_length = 12; });
  (void)link.server.session.send_body(link.server.at(1), {}, true);
  link.run();
  EXPECT_EQ(head.events(), "head! closed");
  EXPECT_EQ(head.length, 12u);
  EXPECT_EQ(not_modified.events(), "head end closed");
}

TEST_P(Http2Messages, ManyAtOnce) {
  Link link(settings, settings, GetParam());
  for (int i = 0; i < 20; ++i) (void)link.client.request(false, [](RequestHead& of) { of.method = Method::put; });
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < 20; ++i)
      (void)link.client.session.send_body(link.client.at(i), bytes_of(std::string(100 + i, 'a' + char(i))), round == 2);
  }
  link.run();
  ASSERT_EQ(link.server.streams.size(), 20u);
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(link.server.at(i).body, std::string(3 * (100 + i), 'a' + char(i)));
    link.server.answer(link.server.at(i), 200, false);
    (void)link.server.session.send_body(link.server.at(i), bytes_of(link.server.at(i).body), true);
  }
  link.run();
  for (size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(link.client.at(i).body, link.server.at(i).body);
    EXPECT_EQ(link.client.at(i).events(), "head body end closed");
  }
}

// RFC 9113 8.1: the answer may be whole before the request is.
TEST_P(Http2Messages, AnswerBeforeTheRequestIsWhole) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request(false, [](RequestHead& of) { of.method = Method::post; });
  (void)link.client.session.send_body(client, bytes_of("some"), false);
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 413);
  link.run();
  EXPECT_EQ(server.events(), "head body closed");
  EXPECT_EQ(client.events(), "head! closed");
  // The connection goes on.
  TestStream& next = link.client.request();
  link.run();
  link.server.answer(link.server.at(1));
  link.run();
  EXPECT_EQ(next.events(), "head! closed");
}

// A thousand streams, one after the other: nothing is left of them.
TEST_P(Http2Messages, AThousandInSequence) {
  Link link(settings, settings, GetParam());
  link.server.prepare = [&](TestStream& stream) {
    stream.then = [&](const std::string& event) {
      if (event != "end") return;
      link.server.answer(stream, 200, false);
      (void)link.server.session.send_body(stream, bytes_of("answer"), true);
    };
  };
  for (int i = 0; i < 1000; ++i) {
    TestStream& client = link.client.request(false, [](RequestHead& of) { of.method = Method::post; });
    ASSERT_TRUE(link.client.submitted) << i;
    (void)link.client.session.send_body(client, bytes_of(std::string(1000, 'x')), true);
    link.run();
    ASSERT_EQ(client.events(), "head body end closed") << i;
    ASSERT_EQ(link.server.at(0).events(), "head body end closed") << i;
    link.client.streams.clear();
    link.server.streams.clear();
    ASSERT_EQ(link.client.session.streams() + link.server.session.streams(), 0u);
  }
  EXPECT_FALSE(link.server.session.finished());
  EXPECT_FALSE(link.client.session.finished());
  EXPECT_TRUE(link.server.session.output().empty());
}

// A stream object may be used again when it is over.
TEST_P(Http2Messages, TheSameObjectAgain) {
  Link link(settings, settings, GetParam());
  TestStream& client = link.client.request(false, [](RequestHead& of) { of.method = Method::head; });
  link.run();
  link.client.session.reset(client, ErrorCode::cancel);
  client.head().method = Method::get;
  ASSERT_TRUE(link.client.session.submit_request(client, client.head(), true));
  EXPECT_EQ(client.id(), 3);
  link.run();
  link.server.answer(link.server.at(1), 200, false);
  (void)link.server.session.send_body(link.server.at(1), bytes_of("x"), true);
  link.run();
  EXPECT_EQ(client.events(), "head body end closed");
}

// More than nghttp2's own bound for a header block (64 KiB).
TEST_P(Http2Messages, LargeHeads) {
  settings.limits.header_bytes = 128 * 1024;
  Link link(settings, settings, GetParam());
  const std::string large(50 * 1024, 'x');
  TestStream& client = link.client.request(true, [&](RequestHead& of) {
    of.fields.add("a", large);
    of.fields.add("b", large);
  });
  link.run();
  ASSERT_EQ(link.server.streams.size(), 1u);
  ASSERT_EQ(link.server.at(0).events(), "head!");
  EXPECT_EQ(link.server.at(0).head().fields.size(), 2u);
  link.server.answer(link.server.at(0), 200, true, [&](ResponseHead& of) {
    of.fields.add("a", large);
    of.fields.add("b", large);
  });
  link.run();
  EXPECT_EQ(client.events(), "head! closed");
}

// ---------------------------------------------------------------- tunnels (RFC 8441)

tests::h2::Pairs websocket() {
  return {{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
}

class Http2Tunnels : public testing::Test {
 protected:
  static Settings offered() {
    Settings settings;
    settings.extended_connect = true;
    return settings;
  }
  Http2Tunnels() { alone.receive(tests::h2::headers(1, websocket(), false)); }
  [[nodiscard]] size_t ends_of(uint32_t stream) const {
    size_t count = 0;
    for (const tests::h2::Frame& frame : alone.said) {
      if (frame.stream == stream && frame.type <= tests::h2::kHeaders) count += frame.flags & tests::h2::kEndStream;
    }
    return count;
  }
  Alone alone{Role::server, offered()};
};

TEST_F(Http2Tunnels, EachSideEndsForItself) {
  TestStream& stream = alone.end.at(0);
  EXPECT_EQ(stream.events(), "head!");
  EXPECT_EQ(stream.head().upgrade, "websocket");
  alone.end.answer(stream, 101, false);
  (void)alone.end.session.send_body(stream, bytes_of("down"), true);
  alone.receive(tests::h2::data(1, "up", false));
  EXPECT_EQ(ends_of(1), 1u);
  EXPECT_EQ(alone.reset_of(1), -1);  // our end is not theirs
  EXPECT_EQ(stream.events(), "head! body");
  alone.receive(tests::h2::data(1, "more", true));
  EXPECT_EQ(stream.body, "upmore");
  EXPECT_EQ(stream.events(), "head! body end closed");
}

TEST_F(Http2Tunnels, RefusedIsAnAnswerLikeAnyOther) {
  TestStream& stream = alone.end.at(0);
  alone.end.answer(stream, 403);
  alone.receive({});
  EXPECT_EQ(ends_of(1), 1u);
  EXPECT_EQ(alone.reset_of(1), 0);  // what the client sends is not wanted
  EXPECT_EQ(stream.events(), "head! closed");
}

TEST_F(Http2Tunnels, NoTrailers) {
  alone.end.answer(alone.end.at(0), 101, false);
  alone.receive(tests::h2::headers(1, {{"x", "1"}}, true));
  EXPECT_EQ(alone.reset_of(1), 1);
  EXPECT_EQ(alone.end.at(0).events(), "head! error:bad_trailer");
}

TEST_F(Http2Tunnels, NotOffered) {
  Alone plain(Role::server);
  plain.receive(tests::h2::headers(1, websocket(), false));
  EXPECT_EQ(plain.reset_of(1), 1);
  EXPECT_TRUE(plain.alive);
}

}  // namespace
}  // namespace sluice::http::h2
