#include <algorithm>
#include <cerrno>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "common/base/clock.h"
#include "dataplane/upstream/connection.h"
#include "dataplane/upstream/lb.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {
namespace {

constexpr size_t kSweep = 256;

template <class T>
const T* find(const flatbuffers::Vector<flatbuffers::Offset<T>>* sorted, std::string_view name) {
  if (sorted == nullptr) return nullptr;
  flatbuffers::uoffset_t low = 0, high = sorted->size();
  while (low < high) {
    const flatbuffers::uoffset_t middle = low + (high - low) / 2;
    const T* const one = sorted->Get(middle);
    const int order = one->name() == nullptr ? -1 : one->name()->string_view().compare(name);
    if (order == 0) return one;
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return nullptr;
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
  const ir::RouteTable* table = nullptr;
  const ir::EndpointSet* endpoints = nullptr;
  uint64_t epoch = 0;
  uint32_t workers = 0;
  uint32_t connect_ms = 2000;
  std::vector<std::shared_ptr<Cluster>> clusters;          // at Cluster::index
  std::unordered_map<std::string_view, Cluster*> by_name;  // keys point into the clusters
  size_t sweep_left = 0, sweep_at = 0;
  std::unordered_set<const shared::ClusterSlot*> slots;
  std::deque<Connection> connections;  // slab: objects are used again, never moved
  std::vector<Endpoint*> closing;

  void configure() {
    const ir::Settings* settings = table->settings();
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
    const ir::Cluster* const now = find(table->clusters(), cluster.name());
    if (now != nullptr && now->hash() == cluster.hash()) {
      cluster.update(find(endpoints->clusters(), cluster.name()), closing);
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

  Connection& object() {
    if (context.free.empty()) return connections.emplace_back(context);
    Connection& connection = *context.free.back();
    context.free.pop_back();
    return connection;
  }

  // A connection on its way to the endpoint; null with errno.
  Connection* connect(const std::shared_ptr<Cluster>& cluster, Endpoint& endpoint, const AttemptOptions& options) {
    std::unique_ptr<net::Transport> transport = context.connector->connect(endpoint.address, *cluster);
    if (transport == nullptr) return nullptr;
    uint64_t wait = options.connect_ms != 0 ? options.connect_ms : cluster->connect_ms();
    if (wait == 0) wait = connect_ms;
    Connection& connection = object();
    return connection.open(std::move(transport), cluster, endpoint, wait) ? &connection : nullptr;
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
}

void Upstreams::apply(const ir::RouteTable& table, const ir::EndpointSet& endpoints) {
  Impl& self = *impl_;
  self.table = &table;
  self.endpoints = &endpoints;
  ++self.epoch;
  self.configure();
  self.sweep_left = self.clusters.size();
  self.sweep_at = 0;
  self.sweep();
}

void Upstreams::set_workers(uint32_t workers) {
  impl_->workers = workers;
  if (impl_->table != nullptr) impl_->configure();
}

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
  if (self.table == nullptr) return nullptr;
  const ir::Cluster* const from = find(self.table->clusters(), name);
  if (from == nullptr) return nullptr;
  shared::ClusterSlot& slot = shared::cluster_slot(self.counters, name);
  // A worker that died left its gauges behind.
  if (self.slots.insert(&slot).second) {
    slot.active_connections.set(0);
    slot.idle_connections.set(0);
  }
  auto made = std::make_shared<Cluster>(*from, slot);
  made->epoch = self.epoch;
  made->update(find(self.endpoints->clusters(), name), self.closing);
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
  if (cluster.protocol() != ir::UpstreamProtocol::Http1) return refuse(http::Reason::backend_invalid);
  for (size_t tries = 0; tries < Attempts::kMax; ++tries) {
    Endpoint* const endpoint = choose(cluster, attempts, self.random);
    if (endpoint == nullptr) return refuse(cluster.empty_reason());
    if (tries > 0 && was_tried(attempts, endpoint)) break;  // each refused at once
    self.note(attempts, *endpoint);
    cluster.counters().attempts.add();
    Connection* connection = self.context.idle.take(*endpoint);
    if (connection != nullptr) cluster.counters().idle_connections.sub();
    else connection = self.connect(cluster.shared_from_this(), *endpoint, options);
    if (connection != nullptr) {
      connection->begin(events, arena, attempts, options);
      return connection;
    }
    const int reason = errno;
    cluster.counters().connect_failures.add();
    if (reason == EKEYREJECTED) return refuse(http::Reason::upstream_tls_failed);
    if (is_ours(reason)) return refuse(http::Reason::overloaded, http::Retry::no, reason);
    if (tries + 1 == Attempts::kMax || cluster.ready().size() == 1)
      return refuse(http::Reason::connect_failed, http::Retry::yes, reason);
  }
  return refuse(http::Reason::connect_failed, http::Retry::yes);
}

}  // namespace sluice::upstream
