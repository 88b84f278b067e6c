#include <gtest/gtest.h>

#include "stream_fakes.h"

namespace sluice::http {
namespace {

TEST(Stream, PassesARequestAndItsAnswer) {
  StreamRig rig;
  rig.request();
  ASSERT_EQ(rig.environment.exchanges.size(), 1u);
  EXPECT_EQ(rig.environment.last().path, "/x");
  EXPECT_TRUE(rig.environment.last().ended);
  EXPECT_TRUE(rig.environment.last().flushed);
  rig.answer(200, "hello");
  EXPECT_EQ(rig.client.log, "head:200 body:hello end flush");
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_EQ(rig.summary().status, 200);
  EXPECT_EQ(rig.summary().bytes_out, 5u);
  EXPECT_EQ(rig.summary().attempts, 1);
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
  EXPECT_FALSE(rig.environment.last().cancelled);
}

TEST(Stream, PassesBodiesAndTrailersBothWays) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.body("def", false);
  Fields trailers(rig.stream.arena());
  trailers.add("x-sum", "1");
  rig.stream.on_request_trailers(trailers);
  rig.stream.on_request_flush();
  EXPECT_EQ(rig.environment.last().log, "head body:abc body:def trailers:1");
  auto* events = rig.environment.last().events;
  ResponseHead head(rig.answers);
  head.status = 200;
  head.has_body = true;
  events->on_response_head(head, false);
  events->on_response_body(Bytes("xy", 2), false);
  events->on_response_trailers(trailers);
  events->on_response_flush();
  EXPECT_EQ(rig.client.log, "head:200 body:xy trailers:1 end flush");
  EXPECT_EQ(rig.summary().bytes_in, 6u);
}

TEST(Stream, AnswersLocallyWithReasonAndId) {
  StreamRig rig;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::no_route;
  rig.request();
  EXPECT_EQ(rig.client.status, 404);
  EXPECT_EQ(rig.client.field("Content-Type"), "application/json");
  EXPECT_EQ(rig.client.body,
            "{\"error\":\"Nothing is served here.\",\"reason\":\"no_route\",\"request_id\":\"0123456789abcdef\"}\n");
  EXPECT_EQ(rig.client.content_length, rig.client.body.size());
  EXPECT_EQ(rig.summary().error.reason, Reason::no_route);
  EXPECT_TRUE(rig.environment.exchanges.empty());
}

TEST(Stream, LocalAnswersToHeadHaveNoBodyButItsLength) {
  StreamRig rig;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::no_route;
  rig.request(Method::head);
  EXPECT_EQ(rig.client.log, "head:404 end flush");
  EXPECT_GT(rig.client.content_length.value_or(0), 0u);
}

TEST(Stream, LocalAnswersAreTextForThoseWhoPreferIt) {
  StreamRig rig;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::no_route;
  rig.stream.head().fields.add("Accept", "text/html,application/json");
  rig.request();
  EXPECT_EQ(rig.client.field("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(rig.client.body, "Nothing is served here. (no_route)\nrequest id: 0123456789abcdef\n");
}

TEST(Stream, ActionsOfTheRouteAnswer) {
  StreamRig rig;
  LocalReply reply;
  reply.reason = Reason::direct_response;
  reply.status = 418;
  reply.body = "teapot";
  reply.content_type = "text/plain";
  rig.environment.action = reply;
  rig.request();
  EXPECT_EQ(rig.client.log, "head:418 body:teapot end flush");
}

TEST(Stream, NoEndpointsIsTheErrorsAnswer) {
  StreamRig rig;
  rig.environment.start_error = Error{Reason::no_endpoints, Side::upstream, Retry::no, 0};
  rig.request();
  EXPECT_EQ(rig.client.status, 503);
  EXPECT_EQ(rig.summary().error.reason, Reason::no_endpoints);
}

TEST(Stream, ConnectFailureIsTriedOnceMore) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.fail(Reason::connect_failed, Retry::yes);
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_EQ(rig.environment.last().log, "head body:abc");
  EXPECT_TRUE(rig.environment.last().flushed);
  rig.body("def", true);
  EXPECT_EQ(rig.environment.last().body, "abcdef");
  EXPECT_TRUE(rig.environment.last().ended);
  rig.fail(Reason::connect_failed, Retry::yes);
  EXPECT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_EQ(rig.client.status, 502);
  EXPECT_EQ(rig.summary().error.reason, Reason::connect_failed);
  EXPECT_EQ(rig.summary().attempts, 2);
}

TEST(Stream, FailureInsideASendIsHandled) {
  StreamRig rig;
  rig.environment.reused = true;
  rig.environment.next_fails_in_head = true;
  rig.request();
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_TRUE(rig.environment.last().flushed);
  rig.answer(204);
  EXPECT_EQ(rig.client.status, 204);
}

TEST(Stream, ReusedConnectionThatDiedIsRepeatedForIdempotentOnly) {
  for (const Method method : {Method::get, Method::put, Method::post, Method::patch}) {
    StreamRig rig;
    rig.environment.reused = true;
    rig.request(method);
    rig.fail(Reason::upstream_closed, Retry::if_reused);
    const bool repeated = method == Method::get || method == Method::put;
    EXPECT_EQ(rig.environment.exchanges.size(), repeated ? 2u : 1u) << static_cast<int>(method);
    EXPECT_EQ(rig.client.status, repeated ? 0 : 502);
  }
}

TEST(Stream, FreshConnectionThatDiedIsNotRepeatedByDefault) {
  StreamRig rig;
  rig.request();
  rig.fail(Reason::upstream_closed, Retry::if_reused);
  EXPECT_EQ(rig.environment.exchanges.size(), 1u);
  EXPECT_EQ(rig.client.status, 502);
}

TEST(Stream, LargeBodiesAreNotKeptForReplay) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.body(std::string(Stream::kReplayBytes, 'a'), false);
  rig.body("b", false);
  rig.fail(Reason::connect_failed, Retry::yes);
  EXPECT_EQ(rig.environment.exchanges.size(), 1u);
  EXPECT_EQ(rig.client.status, 502);
}

TEST(Stream, NothingSentOfALargeBodyMayBeRepeated) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.fail(Reason::connect_failed, Retry::yes);
  EXPECT_EQ(rig.environment.exchanges.size(), 2u);
}

TEST(Stream, StatusesOfTheRouteAreRetriedAfterABackoff) {
  static constexpr uint16_t kStatuses[] = {502, 503};
  StreamRig rig;
  rig.environment.next_plan.retry = {
      .attempts = 2, .configured = true, .on_non_idempotent = false, .backoff_ms = 100, .statuses = kStatuses};
  rig.request();
  rig.answer(503, "busy");
  EXPECT_EQ(rig.client.log, "");
  EXPECT_EQ(rig.environment.exchanges.size(), 1u);
  rig.environment.pass(200);
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_TRUE(rig.environment.last().flushed);
  rig.answer(502);
  rig.environment.pass(300);
  ASSERT_EQ(rig.environment.exchanges.size(), 3u);
  rig.answer(503, "still");
  EXPECT_EQ(rig.client.status, 503);
  EXPECT_EQ(rig.client.body, "still");
}

TEST(Stream, StatusesAreNotRetriedForPost) {
  static constexpr uint16_t kStatuses[] = {503};
  StreamRig rig;
  rig.environment.next_plan.retry = {
      .attempts = 2, .configured = true, .on_non_idempotent = false, .backoff_ms = 0, .statuses = kStatuses};
  rig.request(Method::post);
  rig.answer(503);
  EXPECT_EQ(rig.client.status, 503);
}

TEST(Stream, BodyThatComesDuringBackoffIsSentLater) {
  StreamRig rig;
  rig.environment.next_plan.retry = {
      .attempts = 3, .configured = true, .on_non_idempotent = false, .backoff_ms = 50, .statuses = {}};
  rig.request(Method::put, true);
  rig.body("a", false);
  rig.fail(Reason::connect_failed, Retry::yes);  // at once
  rig.fail(Reason::connect_failed, Retry::yes);  // backoff
  EXPECT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_TRUE(rig.client.paused);
  rig.body("b", true);
  rig.environment.pass(500);
  ASSERT_EQ(rig.environment.exchanges.size(), 3u);
  EXPECT_EQ(rig.environment.last().body, "ab");
  EXPECT_TRUE(rig.environment.last().ended);
  EXPECT_FALSE(rig.client.paused);
}

TEST(Stream, AnswerThatBreaksOffIsCut) {
  StreamRig rig;
  rig.request();
  auto* events = rig.environment.last().events;
  ResponseHead head(rig.answers);
  head.status = 200;
  head.has_body = true;
  events->on_response_head(head, false);
  events->on_response_body(Bytes("x", 1), false);
  rig.fail(Reason::response_cut, Retry::no);
  EXPECT_TRUE(rig.client.aborted);
  EXPECT_FALSE(rig.client.ended);
  EXPECT_EQ(rig.summary().error.reason, Reason::response_cut);
  EXPECT_EQ(rig.summary().status, 200);
}

TEST(Stream, RequestDeadline) {
  StreamRig rig;
  rig.environment.next_plan.request_ms = 100;
  rig.request();
  rig.environment.pass(64);
  EXPECT_EQ(rig.client.log, "");
  rig.environment.pass(200);
  EXPECT_EQ(rig.client.status, 504);
  EXPECT_TRUE(rig.environment.last().cancelled);
  EXPECT_EQ(rig.summary().error.reason, Reason::request_timeout);
  EXPECT_TRUE(rig.client.log.ends_with("flush"));
}

TEST(Stream, TryDeadlineLeadsToAnotherTryIfConfigured) {
  StreamRig rig;
  rig.environment.next_plan.per_try_ms = 100;
  rig.environment.next_plan.retry = {
      .attempts = 1, .configured = true, .on_non_idempotent = false, .backoff_ms = 0, .statuses = {}};
  rig.request();
  rig.environment.pass(200);
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_TRUE(rig.environment.exchanges[0]->cancelled);
  rig.environment.pass(200);
  EXPECT_EQ(rig.client.status, 504);
  EXPECT_EQ(rig.summary().error.reason, Reason::response_timeout);
}

TEST(Stream, BodyOverTheLimit) {
  StreamRig rig;
  rig.environment.next_plan.max_body = 4;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.body("de", true);
  EXPECT_EQ(rig.client.status, 413);
  EXPECT_TRUE(rig.environment.last().cancelled);

  StreamRig declared;
  declared.environment.next_plan.max_body = 4;
  declared.stream.head().content_length = 5;
  declared.request(Method::post, true);
  declared.stream.on_request_flush();
  EXPECT_EQ(declared.client.status, 413);
  EXPECT_TRUE(declared.environment.exchanges.empty());
}

TEST(Stream, ClientGoneCancelsTheUpstream) {
  StreamRig rig;
  rig.request();
  rig.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  EXPECT_TRUE(rig.environment.last().cancelled);
  EXPECT_EQ(rig.client.log, "");
  EXPECT_EQ(rig.summary().status, 0);
  EXPECT_EQ(rig.summary().error.reason, Reason::client_closed);
}

TEST(Stream, MalformedHeadIsAnswered) {
  StreamRig rig;
  rig.stream.begin();
  rig.stream.on_client_error({Reason::bad_header_name, Side::client, Retry::no, 0});
  EXPECT_EQ(rig.client.status, 400);
  EXPECT_EQ(rig.summary().error.reason, Reason::bad_header_name);
}

TEST(Stream, MalformedBodyIsAnsweredIfNothingWas) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.stream.on_client_error({Reason::bad_chunk, Side::client, Retry::no, 0});
  EXPECT_EQ(rig.client.status, 400);
  EXPECT_TRUE(rig.environment.last().cancelled);
}

TEST(Stream, EarlyAnswerEndsTheStream) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.answer(401, "no");
  EXPECT_EQ(rig.client.status, 401);
  EXPECT_TRUE(rig.client.ended);
  rig.body("def", true);
  EXPECT_EQ(rig.environment.last().body, "abc");
  EXPECT_EQ(rig.environment.summaries.size(), 1u);
}

TEST(Stream, ContinueIsSentOnceWhenTheBodyIsWanted) {
  StreamRig rig;
  rig.stream.head().expect_continue = true;
  rig.request(Method::post, true);
  rig.stream.on_request_flush();
  EXPECT_EQ(rig.client.log, "100 flush");
  rig.body("abc", true);
  rig.answer(200);
  EXPECT_EQ(rig.client.log, "100 flush head:200 end flush");
}

TEST(Stream, NoContinueBeforeALocalAnswer) {
  StreamRig rig;
  rig.stream.head().expect_continue = true;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::no_route;
  rig.request(Method::post, true);
  EXPECT_TRUE(rig.client.log.starts_with("head:404"));
}

TEST(Stream, InformationalAnswersPassButNot100) {
  StreamRig rig;
  rig.request();
  ResponseHead head(rig.answers);
  head.status = 100;
  rig.environment.last().events->on_response_informational(head);
  head.status = 103;
  rig.environment.last().events->on_response_informational(head);
  rig.answer(200);
  EXPECT_EQ(rig.client.log, "103 head:200 end flush");
}

TEST(Stream, BackPressureBothWays) {
  StreamRig rig;
  rig.request(Method::post, true);
  rig.environment.last().room = false;
  rig.body("abc", false);
  EXPECT_TRUE(rig.client.paused);
  rig.environment.last().events->on_request_writable();
  EXPECT_FALSE(rig.client.paused);
  rig.client.room = false;
  auto* events = rig.environment.last().events;
  ResponseHead head(rig.answers);
  head.status = 200;
  head.has_body = true;
  events->on_response_head(head, false);
  events->on_response_body(Bytes("x", 1), false);
  events->on_response_flush();
  EXPECT_TRUE(rig.environment.last().paused);
  rig.client.room = true;
  rig.stream.on_response_writable();
  EXPECT_FALSE(rig.environment.last().paused);
}

// Server-sent events, long polls: a piece goes out with the read that brought it, and only the upstream's own rules
// (of its connection) say how long the next may take.
TEST(Stream, PiecesOfAnAnswerGoOutAsTheyCome) {
  StreamRig rig;
  rig.request();
  auto* events = rig.environment.last().events;
  ResponseHead head(rig.answers);
  head.status = 200;
  head.has_body = true;
  head.fields.add("content-type", "text/event-stream");
  events->on_response_head(head, false);
  events->on_response_flush();
  EXPECT_EQ(rig.client.log, "head:200 flush") << "before there is any of the body";
  for (const std::string_view piece : {"data: 1\n\n", "data: 2\n", "\n"}) {
    rig.client.log.clear();
    rig.environment.pass(24u * 3600 * 1000);
    events->on_response_body({piece.data(), piece.size()}, false);
    events->on_response_flush();
    EXPECT_EQ(rig.client.log, "body:" + std::string(piece) + " flush");
  }
  EXPECT_FALSE(rig.environment.last().paused);
  EXPECT_TRUE(rig.environment.summaries.empty());
  events->on_response_body({}, true);
  events->on_response_flush();
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
}

TEST(Stream, ALongPollWaitsForItsAnswer) {
  StreamRig rig;
  rig.request();
  rig.environment.pass(24u * 3600 * 1000);
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.answer(200, "at last");
  EXPECT_EQ(rig.client.body, "at last");
}

TEST(Stream, TunnelEndsWithTheClientFirst) {
  TunnelRig rig;
  rig.body("bye", true);
  EXPECT_TRUE(rig.environment.last().ended);
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.events->on_response_body(Bytes("still", 5), false);
  rig.events->on_response_body(Bytes("here", 4), true);
  rig.events->on_response_flush();
  EXPECT_EQ(rig.client.body, "stillhere");
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
  EXPECT_FALSE(rig.environment.last().cancelled);
}

TEST(Stream, TunnelIsIdleWhenNothingComesEitherWay) {
  TunnelRig rig;
  for (int i = 0; i < 4; ++i) {
    rig.environment.pass(900);
    EXPECT_TRUE(rig.environment.summaries.empty());
    if (i % 2 == 0) rig.body("x", false);
    else rig.events->on_response_body(Bytes("y", 1), false);
  }
  rig.environment.pass(2000);
  EXPECT_EQ(rig.summary().error.reason, Reason::tunnel_idle);
  EXPECT_TRUE(rig.client.aborted);
  EXPECT_TRUE(rig.environment.last().cancelled);
}

TEST(Stream, TunnelIsCutWithEitherSide) {
  TunnelRig client;
  client.stream.on_client_error({Reason::draining, Side::internal, Retry::no, 0});
  EXPECT_TRUE(client.client.aborted);
  EXPECT_TRUE(client.environment.last().cancelled);
  EXPECT_EQ(client.summary().error.reason, Reason::draining);
  TunnelRig upstream;
  upstream.events->on_exchange_error({Reason::upstream_reset, Side::upstream, Retry::no, 0});
  EXPECT_TRUE(upstream.client.aborted);
}

TEST(Stream, NoSwitchToAnotherProtocol) {
  StreamRig rig;
  rig.stream.head().upgrade = "websocket";
  rig.request();
  ResponseHead head(rig.answers);
  head.status = 101;
  head.upgrade = "h2c";
  rig.environment.last().events->on_response_head(head, false);
  EXPECT_FALSE(rig.client.tunnel);
  EXPECT_EQ(rig.client.status, 502);
}

// RFC 9110 7.8: what is left of the body would be read as the new protocol.
TEST(Stream, NoSwitchBeforeTheRequestEnded) {
  StreamRig rig;
  rig.stream.head().upgrade = "websocket";
  rig.request(Method::post, true);
  ResponseHead head(rig.answers);
  head.status = 101;
  head.upgrade = "websocket";
  rig.environment.last().events->on_response_head(head, false);
  EXPECT_FALSE(rig.client.tunnel);
  EXPECT_EQ(rig.client.status, 502);
}

TEST(Stream, TunnelOnlyIfAskedFor) {
  StreamRig rig;
  rig.stream.head().upgrade = "websocket";
  rig.request();
  ResponseHead head(rig.answers);
  head.status = 101;
  head.upgrade = "websocket";
  auto* events = rig.environment.last().events;
  events->on_response_head(head, false);
  EXPECT_TRUE(rig.client.tunnel);
  rig.body("ping", false);
  EXPECT_EQ(rig.environment.last().body, "ping");
  events->on_response_body(Bytes("pong", 4), false);
  events->on_response_flush();
  EXPECT_EQ(rig.client.body, "pong");
  events->on_response_body({}, true);
  events->on_response_flush();
  EXPECT_TRUE(rig.client.ended) << "half";
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.body("more", false);
  rig.body("", true);
  EXPECT_EQ(rig.environment.last().body, "pingmore");
  EXPECT_TRUE(rig.environment.last().ended);
  EXPECT_FALSE(rig.environment.last().cancelled) << "what it holds has to go out";
  EXPECT_EQ(rig.summary().status, 101);
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
  EXPECT_EQ(rig.summary().bytes_in, 8u);
  EXPECT_EQ(rig.summary().bytes_out, 4u);

  StreamRig unasked;
  unasked.request();
  unasked.environment.last().events->on_response_head(head, false);
  EXPECT_FALSE(unasked.client.tunnel);
  EXPECT_EQ(unasked.client.status, 502);
}

TEST(Stream, DestroyedInTheMiddleCancels) {
  FakeExchange* exchange = nullptr;
  FakeEnvironment environment;
  FakeClient client;
  ChunkPool chunks;
  {
    Stream stream(chunks, environment, client);
    stream.begin();
    stream.head().path = "/";
    stream.on_request_head(true);
    exchange = &environment.last();
  }
  EXPECT_TRUE(exchange->cancelled);
}

}  // namespace
}  // namespace sluice::http
