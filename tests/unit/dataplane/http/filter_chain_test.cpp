#include <gtest/gtest.h>

#include <functional>

#include "stream_fakes.h"

namespace sluice::http {
namespace {

// A filter whose hooks are given by the test; lives outside the arena, so its destructor is called by the stream and
// must be harmless twice.
struct Scripted final : Filter {
  std::string name;
  std::string* log;
  Status head = Status::proceed, body = Status::proceed, trailers = Status::proceed, response_head = Status::proceed;
  size_t gather = 0, gather_response = 0;
  std::optional<LocalReply> reply, reply_response;
  uint32_t timer_ms = 0;
  std::string fetch;
  std::string replace;
  void note(const std::string& what) { *log += (log->empty() ? "" : " ") + name + "." + what; }
  Status on_request_head(FilterContext& context, bool) override {
    note("head");
    if (reply) context.reply(*reply);
    if (gather != 0) context.buffer_request(gather);
    if (timer_ms != 0) context.timer(timer_ms);
    if (!fetch.empty()) {
      FetchRequest request;
      request.cluster = fetch;
      request.path = "/check?x=1";
      request.host = "auth";
      context.fetch(request);
    }
    return head;
  }
  Status on_request_body(FilterContext& context, Bytes& bytes, bool end) override {
    note("body(" + text_of(bytes) + (end ? ",end)" : ")"));
    if (!replace.empty()) bytes = Bytes(replace.data(), replace.size());
    if (body == Status::wait) context.timer(1);
    return body;
  }
  Status on_request_trailers(FilterContext& context, Fields&) override {
    note("trailers");
    if (trailers == Status::wait) context.timer(1);
    return trailers;
  }
  Status on_response_head(FilterContext& context, ResponseHead&, bool) override {
    note("response");
    if (reply_response) context.reply(*reply_response);
    if (gather_response != 0) context.buffer_response(gather_response);
    if (response_head == Status::wait) context.timer(1);
    return response_head;
  }
  Status on_response_body(FilterContext&, Bytes& bytes, bool end) override {
    note("rbody(" + text_of(bytes) + (end ? ",end)" : ")"));
    return Status::proceed;
  }
  void on_timer(FilterContext& context) override {
    note("timer");
    context.resume();
  }
  void on_fetched(FilterContext& context, const FetchResult& result) override {
    note("fetched(" + std::to_string(result.status) + "," + std::string(result.body) + "," +
         std::string(describe(result.error.reason).word) + ")");
    context.resume();
  }
  void on_local_reply(FilterContext& context, ResponseHead& head) override {
    note("local(" + std::to_string(head.status) + ")");
    head.fields.add(context.arena().copy("X-" + name), "1");
    // None of these is possible any more.
    context.reply({.reason = Reason::internal});
    context.timer(1);
    context.resume();
  }
  void on_complete(FilterContext&, const Error&) override { note("complete"); }
};

struct ChainRig : StreamRig {
  std::string log;
  // In memory of their own; the stream destroys the filters.
  alignas(Scripted) unsigned char memory[2][sizeof(Scripted)];
  Scripted& a = *new (memory[0]) Scripted;
  Scripted& b = *new (memory[1]) Scripted;
  Filter* list[2] = {&a, &b};
  ChainRig() {
    a.name = "a";
    b.name = "b";
    a.log = b.log = &log;
    environment.next_plan.filters = list;
  }
};

TEST(FilterChain, OrderAndReverseOrder) {
  ChainRig rig;
  rig.request();
  rig.answer(200, "x");
  EXPECT_EQ(rig.log, "a.head b.head b.response a.response b.rbody(x,end) a.rbody(x,end) a.complete b.complete");
  EXPECT_EQ(rig.client.body, "x");
}

TEST(FilterChain, WaitingHeadHoldsTheBody) {
  ChainRig rig;
  rig.a.head = Filter::Status::wait;
  rig.a.timer_ms = 10;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.body("def", true);
  EXPECT_TRUE(rig.environment.exchanges.empty());
  EXPECT_TRUE(rig.client.paused);
  rig.environment.pass(200);
  EXPECT_EQ(rig.log, "a.head a.timer b.head a.body(abcdef,end) b.body(abcdef,end)");
  EXPECT_EQ(rig.environment.last().body, "abcdef");
  EXPECT_TRUE(rig.environment.last().ended);
  EXPECT_TRUE(rig.environment.last().flushed);
}

TEST(FilterChain, WaitingBodyGoesOnAfterwards) {
  ChainRig rig;
  rig.b.body = Filter::Status::wait;
  rig.request(Method::post, true);
  rig.body("abc", false);
  EXPECT_TRUE(rig.client.paused);
  EXPECT_EQ(rig.environment.last().body, "");
  rig.environment.pass(100);
  EXPECT_EQ(rig.environment.last().body, "abc");
  EXPECT_FALSE(rig.client.paused);
  rig.body("d", true, false);
  rig.stream.on_request_flush();
  rig.environment.pass(100);
  EXPECT_EQ(rig.environment.last().body, "abcd");
  EXPECT_TRUE(rig.environment.last().ended);
}

TEST(FilterChain, QueuedChunkWaitsInOtherMemoryThanTheOnePassedOn) {
  ChainRig rig;
  rig.a.body = Filter::Status::wait;
  rig.request(Method::put, true);
  rig.body("first", false, false);
  rig.body("second", true, false);
  rig.stream.on_request_flush();
  rig.environment.pass(100);
  rig.environment.pass(100);
  EXPECT_EQ(rig.environment.last().body, "firstsecond");
  EXPECT_TRUE(rig.environment.last().ended);
}

TEST(FilterChain, GatheredBodyIsJudgedBeforeTheHeadGoesOn) {
  ChainRig rig;
  rig.a.gather = 100;
  rig.a.replace = "changed";
  rig.request(Method::post, true);
  rig.body("abc", false);
  EXPECT_TRUE(rig.environment.exchanges.empty());
  EXPECT_FALSE(rig.client.paused);
  rig.body("def", true);
  EXPECT_EQ(rig.log, "a.head a.body(abcdef,end) b.head b.body(changed,end)");
  EXPECT_EQ(rig.environment.last().body, "changed");
  EXPECT_EQ(rig.environment.last().content_length, 7u);
}

TEST(FilterChain, TwoGatherOneAfterTheOther) {
  ChainRig rig;
  rig.a.gather = rig.b.gather = 100;
  rig.request(Method::post, true);
  rig.body("abc", true);
  EXPECT_EQ(rig.log, "a.head a.body(abc,end) b.head b.body(abc,end)");
  EXPECT_EQ(rig.environment.last().body, "abc");
}

TEST(FilterChain, GatheringAsksForTheBody) {
  ChainRig rig;
  rig.a.gather = 100;
  rig.stream.head().expect_continue = true;
  rig.request(Method::post, true);
  rig.stream.on_request_flush();
  EXPECT_EQ(rig.client.log.substr(0, 3), "100");
}

TEST(FilterChain, GatheringIsBounded) {
  ChainRig rig;
  rig.a.gather = 5;
  rig.request(Method::post, true);
  rig.body("abc", false);
  rig.body("def", false);
  EXPECT_EQ(rig.client.status, 413);
  EXPECT_TRUE(rig.environment.exchanges.empty());
  EXPECT_EQ(rig.summary().error.reason, Reason::body_too_large);
}

TEST(FilterChain, GatheringWithTrailersAndWait) {
  ChainRig rig;
  rig.a.gather = 100;
  rig.a.body = Filter::Status::wait;
  rig.request(Method::post, true);
  rig.body("abc", false);
  Fields trailers(rig.stream.arena());
  trailers.add("x-sum", "1");
  rig.stream.on_request_trailers(trailers);
  rig.stream.on_request_flush();
  EXPECT_TRUE(rig.environment.exchanges.empty());
  rig.environment.pass(100);
  EXPECT_EQ(rig.environment.last().log, "head body:abc trailers:1");
}

TEST(FilterChain, GatheredAnswerIsBounded) {
  ChainRig rig;
  rig.a.gather_response = 4;
  rig.request();
  rig.answer(200, "hello");
  EXPECT_EQ(rig.client.status, 502);
  EXPECT_EQ(rig.summary().error.reason, Reason::response_too_large);

  ChainRig fits;
  fits.a.gather_response = 5;
  fits.request();
  fits.answer(200, "hello");
  EXPECT_EQ(fits.client.log, "head:200 body:hello end flush");
}

TEST(FilterChain, ReplyEndsTheRequestSide) {
  ChainRig rig;
  LocalReply reply;
  reply.reason = Reason::filter_denied;
  rig.a.reply = reply;
  rig.request();
  EXPECT_EQ(rig.client.status, 403);
  EXPECT_EQ(rig.log, "a.head b.local(403) a.local(403) a.complete b.complete");
}

// Whatever is answered here once the route is known carries what its filters put on every answer.
TEST(FilterChain, LocalAnswersPassHeadsOfAllFilters) {
  for (const Reason reason : {Reason::connect_failed, Reason::no_endpoints, Reason::response_timeout}) {
    ChainRig rig;
    rig.request();
    rig.environment.last().events->on_exchange_error({reason, Side::upstream, Retry::no, 0});
    const uint16_t status = describe(reason).status;
    EXPECT_EQ(rig.client.status, status);
    const std::string code = std::to_string(status);
    EXPECT_EQ(rig.log, "a.head b.head b.local(" + code + ") a.local(" + code + ") a.complete b.complete");
    EXPECT_EQ(rig.client.field("X-a") + rig.client.field("X-b"), "11");
    EXPECT_NE(rig.client.body.find(describe(reason).word), std::string::npos);
    rig.environment.pass(100);
    EXPECT_EQ(rig.client.status, status);
  }
}

TEST(FilterChain, RefusalsOfThePlanPassThemToo) {
  ChainRig rig;
  rig.environment.next_plan.answered = true;
  rig.environment.next_plan.reply.reason = Reason::https_redirect;
  rig.request();
  EXPECT_EQ(rig.log, "b.local(308) a.local(308) a.complete b.complete");
  EXPECT_EQ(rig.client.field("X-a"), "1");
}

// The upstream's head was edited already; the answer in its place is another one and edited once.
TEST(FilterChain, AnswersInPlaceOfTheUpstreamsAreEditedOnce) {
  ChainRig rig;
  rig.b.gather_response = 4;
  rig.request();
  rig.answer(200, "hello");
  EXPECT_EQ(rig.client.status, 502);
  EXPECT_EQ(rig.client.fields.size(), 3u) << "Content-Type, X-b, X-a";
  EXPECT_EQ(rig.log, "a.head b.head b.response b.local(502) a.local(502) a.complete b.complete");
}

TEST(FilterChain, ACutAnswerIsNotAnotherAnswer) {
  ChainRig rig;
  rig.request();
  ResponseHead head(rig.answers);
  head.status = 200;
  head.has_body = true;
  rig.environment.last().events->on_response_head(head, false);
  rig.environment.last().events->on_exchange_error({Reason::response_cut, Side::upstream, Retry::no, 0});
  EXPECT_TRUE(rig.client.aborted);
  EXPECT_EQ(rig.log.find("local"), std::string::npos);
}

TEST(FilterChain, ReplyInsteadOfTheUpstreamsAnswer) {
  ChainRig rig;
  LocalReply reply;
  reply.status = 451;
  reply.reason = Reason::filter_denied;
  rig.b.reply_response = reply;
  rig.request();
  rig.answer(200, "secret");
  EXPECT_EQ(rig.client.status, 451);
  EXPECT_EQ(rig.client.body.find("secret"), std::string::npos);
}

TEST(FilterChain, WaitingAnswerPausesTheUpstream) {
  ChainRig rig;
  rig.a.response_head = Filter::Status::wait;
  rig.request();
  auto* events = rig.environment.last().events;
  {
    ResponseHead head(rig.answers);
    head.status = 200;
    head.has_body = true;
    events->on_response_head(head, false);
  }
  events->on_response_body(Bytes("hello", 5), false);
  events->on_response_flush();
  EXPECT_TRUE(rig.environment.last().paused);
  EXPECT_EQ(rig.client.log, "");
  rig.environment.pass(100);
  EXPECT_FALSE(rig.environment.last().paused);
  EXPECT_EQ(rig.client.log, "head:200 body:hello flush");
  events->on_response_body({}, true);
  events->on_response_flush();
  EXPECT_TRUE(rig.client.ended);
}

TEST(FilterChain, FetchGathersAnAnswer) {
  ChainRig rig;
  rig.a.head = Filter::Status::wait;
  rig.a.fetch = "auth";
  rig.request();
  ASSERT_EQ(rig.environment.exchanges.size(), 1u);
  EXPECT_EQ(rig.environment.last().path, "/check");
  rig.answer(200, "fine");
  EXPECT_EQ(rig.log, "a.head a.fetched(200,fine,none) b.head");
  ASSERT_EQ(rig.environment.exchanges.size(), 2u);
  rig.answer(204);
  EXPECT_EQ(rig.client.status, 204);
}

TEST(FilterChain, FetchThatCannotStartIsToldLater) {
  ChainRig rig;
  rig.a.head = Filter::Status::wait;
  rig.a.fetch = "auth";
  rig.environment.start_error = Error{Reason::no_endpoints, Side::upstream, Retry::no, 0};
  rig.request();
  EXPECT_EQ(rig.log, "a.head");
  rig.environment.start_error.reset();
  rig.environment.pass(100);
  EXPECT_EQ(rig.log, "a.head a.fetched(0,,no_endpoints) b.head");
}

TEST(FilterChain, FetchTimesOut) {
  ChainRig rig;
  rig.a.head = Filter::Status::wait;
  rig.a.fetch = "auth";
  rig.request();
  rig.environment.pass(2000);
  EXPECT_EQ(rig.log, "a.head a.fetched(0,,response_timeout) b.head");
  EXPECT_TRUE(rig.environment.exchanges[0]->cancelled);
}

TEST(FilterChain, ClientGoneStopsTimersAndFetches) {
  ChainRig rig;
  rig.a.head = Filter::Status::wait;
  rig.a.fetch = "auth";
  rig.b.timer_ms = 10;
  rig.request();
  rig.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  EXPECT_TRUE(rig.environment.last().cancelled);
  rig.environment.pass(5000);
  EXPECT_EQ(rig.log, "a.head a.complete b.complete");
}

TEST(FilterChain, RouteAnswersPassTheResponseHooks) {
  ChainRig rig;
  LocalReply reply;
  reply.reason = Reason::direct_response;
  reply.status = 200;
  reply.body = "hi";
  reply.content_type = "text/plain";
  rig.environment.action = reply;
  rig.request();
  EXPECT_EQ(rig.log, "a.head b.head b.response a.response b.rbody(hi,end) a.rbody(hi,end) a.complete b.complete");
  EXPECT_EQ(rig.summary().error.reason, Reason::direct_response);
}

}  // namespace
}  // namespace sluice::http
