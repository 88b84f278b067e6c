#include "controlplane/features/feature.h"

#include <set>

#include <gtest/gtest.h>

#include "controlplane/features/path_modifier.h"

namespace sluice::features {
namespace {

TEST(Registry, EveryFilterOfTheSchemaOnceWithItsRows) {
  std::set<ir::FilterConfig> seen;
  for (const Feature& feature : registry()) {
    EXPECT_TRUE(seen.insert(feature.config).second);
    EXPECT_EQ(feature.name, ir::EnumNameFilterConfig(feature.config));
    EXPECT_FALSE(feature.rows.empty());
    for (const Row& row : feature.rows)
      EXPECT_FALSE(row.name.empty() || row.type.empty() || row.doc.empty()) << feature.name;
  }
  EXPECT_EQ(seen.size(), static_cast<size_t>(ir::FilterConfig::MAX));
}

TEST(Registry, ChainOrder) {
  // dataplane/filters/registry.cpp has the same.
  std::vector<std::string_view> names;
  for (const Feature& feature : registry()) names.push_back(feature.name);
  EXPECT_EQ(names,
            (std::vector<std::string_view>{"TestProbe", "RateLimit", "RequestHeaders", "ResponseHeaders", "Rewrite"}));
}

TEST(Annotations, KnownOnes) {
  EXPECT_TRUE(is_known_annotation("sluice.dev/ssl-redirect"));
  EXPECT_TRUE(is_known_annotation("sluice.dev/test-probe"));
  EXPECT_TRUE(is_known_annotation("sluice.dev/upgrades"));
  EXPECT_TRUE(is_known_annotation("sluice.dev/priority"));
  EXPECT_TRUE(is_known_annotation("sluice.dev/upstream-protocol"));
  EXPECT_FALSE(is_known_annotation("sluice.dev/ssl_redirect"));
}

TEST(Headers, NamesAndValues) {
  for (const char* good : {"A", "x-y_z", "!#$%&'*+.^`|~0"}) EXPECT_TRUE(is_token(good)) << good;
  for (const char* bad : {"", "a b", "a:", "a\r", "\xc3\xbc", "a/b", "(a)"}) EXPECT_FALSE(is_token(bad)) << bad;
  for (const char* good : {"", "a", "a b", "a\tb", "\xc3\xbc"}) EXPECT_TRUE(is_field_value(good)) << good;
  for (const char* bad : {" a", "a ", "\ta", "a\r\nb: c", "a\nb", "a\x7f", "a\x01"})
    EXPECT_FALSE(is_field_value(bad)) << bad;
  EXPECT_FALSE(is_field_value(std::string_view("a\0b", 3)));
}

TEST(Regex, Bounds) {
  EXPECT_EQ(regex_problem("/a[0-9]+/.*"), "");
  EXPECT_NE(regex_problem("("), "");
  EXPECT_NE(regex_problem("(?=a)"), "");  // RE2 has no look-ahead
  EXPECT_NE(regex_problem("(a)\\1"), "");
  EXPECT_NE(regex_problem("\\pL{500}"), "");
  EXPECT_NE(regex_problem("(((a{30}){30}){30})"), "");
  EXPECT_NE(regex_problem(std::string(5000, 'a')), "");
  EXPECT_EQ(substitution_problem("^/(a)(b)", "\\2\\1\\0"), "");
  EXPECT_NE(substitution_problem("^/(a)", "\\2"), "");
  EXPECT_NE(substitution_problem("a", "x\\"), "");
  EXPECT_NE(substitution_problem("a", "\\n"), "");
}

TEST(PathModifier, PrefixDropsItsSlash) {
  const auto quiet = [](const char* field, const char*, const std::string& text) { ADD_FAILURE() << field << text; };
  const auto change =
      check_path_modifier({store::PathModifierType::replace_prefix_match, "/x/", ""}, ir::PathKind::Prefix, quiet);
  EXPECT_EQ(change.kind, ir::RewriteKind::PrefixPath);
  EXPECT_EQ(change.path, "/x");
}

}  // namespace
}  // namespace sluice::features
