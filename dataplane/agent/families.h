// Metric families as prometheus-cpp wants them, put together for one scrape.
#pragma once
#include <cstdint>
#include <deque>
#include <iterator>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <prometheus/metric_family.h>

namespace sluice::agent {

using Labels = std::vector<prometheus::ClientMetric::Label>;

class Families {
 public:
  // Good until take().
  prometheus::MetricFamily& family(const char* name, const char* help, prometheus::MetricType type) {
    prometheus::MetricFamily& family = families_.emplace_back();
    family.name = name;
    family.help = help;
    family.type = type;
    return family;
  }
  void single(const char* name, const char* help, prometheus::MetricType type, double value) {
    put(family(name, help, type), value, {});
  }
  static void put(prometheus::MetricFamily& family, double value, Labels labels) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    if (family.type == prometheus::MetricType::Counter) metric.counter.value = value;
    else metric.gauge.value = value;
  }
  // `buckets` are not cumulative, and one more than `bounds_us`.
  static void put_histogram(prometheus::MetricFamily& family, std::span<const uint64_t> buckets,
                            std::span<const uint32_t> bounds_us, uint64_t sum_us, Labels labels) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    uint64_t count = 0;
    for (size_t i = 0; i < buckets.size(); ++i) {
      count += buckets[i];
      metric.histogram.bucket.push_back(
          {count, i < bounds_us.size() ? bounds_us[i] / 1e6 : std::numeric_limits<double>::infinity()});
    }
    metric.histogram.sample_count = count;
    metric.histogram.sample_sum = static_cast<double>(sum_us) / 1e6;
  }
  // A sum and a count, no quantiles.
  static void put_summary(prometheus::MetricFamily& family, uint64_t count, uint64_t sum_us, Labels labels) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    metric.summary.sample_count = count;
    metric.summary.sample_sum = static_cast<double>(sum_us) / 1e6;
  }
  [[nodiscard]] std::vector<prometheus::MetricFamily> take() {
    std::erase_if(families_, [](const prometheus::MetricFamily& family) { return family.metric.empty(); });
    return {std::make_move_iterator(families_.begin()), std::make_move_iterator(families_.end())};
  }

 private:
  std::deque<prometheus::MetricFamily> families_;  // those given out stay where they are
};

}  // namespace sluice::agent
