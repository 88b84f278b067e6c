// A match allocates nothing: this test program's operator new counts.
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "dataplane/route/router.h"
#include "tests/unit/dataplane/route/table_builder.h"

namespace {
size_t allocations = 0;
}

[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* const at = std::malloc(size); at != nullptr) return at;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, size_t) noexcept { std::free(at); }

namespace sluice::route {
namespace {

using ir::PathKind;
using ir::ValueKind;
using testing::Table;

TEST(SteadyState, AMatchAllocatesNothing) {
  const Table table({{"a.test",
                      {{PathKind::Exact, "/x", "1", {"POST"}},
                       {PathKind::Regex, "/r/[0-9]+", "2"},
                       {PathKind::Prefix,
                        "/api",
                        "3",
                        {},
                        {{"x-a", ValueKind::Regex, "(one|two), .*"}},
                        {{"q", ValueKind::Exact, "a b"}}},
                       {PathKind::Prefix, "", "4"}}},
                     {"*.test", {{PathKind::Prefix, "", "5"}}}});
  Router router;
  router.apply(table.get());
  ChunkPool pool{4};
  Arena arena{pool};
  http::RequestHead head{arena};
  head.method_name = "GET";
  head.query = "z&q=a%20b";
  head.fields.add({"X-A", "one", http::Token::none});
  head.fields.add({"X-A", "three", http::Token::none});
  const auto round = [&] {
    for (const char* const host : {"a.test", "b.test", "c.other"}) {
      for (const char* const path : {"/x", "/r/12", "/api/v1", "/none"}) {
        head.host = host;
        head.path = path;
        (void)router.match(head);
      }
    }
  };
  round();  // loads the hosts, fills the regexes' caches
  const size_t before = allocations;
  for (int i = 0; i < 100; ++i) round();
  EXPECT_EQ(allocations - before, 0u);
}

}  // namespace
}  // namespace sluice::route
