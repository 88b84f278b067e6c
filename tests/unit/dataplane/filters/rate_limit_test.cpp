#include "dataplane/filters/rate_limit/rate_limit.h"

#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <optional>

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "dataplane/filters/rate_limit/limit.h"
#include "dataplane/http/local_reply.h"

namespace sluice::filters {
namespace {
using ir::LimitKeyKind;

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint32_t kDayMs = 86'400'000;

std::array<uint8_t, 16> v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d};
}
// 2001:db8:0:SUBNET::HOST
std::array<uint8_t, 16> v6(uint8_t subnet, uint8_t host) {
  return {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, subnet, 0, 0, 0, 0, 0, 0, 0, host};
}

struct Answer {
  uint16_t status = 0;
  std::string reason, noted;
  std::multimap<std::string, std::string> fields;
  [[nodiscard]] std::string field(const std::string& name) const {
    return fields.count(name) == 1 ? fields.find(name)->second : fields.count(name) == 0 ? "" : "several";
  }
};

struct Context final : http::FilterContext {
  Arena& memory;
  http::RequestHead& head;
  uint64_t now;
  std::optional<http::LocalReply> replied;
  Context(Arena& memory_, http::RequestHead& head_, uint64_t now_) : memory(memory_), head(head_), now(now_) {}
  Arena& arena() override { return memory; }
  http::RequestHead& request() override { return head; }
  uint64_t now_ns() const override { return now; }
  void reply(const http::LocalReply& reply) override { replied = reply; }
  void resume() override {}
  void buffer_request(size_t) override {}
  void buffer_response(size_t) override {}
  void timer(uint32_t) override {}
  void fetch(const http::FetchRequest&) override {}
};

struct Request {
  std::array<uint8_t, 16> client = v4(192, 0, 2, 1);
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string method = "GET", path = "/", host = "a.example";
};

struct RateLimitTest : ::testing::Test {
  ChunkPool chunks;
  shared::Buckets buckets =
      shared::Buckets::map(shared::Buckets::make(shared::Buckets::kMinKeys).value().get()).value();
  std::unique_ptr<shared::CounterPage> page = std::make_unique<shared::CounterPage>();
  Environment environment{&buckets, page.get()};
  std::deque<flatbuffers::FlatBufferBuilder> builders;
  uint64_t now = 1000 * kSecond;

  static std::unique_ptr<ir::LimitKeyT> key(LimitKeyKind kind, const std::string& name = "") {
    auto key = std::make_unique<ir::LimitKeyT>();
    key->kind = kind;
    key->name = name;
    return key;
  }
  // Nothing comes back within a test, unless it says so.
  static std::unique_ptr<ir::LimitT> limit(const std::string& name, uint32_t burst,
                                           std::vector<LimitKeyKind> kinds = {}, uint32_t requests = 1,
                                           uint32_t per_ms = kDayMs) {
    auto limit = std::make_unique<ir::LimitT>();
    limit->id = "ns/policy/" + name;
    limit->name = "policy." + name;
    limit->requests = requests;
    limit->per_ms = per_ms;
    limit->burst = burst;
    for (const LimitKeyKind kind : kinds) limit->keys.push_back(key(kind));
    return limit;
  }
  static ir::RateLimitT config(std::unique_ptr<ir::LimitT> first, std::unique_ptr<ir::LimitT> second = nullptr,
                               std::unique_ptr<ir::LimitT> third = nullptr) {
    ir::RateLimitT config;
    for (auto* one : {&first, &second, &third}) {
      if (*one != nullptr) config.limits.push_back(std::move(*one));
    }
    return config;
  }
  std::unique_ptr<Factory> prepare(ir::RateLimitT from) {
    ir::FilterT filter;
    filter.config.Set(std::move(from));
    auto& builder = builders.emplace_back();
    builder.Finish(ir::Filter::Pack(builder, &filter));
    return prepare_rate_limit(*flatbuffers::GetRoot<ir::Filter>(builder.GetBufferPointer()), environment);
  }
  // Through the filter and back, with an upstream that sets fields of its own.
  Answer ask(const Factory& factory, const Request& request = {}, bool counted = true) {
    Arena arena(chunks);
    http::RequestHead head(arena);
    head.method_name = request.method;
    head.path = request.path;
    head.host = request.host;
    for (const auto& [name, value] : request.fields) head.fields.add(name, value);
    Notes notes;
    http::Filter* filter = factory.make(arena, {0, request.client, &notes});
    Context context(arena, head, now);
    Answer answer;
    if (!counted) context.replied = http::LocalReply{.reason = http::Reason::https_redirect};
    else if (filter->on_request_head(context, true) != http::Filter::Status::proceed) ADD_FAILURE();
    http::ResponseHead upstream(arena);
    http::ResponseHead* back = &upstream;
    if (context.replied) {
      back = http::render_reply(*context.replied, head, "id", arena).head;
      answer.reason = http::describe(context.replied->reason).word;
      filter->on_local_reply(context, *back);
    } else {
      upstream.status = 200;
      upstream.fields.add("RateLimit", "\"theirs\";r=1");
      upstream.fields.add("ratelimit-policy", "\"theirs\";q=1");
      upstream.fields.add("X-RateLimit-Limit", "77");
      upstream.fields.add("x-ratelimit-remaining", "7");
      EXPECT_EQ(filter->on_response_head(context, upstream, true), http::Filter::Status::proceed);
    }
    answer.status = back->status;
    for (const http::Field& field : back->fields.all())
      answer.fields.emplace(std::string(field.name), std::string(field.value));
    answer.noted = notes.rate_limit;
    filter->~Filter();
    return answer;
  }
  // How many of `n` requests are admitted.
  int admitted(const Factory& factory, const Request& request, int n = 20) {
    int count = 0;
    for (int i = 0; i < n; ++i) count += ask(factory, request).status == 200;
    return count;
  }
  const shared::LimitSlot& counters(const std::string& name) { return shared::limit_slot(*page, "ns/policy/" + name); }
};

TEST_F(RateLimitTest, RefusesBeyondTheBucketAndTells) {
  const auto filter = prepare(config(limit("one", 3, {LimitKeyKind::ClientIp}, 1, 1500)));
  for (const char* left : {"\"policy.one\";r=2;t=2", "\"policy.one\";r=1;t=2", "\"policy.one\";r=0;t=2"}) {
    const Answer answer = ask(*filter);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("RateLimit"), left);
    EXPECT_EQ(answer.field("RateLimit-Policy"), "\"policy.one\";q=3;w=5");
    EXPECT_EQ(answer.field("ratelimit-policy"), "") << "the upstream's are replaced";
    EXPECT_EQ(answer.field("X-RateLimit-Limit"), "77") << "what is not ours to say here stays";
    EXPECT_EQ(answer.noted, "");
  }
  Answer answer = ask(*filter);
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.reason, "rate_limited");
  EXPECT_EQ(answer.field("Retry-After"), "2") << "1.5 s, rounded up";
  EXPECT_EQ(answer.field("RateLimit"), "\"policy.one\";r=0;t=2");
  EXPECT_EQ(answer.field("RateLimit-Policy"), "\"policy.one\";q=3;w=5");
  EXPECT_EQ(answer.field("Content-Type"), "application/json");
  EXPECT_EQ(answer.noted, "ns/policy/one");
  now += kSecond;
  EXPECT_EQ(ask(*filter).field("Retry-After"), "1");
  now += kSecond / 2;
  EXPECT_EQ(ask(*filter).status, 200);
  EXPECT_EQ(ask(*filter).status, 429);
  EXPECT_EQ(counters("one").admitted.get(), 4u);
  EXPECT_EQ(counters("one").limited.get(), 3u);
  EXPECT_EQ(counters("one").shadowed.get(), 0u);
}

TEST_F(RateLimitTest, LegacyFieldsBothAndNone) {
  auto with = [&](bool fields, bool legacy) {
    ir::RateLimitT both = config(limit("one", 3, {LimitKeyKind::ClientIp}, 1, 1500));
    both.fields = fields;
    both.legacy_fields = legacy;
    const auto filter = prepare(std::move(both));
    return ask(*filter);
  };
  Answer answer = with(false, true);
  EXPECT_EQ(answer.field("RateLimit"), "\"theirs\";r=1");
  EXPECT_EQ(answer.field("X-RateLimit-Limit"), "3");
  EXPECT_EQ(answer.field("X-RateLimit-Remaining"), "2");
  EXPECT_EQ(answer.field("x-ratelimit-remaining"), "");
  EXPECT_EQ(answer.field("X-RateLimit-Reset"), "2");
  answer = with(true, true);
  EXPECT_EQ(answer.field("RateLimit"), "\"policy.one\";r=1;t=2");
  EXPECT_EQ(answer.field("X-RateLimit-Remaining"), "1");
  answer = with(false, false);
  EXPECT_EQ(answer.field("RateLimit"), "\"theirs\";r=1");
  EXPECT_EQ(answer.field("X-RateLimit-Limit"), "77");
  EXPECT_EQ(answer.field("X-RateLimit-Reset"), "");
  answer = with(false, true);
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(answer.field("X-RateLimit-Remaining"), "0");
}

TEST_F(RateLimitTest, EachClientHasItsBucket) {
  const auto filter = prepare(config(limit("one", 3, {LimitKeyKind::ClientIp})));
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 1)}), 3);
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 2)}), 3);
  // A network of IPv6 is one client, as long as nothing else is said.
  EXPECT_EQ(admitted(*filter, {.client = v6(1, 1)}), 3);
  EXPECT_EQ(admitted(*filter, {.client = v6(1, 2)}), 0);
  EXPECT_EQ(admitted(*filter, {.client = v6(2, 1)}), 3);
}

TEST_F(RateLimitTest, PrefixesOfClients) {
  auto wide = limit("one", 3, {LimitKeyKind::ClientIp});
  wide->keys[0]->ipv4_bits = 24;
  wide->keys[0]->ipv6_bits = 128;
  const auto filter = prepare(config(std::move(wide)));
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 1)}), 3);
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 255)}), 0);
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 3, 1)}), 3);
  EXPECT_EQ(admitted(*filter, {.client = v6(1, 1)}), 3);
  EXPECT_EQ(admitted(*filter, {.client = v6(1, 2)}), 3);
  auto first = limit("two", 3, {LimitKeyKind::ClientIp});
  first->keys[0]->ipv4_bits = 1;
  first->keys[0]->ipv6_bits = 1;
  const auto halves = prepare(config(std::move(first)));
  EXPECT_EQ(admitted(*halves, {.client = v4(1, 0, 0, 0)}), 3);
  EXPECT_EQ(admitted(*halves, {.client = v4(127, 0, 0, 0)}), 0);
  EXPECT_EQ(admitted(*halves, {.client = v4(128, 0, 0, 0)}), 3);
  EXPECT_EQ(admitted(*halves, {.client = v6(1, 1)}), 3) << "IPv4 is no part of IPv6 here";
}

TEST_F(RateLimitTest, NoKeysAreOneBucketForAll) {
  const auto filter = prepare(config(limit("one", 3)));
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 1)}, 2), 2);
  EXPECT_EQ(admitted(*filter, {.client = v6(1, 1), .host = "b.example"}), 1);
}

TEST_F(RateLimitTest, MethodPathHostAndTheirCombinations) {
  const auto filter = prepare(config(limit("one", 2, {LimitKeyKind::Method, LimitKeyKind::Path, LimitKeyKind::Host})));
  EXPECT_EQ(admitted(*filter, {}), 2);
  EXPECT_EQ(admitted(*filter, {.method = "POST"}), 2);
  EXPECT_EQ(admitted(*filter, {.method = "get"}), 2) << "methods are case-sensitive";
  EXPECT_EQ(admitted(*filter, {.path = "/b"}), 2);
  EXPECT_EQ(admitted(*filter, {.host = "b.example"}), 2);
  EXPECT_EQ(admitted(*filter, {.client = v4(9, 9, 9, 9)}), 0);
  // Where one value ends and the next begins counts.
  EXPECT_EQ(admitted(*filter, {.path = "/ab", .host = "c"}), 2);
  EXPECT_EQ(admitted(*filter, {.path = "/a", .host = "bc"}), 2);
}

TEST_F(RateLimitTest, HeadersAreOneValueWhateverTheirLines) {
  auto by_header = limit("one", 2);
  by_header->keys.push_back(key(LimitKeyKind::Header, "x-api-key"));
  const auto filter = prepare(config(std::move(by_header)));
  EXPECT_EQ(admitted(*filter, {.fields = {{"X-Api-Key", "a"}}}), 2);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", "a"}, {"x-other", "b"}}}), 0);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", "A"}}}), 2);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", "a"}, {"X-API-KEY", "b"}}}), 2);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", "a, b"}}}), 0);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", ""}, {"X-API-KEY", ""}}}), 2);
  EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", ", "}}}), 0);
  // One that the gateway knows by token.
  auto by_agent = limit("two", 2);
  by_agent->keys.push_back(key(LimitKeyKind::Header, "user-agent"));
  const auto agents = prepare(config(std::move(by_agent)));
  EXPECT_EQ(admitted(*agents, {.fields = {{"User-Agent", "a"}}}), 2);
  EXPECT_EQ(admitted(*agents, {.fields = {{"user-agent", "a"}}}), 0);
  EXPECT_EQ(admitted(*agents, {.fields = {{"user-agent", "b"}}}), 2);
  // Host is no field here, and still one to the client.
  auto by_host = limit("three", 2);
  by_host->keys.push_back(key(LimitKeyKind::Header, "host"));
  const auto hosts = prepare(config(std::move(by_host)));
  EXPECT_EQ(admitted(*hosts, {.host = "a.example"}), 2);
  EXPECT_EQ(admitted(*hosts, {.host = "b.example"}), 2);
}

TEST_F(RateLimitTest, WhoLacksTheKeySharesABucketOrIsNotCounted) {
  auto by_header = [&](const std::string& name, bool skip) {
    auto made = limit(name, 2);
    made->keys.push_back(key(LimitKeyKind::Header, "x-api-key"));
    made->skip_missing = skip;
    return made;
  };
  const auto count = prepare(config(by_header("one", false)));
  EXPECT_EQ(admitted(*count, {.client = v4(1, 1, 1, 1)}, 1), 1);
  EXPECT_EQ(admitted(*count, {.client = v4(2, 2, 2, 2)}), 1);
  EXPECT_EQ(admitted(*count, {.fields = {{"x-api-key", ""}}}), 2) << "empty is not missing";
  const auto skip = prepare(config(by_header("two", true)));
  EXPECT_EQ(admitted(*skip, {}), 20);
  EXPECT_EQ(ask(*skip).field("RateLimit-Policy"), "");
  EXPECT_EQ(admitted(*skip, {.fields = {{"x-api-key", ""}}}), 2);
  EXPECT_EQ(counters("two").admitted.get(), 2u);
  // With another key beside it, a missing one is a value like others.
  auto combined = by_header("three", false);
  combined->keys.push_back(key(LimitKeyKind::ClientIp));
  const auto both = prepare(config(std::move(combined)));
  EXPECT_EQ(admitted(*both, {.client = v4(1, 1, 1, 1)}), 2);
  EXPECT_EQ(admitted(*both, {.client = v4(2, 2, 2, 2)}), 2);
}

TEST_F(RateLimitTest, CookiesByName) {
  auto by_cookie = limit("one", 1);
  by_cookie->keys.push_back(key(LimitKeyKind::Cookie, "sid"));
  by_cookie->skip_missing = true;
  const auto filter = prepare(config(std::move(by_cookie)));
  auto with = [&](const std::string& value) { return admitted(*filter, {.fields = {{"Cookie", value}}}, 5); };
  EXPECT_EQ(with("sid=a"), 1);
  EXPECT_EQ(with("x=1; sid=a; y=2"), 0);
  EXPECT_EQ(with("x=1;sid=a"), 0);
  EXPECT_EQ(with(" sid = a "), 0);
  EXPECT_EQ(with("sid=a; sid=b"), 0) << "the first counts";
  EXPECT_EQ(with("sid=b"), 1);
  EXPECT_EQ(with("sid=a=b"), 1);
  EXPECT_EQ(with("sid=\"a\""), 1);
  EXPECT_EQ(with("sid="), 1);
  EXPECT_EQ(admitted(*filter, {.fields = {{"cookie", "x=1"}, {"Cookie", "sid=b"}}}, 5), 0) << "the second line";
  for (const char* without : {"", ";", "=", "sid", "SID=b", "xsid=b", "sidx=b", ";;;sid;;", "x=sid=b", "=sid=b"})
    EXPECT_EQ(with(without), 5) << without;
}

TEST_F(RateLimitTest, LongAndHostileValues) {
  auto by_header = limit("one", 1);
  by_header->keys.push_back(key(LimitKeyKind::Header, "x-api-key"));
  const auto filter = prepare(config(std::move(by_header)));
  std::vector<std::string> values = {std::string(32'000, 'a'), std::string(32'001, 'a'), std::string(31'999, 'a') + "b",
                                     std::string("\0", 1),     std::string("\0\0", 2),   std::string(8, '\xff'),
                                     std::string(16, '\xff')};
  for (int byte = 1; byte < 256; ++byte) values.emplace_back(1, static_cast<char>(byte));
  for (const std::string& value : values) EXPECT_EQ(admitted(*filter, {.fields = {{"x-api-key", value}}}, 2), 1);
  // Lines without end, and Cookie lines of nothing but separators.
  Request many;
  for (int i = 0; i < 200; ++i) many.fields.emplace_back("x-api-key", std::string(100, 'x'));
  EXPECT_EQ(admitted(*filter, many, 2), 1);
  Arena arena(chunks);
  http::Fields fields(arena);
  const std::string separators(32'000, ';'), equals(32'000, '=');
  fields.add("Cookie", separators);
  fields.add("Cookie", equals);
  EXPECT_FALSE(rate_limit::cookie(fields, "sid"));
}

TEST_F(RateLimitTest, ManyKeysStayBounded) {
  auto by_header = limit("one", 2);
  by_header->keys.push_back(key(LimitKeyKind::Header, "x-api-key"));
  const auto filter = prepare(config(std::move(by_header)));
  for (int i = 0; i < 20'000; ++i)
    ASSERT_EQ(admitted(*filter, {.fields = {{"x-api-key", std::to_string(i)}}}, 3), 2) << i;
  EXPECT_GT(page->rate_limit_evictions.get(), 20'000u - 2 * shared::Buckets::kMinKeys);
}

TEST_F(RateLimitTest, AllLimitsApplyAndTheStrictestAnswers) {
  const auto filter = prepare(config(limit("a", 10, {LimitKeyKind::ClientIp}, 1, 60'000),
                                     limit("b", 3, {LimitKeyKind::Path}, 1, 10'000), limit("c", 20, {}, 1, 5000)));
  Answer answer = ask(*filter);
  EXPECT_EQ(answer.field("RateLimit-Policy"),
            "\"policy.a\";q=10;w=600, \"policy.b\";q=3;w=30, \"policy.c\";q=20;w=100");
  EXPECT_EQ(answer.field("RateLimit"), "\"policy.b\";r=2;t=10") << "the fewest tokens";
  EXPECT_EQ(admitted(*filter, {}), 2);
  answer = ask(*filter);
  EXPECT_EQ(answer.field("Retry-After"), "10");
  EXPECT_EQ(answer.noted, "ns/policy/b");
  // A refused request has taken nothing of the others: 10 - 3 are left of a.
  EXPECT_EQ(counters("a").limited.get(), 0u);
  EXPECT_EQ(admitted(*filter, {.path = "/2"}), 3);
  EXPECT_EQ(admitted(*filter, {.path = "/3"}), 3);
  EXPECT_EQ(admitted(*filter, {.path = "/4"}), 1);
  // Now a and b refuse /2: the longer wait answers, both count.
  const uint64_t before = counters("b").limited.get();
  answer = ask(*filter, {.path = "/2"});
  EXPECT_EQ(answer.field("Retry-After"), "60");
  EXPECT_EQ(answer.field("RateLimit"), "\"policy.a\";r=0;t=60");
  EXPECT_EQ(answer.noted, "ns/policy/a");
  EXPECT_EQ(counters("b").limited.get(), before + 1);
  EXPECT_EQ(counters("c").limited.get(), 0u);
  EXPECT_EQ(admitted(*filter, {.client = v4(7, 7, 7, 7), .path = "/5"}), 3);
}

TEST_F(RateLimitTest, ExemptClientsAreNotCounted) {
  auto exempt = limit("a", 2, {LimitKeyKind::ClientIp});
  auto network = [](uint64_t high, uint64_t low, uint8_t bits) {
    auto cidr = std::make_unique<ir::CidrT>();
    cidr->address = std::make_unique<ir::EndpointAddress>(high, low);
    cidr->bits = bits;
    return cidr;
  };
  exempt->exempt.push_back(network(0, 0xffff0a000000, 96 + 8));  // 10.0.0.0/8
  exempt->exempt.push_back(network(0x20010db800000005, 0, 64));  // 2001:db8:0:5::/64
  exempt->exempt.push_back(network(0, 0xffffc0000209, 128));     // 192.0.2.9
  const auto filter = prepare(config(std::move(exempt), limit("b", 4)));
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 1)}), 2);
  const Answer answer = ask(*filter, {.client = v4(10, 1, 2, 3)});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("RateLimit-Policy"), "\"policy.b\";q=4;w=345600") << "only what counts it";
  EXPECT_EQ(admitted(*filter, {.client = v4(192, 0, 2, 9)}), 1);
  auto alone = limit("c", 1);
  alone->exempt.push_back(network(0, 0, 0));  // everybody
  const auto nobody = prepare(config(std::move(alone)));
  EXPECT_EQ(admitted(*nobody, {}), 20);
  EXPECT_EQ(ask(*nobody).field("RateLimit"), "\"theirs\";r=1") << "nothing of ours";
}

TEST_F(RateLimitTest, ShadowLimitsTellAndRefuseNothing) {
  auto shadow = limit("a", 2, {LimitKeyKind::ClientIp});
  shadow->shadow = true;
  const auto filter = prepare(config(std::move(shadow), limit("b", 5)));
  for (int i = 0; i < 5; ++i) {
    const Answer answer = ask(*filter);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("RateLimit-Policy"), "\"policy.b\";q=5;w=432000") << "the policies that can refuse";
    EXPECT_EQ(answer.noted, i < 2 ? "" : "ns/policy/a");
  }
  EXPECT_EQ(ask(*filter).noted, "ns/policy/b");
  EXPECT_EQ(counters("a").admitted.get(), 2u);
  EXPECT_EQ(counters("a").shadowed.get(), 3u) << "what another refused is not counted here";
  EXPECT_EQ(counters("a").limited.get(), 0u);
  EXPECT_EQ(counters("b").limited.get(), 1u);
  auto only = limit("c", 1);
  only->shadow = true;
  const auto alone = prepare(config(std::move(only)));
  EXPECT_EQ(admitted(*alone, {}), 20);
  EXPECT_EQ(ask(*alone).field("RateLimit"), "\"theirs\";r=1");
}

TEST_F(RateLimitTest, AnAnswerBeforeCountingHasThePoliciesOnly) {
  const auto filter = prepare(config(limit("a", 2)));
  const Answer answer = ask(*filter, {}, false);
  EXPECT_EQ(answer.status, 308);
  EXPECT_EQ(answer.field("RateLimit-Policy"), "\"policy.a\";q=2;w=172800");
  EXPECT_EQ(answer.field("RateLimit"), "");
  EXPECT_EQ(admitted(*filter, {}), 2);
}

TEST_F(RateLimitTest, BucketsBelongToTheLimitNotToTheRoute) {
  const auto one = prepare(config(limit("a", 4))), other = prepare(config(limit("a", 4), limit("b", 10)));
  EXPECT_EQ(admitted(*one, {}, 3), 3);
  EXPECT_EQ(admitted(*other, {}), 1);
  EXPECT_EQ(admitted(*one, {}), 0);
  const auto third = prepare(config(limit("b", 10)));
  EXPECT_EQ(admitted(*third, {}), 9);
  // The same values under another limit, or other keys of the same limit, are other buckets.
  const auto paths = prepare(config(limit("a", 4, {LimitKeyKind::Path}))),
             hosts = prepare(config(limit("a", 4, {LimitKeyKind::Host})));
  EXPECT_EQ(admitted(*paths, {.path = "/x", .host = "/x"}), 4);
  EXPECT_EQ(admitted(*hosts, {.path = "/x", .host = "/x"}), 4);
}

TEST_F(RateLimitTest, WhatCannotBeUsedIsRefused) {
  EXPECT_NE(prepare(config(limit("a", 1))), nullptr);
  EXPECT_EQ(prepare(config(limit("a", 0))), nullptr);
  EXPECT_EQ(prepare(config(limit("a", 1, {}, 0))), nullptr);
  EXPECT_EQ(prepare(config(limit("a", 1, {}, 1, 0))), nullptr);
  EXPECT_EQ(prepare(config(limit("a", 1, {LimitKeyKind::Header}))), nullptr) << "without a name";
  EXPECT_EQ(prepare(config(limit("a", 1, {static_cast<LimitKeyKind>(77)}))), nullptr);
  environment = {};
  EXPECT_EQ(prepare(config(limit("a", 1))), nullptr) << "fails closed without buckets";
}

TEST_F(RateLimitTest, ALimitWithoutRoomForItsLabelCountsAsOther) {
  auto long_name = limit(std::string(500, 'x'), 1);
  const auto filter = prepare(config(std::move(long_name)));
  EXPECT_EQ(admitted(*filter, {}, 2), 1);
  EXPECT_STREQ(page->limits[0].label, "other");
  EXPECT_EQ(page->limits[0].admitted.get(), 1u);
}

// ns per request through the filter: --gtest_also_run_disabled_tests --gtest_filter='*DISABLED_Cost'
TEST_F(RateLimitTest, DISABLED_Cost) {
  buckets.~Buckets();
  new (&buckets)
      shared::Buckets(shared::Buckets::map(shared::Buckets::make(shared::Buckets::kDefaultKeys).value().get()).value());
  const auto filter = prepare(config(limit("a", 1'000'000, {LimitKeyKind::ClientIp}, 1'000'000, 1000)));
  for (const uint32_t clients : {1u, 100'000u}) {
    uint64_t best = UINT64_MAX;
    for (int pass = 0; pass < 5; ++pass) {
      uint32_t at = 1;
      const uint64_t begin = monotonic_ns();
      for (int i = 0; i < 1'000'000; ++i) {
        at = at * 1664525 + 1013904223;
        const uint32_t client = (at >> 8) % clients;
        Arena arena(chunks);
        http::RequestHead head(arena);
        http::Filter* made = filter->make(arena, {0,
                                                  v4(10, static_cast<uint8_t>(client >> 16),
                                                     static_cast<uint8_t>(client >> 8), static_cast<uint8_t>(client)),
                                                  nullptr});
        Context context(arena, head, now += 1000);
        (void)made->on_request_head(context, true);
        http::ResponseHead back(arena);
        (void)made->on_response_head(context, back, true);
        made->~Filter();
      }
      best = std::min(best, monotonic_ns() - begin);
    }
    printf("%u keys: %.1f ns a request\n", clients, static_cast<double>(best) / 1e6);
  }
}

}  // namespace
}  // namespace sluice::filters
