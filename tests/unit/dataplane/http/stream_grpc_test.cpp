// gRPC requests through a stream: what they are answered here, their deadlines, retries and statuses.
#include <gtest/gtest.h>

#include "dataplane/http/grpc.h"
#include "stream_fakes.h"

namespace sluice::http {
namespace {

struct GrpcRig : StreamRig {
  explicit GrpcRig(std::string_view timeout = {}) {
    stream.head().fields.add("content-type", "application/grpc+proto");
    if (!timeout.empty()) stream.head().fields.add("grpc-timeout", timeout);
  }
  // A call with its one message.
  void call() {
    request(Method::post, true);
    if (environment.summaries.empty()) body("message", true);
    else stream.on_request_flush();
  }
  // What an upstream says without a message.
  void trailers_only(std::string_view status, std::string_view field = "grpc-status") {
    auto* events = environment.last().events;
    ResponseHead head(answers);
    head.status = 200;
    head.fields.add(field, status);
    events->on_response_head(head, true);
    events->on_response_flush();
  }
  void answer_begins() {
    ResponseHead head(answers);
    head.status = 200;
    head.has_body = true;
    environment.last().events->on_response_head(head, false);
    environment.last().events->on_response_body(Bytes("m", 1), false);
    environment.last().events->on_response_flush();
  }
  void trailers(std::string_view status) {
    Fields fields(answers);
    if (!status.empty()) fields.add("grpc-status", status);
    environment.last().events->on_response_trailers(fields);
    environment.last().events->on_response_flush();
  }
  [[nodiscard]] int status() { return summary().grpc_status; }
};

TEST(StreamGrpc, LocalAnswersAreAHeadWithAStatus) {
  GrpcRig rig;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::no_route;
  rig.environment.next_plan.reply.body = "a page of the gateway's owner";
  rig.environment.next_plan.reply.content_type = "text/html";
  rig.call();
  EXPECT_EQ(rig.client.log, "head:200 end flush");
  EXPECT_FALSE(rig.client.has_body);
  EXPECT_EQ(rig.client.field("Content-Type"), "application/grpc");
  EXPECT_EQ(rig.client.field("grpc-status"), "12");
  EXPECT_EQ(rig.client.field("grpc-message"), "Nothing is served here. (no_route)");
  EXPECT_EQ(rig.summary().error.reason, Reason::no_route) << "the log has the reason";
  EXPECT_EQ(rig.summary().status, 200);
  EXPECT_EQ(rig.status(), 12);
}

TEST(StreamGrpc, WhatOthersGetIsUnchanged) {
  for (const char* type : {"application/grpc-web+proto", "application/json"}) {
    StreamRig rig;
    rig.stream.head().fields.add("content-type", type);
    rig.environment.next_plan.answered = true;
    rig.environment.next_plan.reply.reason = Reason::no_route;
    rig.request(Method::post);
    EXPECT_EQ(rig.client.status, 404);
    EXPECT_EQ(rig.client.field("grpc-status"), "");
    EXPECT_EQ(rig.summary().grpc_status, StreamSummary::kNoGrpc);
  }
}

TEST(StreamGrpc, FieldsOfTheReplyAndRetryAfterStay) {
  GrpcRig limited;
  const Field fields[] = {{"RateLimit", "\"a\";r=0;t=3"}, {"Retry-After", "3", Token::retry_after}};
  LocalReply reply;
  reply.reason = Reason::rate_limited;
  reply.fields = fields;
  limited.environment.action = reply;
  limited.call();
  EXPECT_EQ(limited.client.field("grpc-status"), "8");
  EXPECT_EQ(limited.client.field("RateLimit"), "\"a\";r=0;t=3");
  EXPECT_EQ(limited.client.field("Retry-After"), "3");

  GrpcRig nobody;
  nobody.environment.start_error = Error{Reason::no_endpoints, Side::upstream, Retry::no, 0};
  nobody.call();
  EXPECT_EQ(nobody.client.field("grpc-status"), "14");
  EXPECT_EQ(nobody.client.field("Retry-After"), "5");
  EXPECT_EQ(nobody.client.log, "head:200 end flush");
}

TEST(StreamGrpc, RedirectsAndARoutesOwnAnswersStay) {
  GrpcRig moved;
  const Field location{"Location", "https://b.example/", Token::location};
  LocalReply reply;
  reply.reason = Reason::redirect;
  reply.status = 302;
  reply.fields = {&location, 1};
  moved.environment.action = reply;
  moved.call();
  EXPECT_EQ(moved.client.status, 302);
  EXPECT_EQ(moved.client.field("Location"), "https://b.example/");
  EXPECT_EQ(moved.client.field("grpc-status"), "");
  EXPECT_EQ(moved.status(), 2) << "what a client makes of it";

  GrpcRig own;
  reply = {};
  reply.reason = Reason::direct_response;
  reply.status = 200;
  reply.body = "x";
  own.environment.action = reply;
  own.call();
  EXPECT_EQ(own.client.body, "x");

  GrpcRig closed;
  reply.status = 503;
  closed.environment.action = reply;
  closed.call();
  EXPECT_EQ(closed.client.status, 200);
  EXPECT_EQ(closed.client.field("grpc-status"), "14");
  EXPECT_EQ(closed.client.field("grpc-message"), "The route answers with status 503. (direct_response)");
  EXPECT_EQ(closed.client.body, "");
}

TEST(StreamGrpc, TheClientsDeadlineIsKept) {
  GrpcRig rig("200m");
  rig.call();
  EXPECT_EQ(rig.environment.last().field("grpc-timeout"), "200m");
  rig.environment.pass(190);
  EXPECT_TRUE(rig.environment.summaries.empty());
  rig.environment.pass(400);
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_EQ(rig.client.field("grpc-status"), "4");
  EXPECT_EQ(rig.client.field("grpc-message"), "The request took too long. (request_timeout)");
  EXPECT_TRUE(rig.environment.last().cancelled);
}

TEST(StreamGrpc, TheRouteShortensADeadlineAndNeverMakesItLonger) {
  GrpcRig shorter("10S");
  shorter.environment.next_plan.request_ms = 500;
  shorter.call();
  EXPECT_EQ(shorter.environment.last().field("grpc-timeout"), "500m");
  shorter.environment.pass(900);
  EXPECT_EQ(shorter.client.field("grpc-status"), "4");

  GrpcRig longer("1S");
  longer.environment.next_plan.request_ms = 60'000;
  longer.call();
  EXPECT_EQ(longer.environment.last().field("grpc-timeout"), "1S");
  longer.environment.pass(1400);
  EXPECT_EQ(longer.client.field("grpc-status"), "4");

  GrpcRig none;
  none.environment.next_plan.request_ms = 500;
  none.call();
  EXPECT_EQ(none.environment.last().field("grpc-timeout"), "") << "nothing is put in";
  none.environment.pass(900);
  EXPECT_EQ(none.client.field("grpc-status"), "4");
}

TEST(StreamGrpc, NoDeadlineNoEnd) {
  GrpcRig rig;
  rig.call();
  rig.environment.pass(24u * 3600 * 1000);
  rig.answer_begins();
  rig.environment.pass(24u * 3600 * 1000);
  rig.trailers("0");
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
  EXPECT_EQ(rig.status(), 0);
}

TEST(StreamGrpc, EveryAttemptIsToldWhatIsLeft) {
  GrpcRig rig("2S");
  rig.environment.next_plan.retry = {.attempts = 2, .configured = true, .on_non_idempotent = true, .backoff_ms = 100};
  rig.call();
  rig.environment.pass(250);
  rig.fail(Reason::connect_failed, Retry::yes);  // the first is repeated at once
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_EQ(rig.environment.exchanges[0]->field("grpc-timeout"), "2S");
  EXPECT_EQ(rig.environment.last().field("grpc-timeout"), "1750m");
  rig.environment.pass(1700);
  rig.fail(Reason::connect_failed, Retry::yes);
  rig.environment.pass(400);
  ASSERT_EQ(rig.environment.exchanges.size(), 2u) << "there is no time for a third";
  EXPECT_EQ(rig.client.field("grpc-status"), "4");
}

TEST(StreamGrpc, ADeadlineThatIsOverIsNotForwarded) {
  GrpcRig rig("0S");
  rig.call();
  EXPECT_TRUE(rig.environment.exchanges.empty());
  EXPECT_EQ(rig.client.field("grpc-status"), "4");
}

TEST(StreamGrpc, MalformedTimeoutsAreRefused) {
  for (const char* value : {"1", "1s", "999999999S", "-1S"}) {
    GrpcRig rig(value);
    rig.call();
    EXPECT_TRUE(rig.environment.exchanges.empty()) << value;
    EXPECT_EQ(rig.client.field("grpc-status"), "13") << value;
    EXPECT_EQ(rig.summary().error.reason, Reason::bad_header_value);
  }
  GrpcRig twice("1S");
  twice.stream.head().fields.add("Grpc-Timeout", "2S");
  twice.call();
  EXPECT_EQ(twice.client.field("grpc-status"), "13");

  // To others the field means nothing.
  StreamRig plain;
  plain.stream.head().fields.add("grpc-timeout", "x");
  plain.request(Method::post);
  EXPECT_EQ(plain.environment.last().field("grpc-timeout"), "x");
}

constexpr uint16_t kUnavailable[] = {503}, kBadGateway[] = {502};

TEST(StreamGrpc, UnavailableIsTriedAgainWhereTheRouteSaysSo) {
  GrpcRig rig;
  rig.environment.next_plan.retry = {
      .attempts = 1, .configured = true, .on_non_idempotent = true, .statuses = kUnavailable};
  rig.call();
  rig.trailers_only("14");
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  EXPECT_EQ(rig.client.log, "") << "nothing was delivered";
  EXPECT_EQ(rig.environment.last().body, "message");
  rig.trailers_only("14");
  EXPECT_EQ(rig.environment.exchanges.size(), 2u) << "no more than the route allows";
  EXPECT_EQ(rig.client.field("grpc-status"), "14");
  EXPECT_EQ(rig.status(), 14);
}

TEST(StreamGrpc, UnavailableIsNotTriedAgainOtherwise) {
  struct Case {
    const char* why;
    RetryPolicy retry;
    const char* status = "14";
  };
  const Case cases[] = {
      {"no retry", {}},
      {"no 503", {.configured = true, .on_non_idempotent = true, .statuses = kBadGateway}},
      {"POST is not idempotent", {.configured = true, .statuses = kUnavailable}},
      {"another status", {.configured = true, .on_non_idempotent = true, .statuses = kUnavailable}, "13"},
  };
  for (const Case& one : cases) {
    GrpcRig rig;
    rig.environment.next_plan.retry = one.retry;
    rig.call();
    rig.trailers_only(one.status);
    EXPECT_EQ(rig.environment.exchanges.size(), 1u) << one.why;
    EXPECT_EQ(rig.client.field("grpc-status"), one.status) << one.why;
  }
  const RetryPolicy allowed{.configured = true, .on_non_idempotent = true, .statuses = kUnavailable};
  GrpcRig begun;
  begun.environment.next_plan.retry = allowed;
  begun.call();
  begun.answer_begins();
  begun.trailers("14");
  EXPECT_EQ(begun.environment.exchanges.size(), 1u) << "a message was delivered";
  GrpcRig early;
  early.environment.next_plan.retry = allowed;
  early.call();
  ResponseHead head(early.answers);
  head.status = 200;
  head.has_body = true;
  head.fields.add("grpc-status", "14");
  early.environment.last().events->on_response_head(head, false);
  EXPECT_EQ(early.environment.exchanges.size(), 1u) << "more than a head comes";
  GrpcRig open;
  open.environment.next_plan.retry = allowed;
  open.request(Method::post, true);
  open.body("one of several", false);
  open.trailers_only("14");
  EXPECT_EQ(open.environment.exchanges.size(), 1u) << "the request is not whole";
  GrpcRig large;
  large.environment.next_plan.retry = allowed;
  large.request(Method::post, true);
  large.body(std::string(Stream::kReplayBytes + 1, 'x'), true);
  large.trailers_only("14");
  EXPECT_EQ(large.environment.exchanges.size(), 1u) << "the request was not kept";
}

TEST(StreamGrpc, TheStatusIsWhatTheClientHas) {
  GrpcRig good;
  good.call();
  good.answer_begins();
  good.trailers("0");
  EXPECT_EQ(good.status(), 0);

  GrpcRig only;
  only.call();
  only.trailers_only("5");
  EXPECT_EQ(only.status(), 5);

  GrpcRig strange;
  strange.call();
  strange.answer_begins();
  strange.trailers("77");
  EXPECT_EQ(strange.status(), 2);

  GrpcRig none;
  none.call();
  none.answer_begins();
  none.trailers("");
  EXPECT_EQ(none.status(), 2) << "HTTP 200 without a status";

  GrpcRig plain;
  plain.call();
  plain.answer(503, "an error page");
  EXPECT_EQ(plain.status(), 14) << "by the HTTP status";
  EXPECT_EQ(plain.client.status, 503);
}

TEST(StreamGrpc, AnAnswerThatIsCutHasTheStatusOfTheCut) {
  GrpcRig upstream;
  upstream.call();
  upstream.answer_begins();
  upstream.fail(Reason::response_cut, Retry::no);
  EXPECT_TRUE(upstream.client.aborted);
  EXPECT_EQ(upstream.status(), 14);

  GrpcRig deadline("100m");
  deadline.call();
  deadline.answer_begins();
  deadline.environment.pass(500);
  EXPECT_TRUE(deadline.client.aborted);
  EXPECT_EQ(deadline.status(), 4);

  GrpcRig client;
  client.call();
  client.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  EXPECT_EQ(client.status(), 1);
}

}  // namespace
}  // namespace sluice::http
