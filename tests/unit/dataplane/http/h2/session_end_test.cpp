// How streams and connections end: resets, GOAWAY, dead sessions, and calls from inside of events.
#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h2/session_pair.h"

namespace sluice::http::h2 {
namespace {

using namespace tests::h2;

void post(RequestHead& head) { head.method = Method::post; }

// ---------------------------------------------------------------- resets

TEST(Http2End, AClientResets) {
  Link link;
  TestStream& client = link.client.request(false, post);
  (void)link.client.session.send_body(client, bytes_of("abc"), false);
  link.run();
  link.client.session.reset(client, ErrorCode::cancel);
  EXPECT_FALSE(client.attached());
  EXPECT_EQ(client.events(), "");
  client.free_memory();
  link.run();
  EXPECT_EQ(link.server.at(0).events(), "head body error:client_closed");
  EXPECT_EQ(link.server.session.streams(), 0u);
  link.client.session.reset(client, ErrorCode::cancel);  // once is enough
  link.run();
}

// Before anything of it was framed: nothing is said, and nothing of its memory is looked at.
TEST(Http2End, AClientResetsWhatWasNotSent) {
  Link link;
  link.run();
  TestStream& client = link.client.request(false, [](RequestHead& head) { head.fields.add("X-Mixed", "value"); });
  (void)link.client.take();
  link.client.session.reset(client, ErrorCode::cancel);
  client.free_memory();
  link.run();
  EXPECT_EQ(link.server.streams.size(), 0u);
  TestStream& next = link.client.request();
  link.run();
  ASSERT_EQ(link.server.streams.size(), 1u);
  link.server.answer(link.server.at(0));
  link.run();
  EXPECT_EQ(next.events(), "head! closed");
}

TEST(Http2End, AServerResets) {
  Link link;
  TestStream& client = link.client.request();
  TestStream& other = link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 200, false);
  (void)link.server.session.send_body(server, bytes_of("some"), false);
  link.server.session.reset(server, ErrorCode::internal_error);
  server.free_memory();
  link.run();
  EXPECT_EQ(client.events(), "head body error:response_cut");
  EXPECT_EQ(client.error.side, Side::upstream);
  EXPECT_EQ(client.error.retry, Retry::no);
  EXPECT_EQ(client.error.detail, 2);
  link.server.session.reset(link.server.at(1), ErrorCode::cancel);
  link.run();
  EXPECT_EQ(other.events(), "error:upstream_reset");
  EXPECT_EQ(other.error.retry, Retry::no);
}

// A head that was submitted and not framed yet, in the same call as the reset.
TEST(Http2End, AServerResetsWhatItHasNotSent) {
  Alone alone(Role::server);
  alone.end.prepare = [&](TestStream& stream) {
    stream.then = [&](const std::string&) {
      alone.end.answer(stream, 200, false, [](ResponseHead& head) { head.fields.add("X-Mixed", "value"); });
      (void)alone.end.session.send_body(stream, bytes_of("some"), false);
      alone.end.session.reset(stream, ErrorCode::internal_error);
    };
  };
  alone.receive(headers(1, kGet, true));
  alone.end.at(0).free_memory();
  alone.receive(window(0, 1));
  EXPECT_EQ(alone.count(kHeaders), 0u);
  EXPECT_EQ(alone.reset_of(1), 2);
  EXPECT_EQ(alone.end.at(0).events(), "head!");
}

TEST(Http2End, Refused) {
  Link link;
  link.server.refuses = true;
  TestStream& client = link.client.request(false, post);
  (void)link.client.session.send_body(client, bytes_of("abc"), false);
  link.run();
  EXPECT_EQ(client.events(), "error:upstream_reset");
  EXPECT_EQ(client.error.retry, Retry::yes);
  EXPECT_EQ(client.error.detail, 7);
  link.server.refuses = false;
  TestStream& next = link.client.request();
  link.run();
  link.server.answer(link.server.at(0));
  link.run();
  EXPECT_EQ(next.events(), "head! closed");
}

// The stream object dies without a word: nothing of it is used any more, and the peer is told.
TEST(Http2End, AStreamIsDestroyed) {
  Link link;
  (void)link.client.request(false, post);
  TestStream& other = link.client.request();
  link.run();
  link.client.streams.pop_front();
  link.run();
  EXPECT_EQ(link.client.session.streams(), 1u);
  EXPECT_EQ(link.server.at(0).events(), "head error:client_closed");
  link.server.answer(link.server.at(1), 200, false);
  link.server.streams.pop_back();
  link.run();
  EXPECT_EQ(other.events(), "error:upstream_reset");
}

TEST(Http2End, AStreamIsDestroyedBeforeItsHeadWasFramed) {
  Link link;
  link.run();
  (void)link.client.request(false, [](RequestHead& head) { head.fields.add("X-Mixed", "value"); });
  link.client.streams.pop_front();
  link.run();
  EXPECT_EQ(link.server.streams.size(), 0u);
}

TEST(Http2End, ASessionIsDestroyedWithItsStreams) {
  TestStream left;
  {
    Link link;
    for (int i = 0; i < 3; ++i) (void)link.client.request(false, post);
    link.run();
    link.server.answer(link.server.at(1), 200, false);
    (void)link.server.session.send_body(link.server.at(1), bytes_of(std::string(100000, 'x')), false);
    left.session = &link.client.session;
    ASSERT_TRUE(link.client.session.submit_request(left, left.head(), false));
  }
  EXPECT_FALSE(left.attached());
  EXPECT_EQ(left.events(), "");
}

// ---------------------------------------------------------------- shutdown (RFC 9113 6.8)

TEST(Http2End, TwoSteps) {
  Link link;
  TestStream& first = link.client.request(false, post);
  link.run();
  link.server.session.begin_shutdown();
  // Under way when that was said: still taken.
  TestStream& second = link.client.request();
  link.run();
  EXPECT_EQ(link.client.goaways, 1);
  EXPECT_FALSE(link.client.session.can_submit());
  ASSERT_EQ(link.server.streams.size(), 2u);
  (void)link.client.request();
  EXPECT_FALSE(link.client.submitted);
  link.server.session.shutdown(ErrorCode::no_error);
  link.run();
  EXPECT_EQ(link.client.goaways, 2);
  EXPECT_EQ(first.events(), "");
  link.server.answer(link.server.at(1));
  (void)link.client.session.send_body(first, bytes_of("rest"), true);
  link.run();
  EXPECT_EQ(second.events(), "head! closed");
  EXPECT_FALSE(link.server.session.finished());
  link.server.answer(link.server.at(0));
  link.run();
  EXPECT_EQ(first.events(), "head! closed");
  EXPECT_TRUE(link.server.session.finished());
}

TEST(Http2End, StreamsBehindTheLastOne) {
  Link link;
  TestStream& taken = link.client.request();
  link.run();
  link.server.session.shutdown(ErrorCode::no_error);
  TestStream& late = link.client.request();
  ASSERT_TRUE(link.client.submitted);
  TestStream& later = link.client.request(false, post);
  (void)link.client.session.send_body(later, bytes_of("abc"), false);
  link.run();
  EXPECT_EQ(link.server.streams.size(), 1u);
  for (TestStream* of : {&late, &later}) {
    EXPECT_EQ(of->events(), "error:upstream_reset");
    EXPECT_EQ(of->error.retry, Retry::yes);
  }
  link.server.answer(link.server.at(0));
  link.run();
  EXPECT_EQ(taken.events(), "head! closed");
}

// Whoever says that closes the transport; streams are told by that.
TEST(Http2End, ShutdownWithAnError) {
  Link link;
  TestStream& client = link.client.request();
  link.run();
  link.server.session.shutdown(ErrorCode::enhance_your_calm);
  EXPECT_TRUE(link.server.session.finished());
  link.run();
  EXPECT_EQ(link.client.goaways, 1);
  EXPECT_FALSE(link.client.session.can_submit());
  EXPECT_EQ(client.events(), "");
  link.client.session.connection_lost({Reason::upstream_closed, Side::upstream, Retry::no, 0});
  EXPECT_EQ(client.events(), "error:upstream_closed");
  link.server.session.connection_lost({Reason::client_closed, Side::client, Retry::no, 0});
  EXPECT_EQ(link.server.at(0).events(), "head! error:client_closed");
}

// ---------------------------------------------------------------- dead sessions

TEST(Http2End, TheTransportIsLost) {
  Link link;
  TestStream& waiting = link.client.request();
  TestStream& answered = link.client.request();
  link.run();
  link.server.answer(link.server.at(1), 200, false);
  link.server.session.pump();
  link.run();
  const Error error{Reason::upstream_closed, Side::upstream, Retry::if_reused, 104};
  link.client.session.connection_lost(error);
  EXPECT_EQ(waiting.events(), "error:upstream_closed");
  EXPECT_EQ(waiting.error.retry, Retry::if_reused);
  EXPECT_EQ(answered.events(), "head error:response_cut");
  EXPECT_EQ(answered.error.retry, Retry::no);
  EXPECT_TRUE(link.client.session.finished());
  EXPECT_FALSE(link.client.session.can_submit());
  EXPECT_FALSE(link.client.receive("x"));
}

// What was submitted and not framed points into the memory of streams that are gone.
TEST(Http2End, NothingIsFramedForLostStreams) {
  Link link;
  (void)link.client.request();
  link.run();
  TestStream& server = link.server.at(0);
  link.server.answer(server, 200, false, [](ResponseHead& head) { head.fields.add("X-Mixed", "value"); });
  link.server.session.connection_lost({Reason::client_closed, Side::client, Retry::no, 0});
  server.free_memory();
  link.server.session.pump();
  EXPECT_TRUE(link.server.session.output().empty());
}

TEST(Http2End, CallsOnDeadSessionsDoNothing) {
  Alone alone(Role::server);
  alone.receive(headers(1, kGet, true) + headers(3, kPost, false));
  ASSERT_EQ(alone.end.streams.size(), 2u);
  alone.receive(frame(kPing, 0, 1, "12345678"));  // PING on a stream: RFC 9113 6.7
  EXPECT_FALSE(alone.alive);
  EXPECT_EQ(alone.goaway(), 1);
  for (size_t i = 0; i < 2; ++i) {
    TestStream& stream = alone.end.at(i);
    EXPECT_TRUE(stream.is_over());
    EXPECT_FALSE(stream.attached());
    alone.end.answer(stream, 200, false);
    EXPECT_TRUE(alone.end.session.send_body(stream, bytes_of("x"), true));
    alone.end.session.consumed(stream, 5);
    alone.end.session.reset(stream, ErrorCode::cancel);
  }
  alone.end.session.begin_shutdown();
  alone.end.session.shutdown(ErrorCode::no_error);
  alone.end.session.ping();
  alone.end.session.pump();
  EXPECT_TRUE(alone.end.session.output().empty());
  EXPECT_FALSE(alone.end.receive(headers(5, kGet, true)));
  EXPECT_EQ(alone.end.streams.size(), 2u);
  EXPECT_TRUE(alone.end.session.finished());
}

// The peer brings about one reset too many, and the session notices while it frames.
TEST(Http2End, DyingWhileFraming) {
  Settings settings;
  settings.flood.points = 30;
  settings.flood.points_per_second = 0;
  Alone alone(Role::server, settings);
  alone.receive(headers(1, kGet, true) + headers(3, plus(kGet, {{"Upper", "x"}}), true));
  ASSERT_TRUE(alone.alive);
  alone.end.session.reset(alone.end.at(0), ErrorCode::protocol_error);
  EXPECT_TRUE(alone.end.session.finished());
  alone.receive(headers(5, kGet, true));
  EXPECT_FALSE(alone.alive);
  EXPECT_EQ(alone.goaway(), 11);
}

TEST(Http2End, StreamsOfASessionThatDiesWhileFraming) {
  Settings settings;
  settings.flood.points = 10;
  settings.flood.points_per_second = 0;
  Alone alone(Role::server, settings);
  alone.receive(headers(1, kGet, true) + headers(3, kGet, true));
  alone.end.session.reset(alone.end.at(0), ErrorCode::protocol_error);
  alone.receive({});
  EXPECT_FALSE(alone.alive);
  EXPECT_EQ(alone.end.at(1).events(), "head! error:client_closed");
}

TEST(Http2End, Ping) {
  Link link;
  link.run();
  link.client.session.ping();
  link.run();
  EXPECT_EQ(link.client.ping_answers, 1);
  EXPECT_EQ(link.server.ping_answers, 0);
}

TEST(Http2End, NoMoreStreamsThanThePeerTakes) {
  Settings few;
  few.concurrent_streams = 2;
  Link link(few);
  link.run();
  for (int i = 0; i < 2; ++i) {
    (void)link.client.request(false, post);
    EXPECT_TRUE(link.client.submitted);
  }
  EXPECT_FALSE(link.client.session.can_submit());
  (void)link.client.request();
  EXPECT_FALSE(link.client.submitted);
  link.client.session.reset(link.client.at(0), ErrorCode::cancel);
  EXPECT_TRUE(link.client.session.can_submit());
  EXPECT_FALSE(link.client.session.can_submit(1));
  link.run();
}

// More than the server takes, submitted before it could say so: refused or kept waiting, and the connection lives.
TEST(Http2End, MoreStreamsThanThePeerTakes) {
  Settings few;
  few.concurrent_streams = 2;
  Link link(few);
  for (int i = 0; i < 10; ++i) {
    (void)link.client.request(false, post);
    ASSERT_TRUE(link.client.submitted);
    (void)link.client.session.send_body(link.client.at(static_cast<size_t>(i)), bytes_of("abc"), true);
  }
  link.run();
  EXPECT_TRUE(link.server_alive && link.client_alive);
  size_t answered = 0;
  while (answered < link.server.streams.size()) {
    link.server.answer(link.server.at(answered++));
    link.run();
  }
  for (const auto& stream : link.client.streams) {
    EXPECT_TRUE(stream->is_over());
    if (stream->events() != "head! closed") {
      EXPECT_EQ(stream->error.retry, Retry::yes);
    }
  }
  EXPECT_GE(answered, 2u);
}

// ---------------------------------------------------------------- from inside of events

// Each event resets the stream it is about, or another one, or answers and ends; with the bytes in any pieces.
TEST(Http2Reentry, AnythingFromInsideOfAnyEvent) {
  const std::string input = headers(1, kGet, true) + headers(3, kPost, false) + data(3, "abc", false) +
                            headers(5, kPost, false) + data(3, "def", false) + headers(3, {{"x", "1"}}, true) +
                            data(5, "x", true) + headers(7, plus(kGet, {{"Upper", "1"}}), true) +
                            headers(9, plus(kGet, {{"host", "a b"}}), false) + data(9, "y", true) + rst(5, 8) +
                            headers(11, kGet, true) + window(0, 1000);
  constexpr int kActions = 8;
  for (const size_t step : {0, 1, 5}) {
    for (int first = 0; first < kActions; ++first) {
      for (int second = 0; second < kActions; ++second) {
        Alone alone(Role::server);
        End& end = alone.end;
        int events = 0;
        auto act = [&](TestStream& stream, int what) {
          TestStream* const other = static_cast<TestStream*>(end.session.first());
          switch (what) {
            case 0:
              break;
            case 1:
              end.session.reset(stream, ErrorCode::cancel);
              break;
            case 2:
              if (other != nullptr) end.session.reset(*other, ErrorCode::internal_error);
              break;
            case 3:
              end.answer(stream);
              break;
            case 4:
              end.answer(stream, 200, false);
              (void)end.session.send_body(stream, bytes_of(std::string(70000, 'x')), true);
              break;
            case 5:
              if (other != nullptr) end.answer(*other, 200, false);
              if (other != nullptr) (void)end.session.send_body(*other, bytes_of("y"), true);
              break;
            case 6:
              end.session.pump();
              end.session.ping();
              break;
            default:
              end.session.shutdown(ErrorCode::no_error);
          }
        };
        end.prepare = [&](TestStream& stream) {
          stream.then = [&](const std::string&) { act(stream, events++ % 2 == 0 ? first : second); };
        };
        alone.receive(input, step);
        for (int i = 0; i < 4; ++i) alone.receive(window(0, 100000));
        for (const auto& stream : end.streams) {
          EXPECT_EQ(stream->events().find("AFTER"), std::string::npos)
              << step << ' ' << first << ' ' << second << ": " << stream->events();
          EXPECT_FALSE(stream->is_over() && stream->attached());
        }
        EXPECT_EQ(alone.goaway(), alone.goaway() == -1 ? -1 : 0) << step << ' ' << first << ' ' << second;
      }
    }
  }
}

// A client sends its next request from inside of every event of the last one.
TEST(Http2Reentry, RequestsFromInsideOfEvents) {
  for (const std::string when : {"head", "head!", "body", "end", "closed", "error:upstream_reset"}) {
    Link link;
    int left = 5;
    link.client.prepare = [&](TestStream& stream) {
      stream.then = [&](const std::string& event) {
        if (event == when && left-- > 0) (void)link.client.request();
      };
    };
    link.server.prepare = [&](TestStream& stream) {
      stream.then = [&](const std::string& event) {
        if (event != "head!") return;
        if (when.starts_with("error")) return link.server.session.reset(stream, ErrorCode::cancel);
        if (when == "head!") return link.server.answer(stream);
        link.server.answer(stream, 200, false);
        (void)link.server.session.send_body(stream, bytes_of("x"), true);
      };
    };
    (void)link.client.request();
    link.run();
    EXPECT_EQ(link.client.streams.size(), 6u) << when;
    for (const auto& stream : link.client.streams) EXPECT_TRUE(stream->is_over()) << when;
  }
}

// Who is told that there is room sends on, and others are thrown away meanwhile.
TEST(Http2Reentry, InsideOfWritable) {
  Alone alone(Role::server);
  for (uint32_t id = 1; id < 11; id += 2) alone.receive(headers(id, kGet, true));
  int told = 0;
  for (size_t i = 0; i < 5; ++i) {
    TestStream& stream = alone.end.at(i);
    alone.end.answer(stream, 200, false);
    EXPECT_EQ(alone.end.session.send_body(stream, bytes_of(std::string(200000, 'x')), false), false);
    stream.then = [&, i](const std::string& event) {
      if (event != "writable") return;
      ++told;
      (void)alone.end.session.send_body(stream, bytes_of(std::string(100000, 'y')), told > 4);
      if (i != 2) alone.end.session.reset(alone.end.at(2), ErrorCode::cancel);
    };
  }
  for (int i = 0; i < 100; ++i) {
    std::string more = window(0, 100000);
    for (uint32_t id = 1; id < 11; id += 2) more += window(id, 50000);
    alone.receive(more);
  }
  EXPECT_GE(told, 5);
  EXPECT_TRUE(alone.alive);
  EXPECT_LE(alone.end.at(2).events(), "head! writable");
}

}  // namespace
}  // namespace sluice::http::h2
