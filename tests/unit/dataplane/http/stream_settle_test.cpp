// A tunnel gives back what its request took, and still says, counts and ends as one that did not.
#include <gtest/gtest.h>

#include "dataplane/http/websocket.h"
#include "stream_fakes.h"

namespace sluice::http {
namespace {

// A WebSocket whose request lies in the arena, as codecs leave it.
struct SettleRig : StreamRig {
  static constexpr std::string_view kAgent = "agent/1.0 (of some length)", kReferer = "https://b.example/from";
  ResponseEvents* events = nullptr;

  explicit SettleRig(std::span<Filter* const> filters = {}) {
    environment.next_plan.tunnel_idle_ms = 1000;
    environment.next_plan.filters = filters;
    Arena& arena = stream.arena();
    RequestHead& head = stream.head();
    stream.begin();
    head.method_name = arena.copy("GET");
    head.host = arena.copy("a.example");
    head.path = arena.copy("/socket");
    head.query = arena.copy("q=1");
    head.upgrade = arena.copy("websocket");
    for (const std::string_view name : {"accept", "x-forwarded-for", "sec-websocket-key", "origin", "cookie"})
      head.fields.add(arena.copy(name), arena.copy(std::string(100, 'v')));
    head.fields.add(arena.copy("User-Agent"), arena.copy(kAgent));
    head.fields.add(arena.copy("referer"), arena.copy(kReferer));
    head.fields.add(arena.copy("user-agent"), arena.copy("another"));
    environment.kept = arena.copy("of the environment");
    stream.on_request_head(true);
    stream.on_request_flush();
    events = environment.last().events;
    ResponseHead answer(answers);
    answer.status = 101;
    answer.upgrade = "websocket";
    events->on_response_head(answer, false);
    events->on_response_flush();
  }
  // What was given back is written over.
  void settle() {
    stream.settle();
    std::vector<void*> taken;
    while (chunks.idle() != 0) taken.push_back(chunks.take());
    for (void* chunk : taken) std::memset(chunk, 0xEE, ChunkPool::kChunkSize);
    for (void* chunk : taken) chunks.give(chunk);
  }
  void down(std::string_view bytes, bool end = false) {
    events->on_response_body({bytes.data(), bytes.size()}, end);
    events->on_response_flush();
  }
  [[nodiscard]] std::string_view field(Token token) {
    const Field* const found = stream.head().fields.find(token);
    return found == nullptr ? std::string_view() : found->value;
  }
};

TEST(StreamSettle, KeepsWhatIsLoggedAndNoMore) {
  SettleRig rig;
  EXPECT_EQ(rig.environment.tunnels, 1u) << "the environment is asked for it";
  const size_t before = rig.chunks.idle();
  rig.settle();
  EXPECT_GT(rig.chunks.idle(), before);
  EXPECT_LT(rig.stream.arena().held(), 320u);
  const RequestHead& head = rig.stream.head();
  EXPECT_EQ(head.method_name, "GET");
  EXPECT_EQ(head.host, "a.example");
  EXPECT_EQ(head.path, "/socket");
  EXPECT_EQ(rig.field(Token::user_agent), SettleRig::kAgent) << "the first";
  EXPECT_EQ(rig.field(Token::referer), SettleRig::kReferer);
  EXPECT_EQ(head.fields.size(), 2u);
  EXPECT_EQ(rig.environment.kept, "of the environment");
}

TEST(StreamSettle, GoesOnAndEndsAsBefore) {
  SettleRig rig;
  rig.settle();
  rig.body("up", false);
  rig.down("down");
  EXPECT_EQ(rig.environment.last().body, "up");
  EXPECT_EQ(rig.client.body, "down");
  const size_t held = rig.stream.arena().held();
  rig.settle();
  EXPECT_EQ(rig.stream.arena().held(), held) << "once";
  rig.body("", true);
  rig.down("", true);
  ASSERT_EQ(rig.environment.summaries.size(), 1u);
  EXPECT_EQ(rig.summary().status, 101);
  EXPECT_EQ(rig.summary().bytes_in, 2u);
  EXPECT_EQ(rig.summary().bytes_out, 4u);
  EXPECT_EQ(rig.summary().error.reason, Reason::none);
}

TEST(StreamSettle, IsCutByWhatCutsATunnel) {
  SettleRig idle;
  idle.settle();
  idle.environment.pass(1100);
  ASSERT_EQ(idle.environment.summaries.size(), 1u);
  EXPECT_EQ(idle.summary().error.reason, Reason::tunnel_idle);
  SettleRig upstream;
  upstream.settle();
  upstream.fail(Reason::upstream_reset, Retry::yes);
  ASSERT_EQ(upstream.environment.summaries.size(), 1u);
  EXPECT_EQ(upstream.summary().error.reason, Reason::upstream_reset);
  EXPECT_TRUE(upstream.client.aborted);
  SettleRig client;
  client.settle();
  client.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  ASSERT_EQ(client.environment.summaries.size(), 1u);
  EXPECT_TRUE(client.environment.last().cancelled);
  // Nothing of a second message ever comes; if it did, it would be no part of a tunnel.
  SettleRig trailers;
  trailers.settle();
  trailers.stream.on_request_trailers(Fields(trailers.answers));
  EXPECT_TRUE(trailers.environment.summaries.empty());
}

TEST(StreamSettle, TheCloseOfADrainNeedsNoChunk) {
  SettleRig rig;
  rig.settle();
  const size_t idle = rig.chunks.idle(), held = rig.stream.arena().held();
  rig.stream.on_client_error({Reason::draining, Side::internal, Retry::no, 0});
  EXPECT_EQ(rig.client.body, std::string(kGoingAway.data(), kGoingAway.size()));
  FrameTracker tracker;
  tracker.follow({rig.environment.last().body.data(), rig.environment.last().body.size()});
  EXPECT_TRUE(tracker.closed());
  EXPECT_EQ(rig.chunks.idle(), idle);
  EXPECT_EQ(rig.stream.arena().held(), held);
}

TEST(StreamSettle, WaitsForWhatIsNotATunnelAtRest) {
  StreamRig request;
  request.request();
  request.stream.settle();
  EXPECT_GE(request.stream.arena().held(), ChunkPool::kChunkSize);
  request.answer(200, "whole");
  EXPECT_EQ(request.client.body, "whole");
  SettleRig busy;
  busy.client.resting = false;
  busy.settle();
  EXPECT_GE(busy.stream.arena().held(), ChunkPool::kChunkSize);
  SettleRig leaving;
  leaving.stream.on_client_error({Reason::draining, Side::internal, Retry::no, 0});
  leaving.settle();
  EXPECT_GE(leaving.stream.arena().held(), ChunkPool::kChunkSize);
  SettleRig done;
  done.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  done.settle();
  EXPECT_GE(done.stream.arena().held(), ChunkPool::kChunkSize);
}

// Filters live in the arena: they end with the exchange, when the tunnel begins.
struct Counting final : Filter {
  std::string* log;
  explicit Counting(std::string& to) : log(&to) {}
  ~Counting() override { *log += "gone "; }
  Status on_request_head(FilterContext& context, bool) override {
    context.timer(10);
    return Status::proceed;
  }
  void on_timer(FilterContext&) override { *log += "timer "; }
  void on_complete(FilterContext&, const Error& error) override {
    *log += error.reason == Reason::none ? "complete " : "failed ";
  }
};

TEST(StreamSettle, FiltersEndWhenItBegins) {
  std::string log;
  {
    ChunkPool pool;
    Arena arena(pool);
    Filter* const filters[] = {arena.make<Counting>(log)};
    SettleRig rig(filters);
    EXPECT_EQ(log, "");
    rig.settle();
    EXPECT_EQ(log, "complete gone ");
    rig.environment.pass(100);
    rig.stream.on_client_error({Reason::client_closed, Side::client, Retry::no, 0});
  }
  EXPECT_EQ(log, "complete gone ") << "once, and none of their timers";
}

TEST(TextKeeper, MovesViewsAndSharesWhatIsTheSame) {
  const std::string text = "hello, world";
  std::string_view a(text), b(text), c = std::string_view(text).substr(7), empty;
  TextKeeper counter;
  for (std::string_view* view : {&a, &b, &c, &empty}) counter.keep(*view);
  EXPECT_EQ(counter.size(), 12u + 5u);
  EXPECT_EQ(a.data(), text.data()) << "only counted";
  std::string block(counter.size(), '?');
  TextKeeper copier(block.data());
  for (std::string_view* view : {&a, &b, &c, &empty}) copier.keep(*view);
  EXPECT_EQ(block, "hello, worldworld");
  EXPECT_EQ(a.data(), block.data());
  EXPECT_EQ(b.data(), block.data());
  EXPECT_EQ(c, "world");
  EXPECT_TRUE(empty.empty());
}

}  // namespace
}  // namespace sluice::http
