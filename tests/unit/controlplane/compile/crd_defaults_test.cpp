// The schemas in crds/ and the decoders agree: an object that the API server has defaulted decodes to the same
// value as one that nobody has.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "controlplane/kube/decode/decode.h"
#include "controlplane/source/yaml_json.h"

namespace sluice {
namespace {

YAML::Node schema(const std::string& plural) {
  const YAML::Node crd = YAML::LoadFile(std::string(SLUICE_SOURCE_DIR) + "/crds/sluice.dev_" + plural + ".yaml");
  return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
}

// What the API server does (structural defaulting); counts the defaults it set.
size_t apply_defaults(const YAML::Node& schema, YAML::Node node) {
  size_t count = 0;
  if (node.IsSequence() && schema["items"]) {
    for (auto item : node) count += apply_defaults(schema["items"], item);
  }
  if (!node.IsMap() || !schema["properties"]) return count;
  for (const auto& property : schema["properties"]) {
    const std::string name = property.first.Scalar();
    if (!node[name] && property.second["default"]) {
      node[name] = YAML::Clone(property.second["default"]);
      ++count;
    }
    if (node[name]) count += apply_defaults(property.second, node[name]);
  }
  return count;
}

size_t count_defaults(const YAML::Node& schema) {
  size_t count = schema["default"] ? 1 : 0;
  if (schema["items"]) count += count_defaults(schema["items"]);
  if (schema["properties"]) {
    for (const auto& property : schema["properties"]) count += count_defaults(property.second);
  }
  return count;
}

template <class T>
T decoded(const YAML::Node& node) {
  YAML::Emitter text;
  text << YAML::Flow << node;
  const auto documents = source::yaml_to_json(text.c_str());
  EXPECT_TRUE(documents.has_value());
  const std::string& json = documents->at(0).json;
  const auto result = kube::decode(json);
  EXPECT_TRUE(result && result->object) << json
                                        << (result && !result->problems.empty()
                                                ? result->problems[0].field + result->problems[0].text
                                                : "");
  return result && result->object ? std::get<T>(*result->object) : T();
}

YAML::Node document(const std::string& plural, const char* kind, size_t number) {
  std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/tests/crds/" + plural + ".valid.yaml");
  std::ostringstream text;
  text << in.rdbuf();
  YAML::Node out = YAML::LoadAll(text.str()).at(number);
  out["apiVersion"] = "sluice.dev/v1alpha1";
  out["kind"] = kind;
  out["metadata"]["name"] = "r";
  return out;
}

// Every default of the schema is met once in the first document.
template <class T>
void expect_equal(const std::string& plural, const char* kind) {
  YAML::Node node = document(plural, kind, 0);
  const T plain = decoded<T>(node);
  EXPECT_TRUE(plain.meta.flaws.empty());
  EXPECT_EQ(apply_defaults(schema(plural), node), count_defaults(schema(plural)));
  EXPECT_EQ(decoded<T>(node), plain);
}

TEST(CrdDefaults, EqualTheDecoders) {
  expect_equal<store::Route>("routes", "Route");
  expect_equal<store::RateLimitPolicy>("ratelimitpolicies", "RateLimitPolicy");
}

TEST(CrdDefaults, FullExamplesDecode) {
  const auto route = decoded<store::Route>(document("routes", "Route", 1));
  EXPECT_TRUE(route.meta.flaws.empty());
  ASSERT_EQ(route.rules.size(), 6u);
  EXPECT_EQ(route.rules[0].filters.size(), 3u);
  EXPECT_EQ(route.rules[4].matches.at(0).grpc, (store::GrpcMatch{{}, "shop.v1.Cart", "Add"}));
  const auto policy = decoded<store::RateLimitPolicy>(document("ratelimitpolicies", "RateLimitPolicy", 1));
  EXPECT_FALSE(policy.invalid);
  EXPECT_TRUE(policy.meta.flaws.empty());
  EXPECT_EQ(policy.target_refs.size(), 4u);
  EXPECT_EQ(policy.limits.size(), 4u);
  EXPECT_EQ(policy.exempt_cidrs.size(), 3u);
}

}  // namespace
}  // namespace sluice
