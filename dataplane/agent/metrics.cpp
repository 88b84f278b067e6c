#include "dataplane/agent/metrics.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <prometheus/text_serializer.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "dataplane/agent/route_metrics.h"
#include "dataplane/http/error.h"

namespace sluice::agent {
namespace {
using prometheus::MetricFamily;
using prometheus::MetricType;
using shared::Cell;
using shared::ClusterSlot;
using shared::CounterPage;
using shared::LimitSlot;

struct ClusterSum {
  uint64_t attempts = 0, connect_failures = 0, timeouts = 0, resets = 0, opened = 0, active = 0, idle = 0;
};

// Calls visit(slot) for each slot in use. Goes by what the memory file holds: reading a hole of the mapping would fill
// it.
template <class Slot, size_t N, class Visit>
void each_slot(const CounterView& view, const std::array<Slot, N>& slots, Visit visit) {
  const auto begin =
      static_cast<off_t>(reinterpret_cast<const char*>(&slots) - reinterpret_cast<const char*>(view.page()));
  const off_t end = begin + static_cast<off_t>(sizeof slots);
  size_t next = 0;
  for (off_t at = lseek(view.fd(), begin, SEEK_DATA); at >= 0 && at < end;) {
    off_t hole = lseek(view.fd(), at, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    // A slot that begins in the hole before has no key. Reading it there would make a page of the hole, one more with
    // each scrape.
    const size_t first = (static_cast<size_t>(at - begin) + sizeof(Slot) - 1) / sizeof(Slot);
    const size_t last = std::min(N, (static_cast<size_t>(hole - begin) + sizeof(Slot) - 1) / sizeof(Slot));
    for (next = std::max(next, first); next < last; ++next) {
      const Slot& slot = slots[next];
      // The key is stored after the label, and the label never changes.
      if (slot.key.load(std::memory_order_acquire) != 0)
        visit(slot, std::string(slot.label, strnlen(slot.label, Slot::kLabelBytes)));
    }
    at = hole < end ? lseek(view.fd(), hole, SEEK_DATA) : end;
  }
}

void collect_limits(const std::vector<CounterView>& pages, Families& out) {
  std::map<std::string, std::array<uint64_t, 3>> limits;
  for (const CounterView& view : pages) {
    each_slot(view, view.page()->limits, [&](const LimitSlot& slot, const std::string& label) {
      auto& sum = limits[label];
      sum[0] += slot.admitted.get();
      sum[1] += slot.limited.get();
      sum[2] += slot.shadowed.get();
    });
  }
  static constexpr const char* kDecisions[] = {"admitted", "limited", "shadowed"};
  MetricFamily& decisions = out.family(
      "sluice_rate_limit_decisions_total",
      "Requests by rate limit: admitted = a token was taken, limited = refused, shadowed = would have been refused.",
      MetricType::Counter);
  for (const auto& [limit, sum] : limits) {
    for (size_t i = 0; i < sum.size(); ++i)
      Families::put(decisions, static_cast<double>(sum[i]), {{"limit", limit}, {"decision", kDecisions[i]}});
  }
}

void collect_clusters(const std::vector<CounterView>& pages, Families& out) {
  std::map<std::string, ClusterSum> clusters;
  for (const CounterView& view : pages) {
    each_slot(view, view.page()->clusters, [&](const ClusterSlot& slot, const std::string& label) {
      ClusterSum& sum = clusters[label];
      sum.attempts += slot.attempts.get();
      sum.connect_failures += slot.connect_failures.get();
      sum.timeouts += slot.timeouts.get();
      sum.resets += slot.resets.get();
      sum.opened += slot.connections_opened.get();
      sum.active += slot.active_connections.get();
      sum.idle += slot.idle_connections.get();
    });
  }
  std::vector<std::pair<std::string, ClusterSum>> list(clusters.begin(), clusters.end());
  auto each = [&](const char* name, const char* help, MetricType type, auto value) {
    MetricFamily& family = out.family(name, help, type);
    for (const auto& [cluster, sum] : list)
      Families::put(family, static_cast<double>(value(sum)), {{"cluster", cluster}});
  };
  each("sluice_upstream_attempts_total", "Attempts on endpoints of a cluster, retries included.", MetricType::Counter,
       [](const ClusterSum& sum) { return sum.attempts; });
  MetricFamily& failures = out.family("sluice_upstream_failures_total",
                                      "Attempts that failed: connect, timeout or reset.", MetricType::Counter);
  for (const auto& [cluster, sum] : list) {
    Families::put(failures, static_cast<double>(sum.connect_failures), {{"cluster", cluster}, {"reason", "connect"}});
    Families::put(failures, static_cast<double>(sum.timeouts), {{"cluster", cluster}, {"reason", "timeout"}});
    Families::put(failures, static_cast<double>(sum.resets), {{"cluster", cluster}, {"reason", "reset"}});
  }
  each("sluice_upstream_connections_opened_total", "Connections opened to endpoints.", MetricType::Counter,
       [](const ClusterSum& sum) { return sum.opened; });
  each("sluice_upstream_connections_active", "Exchanges with endpoints under way: one a connection, of HTTP/2 many.",
       MetricType::Gauge, [](const ClusterSum& sum) { return sum.active; });
  each("sluice_upstream_connections_idle", "Upstream connections kept for the next request.", MetricType::Gauge,
       [](const ClusterSum& sum) { return sum.idle; });
}

void collect_overload(const std::vector<CounterView>& pages, Families& out) {
  static constexpr const char* kResources[] = {"memory", "connections", "delay"};
  MetricFamily& levels =
      out.family("sluice_overload_level",
                 "What the most loaded worker does against overload, by what runs out: 0 nothing, 1 "
                 "ends keep-alive, 2 sheds sheddable and 3 standard requests, 4 refuses connections, "
                 "5 resets those that hold most.",
                 MetricType::Gauge);
  for (size_t i = 0; i < std::size(kResources); ++i) {
    uint64_t most = 0;
    for (const CounterView& view : pages) most = std::max(most, view.page()->overload_level[i].get());
    Families::put(levels, static_cast<double>(most), {{"resource", kResources[i]}});
  }
  MetricFamily& actions =
      out.family("sluice_overload_actions_total",
                 "Requests shed, connections refused, and connections and streams reset because of overload.",
                 MetricType::Counter);
  auto count = [&](const char* action, Cell CounterPage::*cell) {
    uint64_t sum = 0;
    for (const CounterView& view : pages) sum += (view.page()->*cell).get();
    Families::put(actions, static_cast<double>(sum), {{"action", action}});
  };
  static constexpr const char* kPriorities[] = {"sheddable", "standard", "critical"};
  MetricFamily& shed =
      out.family("sluice_overload_shed_total", "Requests shed, by the priority of their route.", MetricType::Counter);
  uint64_t all = 0;
  for (size_t i = 0; i < std::size(kPriorities); ++i) {
    uint64_t sum = 0;
    for (const CounterView& view : pages) sum += view.page()->overload_shed[i].get();
    Families::put(shed, static_cast<double>(sum), {{"priority", kPriorities[i]}});
    all += sum;
  }
  Families::put(actions, static_cast<double>(all), {{"action", "shed"}});
  count("refuse", &CounterPage::overload_refused);
  count("reset", &CounterPage::overload_reset);
}

void collect_totals(const std::vector<CounterView>& pages, Families& out) {
  auto total = [&](const char* name, const char* help, MetricType type, Cell CounterPage::*cell) {
    uint64_t sum = 0;
    for (const CounterView& view : pages) sum += (view.page()->*cell).get();
    out.single(name, help, type, static_cast<double>(sum));
  };
  total("sluice_connections_accepted_total", "Client connections accepted.", MetricType::Counter,
        &CounterPage::connections_accepted);
  MetricFamily& handovers = out.family(
      "sluice_connection_handovers_total",
      "Client connections by what became of them where connections.balance is even: done, a worker handed the one that "
      "it accepted to another; kept, the other could not take it; refused, what came from another was no connection.",
      MetricType::Counter);
  for (const auto& [outcome, cell] :
       {std::pair("done", &CounterPage::handovers_done), std::pair("kept", &CounterPage::handovers_kept),
        std::pair("refused", &CounterPage::handovers_refused)}) {
    uint64_t sum = 0;
    for (const CounterView& view : pages) sum += (view.page()->*cell).get();
    Families::put(handovers, static_cast<double>(sum), {{"outcome", outcome}});
  }
  total("sluice_connections_active", "Client connections open.", MetricType::Gauge, &CounterPage::connections_active);
  total("sluice_streams_active", "Requests in progress.", MetricType::Gauge, &CounterPage::streams_active);
  total("sluice_streams_total", "Requests begun.", MetricType::Counter, &CounterPage::streams_total);
  total("sluice_tls_handshakes_total", "TLS handshakes completed, resumed ones included.", MetricType::Counter,
        &CounterPage::tls_handshakes);
  total("sluice_tls_resumed_total", "TLS handshakes that resumed a session.", MetricType::Counter,
        &CounterPage::tls_resumed);
  total("sluice_tls_failures_total", "TLS handshakes that failed.", MetricType::Counter, &CounterPage::tls_failures);
  total("sluice_upgrades_total", "Connections that changed their protocol.", MetricType::Counter,
        &CounterPage::upgrades);
  total("sluice_access_log_lines_total", "Access log lines written.", MetricType::Counter, &CounterPage::log_lines);
  total("sluice_access_log_dropped_total", "Access log lines dropped: slow or full disk, blocked pipe.",
        MetricType::Counter, &CounterPage::log_dropped);
  total("sluice_rate_limit_evictions_total",
        "Buckets that were not full and made room for others: --rate-limit-keys is too small.", MetricType::Counter,
        &CounterPage::rate_limit_evictions);
  total("sluice_tables_mapped", "Route tables mapped by workers.", MetricType::Gauge, &CounterPage::tables_mapped);
  MetricFamily& replies =
      out.family("sluice_local_replies_total", "Answers made here, by reason.", MetricType::Counter);
  for (size_t i = 1; i < static_cast<size_t>(http::Reason::kCount); ++i) {
    uint64_t sum = 0;
    for (const CounterView& view : pages) sum += view.page()->reasons[i].get();
    if (sum != 0)
      Families::put(replies, static_cast<double>(sum),
                    {{"reason", std::string(http::describe(static_cast<http::Reason>(i)).word)}});
  }
}

void collect_condition(const Condition& condition, Families& out) {
  out.single("sluice_workers", "Workers that should run.", MetricType::Gauge, condition.workers_total);
  out.single("sluice_workers_ready", "Workers that run a state.", MetricType::Gauge, condition.workers_ready);
  out.single("sluice_worker_restarts_total", "Workers that ended unexpectedly and were replaced.", MetricType::Counter,
             condition.worker_restarts);
  out.single("sluice_control_plane_connected", "1 = connected to the control plane.", MetricType::Gauge,
             condition.connected ? 1 : 0);
  out.single("sluice_states_applied_total", "States that all workers took, since the agent started.",
             MetricType::Counter, static_cast<double>(condition.states_applied));
  out.single("sluice_states_refused_total", "States refused, since the agent started.", MetricType::Counter,
             static_cast<double>(condition.states_refused));
  out.single("sluice_state_write_failures_total", "States that could not be written to disk.", MetricType::Counter,
             static_cast<double>(condition.persist_failures));
  std::array<uint64_t, shared::kDurationBoundsUs.size() + 1> propagation{};
  for (size_t i = 0; i < propagation.size(); ++i) propagation[i] = condition.propagation.buckets[i].get();
  Families::put_histogram(
      out.family("sluice_propagation_seconds", "From a state published by the control plane to all workers running it.",
                 MetricType::Histogram),
      propagation, shared::kDurationBoundsUs, condition.propagation.sum_us.get(), {});
  if (condition.running == nullptr) return;
  out.single("sluice_generation", "Sequence of the state that all workers run.", MetricType::Gauge,
             static_cast<double>(condition.running->id.sequence));
  const auto* certificates = condition.running->secrets().certificates();
  if (certificates == nullptr) return;
  out.single("sluice_certificates_last_good",
             "Certificates served in their last good form, because their Secret is missing or broken.",
             MetricType::Gauge,
             static_cast<double>(std::ranges::count_if(
                 *certificates, [](const ir::Certificate* certificate) { return certificate->last_good(); })));
  MetricFamily& expiry = out.family("sluice_certificate_not_after_seconds",
                                    "End of a certificate's validity, Unix time.", MetricType::Gauge);
  // Where there are too many, those that end first.
  std::vector<const ir::Certificate*> order(certificates->begin(), certificates->end());
  if (order.size() > Metrics::kMaxCertificates) {
    const auto last = order.begin() + static_cast<ptrdiff_t>(Metrics::kMaxCertificates);
    std::ranges::nth_element(order, last, {}, &ir::Certificate::not_after);
    order.erase(last, order.end());
  }
  for (const ir::Certificate* certificate : order) {
    Families::put(expiry, static_cast<double>(certificate->not_after()), {{"id", certificate->id()->str()}});
  }
}
}  // namespace

std::vector<MetricFamily> Metrics::Collect() const {
  Families out;
  collect_condition(condition_, out);
  collect_totals(condition_.counters, out);
  collect_overload(condition_.counters, out);
  collect_routes(condition_.counters, out);
  collect_limits(condition_.counters, out);
  collect_clusters(condition_.counters, out);
  return out.take();
}

std::string render_metrics(const Condition& condition) {
  try {
    std::ostringstream text;
    prometheus::TextSerializer().Serialize(text, Metrics(condition).Collect());
    return std::move(text).str();
  } catch (const std::exception& error) {
    return fmt::format("# {}\n", error.what());
  }
}

}  // namespace sluice::agent
