#include "dataplane/filters/rewrite/rewrite.h"

#include <gtest/gtest.h>

namespace sluice::filters {
namespace {

struct RewritePath : ::testing::Test {
  ChunkPool chunks;
  Arena arena{chunks};
  std::string run(ir::RewriteKind kind, std::string_view path, std::string_view to, size_t covered,
                  const route::Regex* regex = nullptr) {
    const auto result = rewrite_path(kind, path, to, covered, regex, arena);
    return result ? std::string(*result) : "refused:" + std::string(http::describe(result.error()).word);
  }
};

TEST_F(RewritePath, Prefix) {
  struct {
    const char *path, *to;
    size_t covered;
    const char* result;
  } cases[] = {{"/foo/bar", "/", 4, "/bar"},
               {"/foo", "/", 4, "/"},
               {"/foo/", "/", 4, "/"},
               {"/foo/bar", "/x", 4, "/x/bar"},
               {"/foo/bar", "/x/", 4, "/x/bar"},
               {"/foo", "/x/", 4, "/x/"},
               {"/foo", "/x", 4, "/x"},
               {"/foo//bar", "/", 4, "/bar"},
               {"/bar", "/x", 0, "/x/bar"},
               {"/foo/bar", "", 4, "/bar"},
               {"/foo", "", 4, "/"},
               {"/foo/b%2Fc", "/x", 4, "/x/b%2Fc"}};
  for (const auto& one : cases)
    EXPECT_EQ(run(ir::RewriteKind::PrefixPath, one.path, one.to, one.covered), one.result) << one.path << " " << one.to;
}

TEST_F(RewritePath, Full) {
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a/b", "/c", 4), "/c");
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a/b", "c", 4), "/c");
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a/b", "", 4), "/");
}

TEST_F(RewritePath, Regex) {
  const auto regex = route::Regex::compile("^/user/([^/]+)/(.*)$");
  EXPECT_EQ(run(ir::RewriteKind::RegexPath, "/user/ann/photos/1", "/\\2/of/\\1", 0, regex.get()), "/photos/1/of/ann");
  EXPECT_EQ(run(ir::RewriteKind::RegexPath, "/else", "/\\2", 0, regex.get()), "/else");
  EXPECT_EQ(run(ir::RewriteKind::RegexPath, "/x", "/y", 0, nullptr), "refused:filter_failed");
}

TEST_F(RewritePath, WhatMeansSomethingElseIsRefused) {
  // Dot segments that appear by gluing parts together would reach what was never authorised.
  const auto regex = route::Regex::compile("^/a(.*)$");
  EXPECT_EQ(run(ir::RewriteKind::RegexPath, "/a./admin", "/x/.\\1", 0, regex.get()), "refused:rejected_path");
  EXPECT_EQ(run(ir::RewriteKind::PrefixPath, "/foo./admin", "/x/.", 4), "refused:rejected_path");
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a", "/x/../y", 2), "refused:rejected_path");
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a", "/x%00", 2), "refused:rejected_path");
  EXPECT_EQ(run(ir::RewriteKind::FullPath, "/a", "/x%", 2), "refused:rejected_path");
  const auto all = route::Regex::compile("^(.*)$");
  EXPECT_EQ(run(ir::RewriteKind::RegexPath, "/" + std::string(5000, 'a'), "\\1\\1", 0, all.get()),
            "refused:rejected_path")
      << "no way around a rewrite by making it too long";
}

TEST(RouteFilters, UnusableConfigurationsDeny) {
  flatbuffers::FlatBufferBuilder builder;
  ir::RouteT route;
  auto filter = std::make_unique<ir::FilterT>();
  ir::RewriteT rewrite;
  rewrite.path_kind = ir::RewriteKind::RegexPath;
  rewrite.pattern = "(";
  filter->config.Set(std::move(rewrite));
  route.filters.push_back(std::move(filter));
  builder.Finish(ir::Route::Pack(builder, &route));
  const RouteFilters filters(*flatbuffers::GetRoot<ir::Route>(builder.GetBufferPointer()), {});
  EXPECT_FALSE(filters.empty());
  ChunkPool chunks;
  Arena arena(chunks);
  EXPECT_EQ(filters.make(arena, {}).size(), 1u);
}

TEST(RouteFilters, OrderIsTheRegistrys) {
  flatbuffers::FlatBufferBuilder builder;
  ir::RouteT route;
  for (int i = 0; i < 2; ++i) {
    auto filter = std::make_unique<ir::FilterT>();
    if (i == 0) filter->config.Set(ir::RewriteT());
    else filter->config.Set(ir::TestProbeT());
    route.filters.push_back(std::move(filter));
  }
  builder.Finish(ir::Route::Pack(builder, &route));
  const RouteFilters filters(*flatbuffers::GetRoot<ir::Route>(builder.GetBufferPointer()), {});
  ChunkPool chunks;
  Arena arena(chunks);
  EXPECT_EQ(filters.make(arena, {}).size(), 2u);
}

}  // namespace
}  // namespace sluice::filters
