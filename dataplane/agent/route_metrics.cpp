#include "dataplane/agent/route_metrics.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/grpc.h"
#include "dataplane/shared/counters.h"

namespace sluice::agent {
namespace {
using prometheus::MetricFamily;
using prometheus::MetricType;
using shared::CounterPage;
using shared::kOther;
using shared::NamespaceSlot;
using shared::RouteCounters;
using shared::RouteSlot;

constexpr size_t kClasses = 6, kReasons = static_cast<size_t>(http::Reason::kCount),
                 kGrpc = static_cast<size_t>(http::grpc::Status::kCount);
constexpr const char* kCodeClasses[kClasses] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};

struct RouteSum {
  std::array<uint64_t, kClasses> requests{};
  std::array<uint64_t, kReasons> reasons{};
  std::array<uint64_t, kGrpc> grpc{};
  uint64_t duration_us = 0, upstream_us = 0, upstream_answers = 0, bytes_in = 0, bytes_out = 0, retries = 0;
  void add(const RouteCounters& from) {
    for (size_t i = 0; i < kClasses; ++i) requests[i] += from.requests[i].get();
    for (size_t i = 0; i < kReasons; ++i) reasons[i] += from.reasons[i].get();
    for (size_t i = 0; i < kGrpc; ++i) grpc[i] += from.grpc[i].get();
    duration_us += from.duration_us.get();
    upstream_us += from.upstream_us.get();
    upstream_answers += from.upstream_answers.get();
    bytes_in += from.bytes_in.get();
    bytes_out += from.bytes_out.get();
    retries += from.retries.get();
  }
  [[nodiscard]] uint64_t count() const { return std::accumulate(requests.begin(), requests.end(), uint64_t{0}); }
};
struct NamespaceSum {
  RouteSum all;
  std::array<uint64_t, shared::kNamespaceBoundsUs.size() + 1> duration{}, upstream{};
};

// Calls visit(slot, label) for each slot in use: they are taken in order, and behind the first free key is a hole that
// is not read, for that would fill it.
template <class Slot, size_t N, class Visit>
void each_slot(const std::array<Slot, N>& slots, const std::array<std::atomic<uint64_t>, N>& keys, size_t first,
               Visit visit) {
  for (size_t i = first; i < N && keys[i].load(std::memory_order_acquire) != 0; ++i)
    visit(slots[i], std::string(slots[i].label, strnlen(slots[i].label, Slot::kLabelBytes)));
}
template <class Visit>
void each_namespace(const CounterPage& page, Visit visit) {
  if (page.namespace_keys[0].load(std::memory_order_acquire) != 0) visit(page.namespaces[0], std::string(kOther));
  each_slot(page.namespaces, page.namespace_keys, 1, visit);
}
template <class Visit>
void each_route(const CounterPage& page, Visit visit) {
  each_slot(page.routes, page.route_keys, 0, visit);
}

// Labels by the time at which the first worker claimed them.
class FirstCome {
 public:
  void saw(const std::string& label, uint64_t at) {
    const auto [entry, fresh] = claimed_.try_emplace(label, at);
    if (!fresh) entry->second = std::min(entry->second, at);
  }
  void keep(size_t limit) {
    if (claimed_.size() <= limit) return;
    std::vector<std::pair<uint64_t, std::string>> order;
    for (const auto& [label, at] : claimed_) order.emplace_back(at, label);
    std::ranges::sort(order);
    for (size_t i = limit; i < order.size(); ++i) claimed_.erase(order[i].second);
  }
  [[nodiscard]] std::string shown(const std::string& label) const {
    return claimed_.contains(label) ? label : std::string(kOther);
  }

 private:
  std::map<std::string, uint64_t> claimed_;
};

struct Sums {
  std::map<std::string, RouteSum> routes;  // by label
  std::map<std::string, NamespaceSum> namespaces;
};

Sums sum_up(const std::vector<CounterView>& pages) {
  FirstCome routes, namespaces;
  size_t limit = 0;
  for (const CounterView& view : pages) {
    limit = std::max<size_t>(limit, view.page()->route_limit.get());
    each_route(*view.page(),
               [&](const RouteSlot& slot, const std::string& label) { routes.saw(label, slot.claimed_ns.get()); });
    each_namespace(*view.page(), [&](const NamespaceSlot& slot, const std::string& label) {
      namespaces.saw(label, slot.claimed_ns.get());
    });
  }
  routes.keep(limit);
  namespaces.keep(shared::kNamespaceSlots);
  Sums sums;
  for (const CounterView& view : pages) {
    each_namespace(*view.page(), [&](const NamespaceSlot& slot, const std::string& label) {
      NamespaceSum& sum = sums.namespaces[namespaces.shown(label)];
      for (size_t i = 0; i < sum.duration.size(); ++i) {
        sum.duration[i] += slot.duration.buckets[i].get();
        sum.upstream[i] += slot.upstream.buckets[i].get();
      }
      sum.all.add(slot.rest);
      RouteSum rest;
      rest.add(slot.rest);
      if (rest.count() != 0) sums.routes[std::string(kOther)].add(slot.rest);
    });
    each_route(*view.page(), [&](const RouteSlot& slot, const std::string& label) {
      sums.routes[routes.shown(label)].add(slot.counters);
      sums.namespaces[namespaces.shown(std::string(shared::namespace_of(label)))].all.add(slot.counters);
    });
  }
  return sums;
}

// "ingress/NS/NAME", "route/NS/NAME/RULE"; anything else is a kind of its own. The labels' names begin with route_,
// because Prometheus puts `namespace` and the like of the Pod beside them.
Labels labels_of(std::string_view label) {
  static constexpr const char* kNames[] = {"route_kind", "route_namespace", "route_name", "route_rule"};
  Labels out;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    const size_t end = i + 1 == std::size(kNames) ? label.npos : label.find('/');
    std::string value(label.substr(0, end));
    if (i == 0 && value == "ingress") value = "Ingress";
    if (i == 0 && value == "route") value = "Route";
    out.push_back({kNames[i], std::move(value)});
    if (end == label.npos) break;
    label.remove_prefix(end + 1);
  }
  return out;
}

Labels with(Labels labels, const char* name, std::string_view value) {
  labels.push_back({name, std::string(value)});
  return labels;
}

void put_counts(MetricFamily& requests, MetricFamily& replies, const RouteSum& sum, const Labels& labels,
                bool whole_list) {
  for (size_t i = 0; i < kClasses; ++i) {
    if (sum.requests[i] != 0 || (whole_list && i >= 2))
      Families::put(requests, static_cast<double>(sum.requests[i]), with(labels, "code_class", kCodeClasses[i]));
  }
  for (size_t i = 1; i < kReasons; ++i) {
    if (sum.reasons[i] != 0)
      Families::put(replies, static_cast<double>(sum.reasons[i]),
                    with(labels, "reason", http::describe(static_cast<http::Reason>(i)).word));
  }
}

void put_routes(const Sums& sums, Families& out) {
  MetricFamily* const families[] = {
      &out.family("sluice_requests_total",
                  "Requests by route and class of the answer's status; none = no answer was sent. Kind _none: no route "
                  "matched; _other: routes beyond --metric-routes, together.",
                  MetricType::Counter),
      &out.family("sluice_route_local_replies_total", "Answers made here, by route and reason.", MetricType::Counter),
      &out.family("sluice_route_duration_seconds", "From the request's first byte to the answer's last, by route.",
                  MetricType::Summary),
      &out.family("sluice_route_upstream_duration_seconds",
                  "From the request sent to an upstream to its answer's head, by route.", MetricType::Summary),
      &out.family("sluice_request_body_bytes_total", "Bytes of request bodies, by route.", MetricType::Counter),
      &out.family("sluice_response_body_bytes_total", "Bytes of response bodies, by route.", MetricType::Counter),
      &out.family("sluice_request_retries_total", "Requests tried again on another endpoint, by route.",
                  MetricType::Counter),
      &out.family("sluice_grpc_requests_total",
                  "gRPC requests by route and grpc-status, told by the answer or by how the request ended.",
                  MetricType::Counter)};
  for (const auto& [route, sum] : sums.routes) {
    const Labels labels = labels_of(route);
    put_counts(*families[0], *families[1], sum, labels, false);
    Families::put_summary(*families[2], sum.count(), sum.duration_us, labels);
    Families::put_summary(*families[3], sum.upstream_answers, sum.upstream_us, labels);
    Families::put(*families[4], static_cast<double>(sum.bytes_in), labels);
    Families::put(*families[5], static_cast<double>(sum.bytes_out), labels);
    Families::put(*families[6], static_cast<double>(sum.retries), labels);
    for (size_t i = 0; i < kGrpc; ++i) {
      if (sum.grpc[i] != 0)
        Families::put(*families[7], static_cast<double>(sum.grpc[i]),
                      with(labels, "grpc_status", http::grpc::digits(static_cast<http::grpc::Status>(i))));
    }
  }
}

void put_namespaces(const Sums& sums, Families& out) {
  MetricFamily* const families[] = {
      &out.family(
          "sluice_namespace_requests_total",
          "Requests by namespace of their route and class of the answer's status. Namespace _none: no object of a "
          "namespace decided; _other: namespaces beyond 255, together.",
          MetricType::Counter),
      &out.family("sluice_namespace_local_replies_total", "Answers made here, by namespace and reason.",
                  MetricType::Counter),
      &out.family("sluice_request_duration_seconds",
                  "From the request's first byte to the answer's last, by namespace.", MetricType::Histogram),
      &out.family("sluice_upstream_duration_seconds",
                  "From the request sent to an upstream to its answer's head, by namespace.", MetricType::Histogram),
      &out.family("sluice_namespace_request_body_bytes_total", "Bytes of request bodies, by namespace.",
                  MetricType::Counter),
      &out.family("sluice_namespace_response_body_bytes_total", "Bytes of response bodies, by namespace.",
                  MetricType::Counter)};
  for (const auto& [name, sum] : sums.namespaces) {
    const Labels labels{{"route_namespace", name}};
    put_counts(*families[0], *families[1], sum.all, labels, true);
    Families::put_histogram(*families[2], sum.duration, shared::kNamespaceBoundsUs, sum.all.duration_us, labels);
    Families::put_histogram(*families[3], sum.upstream, shared::kNamespaceBoundsUs, sum.all.upstream_us, labels);
    Families::put(*families[4], static_cast<double>(sum.all.bytes_in), labels);
    Families::put(*families[5], static_cast<double>(sum.all.bytes_out), labels);
  }
}
}  // namespace

void collect_routes(const std::vector<CounterView>& pages, Families& out) {
  const Sums sums = sum_up(pages);
  put_routes(sums, out);
  put_namespaces(sums, out);
}

}  // namespace sluice::agent
