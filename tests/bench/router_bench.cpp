// What a match costs: 10,000 hosts of 5 routes, all asked for in turn and one again and again, beside 1 host. Not a
// test: prints nanoseconds, the best of many rounds. Build: hack/build release router_bench.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "dataplane/route/router.h"
#include "tests/unit/dataplane/route/table_builder.h"

namespace {

using namespace sluice;
using route::testing::HostSpec;

std::vector<HostSpec> make_hosts(int count) {
  std::vector<HostSpec> hosts;
  for (int i = 0; i < count; ++i) {
    hosts.push_back({"shop-" + std::to_string(i) + ".example.com",
                     {{ir::PathKind::Exact, "/healthz", "a"},
                      {ir::PathKind::Prefix, "/api", "b"},
                      {ir::PathKind::Prefix, "/api/v2/orders", "c"},
                      {ir::PathKind::Prefix, "/static", "d"},
                      {ir::PathKind::Prefix, "", "e"}}});
  }
  return hosts;
}

// Best nanoseconds a call of `one(i)` over `count` calls.
template <class F>
double best(int count, F&& one) {
  double least = 1e18;
  for (int round = 0; round < 30; ++round) {
    const uint64_t begin = monotonic_ns();
    for (int i = 0; i < count; ++i) one(i);
    least = std::min(least, static_cast<double>(monotonic_ns() - begin) / count);
  }
  return least;
}

void run(int count) {
  const route::testing::Table table(make_hosts(count));
  std::vector<std::string> names;
  for (const HostSpec& host : make_hosts(count)) names.push_back(host.host);
  route::Router router;
  router.apply(table.get());
  ChunkPool pool{4};
  Arena arena{pool};
  http::RequestHead head{arena};
  head.method_name = "GET";
  head.path = "/api/v2/orders/4711";
  size_t matched = 0;
  const auto ask = [&](int i) {
    head.host = names[static_cast<size_t>(i)];
    matched += router.match(head).matched_prefix;
  };
  const double first = [&] {
    const uint64_t begin = monotonic_ns();
    for (int i = 0; i < count; ++i) ask(i);
    return static_cast<double>(monotonic_ns() - begin) / count;
  }();
  const double hot = best(100000, [&](int) { ask(count / 2); });
  const double spread = best(count, [&](int i) { ask(static_cast<int>(static_cast<int64_t>(i) * 7919 % count)); });
  const double after_apply = best(count, [&](int i) {
    if (i == 0) router.apply(table.get());
    ask(i);
  });
  const double apply = best(1, [&](int) { router.apply(table.get()); });
  std::printf(
      "%6d hosts: first use %6.0f ns, one host %5.1f ns, all in turn %5.1f ns, all in turn after an apply %5.1f ns, "
      "apply %6.0f ns (%zu)\n",
      count, first, hot, spread, after_apply, apply, matched % 7);
}

}  // namespace

int main() {
  for (const int count : {1, 100, 10000}) run(count);
}
