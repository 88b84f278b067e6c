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
  RouteSlot& a = route_slot(*page, "ingress/shop/a");
  RouteSlot& b = route_slot(*page, "ingress/shop/b");
  EXPECT_NE(&a, &b);
  EXPECT_NE(&a, &page->routes[0]);
  EXPECT_STREQ(a.label, "ingress/shop/a");
  a.requests[2].add();
  EXPECT_EQ(&route_slot(*page, "ingress/shop/a"), &a);
  EXPECT_EQ(route_slot(*page, "ingress/shop/a").requests[2].get(), 1u);
  ClusterSlot& c = cluster_slot(*page, "shop/a/80");
  EXPECT_EQ(&cluster_slot(*page, "shop/a/80"), &c);
}

TEST(Counters, WhatDoesNotFitCountsAsOther) {
  auto page = make_page();
  RouteSlot& other = page->routes[0];
  EXPECT_EQ(&route_slot(*page, std::string(RouteSlot::kLabelBytes, 'x')), &other);
  EXPECT_EQ(&route_slot(*page, ""), &other);
  EXPECT_EQ(&route_slot(*page, std::string_view("a\0b", 3)), &other);
  EXPECT_STREQ(other.label, "other");
  EXPECT_NE(other.key.load(), 0u);
  EXPECT_NE(&route_slot(*page, std::string(RouteSlot::kLabelBytes - 1, 'x')), &other);
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
  auto page = make_page();
  Histogram& h = page->routes[1].duration;
  h.record(500);
  h.record(501);
  h.record(10'000'001);
  EXPECT_EQ(h.buckets[0].get(), 1u);
  EXPECT_EQ(h.buckets[1].get(), 1u);
  EXPECT_EQ(h.buckets.back().get(), 1u);
  EXPECT_EQ(h.sum_us.get(), 10'001'002u);
}

}  // namespace
}  // namespace sluice::shared
