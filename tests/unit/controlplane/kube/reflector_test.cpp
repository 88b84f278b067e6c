// The list/watch state machine without sockets: every row of the table in reflector.h. Clock and chance are ours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/kube/reflector.h"

namespace sluice::kube {
namespace {

using store::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string object(const std::string& name, int version) {
  return fmt::format(
      R"({{"metadata":{{"namespace":"a","name":"{}","uid":"u","resourceVersion":"{}"}},"data":{{"k":"v"}}}})", name,
      version);
}
std::string event(const std::string& type, const std::string& name, int version) {
  return fmt::format(R"({{"type":"{}","object":{}}})", type, object(name, version)) + "\n";
}
std::string bookmark(int version) {
  return fmt::format(R"({{"type":"BOOKMARK","object":{{"kind":"ConfigMap","metadata":{{"resourceVersion":"{}"}}}}}})",
                     version) +
         "\n";
}
std::string error(int code, int retry = 0) {
  return fmt::format(
             R"({{"type":"ERROR","object":{{"kind":"Status","code":{},"message":"m","details":{{"retryAfterSeconds":{}}}}}}})",
             code, retry) +
         "\n";
}
std::string list(const std::vector<std::string>& items, int version, const std::string& more = {}) {
  std::string text = fmt::format(
      R"({{"kind":"ConfigMapList","metadata":{{"resourceVersion":"{}","continue":"{}"}},"items":[)", version, more);
  for (size_t i = 0; i < items.size(); ++i) text += (i == 0 ? "" : ",") + items[i];
  return text + "]}";
}
Result<Reply> ok(std::string body) {
  Reply reply;
  reply.status = 200;
  reply.content_type = "application/json";
  reply.body = std::move(body);
  return reply;
}
Result<Reply> answered(int status, uint32_t retry = 0) {
  Reply reply;
  reply.status = status;
  reply.retry_after_s = retry;
  return reply;
}
Head head(int status, uint32_t retry = 0, std::string type = "application/json") {
  return {status, std::move(type), retry};
}

// "+name", "-name", "!name" (undecodable), "[ns: names]" for a Replace.
std::vector<std::string> told(const Reflector::Actions& actions) {
  std::vector<std::string> out;
  for (const store::Change& change : actions.changes) {
    if (const auto* upsert = std::get_if<store::Upsert>(&change)) {
      out.push_back("+" + store::meta_of(upsert->object).name + store::meta_of(upsert->object).resource_version);
    } else if (const auto* gone = std::get_if<store::Delete>(&change)) {
      out.push_back("-" + gone->ref.key.name);
    } else if (const auto* bad = std::get_if<store::Undecodable>(&change)) {
      out.push_back("!" + bad->ref.key.name);
    } else {
      const auto& replace = std::get<store::Replace>(change);
      std::string text = "[" + replace.ns + ":";
      for (const auto& item : replace.objects) text += " " + store::meta_of(item).name;
      out.push_back(text + "]");
    }
  }
  return out;
}

class ReflectorTest : public testing::Test {
 protected:
  static ReflectorScope scope() {
    ReflectorScope scope;
    scope.kind = Kind::config_map;
    scope.path = "/api/v1/configmaps";
    return scope;
  }
  Reflector make(ReflectorScope with = scope()) {
    return Reflector(std::move(with), {}, [this] { return chance; });
  }
  // Listed {x1} at 10 and watching with a head.
  Reflector watching(ReflectorScope with = scope()) {
    Reflector reflector = make(std::move(with));
    (void)reflector.start(now);
    (void)reflector.on_list(now, ok(list({object("x", 1)}, 10)));
    (void)reflector.on_watch_head(now, head(200));
    return reflector;
  }
  // Expects a wait of [low, high] ms, lets it pass, and returns what is then done.
  Reflector::Actions after_wait(Reflector& reflector, uint64_t low, uint64_t high) {
    EXPECT_GE(reflector.wake_at(), now + low);
    EXPECT_LE(reflector.wake_at(), now + high);
    EXPECT_TRUE(told(reflector.on_timer(reflector.wake_at() - 1)).empty());
    now = reflector.wake_at();
    return reflector.on_timer(now);
  }
  uint64_t now = 1'000'000;
  double chance = 0;
};

TEST_F(ReflectorTest, ListsThenWatchesFromTheListsVersion) {
  Reflector reflector = make();
  auto actions = reflector.start(now);
  EXPECT_EQ(actions.list, "/api/v1/configmaps?limit=500");
  actions = reflector.on_list(now, ok(list({object("x", 1), object("y", 2)}, 10)));
  EXPECT_THAT(told(actions), ElementsAre("[: x y]"));
  EXPECT_TRUE(actions.synced);
  EXPECT_EQ(actions.watch, "/api/v1/configmaps?watch=1&allowWatchBookmarks=true&resourceVersion=10&timeoutSeconds=300");
}

TEST_F(ReflectorTest, WatchTimeoutIsRandomBetweenBounds) {
  chance = 0.999999;
  Reflector reflector = make();
  (void)reflector.start(now);
  EXPECT_THAT(*reflector.on_list(now, ok(list({}, 10))).watch, HasSubstr("timeoutSeconds=600"));
}

TEST_F(ReflectorTest, PagesAreJoinedAndTheFirstPagesVersionCounts) {
  Reflector reflector = make();
  (void)reflector.start(now);
  auto actions = reflector.on_list(now, ok(list({object("x", 1)}, 10, "tok&en")));
  EXPECT_THAT(told(actions), IsEmpty());
  EXPECT_FALSE(actions.synced);
  EXPECT_EQ(actions.list, "/api/v1/configmaps?limit=500&continue=tok%26en");
  actions = reflector.on_list(now, ok(list({object("y", 2)}, 12)));
  EXPECT_THAT(told(actions), ElementsAre("[: x y]"));
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=10&"));
}

TEST_F(ReflectorTest, ExpiredContinueTokenListsAnewInOnePage) {
  Reflector reflector = make();
  (void)reflector.start(now);
  (void)reflector.on_list(now, ok(list({object("x", 1)}, 10, "t")));
  auto actions = reflector.on_list(now, answered(410));
  EXPECT_THAT(told(actions), IsEmpty());
  actions = after_wait(reflector, 800, 1600);
  EXPECT_EQ(actions.list, "/api/v1/configmaps");
  actions = reflector.on_list(now, ok(list({object("z", 3)}, 20)));
  EXPECT_THAT(told(actions), ElementsAre("[: z]")) << "nothing of the abandoned list";
}

TEST_F(ReflectorTest, AHalfListIsNeverApplied) {
  Reflector reflector = make();
  (void)reflector.start(now);
  (void)reflector.on_list(now, ok(list({object("x", 1)}, 10, "t")));
  auto actions = reflector.on_list(now, fail("connection reset"));
  EXPECT_THAT(told(actions), IsEmpty());
  EXPECT_FALSE(actions.synced);
  actions = after_wait(reflector, 800, 1600);
  EXPECT_THAT(*actions.list, HasSubstr("continue=t")) << "the same page again";
}

TEST_F(ReflectorTest, BadListsAreRefusedWhole) {
  for (const std::string& body :
       {std::string("<html>"), std::string("{}"), list({object("x", 1)}, 10).substr(0, 60),
        std::string(R"({"kind":"Status"})"), std::string(R"({"kind":"ConfigMapList","metadata":{},"items":[]})")}) {
    Reflector reflector = make();
    (void)reflector.start(now);
    auto actions = reflector.on_list(now, ok(body));
    EXPECT_THAT(told(actions), IsEmpty()) << body;
    EXPECT_FALSE(actions.synced) << body;
    EXPECT_FALSE(actions.warnings.empty()) << body;
    EXPECT_TRUE(after_wait(reflector, 800, 1600).list) << body;
  }
}

TEST_F(ReflectorTest, AListOfAWrongContentTypeIsNoList) {
  Reflector reflector = make();
  (void)reflector.start(now);
  auto reply = ok(list({}, 10));
  reply->content_type = "text/html";
  EXPECT_THAT(told(reflector.on_list(now, std::move(reply))), IsEmpty());
}

TEST_F(ReflectorTest, EventsAreToldAndAdvanceTheVersion) {
  Reflector reflector = watching();
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("ADDED", "y", 11) + event("MODIFIED", "x", 12))),
              ElementsAre("+y11", "+x12"));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("DELETED", "y", 13))), ElementsAre("-y"));
  const auto actions = reflector.on_watch_end(now + 400'000, {});
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=13&"));
  EXPECT_FALSE(actions.list);
}

TEST_F(ReflectorTest, BookmarksAdvanceTheVersionAndTellNothing) {
  Reflector reflector = watching();
  EXPECT_THAT(told(reflector.on_watch_bytes(now, bookmark(99))), IsEmpty());
  EXPECT_THAT(*reflector.on_watch_end(now + 5000, {}).watch, HasSubstr("resourceVersion=99&"));
}

TEST_F(ReflectorTest, EventsMayBeCutAnywhere) {
  const std::string bytes = event("ADDED", "y", 11) + "\n" + event("MODIFIED", "x", 12);
  for (size_t cut = 1; cut < bytes.size(); ++cut) {
    Reflector reflector = watching();
    auto first = told(reflector.on_watch_bytes(now, std::string_view(bytes).substr(0, cut)));
    auto second = told(reflector.on_watch_bytes(now, std::string_view(bytes).substr(cut)));
    first.insert(first.end(), second.begin(), second.end());
    ASSERT_THAT(first, ElementsAre("+y11", "+x12")) << cut;
  }
}

TEST_F(ReflectorTest, HalfALineAtTheEndIsDropped) {
  Reflector reflector = watching();
  const std::string line = event("ADDED", "y", 11);
  EXPECT_THAT(told(reflector.on_watch_bytes(now, line.substr(0, line.size() - 1))), IsEmpty());
  auto actions = reflector.on_watch_end(now + 5000, fail("cut"));
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=10&"));
  (void)reflector.on_watch_head(now, head(200));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("ADDED", "z", 12))), ElementsAre("+z12"))
      << "the half line is not joined to it";
}

TEST_F(ReflectorTest, GoneAsStatusAndAsEventBothList) {
  for (const bool as_event : {false, true}) {
    Reflector reflector = make();
    (void)reflector.start(now);
    (void)reflector.on_list(now, ok(list({object("x", 1), object("y", 1)}, 10)));
    Reflector::Actions actions;
    if (as_event) {
      (void)reflector.on_watch_head(now, head(200));
      actions = reflector.on_watch_bytes(now, error(410) + event("DELETED", "x", 12));
    } else {
      actions = reflector.on_watch_head(now, head(410));
    }
    EXPECT_TRUE(actions.cancel);
    EXPECT_THAT(told(actions), IsEmpty()) << "nothing after an ERROR counts";
    actions = after_wait(reflector, 800, 1600);
    EXPECT_EQ(actions.list, "/api/v1/configmaps?limit=500");
    EXPECT_THAT(told(reflector.on_list(now, ok(list({object("y", 1)}, 30)))), ElementsAre("[: y]"))
        << "the lost DELETE of x";
  }
}

TEST_F(ReflectorTest, TooManyRequestsWaitsAndKeepsTheVersion) {
  Reflector reflector = watching();
  (void)reflector.on_watch_bytes(now, event("ADDED", "y", 11));
  (void)reflector.on_watch_end(now + 5000, {});
  now += 5000;
  auto actions = reflector.on_watch_head(now, head(429, 7));
  EXPECT_TRUE(actions.cancel);
  actions = after_wait(reflector, 7000, 7000);
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=11&"));
  (void)reflector.on_watch_head(now, head(200));
  (void)reflector.on_watch_bytes(now, error(429, 9));
  EXPECT_THAT(*after_wait(reflector, 9000, 9000).watch, HasSubstr("resourceVersion=11&"));
}

TEST_F(ReflectorTest, RetryAfterIsBounded) {
  Reflector reflector = watching();
  (void)reflector.on_watch_bytes(now, error(429, 86'000));
  EXPECT_LE(reflector.wake_at(), now + 300'000);
}

TEST_F(ReflectorTest, ServerErrorsKeepTheVersionForABoundedTime) {
  Reflector reflector = watching();
  for (int i = 0; i < 4; ++i) {
    (void)reflector.on_watch_bytes(now, error(500));
    ASSERT_TRUE(after_wait(reflector, 800, 60'000).watch) << i;
    (void)reflector.on_watch_head(now, head(200));
  }
  (void)reflector.on_watch_bytes(now, error(500));
  EXPECT_TRUE(after_wait(reflector, 800, 60'000).list);
}

TEST_F(ReflectorTest, RefusedConnectionsNeverList) {
  Reflector reflector = watching();
  (void)reflector.on_watch_end(now + 5000, {});
  now += 5000;
  for (int i = 0; i < 50; ++i) {
    auto actions = reflector.on_watch_end(now, fail("refused"));
    EXPECT_THAT(told(actions), IsEmpty());
    actions = after_wait(reflector, 800, 30'000);
    ASSERT_FALSE(actions.list);
    ASSERT_THAT(*actions.watch, HasSubstr("resourceVersion=10&"));
  }
}

TEST_F(ReflectorTest, BackoffDoublesToThirtySecondsWithJitterAndResets) {
  Reflector reflector = make();
  (void)reflector.start(now);
  std::vector<uint64_t> waits;
  for (int i = 0; i < 8; ++i) {
    (void)reflector.on_list(now, fail("refused"));
    waits.push_back(reflector.wake_at() - now);
    now = reflector.wake_at();
    (void)reflector.on_timer(now);
  }
  EXPECT_THAT(waits, ElementsAre(800, 1600, 3200, 6400, 12'800, 25'600, 30'000, 30'000));
  chance = 0.5;
  (void)reflector.on_list(now, fail("refused"));
  EXPECT_EQ(reflector.wake_at() - now, 45'000u);
  now = reflector.wake_at();
  (void)reflector.on_timer(now);
  chance = 0;
  now += 120'001;
  (void)reflector.on_list(now, fail("refused"));
  EXPECT_EQ(reflector.wake_at() - now, 800u) << "two minutes of health";
}

TEST_F(ReflectorTest, RepeatedEventsDoNoHarm) {
  Reflector reflector = watching();
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("ADDED", "y", 11) + event("ADDED", "y", 11))),
              ElementsAre("+y11"));
  EXPECT_THAT(told(reflector.on_watch_bytes(
                  now, event("DELETED", "y", 12) + event("DELETED", "y", 12) + event("ADDED", "y", 11))),
              ElementsAre("-y"));
  EXPECT_TRUE(reflector.on_watch_end(now + 5000, {}).watch) << "repetition is no disorder";
}

TEST_F(ReflectorTest, ReorderedEventsKeepTheNewestAndListAfterwards) {
  Reflector reflector = watching();
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("MODIFIED", "x", 14) + event("MODIFIED", "x", 12))),
              ElementsAre("+x14"));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("ADDED", "z", 13))), ElementsAre("+z13"));
  const auto actions = reflector.on_watch_end(now + 5000, {});
  EXPECT_TRUE(actions.list) << "another one may have been overtaken by the end";
}

TEST_F(ReflectorTest, ADeletedObjectIsNotRaisedByAnOlderEvent) {
  Reflector reflector = watching();
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("DELETED", "x", 15) + event("MODIFIED", "x", 14))),
              ElementsAre("-x"));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("ADDED", "x", 16))), ElementsAre("+x16"));
}

TEST_F(ReflectorTest, ADeletedEventMayCarryTheLastVersion) {
  Reflector reflector = watching();
  (void)reflector.on_watch_bytes(now, event("MODIFIED", "x", 12));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, event("DELETED", "x", 12))), ElementsAre("-x"));
}

TEST_F(ReflectorTest, InitialEventsFromZeroDoNotAdvanceTheVersion) {
  Reflector reflector = make();
  (void)reflector.start(now);
  EXPECT_THAT(*reflector.on_list(now, ok(list({}, 0))).watch, HasSubstr("resourceVersion=0&"));
  (void)reflector.on_watch_head(now, head(200));
  (void)reflector.on_watch_bytes(now, event("ADDED", "b", 9) + event("ADDED", "a", 4));
  EXPECT_EQ(reflector.version(), "0");
  (void)reflector.on_watch_bytes(now, event("MODIFIED", "a", 12));
  EXPECT_EQ(reflector.version(), "12");
}

TEST_F(ReflectorTest, GarbageAndOversizedLinesList) {
  for (const std::string& bytes :
       {std::string("{\"type\":\n"), std::string("nonsense\n"), std::string("{\"type\":\"NEW\",\"object\":{}}\n"),
        std::string("{\"type\":\"ADDED\",\"object\":{}}\n"), std::string("{\"type\":\"ADDED\"}\n"), std::string("[]\n"),
        std::string(kMaxLine + 1, 'x')}) {
    Reflector reflector = watching();
    const auto actions = reflector.on_watch_bytes(now, bytes);
    EXPECT_TRUE(actions.cancel) << bytes.substr(0, 30);
    EXPECT_THAT(told(actions), IsEmpty());
    EXPECT_TRUE(after_wait(reflector, 800, 1600).list) << bytes.substr(0, 30);
  }
}

TEST_F(ReflectorTest, AWatchOfAWrongContentTypeLists) {
  Reflector reflector = make();
  (void)reflector.start(now);
  (void)reflector.on_list(now, ok(list({}, 10)));
  EXPECT_TRUE(reflector.on_watch_head(now, head(200, 0, "text/html")).cancel);
  EXPECT_TRUE(after_wait(reflector, 800, 1600).list);
}

TEST_F(ReflectorTest, SilenceRenewsTheWatchFromItsVersion) {
  Reflector reflector = watching();
  (void)reflector.on_watch_bytes(now, bookmark(20));
  const auto actions = after_wait(reflector, 150'000, 150'000);
  EXPECT_TRUE(actions.cancel);
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=20&"));
}

TEST_F(ReflectorTest, AWatchThatOutlivesItsTimeoutIsRenewed) {
  Reflector reflector = watching();
  const uint64_t end = now + 330'000;
  while (now < end - 60'000) {
    now += 60'000;
    EXPECT_FALSE(reflector.on_timer(now).cancel);
    (void)reflector.on_watch_bytes(now, bookmark(20));
  }
  EXPECT_EQ(reflector.wake_at(), end);
  EXPECT_TRUE(reflector.on_timer(end).watch);
}

TEST_F(ReflectorTest, NoAnswerInTimeIsAFailure) {
  Reflector reflector = make();
  (void)reflector.start(now);
  auto actions = after_wait(reflector, 60'000, 60'000);
  EXPECT_TRUE(actions.cancel);
  EXPECT_TRUE(after_wait(reflector, 800, 1600).list);
  (void)reflector.on_list(now, ok(list({}, 10)));
  actions = after_wait(reflector, 60'000, 60'000);
  EXPECT_TRUE(actions.cancel);
  EXPECT_TRUE(after_wait(reflector, 800, 60'000).watch);
}

TEST_F(ReflectorTest, WatchesThatEndAtOnceAreNotRenewedAtOnce) {
  Reflector reflector = watching();
  EXPECT_FALSE(reflector.on_watch_end(now + 10, {}).watch);
  EXPECT_TRUE(after_wait(reflector, 800, 1600).watch);
}

TEST_F(ReflectorTest, NudgeRenewsAWatchAndShortensAWaitButNotRetryAfter) {
  Reflector reflector = watching();
  auto actions = reflector.nudge(now);
  EXPECT_TRUE(actions.cancel);
  EXPECT_THAT(*actions.watch, HasSubstr("resourceVersion=10&"));
  for (int i = 0; i < 6; ++i) {
    (void)reflector.on_watch_end(now, fail("refused"));
    if (i < 5) (void)after_wait(reflector, 800, 60'000);
  }
  (void)reflector.nudge(now);
  EXPECT_LE(reflector.wake_at(), now + 800);
  (void)after_wait(reflector, 0, 800);
  (void)reflector.on_watch_head(now, head(429, 20));
  (void)reflector.nudge(now);
  EXPECT_EQ(reflector.wake_at(), now + 20'000);
}

TEST_F(ReflectorTest, AnAbsentKindIsEmptyAtFirstAndAskedForAgain) {
  ReflectorScope with = scope();
  with.may_be_absent = true;
  Reflector reflector = make(with);
  (void)reflector.start(now);
  auto actions = reflector.on_list(now, answered(404));
  EXPECT_TRUE(actions.synced);
  EXPECT_THAT(told(actions), ElementsAre("[:]"));
  actions = after_wait(reflector, 30'000, 40'000);
  ASSERT_TRUE(actions.list);
  EXPECT_THAT(told(reflector.on_list(now, ok(list({object("x", 1)}, 10)))), ElementsAre("[: x]"));
}

TEST_F(ReflectorTest, KnownObjectsOutliveAShort404) {
  ReflectorScope with = scope();
  with.may_be_absent = true;
  Reflector reflector = watching(with);
  EXPECT_TRUE(reflector.on_watch_head(now, head(404)).cancel);
  (void)after_wait(reflector, 800, 1600);
  EXPECT_THAT(told(reflector.on_list(now, answered(404))), IsEmpty());
  (void)after_wait(reflector, 30'000, 40'000);
  EXPECT_THAT(told(reflector.on_list(now, answered(404))), IsEmpty());
  (void)after_wait(reflector, 30'000, 40'000);
  EXPECT_THAT(told(reflector.on_list(now, answered(404))), ElementsAre("[:]")) << "a minute of 404: the CRD is gone";
}

TEST_F(ReflectorTest, OrdinaryKindsAreNeverEmptyBy404Or403) {
  for (const int status : {400, 401, 403, 404, 500, 503}) {
    Reflector reflector = make();
    (void)reflector.start(now);
    const auto actions = reflector.on_list(now, answered(status));
    EXPECT_FALSE(actions.synced) << status;
    EXPECT_THAT(told(actions), IsEmpty()) << status;
  }
}

TEST_F(ReflectorTest, ForbiddenNeverDeletes) {
  ReflectorScope with = scope();
  with.may_be_forbidden = true;
  Reflector reflector = make(with);
  (void)reflector.start(now);
  auto actions = reflector.on_list(now, answered(403));
  EXPECT_TRUE(actions.synced);
  EXPECT_THAT(told(actions), IsEmpty());
}

TEST_F(ReflectorTest, MetadataOnlyAsksForItAndDropsAnnotations) {
  ReflectorScope with = scope();
  with.kind = Kind::secret;
  with.metadata_only = true;
  with.field_selector = "type!=x";
  Reflector reflector = make(with);
  auto actions = reflector.start(now);
  EXPECT_EQ(actions.list, "/api/v1/configmaps?limit=500&fieldSelector=type%21%3Dx");
  EXPECT_EQ(reflector.accept(), "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
  actions = reflector.on_list(
      now, ok(list({R"({"metadata":{"namespace":"a","name":"s","annotations":{"last-applied":"key"}}})"}, 10)));
  const auto& replace = std::get<store::Replace>(actions.changes.at(0));
  EXPECT_TRUE(store::meta_of(replace.objects.at(0)).annotations.empty());
  EXPECT_EQ(reflector.accept(), "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
}

TEST_F(ReflectorTest, NamespaceScopesReplaceOnlyTheirOwn) {
  ReflectorScope with = scope();
  with.ns = "a";
  Reflector reflector = make(with);
  (void)reflector.start(now);
  EXPECT_THAT(told(reflector.on_list(now, ok(list({object("x", 1)}, 10)))), ElementsAre("[a: x]"));
}

TEST_F(ReflectorTest, AScopeOfOneNameNeverReplaces) {
  ReflectorScope with = scope();
  with.kind = Kind::namespace_;
  with.only_name = "a";
  Reflector reflector = make(with);
  (void)reflector.start(now);
  EXPECT_THAT(told(reflector.on_list(now, ok(list({R"({"metadata":{"name":"a","resourceVersion":"3"}})"}, 10)))),
              ElementsAre("+a3"));
  Reflector none = make(with);
  (void)none.start(now);
  EXPECT_THAT(told(none.on_list(now, ok(list({}, 10)))), ElementsAre("-a"));
}

TEST_F(ReflectorTest, UndecodableObjectsAreToldAndTheRestServed) {
  ReflectorScope with = scope();
  with.kind = Kind::ingress;
  Reflector reflector = make(with);
  (void)reflector.start(now);
  const std::string bad = R"({"metadata":{"namespace":"a","name":"bad","resourceVersion":"5"},"spec":{"rules":7}})";
  const std::string good = R"({"metadata":{"namespace":"a","name":"good","resourceVersion":"6"},"spec":{}})";
  EXPECT_THAT(told(reflector.on_list(now, ok(list({bad, "{}", good}, 10)))), ElementsAre("[: good]", "!bad"));
  (void)reflector.on_watch_head(now, head(200));
  EXPECT_THAT(told(reflector.on_watch_bytes(now, R"({"type":"MODIFIED","object":)" + bad.substr(0, bad.find("\"5\"")) +
                                                     R"("11"},"spec":{"rules":8}}})" + "\n")),
              ElementsAre("!bad"));
}

}  // namespace
}  // namespace sluice::kube
