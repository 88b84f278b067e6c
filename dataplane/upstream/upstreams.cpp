#include <algorithm>
#include <cerrno>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "common/base/clock.h"
#include "dataplane/upstream/connection.h"
#include "dataplane/upstream/exchange.h"
#include "dataplane/upstream/lb.h"
#include "dataplane/upstream/multiplexed.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {
namespace {

constexpr size_t kSweep = 256;
// An errno of our own: no more connections to this endpoint.
constexpr int kFull = EBUSY;

const ir::ClusterEndpoints* find_endpoints(const ir::EndpointSet& set, std::string_view name) {
  return ir::find_sorted(set.clusters(), name, [](const ir::ClusterEndpoints& one) { return one.name(); });
}

// Out of our own means: another endpoint would not do better.
bool is_ours(int reason) {
  return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM || reason == ENOSPC;
}

}  // namespace

struct Upstreams::Impl final : net::TimerNode {
  Impl(net::Reactor& reactor, shared::CounterPage& page, std::unique_ptr<Connector> connector)
      : context(reactor, std::move(connector)), counters(page), random(monotonic_ns()) {}

  Context context;
  shared::CounterPage& counters;
  Random random;
  ir::TableView table;
  const ir::EndpointSet* endpoints = nullptr;
  uint64_t epoch = 0;
  uint32_t workers = 0;
  uint32_t connect_ms = 2000;
  std::vector<std::shared_ptr<Cluster>> clusters;          // at Cluster::index
  std::unordered_map<std::string_view, Cluster*> by_name;  // keys point into the clusters
  size_t sweep_left = 0, sweep_at = 0;
  std::unordered_set<const shared::ClusterSlot*> slots;
  std::deque<Connection> connections;  // slabs: objects are used again, never moved
  std::deque<Multiplexed> multiplexed;
  std::deque<Exchange> exchanges;
  std::vector<Endpoint*> closing;

  void configure() {
    const ir::Settings* settings = table.head().settings();
    const ir::TimeoutSettings* timeouts = settings == nullptr ? nullptr : settings->timeouts();
    const ir::LimitSettings* limits = settings == nullptr ? nullptr : settings->limits();
    connect_ms = timeouts == nullptr ? 2000 : timeouts->upstream_connect();
    context.limits = {};
    if (limits != nullptr) context.limits = {limits->header_bytes(), limits->header_count(), limits->request_line()};
    const uint32_t set = settings == nullptr ? 0 : settings->workers();
    const uint32_t shared_by = std::max(1u, workers != 0 ? workers : set);
    const uint32_t idle = limits == nullptr ? 512 : limits->upstream_idle();
    context.idle.configure((idle + shared_by - 1) / shared_by, timeouts == nullptr ? 60000 : timeouts->upstream_idle());
  }

  void close_idle() {
    for (Endpoint* endpoint : std::exchange(closing, {})) context.idle.close_all(*endpoint);
  }

  // Brings a cluster up to the current state; one that is gone or another now leaves. Streams that hold it go on with
  // what it last had.
  void refresh(Cluster& cluster) {
    if (cluster.epoch == epoch) return;
    cluster.epoch = epoch;
    if (cluster.retired()) return;
    const ir::Cluster* const now = table.cluster(cluster.name());
    if (now != nullptr && now->hash() == cluster.hash()) {
      cluster.update(find_endpoints(*endpoints, cluster.name()), closing);
      return close_idle();
    }
    cluster.retire(closing);
    close_idle();
    by_name.erase(cluster.name());
    const uint32_t at = cluster.index;
    std::swap(clusters[at], clusters.back());
    clusters[at]->index = at;
    clusters.pop_back();  // may destroy it
  }

  // Looks at some of the clusters held from earlier states; the rest a tick later.
  void sweep() {
    for (size_t i = 0; i < kSweep && sweep_left > 0; ++i, --sweep_left) {
      if (sweep_at >= clusters.size()) {
        sweep_left = 0;
        break;
      }
      Cluster* const cluster = clusters[sweep_at].get();
      refresh(*cluster);
      // One that left was replaced by the last of the list: look at that one next.
      if (sweep_at < clusters.size() && clusters[sweep_at].get() == cluster) ++sweep_at;
    }
    if (sweep_left > 0) context.reactor.timers().arm(*this, context.reactor.now_ms() + 1);
  }
  void on_timer() override { sweep(); }

  template <class T>
  T& object(std::vector<T*>& free, std::deque<T>& slab) {
    if (free.empty()) return slab.emplace_back(context);
    T& one = *free.back();
    free.pop_back();
    return one;
  }

  // A connection on its way to the endpoint; null with errno.
  template <class T>
  T* connect(const std::shared_ptr<Cluster>& cluster, Endpoint& endpoint, const AttemptOptions& options,
             std::vector<T*>& free, std::deque<T>& slab) {
    std::unique_ptr<net::Transport> transport = context.connector->connect(endpoint.address, *cluster);
    if (transport == nullptr) return nullptr;
    uint64_t wait = options.connect_ms != 0 ? options.connect_ms : cluster->connect_ms();
    if (wait == 0) wait = connect_ms;
    T& connection = object(free, slab);
    return connection.open(std::move(transport), cluster, endpoint, wait) ? &connection : nullptr;
  }

  // One that carries streams already, as long as it takes more: the others can come to rest. Then one at rest, then a
  // new one.
  Multiplexed* find_multiplexed(const std::shared_ptr<Cluster>& cluster, Endpoint& endpoint,
                                const AttemptOptions& options) {
    for (Multiplexed* at = endpoint.multiplexed; at != nullptr; at = at->next) {
      if (!at->idle_links.linked && at->takes()) return at;
    }
    while (Pooled* const rested = context.idle.take(endpoint)) {
      cluster->counters().idle_connections.sub();
      auto* const connection = static_cast<Multiplexed*>(rested);
      if (connection->takes()) return connection;
      connection->close();
    }
    if (endpoint.connections >= context.http2.connections) {
      errno = kFull;
      return nullptr;
    }
    return connect(cluster, endpoint, options, context.free_multiplexed, multiplexed);
  }

  // Null with errno.
  http::RequestSink* begin(Cluster& cluster, Endpoint& endpoint, http::ResponseEvents& events, Arena& arena,
                           Attempts& attempts, const AttemptOptions& options) {
    if (cluster.protocol() == ir::UpstreamProtocol::H2) {
      Multiplexed* const connection = find_multiplexed(cluster.shared_from_this(), endpoint, options);
      if (connection == nullptr) return nullptr;
      Exchange& exchange = object(context.free_exchanges, exchanges);
      exchange.begin(*connection, events, arena, attempts, options);
      return &exchange;
    }
    // Of a cluster without HTTP/2: what rests there is a Connection.
    auto* connection = static_cast<Connection*>(context.idle.take(endpoint));
    if (connection != nullptr) cluster.counters().idle_connections.sub();
    else connection = connect(cluster.shared_from_this(), endpoint, options, context.free, connections);
    if (connection != nullptr) connection->begin(events, arena, attempts, options);
    return connection;
  }

  void note(Attempts& attempts, const Endpoint& endpoint) {
    if (attempts.count < Attempts::kMax) attempts.tried[attempts.count] = &endpoint;
    if (attempts.count < UINT8_MAX) ++attempts.count;
    attempts.last_address = endpoint.address;
    attempts.reused = false;
    attempts.connect_us = 0;
  }
};

Upstreams::Upstreams(net::Reactor& reactor, shared::CounterPage& counters, ChunkPool&)
    : Upstreams(reactor, counters, make_connector()) {}
Upstreams::Upstreams(net::Reactor& reactor, shared::CounterPage& counters, std::unique_ptr<Connector> connector)
    : impl_(std::make_unique<Impl>(reactor, counters, std::move(connector))) {}

Upstreams::~Upstreams() {
  for (Connection& connection : impl_->connections) connection.close();
  for (Multiplexed& connection : impl_->multiplexed) connection.close();
}

void Upstreams::apply(const ir::TableView& table, const ir::EndpointSet& endpoints) {
  Impl& self = *impl_;
  self.table = table;
  self.endpoints = &endpoints;
  ++self.epoch;
  self.configure();
  self.sweep_left = self.clusters.size();
  self.sweep_at = 0;
  self.sweep();
}

void Upstreams::set_workers(uint32_t workers) {
  impl_->workers = workers;
  if (!impl_->table.empty()) impl_->configure();
}

void Upstreams::limit_http2(const Http2Limits& limits) { impl_->context.http2 = limits; }

uint64_t Upstreams::epoch() const { return impl_->epoch; }
size_t Upstreams::idle_connections() const { return impl_->context.idle.size(); }
size_t Upstreams::active_exchanges() const { return impl_->context.active; }

std::shared_ptr<Cluster> Upstreams::cluster(std::string_view name) {
  Impl& self = *impl_;
  if (const auto found = self.by_name.find(name); found != self.by_name.end()) {
    std::shared_ptr<Cluster> held = found->second->shared_from_this();
    self.refresh(*held);
    if (!held->retired()) return held;
  }
  const ir::Cluster* const from = self.table.cluster(name);
  if (from == nullptr) return nullptr;
  shared::ClusterSlot& slot = shared::cluster_slot(self.counters, name);
  // A worker that died left its gauges behind.
  if (self.slots.insert(&slot).second) {
    slot.active_connections.set(0);
    slot.idle_connections.set(0);
  }
  auto made = std::make_shared<Cluster>(*from, slot);
  made->epoch = self.epoch;
  made->update(find_endpoints(*self.endpoints, name), self.closing);
  made->index = static_cast<uint32_t>(self.clusters.size());
  self.by_name.emplace(made->name(), made.get());
  self.clusters.push_back(made);
  return made;
}

std::expected<http::RequestSink*, http::Error> Upstreams::start(Cluster& cluster, http::ResponseEvents& events,
                                                                Arena& arena, Attempts& attempts,
                                                                const AttemptOptions& options) {
  Impl& self = *impl_;
  const auto refuse = [](http::Reason reason, http::Retry retry = http::Retry::no, int detail = 0) {
    return std::unexpected(http::Error{reason, http::Side::upstream, retry, static_cast<int16_t>(detail)});
  };
  if (cluster.epoch != self.epoch) self.refresh(cluster);
  bool full = false;
  for (size_t tries = 0; tries < Attempts::kMax; ++tries) {
    Endpoint* const endpoint = choose(cluster, attempts, self.random);
    if (endpoint == nullptr) return refuse(cluster.empty_reason());
    if (tries > 0 && was_tried(attempts, endpoint)) break;  // each refused at once
    self.note(attempts, *endpoint);
    cluster.counters().attempts.add();
    if (http::RequestSink* const sink = self.begin(cluster, *endpoint, events, arena, attempts, options)) return sink;
    const int reason = errno;
    if (reason == kFull) {
      full = true;
      continue;
    }
    cluster.counters().connect_failures.add();
    if (reason == EKEYREJECTED) return refuse(http::Reason::upstream_tls_failed);
    if (is_ours(reason)) return refuse(http::Reason::overloaded, http::Retry::no, reason);
    if (tries + 1 == Attempts::kMax || cluster.ready().size() == 1)
      return refuse(http::Reason::connect_failed, http::Retry::yes, reason);
  }
  if (full) return refuse(http::Reason::overloaded);
  return refuse(http::Reason::connect_failed, http::Retry::yes);
}

}  // namespace sluice::upstream
