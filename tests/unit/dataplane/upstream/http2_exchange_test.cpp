// Exchanges on an HTTP/2 connection: multiplexing, bodies both ways, back-pressure, cancelling, deadlines.
#include "tests/unit/dataplane/upstream/http2_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using http::Retry;
using testing::Call;
using testing::data;
using ::testing::ElementsAre;
using testing::Exchange;
using testing::Http2Fixture;
using testing::kEndStream;
using testing::kHeaders;
using testing::kRstStream;
using testing::ok_head;
using testing::settings;
using testing::word;

struct Http2ExchangeTest : Http2Fixture {
  Exchange& post(http::Method method = http::Method::post) {
    Exchange& one = start();
    one.request.method = method;
    one.request.has_body = true;
    one.sink->send_head(one.request, false);
    return one;
  }
};

TEST_F(Http2ExchangeTest, OneBeginsBeforeTheSettingsAndTheOthersWaitForThem) {
  for (int i = 0; i < 3; ++i) get();
  turn();
  EXPECT_EQ(raw().of(kHeaders).size(), 1u);
  raw().send(settings());
  turn();
  EXPECT_EQ(raw().of(kHeaders).size(), 3u);
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(Http2ExchangeTest, ManyShareOneConnectionAndOneWrite) {
  warm_up();
  peer().received_once();
  for (int i = 0; i < 5; ++i) get();
  EXPECT_EQ(connector->calls, 1);
  EXPECT_EQ(upstreams->active_exchanges(), 5u);
  EXPECT_EQ(slot().active_connections.get(), 5u);
  EXPECT_EQ(peer().received_once(), "") << "nothing is written before the batch ends";
  turn();
  const std::string first = peer().received_once();
  EXPECT_EQ(peer().received_once(), "");
  size_t heads = 0;
  for (size_t at = 0; at + 9 <= first.size();) {
    const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(first[at + i])); };
    heads += byte(3) == kHeaders ? 1 : 0;
    at += 9 + (byte(0) << 16 | byte(1) << 8 | byte(2));
  }
  EXPECT_EQ(heads, 5u);
}

TEST_F(Http2ExchangeTest, AnswersComeInAnyOrder) {
  Exchange& a = get();
  Exchange& b = get();
  Exchange& c = get();
  turn();
  good();
  play();
  ASSERT_EQ(good().calls.size(), 3u);
  EXPECT_EQ(good().call(0).head.host, "example.test");
  EXPECT_TRUE(good().call(2).ended);
  good().call(2).respond(200, "third");
  good().call(0).respond(404, "first");
  play();
  EXPECT_THAT(c.events.log, ElementsAre("head 200", "body end"));
  EXPECT_THAT(a.events.log, ElementsAre("head 404", "body end"));
  EXPECT_TRUE(b.events.log.empty());
  EXPECT_EQ(a.events.flushes, 1) << "one a read";
  EXPECT_EQ(b.events.flushes, 0);
  good().call(1).respond(204, "");
  play();
  EXPECT_THAT(b.events.log, ElementsAre("head 204 end"));
  EXPECT_EQ(connector->calls, 1);
  EXPECT_EQ(slot().active_connections.get(), 0u);
  EXPECT_EQ(slot().idle_connections.get(), 1u);
  EXPECT_EQ(slot().connections_opened.get(), 1u);
  EXPECT_EQ(slot().attempts.get(), 3u);
}

TEST_F(Http2ExchangeTest, BegunWhileConnecting) {
  connector->gate_closed = true;
  Exchange& a = get();
  Exchange& b = post();
  EXPECT_TRUE(b.sink->send_body(std::string_view("body"), true));
  turn(3);
  EXPECT_EQ(connector->calls, 1) << "who comes meanwhile waits for the same connection";
  EXPECT_FALSE(a.attempts.reused);
  connector->gate_closed = false;
  turn(2);
  good();
  play();
  ASSERT_EQ(good().calls.size(), 2u);
  EXPECT_EQ(good().call(1).body, "body");
  good().call(0).respond(200, "a");
  good().call(1).respond(200, "b");
  play();
  EXPECT_EQ(a.events.body, "a");
  EXPECT_EQ(b.events.body, "b");
  EXPECT_GT(b.attempts.connect_us, 0u);
  EXPECT_FALSE(b.attempts.reused);
  Exchange& c = get();
  EXPECT_TRUE(c.attempts.reused);
  EXPECT_EQ(c.attempts.connect_us, 0u);
}

TEST_F(Http2ExchangeTest, HeadGoesOutBeforeItsBody) {
  Exchange& one = post();
  one.sink->flush();
  turn();
  good();
  play();
  ASSERT_EQ(good().calls.size(), 1u);
  EXPECT_TRUE(good().call(0).has_head);
  EXPECT_FALSE(good().call(0).ended);
  EXPECT_EQ(good().call(0).head.method, http::Method::post);
}

TEST_F(Http2ExchangeTest, TrailersBothWays) {
  Exchange& one = post();
  http::Fields trailers(one.arena);
  trailers.add("X-Sum", "1");
  EXPECT_TRUE(one.sink->send_body(std::string_view("ab"), false));
  one.sink->send_trailers(trailers);
  turn();
  good();
  play();
  Call& call = good().call(0);
  EXPECT_EQ(call.body, "ab");
  EXPECT_EQ(call.seen_trailers, "x-sum=1;");
  call.respond(200, "cd", false);
  call.trailers.add("grpc-status", "0");
  good().session.send_trailers(call, call.trailers);
  play();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "trailers grpc-status=0"));
  EXPECT_EQ(one.events.body, "cd");
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(Http2ExchangeTest, InterimAnswersArePassedOnWithinBounds) {
  Exchange& one = get();
  Exchange& other = get();
  turn();
  good();
  play();
  Call& call = good().call(0);
  call.answer.status = 103;
  call.answer.fields.add("link", "</a>");
  good().session.send_informational(call, call.answer);
  play();
  EXPECT_THAT(one.events.log, ElementsAre("informational 103"));
  for (int i = 0; i < 16; ++i) good().session.send_informational(call, call.answer);
  play();
  EXPECT_EQ(one.events.log.size(), 17u);
  EXPECT_NE(one.events.error.reason, Reason::none);
  good().call(1).respond(200, "ok");
  play();
  EXPECT_EQ(other.events.body, "ok") << "the others go on";
}

TEST_F(Http2ExchangeTest, ASlowOneStopsItself) {
  Exchange& slow = get();
  Exchange& fast = get();
  turn();
  good();
  play();
  const std::string text(300'000, 'x');
  slow.events.hook = [&](std::string_view what) {
    if (what == "head 200") slow.sink->pause_response();
  };
  good().call(0).respond(200, text);
  good().call(1).respond(200, text);
  ASSERT_TRUE(play_until([&] { return fast.events.ended; }));
  EXPECT_EQ(fast.events.body.size(), text.size());
  EXPECT_EQ(slow.events.body.size(), 0u) << "kept";
  EXPECT_FALSE(slow.events.ended);
  EXPECT_GE(good().call(0).left.size() + good().call(0).unsent(), text.size() - 64 * 1024) << "by its window";
  const int before = slow.events.flushes;
  slow.sink->resume_response();
  EXPECT_EQ(slow.events.body.size(), 0u) << "never from inside of a call";
  turn();
  EXPECT_GT(slow.events.body.size(), 0u);
  EXPECT_GT(slow.events.flushes, before);
  ASSERT_TRUE(play_until([&] { return slow.events.ended; }));
  EXPECT_EQ(slow.events.body, text);
}

TEST_F(Http2ExchangeTest, ManySlowOnesDoNotStopAFastOne) {
  std::vector<Exchange*> slow;
  for (int i = 0; i < 40; ++i) slow.push_back(&get());
  Exchange& fast = get();
  turn();
  good();
  play();
  for (Exchange* one : slow) {
    one->events.hook = [one](std::string_view what) {
      if (what == "head 200") one->sink->pause_response();
    };
  }
  const std::string text(200'000, 'x');
  for (size_t i = 0; i < slow.size(); ++i) good().call(i).respond(200, text);
  play(40);
  good().call(slow.size()).respond(200, std::string(3'000'000, 'f'));
  ASSERT_TRUE(play_until([&] { return fast.events.ended; }));
  EXPECT_EQ(fast.events.body.size(), 3'000'000u);
  for (Exchange* one : slow) EXPECT_EQ(one->events.body.size(), 0u);
  for (Exchange* one : slow) one->sink->resume_response();
  ASSERT_TRUE(play_until([&] { return slow.back()->events.ended && slow.front()->events.ended; }));
  EXPECT_EQ(slow.front()->events.body, text);
}

TEST_F(Http2ExchangeTest, WholeAnswerThatIsKeptOutlivesItsConnection) {
  Exchange& one = get();
  Exchange& other = get();
  turn();
  good();
  play();
  one.events.hook = [&](std::string_view what) {
    if (what == "head 200") one.sink->pause_response();
  };
  Call& call = good().call(0);
  call.respond(200, "kept", false);
  call.trailers.add("x-t", "1");
  good().session.send_trailers(call, call.trailers);
  play();
  EXPECT_THAT(one.events.log, ElementsAre("head 200"));
  peer().close();
  turn(2);
  EXPECT_THAT(other.events.log, ElementsAre("error upstream_closed"));
  EXPECT_THAT(one.events.log, ElementsAre("head 200"));
  one.sink->resume_response();
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "trailers x-t=1"));
  EXPECT_EQ(one.events.body, "kept");
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_EQ(slot().active_connections.get(), 0u);
}

TEST_F(Http2ExchangeTest, WhatIsKeptOfACutAnswerIsNotTold) {
  Exchange& one = get();
  turn();
  raw().send(settings() + ok_head(1, false) + data(1, "a", false));
  one.events.hook = [&](std::string_view what) {
    if (what == "head 200") one.sink->pause_response();
  };
  turn();
  peer().close();
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error response_cut"));
}

TEST_F(Http2ExchangeTest, BodyWaitsForTheWindow) {
  Exchange& one = post();
  turn();
  good();
  play();
  good().call(0).consumes = false;
  const std::string part(16384, 'y');
  size_t sent = 0;
  for (int i = 0; i < 100; ++i) {
    sent += part.size();
    if (!one.sink->send_body(part, false)) break;
    play(1);
  }
  EXPECT_LT(sent, 100 * part.size()) << "the source is told to wait";
  EXPECT_TRUE(one.events.log.empty());
  Call& call = good().call(0);
  const size_t held = call.body.size();
  EXPECT_LE(held, 64u * 1024u);
  call.consumes = true;
  good().session.consumed(call, held);
  ASSERT_TRUE(play_until([&] { return !one.events.log.empty(); }));
  EXPECT_THAT(one.events.log, ElementsAre("writable"));
  EXPECT_TRUE(one.sink->send_body(std::string_view("z"), true));
  ASSERT_TRUE(play_until([&] { return call.ended; }));
  EXPECT_EQ(call.body.size(), sent + 1);
}

TEST_F(Http2ExchangeTest, CancelKeepsTheConnection) {
  Exchange& one = get();
  Exchange& other = get();
  turn();
  good();
  play();
  one.sink->cancel();
  EXPECT_EQ(upstreams->active_exchanges(), 1u);
  play();
  EXPECT_TRUE(good().call(0).failed) << "RST_STREAM";
  EXPECT_TRUE(one.events.log.empty());
  EXPECT_EQ(one.events.flushes, 0);
  good().call(1).respond(200, "ok");
  play();
  EXPECT_EQ(other.events.body, "ok");
  get();
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(Http2ExchangeTest, CancelInItsOwnEventIsFlushedInAnothersIsNot) {
  Exchange& one = get();
  Exchange& other = get();
  turn();
  good();
  play();
  one.events.hook = [&](std::string_view what) {
    if (what != "head 200") return;
    one.sink->cancel();
    other.sink->cancel();
  };
  good().call(0).respond(200, "ok");
  good().call(1).respond(200, "ok");
  play();
  EXPECT_THAT(one.events.log, ElementsAre("head 200"));
  EXPECT_EQ(one.events.flushes, 1);
  EXPECT_TRUE(other.events.log.empty());
  EXPECT_EQ(other.events.flushes, 0);
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

// RFC 9113 8.1: the rest of the request is not wanted.
TEST_F(Http2ExchangeTest, AnswerBeforeTheRequestEnded) {
  Exchange& one = post();
  EXPECT_TRUE(one.sink->send_body(std::string_view("part"), false));
  turn();
  raw().send(settings() + ok_head(1, true));
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200 end"));
  turn();
  EXPECT_THAT(raw().of(kRstStream), ::testing::SizeIs(1));
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(Http2ExchangeTest, NoAnswerInTime) {
  Exchange& one = get("c", {.response_ms = 1});
  Exchange& other = get();
  turn();
  raw().send(settings());
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(word(one), "response_timeout");
  EXPECT_EQ(one.events.error.retry, Retry::no);
  EXPECT_EQ(one.events.flushes, 1);
  EXPECT_EQ(slot().timeouts.get(), 1u);
  turn();
  EXPECT_THAT(raw().of(kRstStream), ::testing::SizeIs(1));
  raw().send(ok_head(3, true));
  turn();
  EXPECT_THAT(other.events.log, ElementsAre("head 200 end"));
}

TEST_F(Http2ExchangeTest, AnswerThatStalls) {
  Exchange& one = get("c", {.idle_ms = 1});
  turn();
  raw().send(settings() + ok_head(1, false));
  turn_until([&] { return one.events.ended; });
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error response_timeout"));
}

TEST_F(Http2ExchangeTest, RequestThatIsNotTaken) {
  Exchange& one = start("c", {.idle_ms = 1});
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  const std::string much(200'000, 'x');
  EXPECT_FALSE(one.sink->send_body(much, false));
  turn();
  raw().send(settings());
  turn_until([&] { return one.events.ended; });
  EXPECT_EQ(word(one), "response_timeout");
}

TEST_F(Http2ExchangeTest, WaitingForASlowClientIsNoStall) {
  Exchange& one = start("c", {.response_ms = 1, .idle_ms = 1});
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  turn();
  raw().send(settings());
  // Another one, whose deadline passes while this one has none.
  Exchange& timed = get("c", {.response_ms = 100});
  turn_until([&] { return timed.events.ended; });
  EXPECT_FALSE(one.events.ended);
}

TEST_F(Http2ExchangeTest, UpgradeIsRefusedWithoutAByte) {
  Exchange& one = start();
  one.request.upgrade = "websocket";
  one.sink->send_head(one.request, true);
  EXPECT_THAT(one.events.log, ElementsAre("error upgrade_refused"));
  EXPECT_EQ(one.events.error.retry, Retry::no);
  EXPECT_EQ(one.events.flushes, 0) << "told from inside of a send";
  turn();
  EXPECT_TRUE(raw().of(kHeaders).empty());
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
}

TEST_F(Http2ExchangeTest, RefusedStreamIsRepeatedInItsEvent) {
  Exchange& one = get();
  Exchange again(pool);
  one.events.hook = [&](std::string_view what) {
    if (!what.starts_with("error")) return;
    start(again);
    ASSERT_NE(again.sink, nullptr);
    again.sink->send_head(again.request, true);
    again.sink->flush();
  };
  turn();
  raw().send(settings() + testing::rst(1, 7));
  turn();
  EXPECT_EQ(word(one), "upstream_reset");
  EXPECT_EQ(one.events.error.retry, Retry::yes);
  EXPECT_EQ(one.events.flushes, 1);
  raw().send(ok_head(3, true));
  turn();
  EXPECT_THAT(again.events.log, ElementsAre("head 200 end"));
  EXPECT_EQ(connector->calls, 1);
}

TEST_F(Http2ExchangeTest, ResetBeforeAndAfterTheHead) {
  Exchange& before = get();
  Exchange& after = get();
  Exchange& whole = get();
  turn();
  raw().send(settings());
  turn();  // the others begin
  raw().send(testing::rst(1, 2) + ok_head(3, false) + testing::rst(3, 2) + ok_head(5, true) + testing::rst(5, 0));
  turn();
  EXPECT_EQ(word(before), "upstream_reset");
  EXPECT_EQ(before.events.error.retry, Retry::no);
  EXPECT_THAT(after.events.log, ElementsAre("head 200", "error response_cut"));
  EXPECT_THAT(whole.events.log, ElementsAre("head 200 end"));
  EXPECT_EQ(slot().resets.get(), 2u);
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(Http2ExchangeTest, MalformedAnswerFailsItsStreamOnly) {
  Exchange& one = get();
  Exchange& other = get();
  turn();
  raw().send(settings());
  turn();  // the other begins
  // No status: literal field "a: b".
  raw().send(testing::frame(kHeaders, testing::kEndHeaders | kEndStream, 1, std::string("\0\1a\1b", 5)) +
             ok_head(3, true));
  turn();
  EXPECT_EQ(word(one), "bad_response");
  EXPECT_EQ(one.events.error.retry, Retry::no);
  EXPECT_THAT(other.events.log, ElementsAre("head 200 end"));
}

TEST_F(Http2ExchangeTest, HeadThatIsTooLarge) {
  Exchange& one = get();
  turn();
  good();
  play();
  const std::string large(20'000, 'h');
  for (const char* name : {"x-a", "x-b"}) good().call(0).answer.fields.add(name, large);
  good().call(0).respond(200, "ok");
  play();
  EXPECT_EQ(word(one), "response_too_large");
  EXPECT_EQ(one.events.error.retry, Retry::no);
}

TEST_F(Http2ExchangeTest, SlowSocketStopsTheSource) {
  upstreams.reset();
  auto made = std::make_unique<testing::PairConnector>();
  connector = made.get();
  connector->send_buffer = 4096;
  upstreams = std::make_unique<Upstreams>(reactor, *page, std::move(made));
  apply({h2_cluster()});
  Exchange& one = post();
  const std::string part(10'000, 'p');
  turn();
  EXPECT_TRUE(one.sink->send_body(part, false));
  size_t sent = part.size();
  while (one.sink->send_body(part, false)) {
    sent += part.size();
    ASSERT_LT(sent, 10'000'000u);
    turn();
  }
  sent += part.size();
  good();
  ASSERT_TRUE(play_until([&] { return !one.events.log.empty(); }));
  EXPECT_THAT(one.events.log, ElementsAre("writable"));
  EXPECT_TRUE(one.sink->send_body(std::string_view(), true));
  ASSERT_TRUE(play_until([&] { return good().call(0).ended; }));
  EXPECT_EQ(good().call(0).body.size(), sent);
}

}  // namespace
}  // namespace sluice::upstream
