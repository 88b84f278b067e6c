#include "controlplane/source/yaml_json.h"

#include <gtest/gtest.h>

namespace sluice::source {
namespace {

std::string json(std::string_view yaml) {
  const auto documents = yaml_to_json(yaml, 8 << 20);
  if (!documents) return documents.error().message;
  std::string out;
  for (const JsonDocument& document : *documents) out += (out.empty() ? "" : " ") + document.json;
  return out;
}

TEST(YamlJson, CoreTypes) {
  EXPECT_EQ(json("[true, False, yes, on, null, ~, ]"), R"([true,false,"yes","on",null,null])");
  EXPECT_EQ(json("[1, -0, +7, 0017, 0o17, 0x1F, 123456789012345678, 12345678901234567890]"),
            "[1,0,7,17,15,31,123456789012345678,1.2345678901234567e+19]");
  EXPECT_EQ(json("[1.5, .5, -1., 1e3, +1.5, 1.2.3, 1e, ., -, 10.0.0.1, 1_000, 0x, 0xg]"),
            R"([1.5,0.5,-1,1000,1.5,"1.2.3","1e",".","-","10.0.0.1","1_000","0x","0xg"])");
  EXPECT_EQ(json("[.inf, .nan, 1e999, 2024-01-01, 12:30, 80/tcp]"),
            R"([".inf",".nan","1e999","2024-01-01","12:30","80/tcp"])");
}

TEST(YamlJson, QuotedStaysString) {
  EXPECT_EQ(json("[\"1\", 'true', 'null', !!str 1, \"a\\tb\", '']"), R"(["1","true","null","1","a\u0009b",""])");
  EXPECT_EQ(json("a: |\n  1\n  2\nb: >-\n  x\n  y\n"), R"({"a":"1\u000a2\u000a","b":"x y"})");
}

TEST(YamlJson, KeysAreStrings) {
  EXPECT_EQ(json("1: a\ntrue: b\nnull: c\n\"d e\": f\n"), R"({"1":"a","true":"b","null":"c","d e":"f"})");
}

TEST(YamlJson, NestingAndEmptyValues) {
  EXPECT_EQ(json("a:\n- b: 1\n  c:\n- []\n- {}\n"), R"({"a":[{"b":1,"c":null},[],{}]})");
  EXPECT_EQ(json(R"({"a": {"b": [1, "2", null]}})"), R"({"a":{"b":[1,"2",null]}})");
}

TEST(YamlJson, ManyDocuments) {
  EXPECT_EQ(json("a: 1\n---\nb: 2\n...\n---\n# nothing\n---\nc: 3\n"), R"({"a":1} {"b":2} {"c":3})");
  EXPECT_EQ(json(""), "");
  EXPECT_EQ(json("# only a comment\n"), "");
  EXPECT_EQ(json("%YAML 1.2\n---\na: 1\n"), R"({"a":1})");
}

TEST(YamlJson, Aliases) {
  EXPECT_EQ(json("a: &x {b: 1}\nc: *x\nd: &y word\n*y : e\n"), R"({"a":{"b":1},"c":{"b":1},"d":"word","word":"e"})");
  EXPECT_EQ(json("a: &x [*x]\n"), "line 1: an alias to a value that contains it");
  EXPECT_EQ(json("a: *x\n"), "line 1: the referenced anchor is not defined");
}

TEST(YamlJson, BombsAreBounded) {
  std::string bomb = "a0: &a0 [xxxxxxxxxx]\n";
  for (int i = 1; i < 30; ++i)
    bomb += fmt::format("a{0}: &a{0} [*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1},*a{1}]\n", i, i - 1);
  EXPECT_NE(json(bomb).find("larger than 8388608 bytes"), std::string::npos);
  EXPECT_NE(json(std::string(200, '[') + std::string(200, ']')).find("nested deeper than 100"), std::string::npos);
  EXPECT_NE(json(std::string(1'000'000, '[')).find(": "), std::string::npos);
  EXPECT_NE(json(std::string(9 << 20, 'x')).find("larger than"), std::string::npos);
}

// yaml-cpp makes empty documents of such a ',' for ever.
TEST(YamlJson, ACommaThatBelongsToNothingEnds) {
  EXPECT_EQ(json(", a: 1"), "line 1: a ',' that belongs to nothing");
  EXPECT_EQ(json("{\"a\": 1},\n\"b\": 2}\n"), "line 1: a ',' that belongs to nothing");
  EXPECT_EQ(json("a: 1\n---\n{}\n, {}\n"), "line 4: a ',' that belongs to nothing");
}

TEST(YamlJson, ErrorsHaveLines) {
  EXPECT_TRUE(json("a: 1\nb: [1,\n").starts_with("line 3: ") || json("a: 1\nb: [1,\n").starts_with("line 2: "));
  EXPECT_EQ(json("a: 1\nb: 2\na: 3\n"), "line 3: the key 'a' is there twice");
  EXPECT_EQ(json("a:\n  <<: {b: 1}\n"), "line 2: merge keys (<<) are not supported");
  EXPECT_EQ(json("? [a, b]\n: c\n"), "line 1: a key must be a word");
  EXPECT_EQ(json("a: !!binary aGk=\n"), "line 1: the tag 'tag:yaml.org,2002:binary' is not supported");
  EXPECT_TRUE(yaml_to_json("a: 1\na: 2\n", 1000, 10).error().message.starts_with("line 11: "));
}

TEST(YamlJson, BytesThatAreNoUtf8StayJson) {
  EXPECT_EQ(json("a: \"\xff\"\n").find('\xff'), std::string::npos);
  EXPECT_EQ(json("a: \"x\\0y\"\n"), "{\"a\":\"x\\u0000y\"}");
}

TEST(SplitDocuments, AtMarkersOnly) {
  const std::string text = "a: 1\n---\nb: |\n  ---\n  x\n--- # c\nd: '---'\n---x: 1\n";
  const auto pieces = split_documents(text);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].text, "a: 1\n");
  EXPECT_EQ(pieces[1].text, "---\nb: |\n  ---\n  x\n");
  EXPECT_EQ(pieces[1].line, 2u);
  EXPECT_EQ(pieces[2].text, "--- # c\nd: '---'\n---x: 1\n");
  EXPECT_EQ(pieces[2].line, 6u);
  EXPECT_TRUE(split_documents("").empty());
  EXPECT_EQ(split_documents("%YAML 1.2\n---\na: 1").size(), 1u);
  EXPECT_EQ(split_documents("---\na: 1\n---\n").size(), 2u);
}

}  // namespace
}  // namespace sluice::source
