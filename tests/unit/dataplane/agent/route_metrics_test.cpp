#include "dataplane/agent/route_metrics.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/shared/counters.h"

namespace sluice::agent {
namespace {
using shared::CounterPage;
using shared::RouteSlots;

// A page as the master makes it, with a worker that writes it.
struct Page {
  explicit Page(uint64_t limit) : fd(memfd_create("counters", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(fd.get(), sizeof(CounterPage)), 0);
    memory =
        static_cast<CounterPage*>(mmap(nullptr, sizeof(CounterPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    memory->magic = CounterPage::kMagic;
    memory->route_limit.set(limit);
  }
  Page(const Page&) = delete;
  ~Page() { munmap(memory, sizeof(CounterPage)); }
  [[nodiscard]] CounterView view() const { return CounterView(UniqueFd(dup(fd.get()))); }
  void request(const std::string& label, size_t code_class = 2, uint64_t us = 1500) const {
    const RouteSlots slots = route_slots(*memory, label);
    slots.route.requests[code_class].add();
    slots.route.duration_us.add(us);
    slots.route.bytes_out.add(10);
    slots.of_namespace.duration.record(us);
  }
  UniqueFd fd;
  CounterPage* memory;
};

using Values = std::map<std::string, double>;  // "name{label=value,...}"

Values collect(const std::vector<const Page*>& pages) {
  std::vector<CounterView> views;
  for (const Page* page : pages) views.push_back(page->view());
  Families out;
  collect_routes(views, out);
  Values values;
  for (const prometheus::MetricFamily& family : out.take()) {
    for (const prometheus::ClientMetric& metric : family.metric) {
      std::string key = family.name + "{";
      for (const auto& label : metric.label) key += (key.back() == '{' ? "" : ",") + label.name + "=" + label.value;
      key += "}";
      const bool counter = family.type == prometheus::MetricType::Counter;
      const bool histogram = family.type == prometheus::MetricType::Histogram;
      values[key] = counter
                        ? metric.counter.value
                        : static_cast<double>(histogram ? metric.histogram.sample_count : metric.summary.sample_count);
      if (histogram) values[key + "sum"] = metric.histogram.sample_sum;
    }
  }
  return values;
}

TEST(RouteMetrics, GrpcStatusesAreSummedByRoute) {
  const Page a(1), b(1);
  for (const Page* page : {&a, &b}) {
    page->request("route/shop/api/0");
    route_slots(*page->memory, "route/shop/api/0").route.grpc[14].add();
    page->request("route/shop/late/0");  // beyond the limit
    route_slots(*page->memory, "route/shop/late/0").route.grpc[0].add(2);
  }
  route_slots(*a.memory, "route/shop/api/0").route.grpc[0].add(5);
  const Values values = collect({&a, &b});
  const std::string api =
      "sluice_grpc_requests_total{route_kind=Route,route_namespace=shop,route_name=api,route_rule=0";
  EXPECT_EQ(values.at(api + ",grpc_status=0}"), 5);
  EXPECT_EQ(values.at(api + ",grpc_status=14}"), 2);
  EXPECT_EQ(values.at("sluice_grpc_requests_total{route_kind=_other,grpc_status=0}"), 4);
  EXPECT_EQ(std::ranges::count_if(values, [](const auto& one) { return one.first.starts_with("sluice_grpc"); }), 3)
      << "no series for what did not happen";
}

TEST(RouteMetrics, PagesAreSummed) {
  const Page a(10), b(10);
  a.request("ingress/shop/web");
  b.request("ingress/shop/web");
  b.request("ingress/shop/web", 5);
  b.request("route/shop/api/0");
  a.request("_none", 4);
  const Values values = collect({&a, &b});
  const std::string web = "{route_kind=Ingress,route_namespace=shop,route_name=web";
  EXPECT_EQ(values.at("sluice_requests_total" + web + ",code_class=2xx}"), 2);
  EXPECT_EQ(values.at("sluice_requests_total" + web + ",code_class=5xx}"), 1);
  EXPECT_EQ(values.at("sluice_route_duration_seconds" + web + "}"), 3);
  EXPECT_EQ(values.at("sluice_response_body_bytes_total" + web + "}"), 30);
  EXPECT_EQ(values.at("sluice_requests_total{route_kind=Route,route_namespace=shop,route_name=api,route_rule=0,code_"
                      "class=2xx}"),
            1);
  EXPECT_EQ(values.at("sluice_requests_total{route_kind=_none,code_class=4xx}"), 1);
  EXPECT_EQ(values.at("sluice_namespace_requests_total{route_namespace=shop,code_class=2xx}"), 3);
  EXPECT_EQ(values.at("sluice_namespace_requests_total{route_namespace=_none,code_class=4xx}"), 1);
  EXPECT_EQ(values.at("sluice_request_duration_seconds{route_namespace=shop}"), 4);
  EXPECT_DOUBLE_EQ(values.at("sluice_request_duration_seconds{route_namespace=shop}sum"), 0.006);
}

TEST(RouteMetrics, TheUnionOfThePagesIsBoundedAndWhoCameFirstStays) {
  const Page a(3), b(3);
  for (const char* name : {"1", "2"}) a.request(std::string("ingress/n/") + name);
  for (const char* name : {"3", "4", "5", "6"}) b.request(std::string("ingress/n/") + name);
  Values before = collect({&a, &b});
  const auto key = [](int i) {
    return "sluice_requests_total{route_kind=Ingress,route_namespace=n,route_name=" + std::to_string(i) +
           ",code_class=2xx}";
  };
  for (int i = 1; i <= 3; ++i) EXPECT_EQ(before.at(key(i)), 1) << i;
  for (int i = 4; i <= 6; ++i) EXPECT_FALSE(before.contains(key(i))) << i;
  EXPECT_EQ(before.at("sluice_requests_total{route_kind=_other,code_class=2xx}"), 3);
  // Whatever comes later, in whichever page, nothing that was shown goes away or back.
  for (int i = 1; i <= 9; ++i) {
    a.request("ingress/n/" + std::to_string(i));
    b.request("ingress/n/" + std::to_string(i));
    const Values now = collect({&a, &b});
    for (const auto& [name, value] : before) {
      ASSERT_TRUE(now.contains(name)) << name;
      EXPECT_GE(now.at(name), value) << name;
    }
    EXPECT_EQ(now.size(), before.size());
    before = now;
  }
  EXPECT_EQ(before.at("sluice_namespace_requests_total{route_namespace=n,code_class=2xx}"), 24);
  EXPECT_EQ(before.at("sluice_request_duration_seconds{route_namespace=n}"), 24);
}

TEST(RouteMetrics, ReadingDoesNotFillThePage) {
  const Page page(100);
  page.request("ingress/n/1");
  struct stat before {
  }, after{};
  fstat(page.fd.get(), &before);
  collect({&page});
  fstat(page.fd.get(), &after);
  EXPECT_LE(after.st_blocks, before.st_blocks + 8) << "at most a page";
}

}  // namespace
}  // namespace sluice::agent
