#include "dataplane/route/router.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dataplane/route/virtual_host.h"
#include "tests/unit/dataplane/route/table_builder.h"

namespace sluice::route {
namespace {

using ir::PathKind;
using ir::ValueKind;
using testing::HostSpec;
using testing::RouteSpec;
using testing::Table;

struct Request {
  explicit Request(std::string_view host, std::string_view path, std::string_view method = "GET") {
    head.host = host;
    head.path = path;
    head.method_name = method;
  }
  Request& header(std::string_view name, std::string_view value) {
    head.fields.add({name, value, http::Token::none});
    return *this;
  }
  Request& query(std::string_view text) {
    head.query = text;
    head.has_query = true;
    return *this;
  }
  ChunkPool pool{4};
  Arena arena{pool};
  http::RequestHead head{arena};
};

std::string hit(Router& router, const Request& request) {
  const Match match = router.match(request.head);
  return match.route == nullptr ? "none" : match.route->metric()->str();
}
std::string hit(Router& router, std::string_view host, std::string_view path, std::string_view method = "GET") {
  return hit(router, Request(host, path, method));
}

TEST(Router, EmptyTableHasNoHost) {
  const Table table({});
  Router router;
  EXPECT_FALSE(router.match(Request("a.test", "/").head).host);
  router.apply(table.get());
  const Match match = router.match(Request("a.test", "/").head);
  EXPECT_FALSE(match.host);
  EXPECT_EQ(match.route, nullptr);
}

TEST(Router, HostExactThenOneLabelWildcardThenAny) {
  const Table table({{"a.example.com", {{PathKind::Prefix, "", "exact"}}},
                     {"*.example.com", {{PathKind::Prefix, "", "wildcard"}}},
                     {"*", {{PathKind::Prefix, "", "any"}}}});
  Router router;
  router.apply(table.get());
  for (int round = 0; round < 2; ++round) {  // second round: from the cache
    EXPECT_EQ(hit(router, "a.example.com", "/"), "exact");
    EXPECT_EQ(hit(router, "b.example.com", "/"), "wildcard");
    EXPECT_EQ(hit(router, "b.a.example.com", "/"), "any") << "one label only";
    EXPECT_EQ(hit(router, "example.com", "/"), "any");
    EXPECT_EQ(hit(router, ".example.com", "/"), "any") << "an empty label is none";
    EXPECT_EQ(hit(router, "", "/"), "any");
    EXPECT_EQ(hit(router, "[::1]", "/"), "any");
    EXPECT_EQ(hit(router, std::string(300, 'a') + ".example.com", "/"), "any");
  }
}

TEST(Router, AClientCannotNameAPattern) {
  const Table table({{"*.example.com", {{PathKind::Prefix, "", "wildcard"}}}, {"*", {{PathKind::Prefix, "", "any"}}}});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, "*", "/"), "any");
  EXPECT_EQ(hit(router, "*.a.example.com", "/"), "any");
}

TEST(Router, TheMostSpecificHostDecidesAlone) {
  const Table table({{"a.example.com", {{PathKind::Exact, "/only", "exact"}}}, {"*", {{PathKind::Prefix, "", "any"}}}});
  Router router;
  router.apply(table.get());
  const Match match = router.match(Request("a.example.com", "/other").head);
  ASSERT_TRUE(match.host);
  EXPECT_EQ(match.route, nullptr);
}

TEST(Router, PrefixIsByElements) {
  const Table table({{"h",
                      {{PathKind::Prefix, "/foo", "foo"},
                       {PathKind::Prefix, "/foo-bar", "foo-bar"},
                       {PathKind::Prefix, "/foo/bar", "foo/bar"}}}});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, "h", "/foo"), "foo");
  EXPECT_EQ(hit(router, "h", "/foo/"), "foo");
  EXPECT_EQ(hit(router, "h", "/foo/x"), "foo") << "'/foo-bar' lies between '/foo' and '/foo/x' in byte order";
  EXPECT_EQ(hit(router, "h", "/foo/bar"), "foo/bar");
  EXPECT_EQ(hit(router, "h", "/foo/bar/"), "foo/bar");
  EXPECT_EQ(hit(router, "h", "/foo/barx"), "foo");
  EXPECT_EQ(hit(router, "h", "/foo-bar/x"), "foo-bar");
  EXPECT_EQ(hit(router, "h", "/foobar"), "none");
  EXPECT_EQ(hit(router, "h", "/"), "none");
  EXPECT_EQ(router.match(Request("h", "/foo/bar/x").head).matched_prefix, 8u);
}

TEST(Router, OrderIsExactRegexThenLongestPrefix) {
  const Table table({{"h",
                      {{PathKind::Prefix, "", "all"},
                       {PathKind::Prefix, "/a/b", "long"},
                       {PathKind::Regex, "/a/b/[0-9]+", "regex"},
                       {PathKind::Exact, "/a/b/7", "exact"},
                       {PathKind::Prefix, "/a", "short"}}}});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, "h", "/a/b/7"), "exact");
  EXPECT_EQ(hit(router, "h", "/a/b/8"), "regex");
  EXPECT_EQ(hit(router, "h", "/a/b/8x"), "long") << "a regex covers the whole path";
  EXPECT_EQ(hit(router, "h", "/a/c"), "short");
  EXPECT_EQ(hit(router, "h", "/"), "all");
  EXPECT_EQ(hit(router, "h", "*"), "all");
}

TEST(Router, ALostPredicateGoesOnToTheNextCandidate) {
  const Table table({{"h",
                      {{PathKind::Exact, "/p", "post", {"POST"}},
                       {PathKind::Exact, "/p", "blue", {}, {{"x-env", ValueKind::Exact, "blue"}}},
                       {PathKind::Regex, "/p+", "put", {"PUT"}},
                       {PathKind::Prefix, "/p", "delete", {"DELETE"}},
                       {PathKind::Prefix, "", "rest"}}}});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, "h", "/p", "POST"), "post");
  EXPECT_EQ(hit(router, Request("h", "/p").header("X-Env", "blue")), "blue");
  EXPECT_EQ(hit(router, "h", "/p", "PUT"), "put");
  EXPECT_EQ(hit(router, "h", "/p", "DELETE"), "delete");
  EXPECT_EQ(hit(router, "h", "/p", "GET"), "rest");
  EXPECT_EQ(hit(router, "h", "/p", "post"), "rest") << "methods are case-sensitive (RFC 9110 9.1)";
}

RouteSpec with_header(std::string id, ValueKind kind, std::string value) {
  return {PathKind::Prefix, "", std::move(id), {}, {{"x-a", kind, std::move(value)}}};
}

TEST(Router, HeaderKinds) {
  const Table table({{"exact", {with_header("hit", ValueKind::Exact, "one, two")}},
                     {"regex", {with_header("hit", ValueKind::Regex, "v[0-9]+")}},
                     {"present", {with_header("hit", ValueKind::Present, "")}},
                     {"prefix", {with_header("hit", ValueKind::Prefix, "ab")}},
                     {"broken", {with_header("hit", ValueKind::Regex, "(")}},
                     {"hostname", {{PathKind::Prefix, "", "hit", {}, {{"host", ValueKind::Prefix, "host"}}}}},
                     {"upgrade", {{PathKind::Prefix, "", "hit", {}, {{"upgrade", ValueKind::Exact, "websocket"}}}}}});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, Request("exact", "/").header("X-A", "one").header("x-b", "-").header("x-a", "two")), "hit")
      << "lines are joined";
  EXPECT_EQ(hit(router, Request("exact", "/").header("x-a", "one")), "none");
  EXPECT_EQ(hit(router, Request("exact", "/").header("x-a", "One, two")), "none") << "values are compared as they are";
  EXPECT_EQ(hit(router, Request("regex", "/").header("x-a", "v12")), "hit");
  EXPECT_EQ(hit(router, Request("regex", "/").header("x-a", "v12x")), "none") << "whole value";
  EXPECT_EQ(hit(router, Request("present", "/").header("x-a", "")), "hit");
  EXPECT_EQ(hit(router, Request("present", "/").header("x-ab", "1")), "none");
  EXPECT_EQ(hit(router, Request("prefix", "/").header("x-a", "abc")), "hit");
  EXPECT_EQ(hit(router, Request("prefix", "/").header("x-a", "xabc")), "none");
  EXPECT_EQ(hit(router, Request("broken", "/").header("x-a", "(")), "none") << "what cannot be checked does not hold";
  EXPECT_EQ(hit(router, Request("hostname", "/")), "hit");
  Request upgrade("upgrade", "/");
  EXPECT_EQ(hit(router, upgrade), "none");
  upgrade.head.upgrade = "websocket";
  EXPECT_EQ(hit(router, upgrade), "hit");
}

TEST(Router, QueryParameters) {
  const auto host = [](std::string name, std::string parameter, ValueKind kind, std::string value) {
    return HostSpec{std::move(name),
                    {{PathKind::Prefix, "", "hit", {}, {}, {{std::move(parameter), kind, std::move(value)}}}}};
  };
  const Table table({host("exact", "a b", ValueKind::Exact, "1&2"), host("present", "flag", ValueKind::Present, ""),
                     host("prefix", "p", ValueKind::Prefix, "x/"), host("regex", "n", ValueKind::Regex, "[0-9]+"),
                     host("empty", "e", ValueKind::Exact, "")});
  Router router;
  router.apply(table.get());
  EXPECT_EQ(hit(router, Request("exact", "/").query("z=1&a%20b=1%262")), "hit");
  EXPECT_EQ(hit(router, Request("exact", "/").query("a%20b=x&a%20b=1%262")), "none") << "the first occurrence counts";
  EXPECT_EQ(hit(router, Request("exact", "/").query("a+b=1%262")), "none") << "a plus is a plus";
  EXPECT_EQ(hit(router, Request("exact", "/")), "none");
  EXPECT_EQ(hit(router, Request("present", "/").query("flag")), "hit");
  EXPECT_EQ(hit(router, Request("present", "/").query("x&flag=0&y")), "hit");
  EXPECT_EQ(hit(router, Request("present", "/").query("flags=1&xflag")), "none");
  EXPECT_EQ(hit(router, Request("present", "/").query("fla=1&f&=")), "none") << "the start of a name is another name";
  EXPECT_EQ(hit(router, Request("prefix", "/").query("p=x%2fy")), "hit");
  EXPECT_EQ(hit(router, Request("regex", "/").query("n=%31%32")), "hit");
  EXPECT_EQ(hit(router, Request("regex", "/").query("n=1x")), "none");
  EXPECT_EQ(hit(router, Request("empty", "/").query("&&e=&")), "hit");
  EXPECT_EQ(hit(router, Request("empty", "/").query("e=%")), "none");
  EXPECT_EQ(hit(router, Request("empty", "/").query("e=%4")), "none");
}

TEST(Router, UnchangedHostsKeepTheirObjectChangedOnesDoNot) {
  const Table first({{"a", {{PathKind::Prefix, "", "a1"}}},
                     {"b", {{PathKind::Prefix, "", "b1"}}},
                     {"c", {{PathKind::Prefix, "", "c1"}}}});
  const Table second({{"a", {{PathKind::Prefix, "", "a1"}}}, {"b", {{PathKind::Prefix, "", "b2"}}}});
  Router router;
  router.apply(first.get());
  const Match a1 = router.match(Request("a", "/").head), b1 = router.match(Request("b", "/").head),
              c1 = router.match(Request("c", "/").head);
  EXPECT_EQ(router.loaded(), 3u);
  router.apply(second.get());
  EXPECT_EQ(router.epoch(), 2u);
  EXPECT_EQ(router.loaded(), 1u) << "changed and gone ones are dropped without being asked for";
  const Match a2 = router.match(Request("a", "/").head), b2 = router.match(Request("b", "/").head),
              c2 = router.match(Request("c", "/").head);
  EXPECT_EQ(a1.host.get(), a2.host.get());
  EXPECT_NE(b1.host.get(), b2.host.get());
  EXPECT_EQ(b1.route->metric()->str(), "b1") << "a stream's virtual host outlives the table";
  EXPECT_EQ(b2.route->metric()->str(), "b2");
  EXPECT_EQ(c1.route->metric()->str(), "c1");
  EXPECT_FALSE(c2.host);
}

TEST(Router, ManyHostsAreSweptALittleAtATime) {
  std::vector<HostSpec> hosts;
  for (int i = 0; i < 1000; ++i)
    hosts.push_back({fmt::format("h{}", i), {{PathKind::Prefix, "", fmt::format("r{}", i)}}});
  const Table first(hosts);
  Router router;
  router.apply(first.get());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(hit(router, fmt::format("h{}", i), "/"), fmt::format("r{}", i));
  EXPECT_EQ(router.loaded(), 1000u);
  hosts.resize(10);
  const Table second(hosts);
  router.apply(second.get());
  EXPECT_GT(router.loaded(), 10u);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(hit(router, fmt::format("h{}", i), "/"), i < 10 ? fmt::format("r{}", i) : "none");
  EXPECT_EQ(router.loaded(), 10u);
}

// More than one sweep looks at: what is asked for before its turn must be the new one all the same.
TEST(Router, ManyChangedHostsAreNewAtOnce) {
  std::vector<HostSpec> hosts;
  for (int i = 0; i < 1000; ++i) hosts.push_back({fmt::format("h{}", i), {{PathKind::Prefix, "", "old"}}});
  const Table first(hosts);
  for (HostSpec& host : hosts) host.routes[0].id = "new";
  const Table second(hosts);
  Router router;
  router.apply(first.get());
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(hit(router, fmt::format("h{}", i), "/"), "old");
  router.apply(second.get());
  for (int i = 999; i >= 0; --i) ASSERT_EQ(hit(router, fmt::format("h{}", i), "/"), "new") << i;
  EXPECT_EQ(router.loaded(), 1000u);
}

// Far more names of one length than the cache has slots, each asked for twice.
TEST(Router, ManyNamesBelowWildcardsAreNotMixedUp) {
  const Table table({{"*.a.test", {{PathKind::Prefix, "", "a"}}}, {"*.b.test", {{PathKind::Prefix, "", "b"}}}});
  Router router;
  router.apply(table.get());
  for (int i = 100; i < 900; ++i) {
    for (const char* zone : {"a", "b", "c"}) {
      const std::string name = fmt::format("h{}.{}.test", i, zone), expected = *zone == 'c' ? "none" : zone;
      ASSERT_EQ(hit(router, name, "/"), expected) << name;
      ASSERT_EQ(hit(router, name, "/"), expected) << name;
    }
  }
}

TEST(Router, EachRegexOfARouteIsItsOwn) {
  const Table table(
      {{"a",
        {{PathKind::Prefix,
          "",
          "hit",
          {},
          {{"x-a", ValueKind::Regex, "a+"}, {"x-b", ValueKind::Exact, "-"}, {"x-c", ValueKind::Regex, "c+"}},
          {{"q", ValueKind::Regex, "q+"}, {"r", ValueKind::Regex, "r+"}}}}}});
  Router router;
  router.apply(table.get());
  const auto ask = [&](std::string_view a, std::string_view c, std::string_view query) {
    return hit(router, Request("a", "/").header("x-a", a).header("x-b", "-").header("x-c", c).query(query));
  };
  EXPECT_EQ(ask("aa", "cc", "q=qq&r=rr"), "hit");
  EXPECT_EQ(ask("aa", "aa", "q=qq&r=rr"), "none");
  EXPECT_EQ(ask("cc", "cc", "q=qq&r=rr"), "none");
  EXPECT_EQ(ask("aa", "cc", "q=cc&r=rr"), "none");
  EXPECT_EQ(ask("aa", "cc", "q=qq&r=qq"), "none");
}

struct Counted : RouteState {
  explicit Counted(int& alive) : alive_(alive) { ++alive_; }
  ~Counted() override { --alive_; }
  int& alive_;
};

TEST(Router, RouteStateLivesAsLongAsTheVirtualHost) {
  int alive = 0;
  const Table first({{"a", {{PathKind::Prefix, "", "a1"}}}}), second({{"a", {{PathKind::Prefix, "", "a2"}}}});
  Router router;
  router.apply(first.get());
  Match match = router.match(Request("a", "/").head);
  EXPECT_EQ(match.host->state(match.index), nullptr);
  match.host->state(match.index) = std::make_unique<Counted>(alive);
  EXPECT_EQ(router.match(Request("a", "/").head).host->state(0).get(), match.host->state(0).get());
  router.apply(second.get());
  EXPECT_EQ(alive, 1);
  match = {};
  EXPECT_EQ(alive, 0);
}

TEST(Router, ExplainGivesTheFirstReasonOfEachCandidate) {
  const Table table({{"a.example.com",
                      {{PathKind::Exact, "/p", "post", {"POST", "PUT"}},
                       {PathKind::Exact, "/p", "blue", {}, {{"x-env", ValueKind::Exact, "blue"}}},
                       {PathKind::Prefix, "/p", "winner"},
                       {PathKind::Prefix, "", "all"},
                       {PathKind::Exact, "/q", "other"},
                       {PathKind::Prefix, "/p", "query", {}, {}, {{"q", ValueKind::Present, ""}}}}},
                     {"*.example.com", {{PathKind::Prefix, "", "wildcard"}}}});
  Router router;
  router.apply(table.get());
  std::vector<Candidate> candidates;
  const Request request("a.example.com", "/p");
  const Match match = router.match(request.head, &candidates);
  EXPECT_EQ(match.route->metric()->str(), "winner");
  std::vector<std::pair<std::string, Lost>> got;
  for (const Candidate& candidate : candidates) got.emplace_back(candidate.route->metric()->str(), candidate.lost);
  EXPECT_THAT(got, ::testing::ElementsAre(std::pair("post", Lost::method), std::pair("blue", Lost::header),
                                          std::pair("winner", Lost::won), std::pair("query", Lost::query),
                                          std::pair("all", Lost::shadowed), std::pair("other", Lost::path),
                                          std::pair("wildcard", Lost::host)));
  EXPECT_EQ(candidates[0].detail, "method: expected POST or PUT, got GET");
  EXPECT_EQ(candidates[1].detail, "header x-env: expected exact 'blue', it is absent");
  EXPECT_EQ(candidates[3].detail, "query parameter q: expected any value, it is absent");
  EXPECT_EQ(candidates[5].detail, "path: expected exact '/q', got '/p'");
}

// Bytes that passed no compiler: nothing may crash.
TEST(Router, DamagedVirtualHostsAreNotUsed) {
  ir::RouteTableT raw;
  auto ref = std::make_unique<ir::VirtualHostRefT>();
  ref->host = "a";
  ref->data = {1, 2, 3, 4, 5, 6, 7, 8, 250, 250, 250, 250};
  raw.hosts.push_back(std::move(ref));
  ir::VirtualHostT host;
  host.host = "b";
  host.routes.push_back(testing::make_route({PathKind::Prefix, "", "b"}));
  host.regex = {7, 1, 0};
  for (const uint32_t index : {9u, 1u, 0u}) {  // there is one route
    auto entry = std::make_unique<ir::PathEntryT>();
    entry->path = index == 0 ? "" : index == 1 ? "/y" : "/x";
    entry->routes = {index};
    host.prefix.push_back(std::move(entry));
  }
  flatbuffers::FlatBufferBuilder nested;
  nested.Finish(ir::VirtualHost::Pack(nested, &host));
  auto good = std::make_unique<ir::VirtualHostRefT>();
  good->host = "b";
  good->data.assign(nested.GetBufferPointer(), nested.GetBufferPointer() + nested.GetSize());
  raw.hosts.push_back(std::move(good));
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::RouteTable::Pack(builder, &raw));
  Router router;
  router.apply(*flatbuffers::GetRoot<ir::RouteTable>(builder.GetBufferPointer()));
  EXPECT_EQ(hit(router, "a", "/"), "none");
  EXPECT_EQ(hit(router, "b", "/x"), "b");
  EXPECT_EQ(hit(router, "b", "/y"), "b");
}

}  // namespace
}  // namespace sluice::route
