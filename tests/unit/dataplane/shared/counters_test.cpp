#include "dataplane/shared/counters.h"

#include <memory>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace sluice::shared {
namespace {

// As the master makes it: zero pages, touched only where used.
struct Unmap {
  void operator()(CounterPage* page) const { munmap(page, sizeof(CounterPage)); }
};
std::unique_ptr<CounterPage, Unmap> make_page() {
  void* at = mmap(nullptr, sizeof(CounterPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(at, MAP_FAILED);
  return std::unique_ptr<CounterPage, Unmap>(static_cast<CounterPage*>(at));
}

TEST(Counters, ALabelFindsItsSlotAgain) {
  auto page = make_page();
  page->route_limit.set(10);
  const RouteSlots a = route_slots(*page, "ingress/shop/a"), b = route_slots(*page, "route/shop/b/0");
  EXPECT_NE(&a.route, &b.route);
  EXPECT_EQ(&a.of_namespace, &b.of_namespace);
  EXPECT_STREQ(a.of_namespace.label, "shop");
  EXPECT_STREQ(page->routes[0].label, "ingress/shop/a");
  EXPECT_GT(page->routes[1].claimed_ns.get(), 0u);
  EXPECT_EQ(&route_slots(*page, "ingress/shop/a").route, &a.route);
  EXPECT_EQ(&route_slots(*page, "route/shop/b/0").route, &b.route);
  EXPECT_NE(&route_slots(*page, "ingress/other/a").of_namespace, &a.of_namespace);
  ClusterSlot& c = cluster_slot(*page, "shop/a/80");
  EXPECT_EQ(&cluster_slot(*page, "shop/a/80"), &c);
}

TEST(Counters, WhatDoesNotFitCountsAsTheRestOfItsNamespace) {
  auto page = make_page();
  page->route_limit.set(2);
  const std::string long_name(RouteSlot::kLabelBytes, 'x');
  const RouteSlots first = route_slots(*page, "ingress/shop/" + long_name);
  EXPECT_STREQ(first.of_namespace.label, "shop");
  EXPECT_EQ(&first.route, &first.of_namespace.rest);
  const RouteSlots none = route_slots(*page, "");
  EXPECT_EQ(none.of_namespace.label, kNone);
  EXPECT_EQ(&none.route, &none.of_namespace.rest);
  EXPECT_EQ(&route_slots(*page, std::string_view("a/shop/\0b", 9)).route, &first.route);
  EXPECT_EQ(route_slots(*page, kNone).of_namespace.label, kNone);
  EXPECT_EQ(&route_slots(*page, "ingress/shop/a").route, &page->routes[1].counters);
  EXPECT_EQ(&route_slots(*page, "ingress/shop/b").route, &first.route) << "beyond the limit";
  EXPECT_EQ(&route_slots(*page, "ingress/shop/a").route, &page->routes[1].counters) << "has its slot";
}

TEST(Counters, NamespacesAreBounded) {
  auto page = make_page();
  page->route_limit.set(kRouteSlots);
  std::set<const NamespaceSlot*> seen;
  for (size_t i = 0; i < 3 * kNamespaceSlots; ++i) {
    const RouteSlots slots = route_slots(*page, "ingress/ns-" + std::to_string(i) + "/a");
    seen.insert(&slots.of_namespace);
    if (i < kNamespaceSlots - 1) continue;
    EXPECT_EQ(slots.of_namespace.label, kOther);
    EXPECT_EQ(&slots.route, &slots.of_namespace.rest) << "a route of its own would be summed under another namespace";
  }
  EXPECT_EQ(seen.size(), kNamespaceSlots);
}

TEST(Counters, ARouteLimitBeyondThePageIsHarmless) {
  auto page = make_page();
  page->route_limit.set(~0ull);
  std::set<const RouteCounters*> seen;
  for (size_t i = 0; i < kRouteSlots + 10; ++i)
    seen.insert(&route_slots(*page, "ingress/a/" + std::to_string(i)).route);
  EXPECT_EQ(seen.size(), kRouteSlots + 1);
}

TEST(Counters, APageFullOfLabelsStaysRightAndBounded) {
  auto page = make_page();
  std::set<const ClusterSlot*> used;
  size_t others = 0;
  for (size_t i = 0; i < kClusterSlots + 2000; ++i) {
    ClusterSlot& slot = cluster_slot(*page, "ns/service-" + std::to_string(i) + "/80");
    if (&slot == &page->clusters[0]) ++others;
    else EXPECT_TRUE(used.insert(&slot).second);
  }
  EXPECT_GT(others, 0u);
  EXPECT_GT(used.size(), kClusterSlots * 9 / 10);
  for (const ClusterSlot* slot : used) EXPECT_EQ(&cluster_slot(*page, slot->label), slot);
}

TEST(Histogram, UpperBoundsAreInclusive) {
  Histogram h{};
  h.record(500);
  h.record(501);
  h.record(10'000'001);
  EXPECT_EQ(h.buckets[0].get(), 1u);
  EXPECT_EQ(h.buckets[1].get(), 1u);
  EXPECT_EQ(h.buckets.back().get(), 1u);
  EXPECT_EQ(h.sum_us.get(), 10'001'002u);
  NamespaceHistogram few{};
  few.record(0);
  few.record(1000);
  few.record(1001);
  few.record(10'000'001);
  EXPECT_EQ(few.buckets[0].get(), 2u);
  EXPECT_EQ(few.buckets[1].get(), 1u);
  EXPECT_EQ(few.buckets.back().get(), 1u);
}

}  // namespace
}  // namespace sluice::shared
