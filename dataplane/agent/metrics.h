// /metrics: a prometheus-cpp Collectable over the workers' counter pages, read at scrape time. Sums over pages; a page
// outlives its worker, so counters never go back. Labels are bounded: route and cluster slots by the pages,
// certificates by kMaxCertificates.
#pragma once
#include <string>

#include <prometheus/collectable.h>

#include "dataplane/agent/condition.h"

namespace sluice::agent {

class Metrics final : public prometheus::Collectable {
 public:
  static constexpr size_t kMaxCertificates = 1000;
  explicit Metrics(const Condition& condition) : condition_(condition) {}
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const Condition& condition_;
};

// In Prometheus' text format.
[[nodiscard]] std::string render_metrics(const Condition& condition);

}  // namespace sluice::agent
