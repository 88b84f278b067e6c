// One worker without processes: its Context, a table from the object API, an origin and clients on the same loop.
// Single-threaded: turn() runs everything.
#pragma once
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/ir/route_table_generated.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/socket.h"
#include "dataplane/worker/client_connection.h"
#include "dataplane/worker/context.h"

namespace sluice::worker::testing {

// Answers on loopback. `script` sees the bytes of a connection so far and says what to send back (empty: wait for
// more); it then starts anew.
class Origin final : private net::AcceptHandler {
 public:
  using Script = std::function<std::string(const std::string& request)>;
  Origin(net::Reactor& reactor, Script script) : reactor_(reactor), script_(std::move(script)) {
    auto fd = net::listen_on(*net::Address::parse("127.0.0.1"));
    EXPECT_TRUE(fd.has_value());
    listener_ = std::make_unique<net::Listener>(reactor, std::move(*fd), static_cast<net::AcceptHandler&>(*this));
  }
  [[nodiscard]] uint16_t port() const { return listener_->local().port; }
  std::vector<std::string> requests;  // as answered
  size_t accepted = 0;
  void close_all() { connections_.clear(); }
  void half_close_all() {
    for (const auto& connection : connections_) {
      if (connection->fd) ::shutdown(connection->fd.get(), SHUT_WR);
    }
  }
  void send_all(std::string_view bytes) {
    for (const auto& connection : connections_) {
      if (!connection->fd) continue;
      EXPECT_EQ(::send(connection->fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(bytes.size()));
    }
  }
  void stop_listening() { listener_.reset(); }

 private:
  struct Connection final : net::EventHandler {
    Connection(Origin& owner, UniqueFd socket) : origin(owner), fd(std::move(socket)) {
      EXPECT_TRUE(origin.reactor_.add(fd.get(), *this, net::kReadable));
    }
    ~Connection() {
      if (fd) origin.reactor_.remove(fd.get(), *this);
    }
    void on_event(uint32_t) override {
      char buffer[65536];
      const ssize_t n = ::recv(fd.get(), buffer, sizeof buffer, 0);
      if (n <= 0) {
        origin.reactor_.remove(fd.get(), *this);
        fd.reset();
        return;
      }
      bytes.append(buffer, static_cast<size_t>(n));
      const std::string answer = origin.script_(bytes);
      if (answer.empty()) return;
      origin.requests.push_back(std::exchange(bytes, {}));
      if (answer == "close") {
        origin.reactor_.remove(fd.get(), *this);
        fd.reset();
        return;
      }
      EXPECT_EQ(::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
      if (answer.find("Connection: close") != std::string::npos) {
        origin.reactor_.remove(fd.get(), *this);
        fd.reset();
      }
    }
    Origin& origin;
    UniqueFd fd;
    std::string bytes;
  };
  void on_accept(UniqueFd fd, const net::Address&) override {
    ++accepted;
    connections_.push_back(std::make_unique<Connection>(*this, std::move(fd)));
  }
  net::Reactor& reactor_;
  Script script_;
  std::unique_ptr<net::Listener> listener_;
  std::deque<std::unique_ptr<Connection>> connections_;
};

inline std::string simple_origin(const std::string& request) {
  return request.find("\r\n\r\n") == std::string::npos ? "" : "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
}

// The client's end of one connection.
class Client {
 public:
  explicit Client(UniqueFd fd) : fd_(std::move(fd)) {}
  void send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  size_t send_some(std::string_view bytes) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  void finish() { ::shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_.reset(); }
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Adds what is there.
  const std::string& received() {
    char buffer[65536];
    for (ssize_t n; fd_ && (n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) >= 0;) {
      if (n == 0) {
        ended_ = true;
        break;
      }
      ++reads;
      bytes_.append(buffer, static_cast<size_t>(n));
    }
    return bytes_;
  }
  bool ended() {
    received();
    return ended_;
  }
  void forget() { bytes_.clear(); }
  size_t reads = 0;

 private:
  UniqueFd fd_;
  std::string bytes_;
  bool ended_ = false;
};

inline shared::Buckets make_buckets() {
  auto buckets = shared::Buckets::map(shared::Buckets::make(shared::Buckets::kMinKeys).value().get());
  return std::move(buckets.value());
}

struct WorkerRig {
  net::Reactor reactor;
  std::unique_ptr<shared::CounterPage> page = std::make_unique<shared::CounterPage>();
  shared::Buckets buckets = make_buckets();
  Context context{reactor, *page, nullptr, &buckets};
  ir::RouteTableT table;
  ir::EndpointSetT endpoints;
  std::map<std::string, ir::VirtualHostT> hosts;
  uint64_t generation = 0;
  std::deque<flatbuffers::FlatBufferBuilder> builders;  // what was applied stays mapped

  WorkerRig() {
    page->route_limit.set(shared::kDefaultRoutes);
    table.settings = std::make_unique<ir::SettingsT>();
    table.settings->timeouts = std::make_unique<ir::TimeoutSettingsT>();
    table.settings->limits = std::make_unique<ir::LimitSettingsT>();
  }
  ~WorkerRig() {
    while (context.connections != nullptr) context.connections->close();
    reactor.run_once(0);
  }

  void add_cluster(const std::string& name, const std::vector<uint16_t>& ports) {
    auto cluster = std::make_unique<ir::ClusterT>();
    cluster->name = name;
    cluster->hash = std::hash<std::string>()(name) | 1;
    table.clusters.push_back(std::move(cluster));
    auto set = std::make_unique<ir::ClusterEndpointsT>();
    set->name = name;
    set->hash = ++generation;
    for (const uint16_t port : ports) {
      auto endpoint = std::make_unique<ir::EndpointT>();
      endpoint->address = std::make_unique<ir::EndpointAddress>(0, 0x0000ffff7f000001u);
      endpoint->port = port;
      set->endpoints.push_back(std::move(endpoint));
    }
    endpoints.clusters.push_back(std::move(set));
  }
  // A route that forwards to a cluster; more may be set on what is returned before apply().
  ir::RouteT& add_route(const std::string& host, const std::string& prefix, const std::string& cluster = "") {
    auto route = std::make_unique<ir::RouteT>();
    route->path_kind = ir::PathKind::Prefix;
    route->path = prefix;
    route->metric = "route/test" + prefix;
    if (!cluster.empty()) {
      ir::ForwardT forward;
      auto backend = std::make_unique<ir::BackendT>();
      backend->cluster = cluster;
      forward.backends.push_back(std::move(backend));
      route->action.Set(std::move(forward));
    }
    ir::VirtualHostT& vhost = hosts[host];
    vhost.host = host;
    auto entry = std::make_unique<ir::PathEntryT>();
    entry->path = prefix;
    entry->routes.push_back(static_cast<uint32_t>(vhost.routes.size()));
    vhost.prefix.push_back(std::move(entry));
    std::sort(vhost.prefix.begin(), vhost.prefix.end(), [](const auto& a, const auto& b) { return a->path < b->path; });
    vhost.routes.push_back(std::move(route));
    return *vhost.routes.back();
  }
  template <class Filter>
  static void add_filter(ir::RouteT& route, Filter config) {
    auto filter = std::make_unique<ir::FilterT>();
    filter->config.Set(std::move(config));
    route.filters.push_back(std::move(filter));
  }
  void apply() {
    table.hosts.clear();
    for (const auto& [name, host] : hosts) {
      flatbuffers::FlatBufferBuilder inner;
      inner.Finish(ir::VirtualHost::Pack(inner, &host));
      auto ref = std::make_unique<ir::VirtualHostRefT>();
      ref->host = name;
      ref->hash = ++generation;
      ref->data.assign(inner.GetBufferPointer(), inner.GetBufferPointer() + inner.GetSize());
      table.hosts.push_back(std::move(ref));
    }
    auto by_name = [](const auto& a, const auto& b) { return a->name < b->name; };
    std::sort(table.clusters.begin(), table.clusters.end(), by_name);
    std::sort(endpoints.clusters.begin(), endpoints.clusters.end(), by_name);
    auto& first = builders.emplace_back();
    first.Finish(ir::RouteTable::Pack(first, &table));
    auto& second = builders.emplace_back();
    second.Finish(ir::EndpointSet::Pack(second, &endpoints));
    const auto& root = *flatbuffers::GetRoot<ir::RouteTable>(first.GetBufferPointer());
    context.configure(root);
    context.router.apply(root);
    context.upstreams.apply(root, *flatbuffers::GetRoot<ir::EndpointSet>(second.GetBufferPointer()));
    ++context.sequence;
  }

  Client connect(std::string_view peer = "192.0.2.7", int send_buffer = 0) {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    if (send_buffer != 0) ::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    net::Address address = *net::Address::parse(peer);
    address.port = 40000;
    ClientConnection::start(context, UniqueFd(ends[0]), address, 8080, false);
    return Client(UniqueFd(ends[1]));
  }
  // Runs the loop until it holds, or two minutes are over.
  bool until(const std::function<bool()>& holds) {
    const uint64_t give_up = monotonic_ms() + 120'000;
    while (monotonic_ms() < give_up) {
      if (holds()) return true;
      reactor.run_once(10);
    }
    return holds();
  }
  // Lets happen what happens without more input.
  void settle(int turns = 6) {
    for (int i = 0; i < turns; ++i) reactor.run_once(1);
  }
  // One request on a connection of its own; the whole answer.
  std::string ask(std::string_view request, std::string_view peer = "192.0.2.7") {
    Client client = connect(peer);
    client.send(request);
    until([&] { return answered(client.received()); });
    return client.received();
  }
  // Head and, with Content-Length, body are there.
  static bool answered(const std::string& bytes) {
    size_t at = 0;
    while (bytes.compare(at, 12, "HTTP/1.1 100") == 0) {
      const size_t end = bytes.find("\r\n\r\n", at);
      if (end == std::string::npos) return false;
      at = end + 4;
    }
    const size_t end = bytes.find("\r\n\r\n", at);
    if (end == std::string::npos) return false;
    const size_t length = bytes.find("Content-Length: ", at);
    if (length == std::string::npos || length > end) return true;
    return bytes.size() >= end + 4 + std::stoul(bytes.substr(length + 16));
  }
};

}  // namespace sluice::worker::testing
