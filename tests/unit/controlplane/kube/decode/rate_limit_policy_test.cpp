#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/kube/decode/decode.h"

namespace sluice::kube {
namespace {

using store::LimitKeyType;
using store::RateLimitPolicy;
using testing::ElementsAre;

Decoded decode_spec(const std::string& spec) {
  auto result = decode(
      R"({"apiVersion":"sluice.dev/v1alpha1","kind":"RateLimitPolicy","metadata":{"name":"p"},"spec":)" + spec + "}");
  EXPECT_TRUE(result.has_value()) << result.error().message;
  return result ? std::move(*result) : Decoded{};
}

RateLimitPolicy decoded(const std::string& spec) {
  const Decoded result = decode_spec(spec);
  if (!result.object) {
    ADD_FAILURE() << spec << (result.problems.empty() ? "" : ": " + result.problems[0].field);
    return {};
  }
  return std::get<RateLimitPolicy>(*result.object);
}

const std::string kTargets = R"("targetRefs":[{"group":"sluice.dev","kind":"Route","name":"r"}])";
RateLimitPolicy with_limits(const std::string& limits) {
  return decoded("{" + kTargets + R"(,"limits":)" + limits + "}");
}
RateLimitPolicy with_key(const std::string& key) {
  return with_limits(R"([{"name":"a","requests":1,"keys":[)" + key + "]}]");
}

std::vector<std::string> flaws(const RateLimitPolicy& policy) {
  std::vector<std::string> out;
  for (const auto& flaw : policy.meta.flaws) out.push_back(flaw.field + ": " + flaw.text);
  return out;
}

TEST(DecodePolicy, Whole) {
  const RateLimitPolicy policy =
      decoded(R"({"targetRefs":[{"group":"sluice.dev","kind":"Route","name":"r","sectionName":"login"},
      {"group":"","kind":"Namespace","name":"shop"}],
    "limits":[{"name":"ip","requests":100,"per":"1m30s","burst":20,"keys":[{"type":"ClientIP","ipv4PrefixLength":24,"ipv6PrefixLength":48}]},
      {"name":"token","requests":1,"keys":[{"type":"Header","name":"X-Key"},{"type":"Cookie","name":"sid"},{"type":"Method"},{"type":"Path"}],"whenMissing":"Skip"},
      {"name":"all","requests":1000000,"per":"24h","keys":[]}],
    "exempt":{"cidrs":["10.0.0.0/8"]},"mode":"Shadow","responseFields":"Both"})");
  EXPECT_TRUE(policy.meta.flaws.empty());
  EXPECT_FALSE(policy.invalid);
  EXPECT_THAT(policy.target_refs, ElementsAre(store::PolicyTarget{"sluice.dev", "Route", "r", "login"},
                                              store::PolicyTarget{"", "Namespace", "shop", ""}));
  ASSERT_EQ(policy.limits.size(), 3u);
  EXPECT_EQ(policy.limits[0],
            (store::RateLimit{"ip", 100, 90'000, 20, {{LimitKeyType::client_ip, "", 24, 48}}, false}));
  EXPECT_EQ(policy.limits[1].burst, 1u);
  EXPECT_EQ(policy.limits[1].per_ms, 1000u);
  EXPECT_THAT(policy.limits[1].keys,
              ElementsAre(store::LimitKey{LimitKeyType::header, "X-Key"}, store::LimitKey{LimitKeyType::cookie, "sid"},
                          store::LimitKey{LimitKeyType::method, ""}, store::LimitKey{LimitKeyType::path, ""}));
  EXPECT_TRUE(policy.limits[1].skip_missing);
  EXPECT_TRUE(policy.limits[2].keys.empty());
  EXPECT_EQ(policy.limits[2].per_ms, 86'400'000u);
  EXPECT_THAT(policy.exempt_cidrs, ElementsAre("10.0.0.0/8"));
  EXPECT_TRUE(policy.shadow);
  EXPECT_EQ(policy.response_fields, store::ResponseFields::both);
}

TEST(DecodePolicy, Defaults) {
  const RateLimitPolicy policy = with_limits(R"([{"name":"a","requests":7}])");
  EXPECT_EQ(policy.limits.at(0), (store::RateLimit{"a", 7, 1000, 7, {{LimitKeyType::client_ip, "", 32, 64}}, false}));
  EXPECT_FALSE(policy.shadow);
  EXPECT_EQ(policy.response_fields, store::ResponseFields::standard);
  EXPECT_TRUE(policy.exempt_cidrs.empty());
}

// What it targets is known, so it can be closed.
TEST(DecodePolicy, AnUnreadableLimitMakesItInvalid) {
  const struct {
    const char *limits, *flaw;
  } kCases[] = {
      {"[]", "spec.limits: must not be empty"},
      {"7", "spec.limits: must be a list, not a number"},
      {"[7]", "spec.limits[0]: must be an object, not a number"},
      {R"([{"requests":1}])", "spec.limits[0].name: is required"},
      {R"([{"name":"a.b","requests":1}])",
       "spec.limits[0].name: must be a DNS label: lower case letters, digits and '-'"},
      {R"([{"name":"a"}])", "spec.limits[0].requests: is required"},
      {R"([{"name":"a","requests":0}])", "spec.limits[0].requests: is 0, must be between 1 and 1000000"},
      {R"([{"name":"a","requests":1000001}])", "spec.limits[0].requests: is 1000001, must be between 1 and 1000000"},
      {R"([{"name":"a","requests":1.5}])", "spec.limits[0].requests: must be a whole number, not a number"},
      {R"([{"name":"a","requests":1,"burst":0}])", "spec.limits[0].burst: is 0, must be between 1 and 1000000"},
      {R"([{"name":"a","requests":1,"per":"999ms"}])", "spec.limits[0].per: must be between 1s and 24h"},
      {R"([{"name":"a","requests":1,"per":"24h1s"}])", "spec.limits[0].per: must be between 1s and 24h"},
      {R"([{"name":"a","requests":1,"per":"soon"}])",
       "spec.limits[0].per: \"soon\" is no duration such as 30s, 500ms or 1h30m"},
      {R"([{"name":"a","requests":1,"whenMissing":"Ignore"}])",
       "spec.limits[0].whenMissing: is \"Ignore\", must be one of: Count, Skip"},
      {R"([{"name":"a","requests":1},{"name":"b","requests":1},{"name":"a","requests":2}])",
       "spec.limits[2].name: \"a\" is the name of another limit"},
      {R"([{"name":"a","requests":1,"keys":{}}])", "spec.limits[0].keys: must be a list, not an object"},
  };
  for (const auto& one : kCases) {
    const RateLimitPolicy policy = with_limits(one.limits);
    EXPECT_TRUE(policy.invalid) << one.limits;
    EXPECT_THAT(flaws(policy), ElementsAre(one.flaw)) << one.limits;
    EXPECT_EQ(policy.target_refs.size(), 1u) << one.limits;
  }
  EXPECT_TRUE(decoded("{" + kTargets + "}").invalid);
  std::string nine;
  for (int i = 0; i < 9; ++i)
    nine += std::string(i == 0 ? "" : ",") + R"({"requests":1,"name":"n)" + std::to_string(i) + "\"}";
  EXPECT_TRUE(with_limits("[" + nine + "]").invalid);
  EXPECT_TRUE(decoded("{" + kTargets + R"(,"limits":[{"name":"a","requests":1}],"mode":"Maybe"})").invalid);
}

TEST(DecodePolicy, Keys) {
  for (const char* bad : {R"({})", R"({"type":"User"})", R"({"type":"Header"})", R"({"type":"Cookie","name":""})",
                          R"({"type":"Path","name":"x"})", R"({"type":"Method","ipv4PrefixLength":8})",
                          R"({"type":"Header","name":"x","ipv6PrefixLength":8})",
                          R"({"type":"ClientIP","ipv4PrefixLength":0})", R"({"type":"ClientIP","ipv4PrefixLength":33})",
                          R"({"type":"ClientIP","ipv6PrefixLength":129})", R"({"type":"ClientIP","name":"x"})", R"(3)",
                          R"({"type":"Host"},{"type":"Host"},{"type":"Host"},{"type":"Host"},{"type":"Host"})"}) {
    const RateLimitPolicy policy = with_key(bad);
    EXPECT_TRUE(policy.invalid) << bad;
    ASSERT_FALSE(policy.meta.flaws.empty()) << bad;
    EXPECT_TRUE(policy.meta.flaws[0].field.starts_with("spec.limits[0].keys")) << bad;
  }
  EXPECT_EQ(with_key(R"({"type":"ClientIP","ipv6PrefixLength":128})").limits.at(0).keys.at(0).ipv6_prefix_length, 128);
  EXPECT_EQ(with_key(R"({"type":"Host"})").limits.at(0).keys.at(0).type, LimitKeyType::host);
}

TEST(DecodePolicy, WhatOpensNothingIsOnlyAFlaw) {
  RateLimitPolicy policy = decoded("{" + kTargets + R"(,"limits":[{"name":"a","requests":1}],
    "exempt":{"cidrs":["10.0.0.0/8",7,""]},"responseFields":"All"})");
  EXPECT_FALSE(policy.invalid);
  EXPECT_THAT(policy.exempt_cidrs, ElementsAre("10.0.0.0/8", "", ""));
  EXPECT_THAT(
      flaws(policy),
      ElementsAre("spec.exempt.cidrs[1]: must be a string, not a number", "spec.exempt.cidrs[2]: must not be empty",
                  "spec.responseFields: is \"All\", must be one of: Standard, Legacy, Both, None"));
  policy = decoded("{" + kTargets + R"(,"limits":[{"name":"a","requests":1}],"exempt":[]})");
  EXPECT_FALSE(policy.invalid);
  EXPECT_THAT(flaws(policy), ElementsAre("spec.exempt: must be an object, not a list"));
}

TEST(DecodePolicy, OneUnreadableTargetLeavesTheOthers) {
  const RateLimitPolicy policy = decoded(R"({"limits":[{"name":"a","requests":1}],"targetRefs":[
    {"group":"sluice.dev","kind":"Route","name":7},{"group":"sluice.dev","kind":"Route","name":"r"},{"kind":"Route","name":"q"},5]})");
  EXPECT_FALSE(policy.invalid);
  ASSERT_EQ(policy.target_refs.size(), 4u);
  EXPECT_EQ(policy.target_refs[0], store::PolicyTarget());
  EXPECT_EQ(policy.target_refs[1].name, "r");
  EXPECT_EQ(policy.target_refs[2], store::PolicyTarget());
  EXPECT_THAT(flaws(policy), ElementsAre("spec.targetRefs[0].name: must be a string, not a number",
                                         "spec.targetRefs[2].group: is required",
                                         "spec.targetRefs[3]: must be an object, not a number"));
}

// Nobody knows what it guards.
TEST(DecodePolicy, WithoutAReadableTargetItIsUndecodable) {
  for (const char* spec :
       {R"({"limits":[{"name":"a","requests":1}]})", R"({"targetRefs":[],"limits":[]})",
        R"({"targetRefs":3,"limits":[]})", R"({"targetRefs":[{"group":"","kind":"Namespace"}]})", "3", "null"}) {
    const Decoded result = decode_spec(spec);
    EXPECT_FALSE(result.object.has_value()) << spec;
    EXPECT_FALSE(result.problems.empty()) << spec;
    EXPECT_TRUE(result.ref.has_value()) << spec;
  }
  std::string many;
  for (int i = 0; i < 17; ++i)
    many += std::string(i == 0 ? "" : ",") + R"({"group":"sluice.dev","kind":"Route","name":"r"})";
  EXPECT_FALSE(decode_spec(R"({"targetRefs":[)" + many + R"(],"limits":[{"name":"a","requests":1}]})").object);
}

}  // namespace
}  // namespace sluice::kube
