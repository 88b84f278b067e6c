// One exchange: what goes out, what comes back, and every way it can end.
#include <algorithm>
#include <functional>

#include <gmock/gmock.h>

#include "tests/unit/dataplane/upstream/test_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using http::Retry;
using ::testing::ElementsAre;
using testing::Exchange;
using ::testing::HasSubstr;
using testing::kOk;
using ::testing::StartsWith;

struct ExchangeTest : testing::Fixture {
  ExchangeTest() { apply({{"c", {{"10.0.0.1"}}}}); }
};

TEST_F(ExchangeTest, GetAndReuse) {
  Exchange& first = get();
  EXPECT_THAT(peer().received(), StartsWith("GET / HTTP/1.1\r\nHost: example.test\r\n"));
  EXPECT_EQ(upstreams->active_exchanges(), 1u);
  peer().send(kOk);
  turn();
  EXPECT_THAT(first.events.log, ElementsAre("head 200", "body end"));
  EXPECT_EQ(first.events.body, "ok");
  EXPECT_EQ(first.events.flushes, 1) << "one flush a read";
  EXPECT_EQ(upstreams->idle_connections(), 1u);
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_FALSE(first.attempts.reused);
  Exchange& second = get();
  EXPECT_TRUE(second.attempts.reused);
  EXPECT_EQ(second.attempts.connect_us, 0u);
  EXPECT_EQ(connector->calls, 1);
  EXPECT_EQ(slot().idle_connections.get(), 0u);
  EXPECT_EQ(slot().active_connections.get(), 1u);
  EXPECT_EQ(slot().attempts.get(), 2u);
  EXPECT_EQ(slot().connections_opened.get(), 1u);
}

TEST_F(ExchangeTest, HeadAndBodyLeaveInOneWrite) {
  Exchange& one = start();
  one.request.method = http::Method::post;
  one.request.method_name = "POST";
  one.request.has_body = true;
  one.request.content_length = 11;
  one.sink->send_head(one.request, false);
  EXPECT_TRUE(one.sink->send_body(http::Bytes("hello ", 6), false));
  EXPECT_TRUE(one.sink->send_body(http::Bytes("world", 5), true));
  EXPECT_EQ(peer().received(), "") << "nothing before flush";
  one.sink->flush();
  const std::string sent = peer().received_once();
  EXPECT_THAT(sent, HasSubstr("Content-Length: 11\r\n"));
  EXPECT_THAT(sent, ::testing::EndsWith("\r\n\r\nhello world"));
}

TEST_F(ExchangeTest, UnknownLengthIsChunkedWithTrailers) {
  Exchange& one = start();
  one.request.method = http::Method::post;
  one.request.method_name = "POST";
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  one.sink->send_body(http::Bytes("0123456789abcdef0", 17), false);
  one.sink->flush();
  one.sink->send_body({}, false);  // no empty chunk: it would end the body
  one.sink->send_body(http::Bytes("x", 1), false);
  http::Fields trailers(one.arena);
  trailers.add("X-Sum", "1");
  one.sink->send_trailers(trailers);
  one.sink->flush();
  const std::string sent = peer().received();
  EXPECT_THAT(sent, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(sent, ::testing::EndsWith("\r\n\r\n11\r\n0123456789abcdef0\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n"));
  peer().send(kOk);
  turn();
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(ExchangeTest, ChunkedEndWithoutTrailers) {
  Exchange& one = start();
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  one.sink->send_body(http::Bytes("ab", 2), true);
  one.sink->flush();
  EXPECT_THAT(peer().received(), ::testing::EndsWith("2\r\nab\r\n0\r\n\r\n"));
}

TEST_F(ExchangeTest, AnswerByteByByte) {
  Exchange& one = get();
  const std::string answer =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 2\r\n\r\n";
  for (const char c : answer) {
    peer().send({&c, 1});
    turn();
  }
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "trailers X-T=2"));
  EXPECT_EQ(one.events.body, "abcde");
  EXPECT_EQ(one.events.fields, "X-A=1;");
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(ExchangeTest, InformationalThenFinal) {
  Exchange& one = get();
  peer().send(
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("informational 103", "informational 100", "head 204 end"));
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(ExchangeTest, EndlessInformationalIsRefused) {
  Exchange& one = get();
  for (int i = 0; i < 40 && !one.events.ended; ++i) {
    peer().send("HTTP/1.1 100 Continue\r\n\r\n");
    turn();
  }
  EXPECT_EQ(one.events.log.back(), "error " + std::string(http::describe(one.events.error.reason).word));
  EXPECT_EQ(one.events.error.retry, Retry::no);
}

TEST_F(ExchangeTest, HeadHasNoBodyWhateverItSays) {
  Exchange& one = start();
  one.request.method = http::Method::head;
  one.request.method_name = "HEAD";
  one.sink->send_head(one.request, true);
  one.sink->flush();
  peer().send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200 end"));
  EXPECT_EQ(upstreams->idle_connections(), 1u);
}

TEST_F(ExchangeTest, BodyUntilCloseEndsWithTheConnection) {
  Exchange& one = get();
  peer().send("HTTP/1.1 200 OK\r\n\r\npart");
  turn();
  EXPECT_FALSE(one.events.ended);
  peer().received();
  peer().close();
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "body end"));
  EXPECT_EQ(one.events.body, "part");
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(ExchangeTest, BodyUntilCloseEndedByAResetIsCut) {
  Exchange& one = get();
  peer().send("HTTP/1.1 200 OK\r\n\r\npart");
  turn();
  peer().close();  // with unread bytes: a reset
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error response_cut"));
}

TEST_F(ExchangeTest, BodyUntilCloseOverTlsNeedsAProperEnd) {
  connector->secure = true;
  Exchange& one = get();
  peer().received();
  peer().send("HTTP/1.1 200 OK\r\n\r\npart");
  peer().close();
  turn(2);
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error response_cut"));
}

TEST_F(ExchangeTest, CutAnswers) {
  for (const std::string_view cut :
       {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "H"}) {
    Exchange& one = get();
    connector->peers.back().send(cut);
    connector->peers.back().close();
    turn(2);
    EXPECT_EQ(one.events.error.reason, Reason::response_cut) << cut;
    EXPECT_EQ(one.events.error.retry, Retry::no) << cut;
    EXPECT_EQ(upstreams->active_exchanges(), 0u);
  }
}

TEST_F(ExchangeTest, BadAnswersAreNeverRetried) {
  for (const std::string_view bad : {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                     "garbage\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
                                     "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"}) {
    Exchange& one = get();
    connector->peers.back().received();
    connector->peers.back().send(bad);
    turn();
    EXPECT_EQ(one.events.error.reason, Reason::bad_response) << bad;
    EXPECT_EQ(one.events.error.retry, Retry::no);
    EXPECT_TRUE(connector->peers.back().closed());
  }
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(ExchangeTest, BadChunkAfterGoodBytesFlushesThemFirst) {
  Exchange& one = get();
  peer().send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n");
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 200", "error bad_response"));
  EXPECT_EQ(one.events.body, "abc");
  EXPECT_EQ(one.events.flushes, 1);
}

TEST_F(ExchangeTest, BytesAfterTheAnswerPoisonTheConnection) {
  get();
  peer().received();
  peer().send(std::string(kOk) + "HTTP/1.1 200 OK\r\n");
  turn();
  EXPECT_TRUE(exchanges.back().events.ended);
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_TRUE(peer().closed());
}

TEST_F(ExchangeTest, BytesOnAnIdleConnectionPoisonIt) {
  get();
  peer().send(kOk);
  turn();
  ASSERT_EQ(upstreams->idle_connections(), 1u);
  peer().received();
  peer().send("H");
  turn();
  EXPECT_EQ(upstreams->idle_connections(), 0u);
  EXPECT_TRUE(peer().closed());
  get();
  EXPECT_EQ(connector->calls, 2);
}

TEST_F(ExchangeTest, ConnectionCloseAndOldVersionsAreNotReused) {
  for (const std::string_view answer : {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                                        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"}) {
    get();
    connector->peers.back().send(answer);
    turn();
    EXPECT_TRUE(exchanges.back().events.ended);
    EXPECT_EQ(upstreams->idle_connections(), 0u) << answer;
  }
}

TEST_F(ExchangeTest, ReusedConnectionThatDiesBeforeAByteMayBeRepeatedIfIdempotent) {
  get();
  peer().send(kOk);
  turn();
  Exchange& second = get();
  ASSERT_TRUE(second.attempts.reused);
  peer().received();
  peer().close();
  turn();
  EXPECT_EQ(second.events.error.reason, Reason::upstream_closed);
  EXPECT_EQ(second.events.error.retry, Retry::if_reused);
}

TEST_F(ExchangeTest, FreshConnectionThatDiesBeforeAByteMustNotBeRepeated) {
  Exchange& one = get();
  peer().received();
  peer().close();
  turn();
  EXPECT_EQ(one.events.error.reason, Reason::upstream_closed);
  EXPECT_EQ(one.events.error.retry, Retry::no);
  EXPECT_EQ(slot().resets.get(), 1u);
}

TEST_F(ExchangeTest, ConnectionThatDiesBeforeAnythingWasSentMayAlwaysBeRepeated) {
  Exchange& one = start();
  peer().close();
  turn();
  EXPECT_EQ(one.events.error.retry, Retry::yes);
}

TEST_F(ExchangeTest, EarlyAnswerWhileTheRequestIsBeingSent) {
  Exchange& one = start();
  one.request.has_body = true;
  one.request.content_length = 100;
  one.sink->send_head(one.request, false);
  one.sink->send_body(http::Bytes("abc", 3), false);
  one.sink->flush();
  peer().received();
  peer().send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 413", "body end"));
  EXPECT_EQ(upstreams->idle_connections(), 0u) << "half a request was sent on it";
  EXPECT_TRUE(peer().closed());
}

TEST_F(ExchangeTest, AnswerIsStillReadWhenTheUpstreamStopsReading) {
  Exchange& one = start();
  one.request.has_body = true;
  one.request.content_length = 1000;
  one.sink->send_head(one.request, false);
  one.sink->flush();
  peer().received();
  peer().send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
  peer().close();
  EXPECT_TRUE(one.sink->send_body(http::Bytes("abc", 3), false));
  one.sink->flush();  // EPIPE
  EXPECT_TRUE(one.events.log.empty());
  turn(2);
  EXPECT_THAT(one.events.log, ElementsAre("head 401", "body end"));
}

TEST_F(ExchangeTest, BodyThatDoesNotFitItsLengthNeverReachesTheNextRequest) {
  for (const bool more : {true, false}) {
    Exchange& one = start();
    one.request.has_body = true;
    one.request.content_length = 3;
    one.sink->send_head(one.request, false);
    one.sink->send_body(http::Bytes(more ? "abcd" : "ab", more ? 4 : 2), true);
    EXPECT_EQ(one.events.error.reason, Reason::internal);
    EXPECT_TRUE(connector->peers.back().closed());
    EXPECT_EQ(upstreams->active_exchanges(), 0u);
  }
}

TEST_F(ExchangeTest, CancelClosesUnlessComplete) {
  Exchange& one = get();
  peer().received();
  one.sink->cancel();
  EXPECT_TRUE(peer().closed());
  turn();
  EXPECT_TRUE(one.events.log.empty());

  Exchange& second = get();
  second.events.hook = [&](std::string_view what) {
    if (what == "body end") second.sink->cancel();
  };
  peer(1).send(kOk);
  turn();
  EXPECT_EQ(second.events.flushes, 1) << "the read is over, whatever became of the exchange";
  EXPECT_EQ(upstreams->idle_connections(), 1u) << "the exchange was complete";
}

TEST_F(ExchangeTest, CancelInsideEveryEvent) {
  for (const std::string_view at : {"informational 100", "head 200", "body", "flush"}) {
    Exchange& one = get();
    one.events.hook = [&, at](std::string_view what) {
      if (what == at) one.sink->cancel();
    };
    testing::Peer& server = connector->peers.back();
    server.received();
    server.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    turn();
    const size_t told = one.events.log.size();
    turn();
    EXPECT_EQ(one.events.log.size(), told) << at;
    EXPECT_TRUE(server.closed()) << at;
    EXPECT_EQ(upstreams->active_exchanges(), 0u);
  }
}

TEST_F(ExchangeTest, AFlushFollowsErrorsAndAnAttemptBegunInAnEvent) {
  Exchange& one = get();
  peer().received();
  std::vector<std::string> order;
  one.events.hook = [&](std::string_view what) { order.emplace_back(what); };
  peer().close();
  turn();
  EXPECT_THAT(order, ElementsAre("error upstream_closed", "flush"));

  Exchange& retried = get();
  order.clear();
  retried.events.hook = [&](std::string_view what) {
    order.emplace_back(what);
    if (what == "head 503") {
      retried.sink->cancel();
      start(retried);
      retried.sink->send_head(retried.request, true);
    }
    if (what == "flush") retried.sink->flush();
  };
  testing::Peer& first = connector->peers.back();
  first.send("HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nabc");
  turn();
  EXPECT_THAT(order, ElementsAre("head 503", "flush"));
  EXPECT_THAT(connector->peers.back().received(), StartsWith("GET / "));
  connector->peers.back().send(kOk);
  turn();
  EXPECT_EQ(retried.events.body, "ok");
}

TEST_F(ExchangeTest, NewExchangeFromTheLastFlush) {
  Exchange& first = get();
  Exchange* second = nullptr;
  first.events.hook = [&](std::string_view what) {
    if (what == "flush" && first.events.ended && second == nullptr) second = &get();
  };
  peer().send(kOk);
  turn();
  ASSERT_NE(second, nullptr);
  connector->peers.back().send(kOk);
  turn();
  EXPECT_EQ(second->events.body, "ok");
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
}

TEST_F(ExchangeTest, UpgradeBecomesATunnel) {
  Exchange& one = start();
  one.request.upgrade = "websocket";
  one.sink->send_head(one.request, true);
  one.sink->flush();
  EXPECT_THAT(peer().received(), HasSubstr("Upgrade: websocket\r\n"));
  peer().send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/");
  turn();
  EXPECT_THAT(one.events.log, ElementsAre("head 101"));
  EXPECT_EQ(one.events.body, "HTTP/");
  one.sink->send_body(http::Bytes("raw", 3), false);
  one.sink->flush();
  EXPECT_EQ(peer().received(), "raw");
  peer().send("more");
  turn();
  EXPECT_EQ(one.events.body, "HTTP/more");
  peer().finish();
  turn();
  EXPECT_EQ(one.events.log.back(), "body end");
  EXPECT_EQ(upstreams->active_exchanges(), 1u) << "the other way is open";
  one.sink->send_body(http::Bytes("last", 4), true);
  turn();
  EXPECT_EQ(peer().received(), "last");
  EXPECT_TRUE(peer().closed());
  EXPECT_EQ(upstreams->active_exchanges(), 0u);
  EXPECT_EQ(upstreams->idle_connections(), 0u);
}

TEST_F(ExchangeTest, ATunnelsLastBytesGoOutAfterBothEnds) {
  connector->send_buffer = 4096;
  Exchange& one = start();
  one.request.upgrade = "x";
  one.sink->send_head(one.request, true);
  one.sink->flush();
  peer().received();
  peer().send("HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n");
  turn();
  peer().finish();
  turn();
  const std::string much(256 * 1024, 'x');
  one.sink->send_body(http::Bytes(much.data(), much.size()), true);
  std::string got;
  for (int i = 0; i < 5000 && upstreams->active_exchanges() != 0; ++i) {
    got += peer().received();
    turn();
  }
  for (int i = 0; i < 100; ++i) got += peer().received();
  EXPECT_EQ(got.size(), much.size());
  EXPECT_TRUE(peer().closed());
}

TEST_F(ExchangeTest, BackPressureTowardsTheUpstream) {
  connector->send_buffer = 4096;
  Exchange& one = start();
  const std::string piece(64 * 1024, 'x');
  one.request.has_body = true;
  one.request.content_length = 8 * piece.size();
  one.sink->send_head(one.request, false);
  int sent = 0;
  while (sent < 8 && one.sink->send_body(http::Bytes(piece.data(), piece.size()), false)) {
    one.sink->flush();
    ++sent;
  }
  ASSERT_LT(sent, 4) << "must have been told to wait";
  one.sink->flush();
  std::string got;
  for (int i = 0; i < 5000 && (one.events.log.empty() || one.events.log.back() != "writable"); ++i) {
    got += peer().received();
    turn();
  }
  EXPECT_EQ(one.events.log.back(), "writable");
  for (int i = 0; i < 100; ++i) {
    got += peer().received();
    turn();
  }
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4).size(), (static_cast<size_t>(sent) + 1) * piece.size());
}

TEST_F(ExchangeTest, PauseAndResumeReading) {
  Exchange& one = get();
  peer().send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab");
  turn();
  one.sink->pause_response();
  peer().send("cd");
  turn(3);
  EXPECT_EQ(one.events.body, "ab");
  one.sink->resume_response();
  turn();
  EXPECT_EQ(one.events.body, "abcd");
  one.sink->pause_response();
  peer().send("ef");
  peer().close();  // a hang-up while paused must neither spin nor be lost
  turn(3);
  EXPECT_EQ(one.events.body, "abcd");
  one.sink->resume_response();
  turn();
  EXPECT_EQ(one.events.body, "abcdef");
  EXPECT_TRUE(one.events.ended);
}

TEST_F(ExchangeTest, ManyHeadersAndAHugeHead) {
  Exchange& one = start();
  const std::string big(100 * 1024, 'v');
  one.request.fields.add("X-Big", big);
  one.sink->send_head(one.request, true);
  one.sink->flush();
  std::string got;
  for (int i = 0; i < 50; ++i) {
    got += peer().received();
    turn();
  }
  EXPECT_THAT(got, HasSubstr(big + "\r\n"));
}

TEST_F(ExchangeTest, TooLargeAnswerHead) {
  Exchange& one = get();
  peer().send("HTTP/1.1 200 OK\r\nX: " + std::string(60000, 'a'));
  turn(3);
  EXPECT_EQ(one.events.error.reason, Reason::response_too_large);
  EXPECT_EQ(one.events.error.retry, Retry::no);
}

TEST_F(ExchangeTest, InterleavedSendsKeepTheirOwnBytes) {
  Exchange& a = start();
  Exchange& b = start();
  a.request.path = "/a";
  b.request.path = "/b";
  a.sink->send_head(a.request, true);
  b.sink->send_head(b.request, true);  // a was not flushed
  b.sink->flush();
  a.sink->flush();
  EXPECT_THAT(peer(0).received(), StartsWith("GET /a "));
  EXPECT_THAT(peer(1).received(), StartsWith("GET /b "));
}

TEST_F(ExchangeTest, ManyPiecesOverflowTheBatch) {
  Exchange& one = start();
  one.request.has_body = true;
  one.sink->send_head(one.request, false);
  std::deque<std::string> pieces;
  std::string expected, small;
  for (int i = 0; i < 500; ++i) {
    pieces.push_back(std::string(300, static_cast<char>('a' + i % 26)));  // too large to be copied together
    one.sink->send_body(http::Bytes(pieces.back().data(), pieces.back().size()), false);
    expected += "12c\r\n" + pieces.back() + "\r\n";
  }
  for (int i = 0; i < 100; ++i) {  // small ones are one chunk
    pieces.push_back(std::to_string(i));
    one.sink->send_body(http::Bytes(pieces.back().data(), pieces.back().size()), false);
    small += pieces.back();
  }
  one.sink->send_body({}, true);
  one.sink->flush();
  const std::string got = peer().received();
  EXPECT_EQ(got.substr(got.find("\r\n\r\n") + 4), expected + "be\r\n" + small + "\r\n0\r\n\r\n");
}

}  // namespace
}  // namespace sluice::upstream
