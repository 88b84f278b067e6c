#include "controlplane/admin/metrics.h"

#include <deque>
#include <exception>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace sluice::admin {
namespace {
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr const char* kStageNames[] = {"wait", "translate", "compile", "publish", "acknowledge"};
static_assert(std::size(kStageNames) == kStages);
constexpr const char* kRefusalNames[] = {"none",       "bad_hash",       "bad_schema", "too_large",
                                         "not_sealed", "worker_refused", "internal"};
static_assert(std::size(kRefusalNames) == static_cast<size_t>(ir::NackReason::internal) + 1);
constexpr const char* kPartNames[] = {"table", "endpoints", "secrets"};
static_assert(std::size(kPartNames) == ir::kParts);
// One change takes a millisecond or two, everything from nothing half a second.
const prometheus::Histogram::BucketBoundaries kBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                      0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};

// Families that are read from the condition.
class Families {
 public:
  void add(const char* name, const char* help, MetricType type) {
    MetricFamily& family = families_.emplace_back();
    family.name = name;
    family.help = help;
    family.type = type;
  }
  // To the family added last.
  void put(double value, std::vector<ClientMetric::Label> labels = {}) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    if (families_.back().type == MetricType::Counter) metric.counter.value = value;
    else metric.gauge.value = value;
  }
  void put(uint64_t value, std::vector<ClientMetric::Label> labels = {}) {
    put(static_cast<double>(value), std::move(labels));
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

// Sums over the namespaces of a kind; a folder has no lists, all is zero.
void add_watched(const Condition& condition, Families& out) {
  std::map<std::string, Watched> kinds;
  for (size_t i = 0; i < store::kKinds; ++i) kinds[store::kind_name(static_cast<store::Kind>(i))].listed = true;
  for (const Watched& watched : condition.watched) {
    Watched& sum = kinds[watched.kind];
    sum.listed = sum.listed && watched.listed;
    sum.lists += watched.lists;
    sum.watches += watched.watches;
    sum.events += watched.events;
    sum.failures += watched.failures;
  }
  const auto each = [&](const char* name, const char* help, MetricType type, auto value) {
    out.add(name, help, type);
    for (const auto& [kind, sum] : kinds) out.put(static_cast<uint64_t>(value(sum)), {{"kind", kind}});
  };
  each("sluice_controlplane_kind_listed", "1 = the kind's first list is there.", MetricType::Gauge,
       [&](const Watched& sum) { return condition.watched.empty() ? condition.listed : sum.listed; });
  each("sluice_controlplane_lists_total", "Lists begun at the API server: the first, and each relist.",
       MetricType::Counter, [](const Watched& sum) { return sum.lists; });
  each("sluice_controlplane_watches_total", "Watches begun at the API server: the first, and each restart.",
       MetricType::Counter, [](const Watched& sum) { return sum.watches; });
  each("sluice_controlplane_watch_events_total", "Events of watches.", MetricType::Counter,
       [](const Watched& sum) { return sum.events; });
  each("sluice_controlplane_api_failures_total", "Lists and watches that failed.", MetricType::Counter,
       [](const Watched& sum) { return sum.failures; });
}

void add_objects(const Condition& condition, Families& out) {
  out.add("sluice_controlplane_objects", "Objects known, by kind.", MetricType::Gauge);
  for (size_t i = 0; i < store::kKinds; ++i)
    out.put(uint64_t{condition.objects[i]}, {{"kind", store::kind_name(static_cast<store::Kind>(i))}});
  out.add("sluice_controlplane_api_connected", "1 = the API server answers. Always 0 on a folder.", MetricType::Gauge);
  out.put(uint64_t{condition.in_cluster && condition.api_connected});
  out.add("sluice_controlplane_contents_wanted", "Secrets and ConfigMaps that accepted objects name.",
          MetricType::Gauge);
  out.put(uint64_t{condition.contents_wanted});
  out.add("sluice_controlplane_contents_loaded", "Those of them that have been fetched.", MetricType::Gauge);
  out.put(uint64_t{condition.contents_loaded});
  out.add("sluice_controlplane_problems", "Things in objects that could not be honoured, by reason.",
          MetricType::Gauge);
  std::map<std::pair<std::string, store::Severity>, uint64_t> bounded;
  std::set<std::string> reasons;
  for (const auto& [key, count] : condition.problems) {
    const bool known = reasons.contains(key.first) || reasons.size() < Metrics::kMaxReasons;
    if (known) reasons.insert(key.first);
    bounded[{known ? key.first : "other", key.second}] += count;
  }
  for (const auto& [key, count] : bounded)
    out.put(count, {{"reason", key.first}, {"severity", key.second == store::Severity::error ? "error" : "warning"}});
}

void add_state(const Condition& condition, Families& out) {
  const auto gauge = [&out](const char* name, const char* help, uint64_t value) {
    out.add(name, help, MetricType::Gauge);
    out.put(value);
  };
  gauge("sluice_controlplane_ready", "1 = /readyz says ready.", missing(condition).empty() ? 1 : 0);
  gauge("sluice_controlplane_generation", "Sequence of the newest state.", condition.newest.sequence);
  gauge("sluice_controlplane_acknowledged_generation", "Sequence of the state that all workers run; 0 = none.",
        condition.acknowledged.sequence);
  out.add("sluice_controlplane_part_bytes", "Size of the newest state's parts.", MetricType::Gauge);
  for (size_t i = 0; i < ir::kParts; ++i) out.put(condition.part_bytes[i], {{"part", kPartNames[i]}});
  gauge("sluice_controlplane_virtual_hosts", "Virtual hosts of the newest state.", condition.hosts);
  gauge("sluice_controlplane_clusters", "Clusters of the newest state.", condition.clusters);
  gauge("sluice_controlplane_certificates", "Certificates of the newest state.", condition.certificates);
  gauge("sluice_controlplane_leader", "1 = this replica writes status and Events. Always 0 on a folder.",
        condition.leads ? 1 : 0);
  out.add("sluice_controlplane_lease_failures_total", "Calls for Leases (leader, replicas) that failed.",
          MetricType::Counter);
  out.put(condition.lease_failures);
  gauge("sluice_controlplane_options_refused",
        "1 = the newest options file was refused, and the options before it are in force.",
        condition.options_refused ? 1 : 0);
  gauge("sluice_controlplane_dataplane_connected", "1 = a data plane is on the push socket.",
        condition.dataplane_connected ? 1 : 0);
  gauge("sluice_controlplane_dataplane_workers", "Workers of the newest data plane.", condition.workers_total);
  gauge("sluice_controlplane_dataplane_workers_ready", "Those of them that run a state.", condition.workers_ready);
}

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  prometheus::Histogram* stages[kStages]{};
  prometheus::Counter *translations = nullptr, *states = nullptr, *acks = nullptr;
  prometheus::Counter* refusals[std::size(kRefusalNames)]{};
  prometheus::Gauge* last_push = nullptr;
  // Published and not acknowledged: the newest few; what a newer one overtook is never acknowledged itself.
  struct Pending {
    uint64_t sequence, at_ns;
  };
  std::deque<Pending> pending;
  static constexpr size_t kMaxPending = 64;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {
  prometheus::Registry& registry = impl_->registry;
  auto& stages = prometheus::BuildHistogram()
                     .Name("sluice_controlplane_stage_duration_seconds")
                     .Help(
                         "The way of a change: wait (for others to come with it, from the first), translate, compile, "
                         "publish (to the socket), acknowledge (from the socket until all workers run it).")
                     .Register(registry);
  for (size_t i = 0; i < kStages; ++i) impl_->stages[i] = &stages.Add({{"stage", kStageNames[i]}}, kBounds);
  const auto counter = [&registry](const char* name, const char* help) {
    return &prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
  };
  impl_->translations = counter("sluice_controlplane_translations_total",
                                "Translations: bursts of changes, whether or not they made a new state.");
  impl_->states = counter("sluice_controlplane_states_published_total", "States handed to the push socket.");
  impl_->acks = counter("sluice_controlplane_acks_total", "States that all workers took.");
  auto& refusals = prometheus::BuildCounter()
                       .Name("sluice_controlplane_nacks_total")
                       .Help("States that the data plane refused, by reason.")
                       .Register(registry);
  for (size_t i = 1; i < std::size(kRefusalNames); ++i)
    impl_->refusals[i] = &refusals.Add({{"reason", kRefusalNames[i]}});
  impl_->refusals[0] = impl_->refusals[static_cast<size_t>(ir::NackReason::internal)];
  impl_->last_push = &prometheus::BuildGauge()
                          .Name("sluice_controlplane_last_push_timestamp_seconds")
                          .Help("Unix time of the last acknowledgement by all workers; 0 = none.")
                          .Register(registry)
                          .Add({});
}
Metrics::~Metrics() = default;

void Metrics::took(Stage stage, double seconds) { impl_->stages[static_cast<size_t>(stage)]->Observe(seconds); }
void Metrics::translated() { impl_->translations->Increment(); }

void Metrics::published(uint64_t sequence, uint64_t now_ns) {
  impl_->states->Increment();
  impl_->pending.push_back({sequence, now_ns});
  if (impl_->pending.size() > Impl::kMaxPending) impl_->pending.pop_front();
}

void Metrics::acknowledged(uint64_t sequence, uint64_t now_ns, double wall_seconds) {
  auto& pending = impl_->pending;
  while (!pending.empty() && pending.front().sequence < sequence) pending.pop_front();
  if (pending.empty() || pending.front().sequence != sequence) return;
  took(Stage::acknowledge, static_cast<double>(now_ns - pending.front().at_ns) / 1e9);
  pending.pop_front();
  impl_->acks->Increment();
  impl_->last_push->Set(wall_seconds);
}

void Metrics::refused(ir::NackReason reason) {
  const auto index = static_cast<size_t>(reason);
  impl_->refusals[index < std::size(kRefusalNames) ? index : 0]->Increment();
}

std::string Metrics::render(const Condition& condition) const {
  try {
    Families families;
    add_objects(condition, families);
    add_watched(condition, families);
    add_state(condition, families);
    std::vector<MetricFamily> all = families.take();
    for (MetricFamily& family : impl_->registry.Collect()) all.push_back(std::move(family));
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, all);
    return std::move(text).str();
  } catch (const std::exception& error) {
    return fmt::format("# {}\n", error.what());
  }
}

}  // namespace sluice::admin
