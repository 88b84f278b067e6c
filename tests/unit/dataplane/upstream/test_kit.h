// Upstreams without a network: every connection is one end of a socketpair, the test holds the other. States from the
// object API.
#pragma once
#include <cerrno>
#include <cstring>
#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/ir/route_table_generated.h"
#include "dataplane/upstream/cluster.h"
#include "dataplane/upstream/connector.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream::testing {

inline net::Address address(std::string_view ip, uint16_t port) {
  net::Address out = *net::Address::parse(ip);
  out.port = port;
  return out;
}

// The server's side of one connection.
class Peer {
 public:
  Peer(UniqueFd fd, net::Address to) : address(to), fd_(std::move(fd)) {}
  net::Address address;
  void send(std::string_view bytes) const {
    ASSERT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  // Whether the other end is there does not matter.
  void try_send(std::string_view bytes) const { (void)!::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  // What is there now.
  std::string received() const {
    std::string out;
    char buffer[65536];
    for (ssize_t n; (n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;)
      out.append(buffer, static_cast<size_t>(n));
    return out;
  }
  // One read: what one writev brought.
  std::string received_once() const {
    char buffer[65536];
    const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, MSG_DONTWAIT);
    return n <= 0 ? std::string() : std::string(buffer, static_cast<size_t>(n));
  }
  void close() { fd_.reset(); }
  void finish() const { ::shutdown(fd_.get(), SHUT_WR); }
  // The gateway closed its end.
  bool closed() const {
    char byte;
    const ssize_t n = ::recv(fd_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }

 private:
  UniqueFd fd_;
};

// Over a plain transport; can be held in its handshake, made to fail there, and to claim TLS.
class GatedTransport final : public net::Transport {
 public:
  GatedTransport(UniqueFd fd, const bool& closed, const int& fails)
      : Transport(UniqueFd()), inner_(net::make_plain(UniqueFd(fd.get()), true)), closed_(closed), fails_(fails) {
    fd_ = std::move(fd);
  }
  ~GatedTransport() override { (void)fd_.release(); }  // inner_ closes it
  net::IoResult handshake() override {
    if (fails_ != 0) {
      error_code_ = fails_;
      return {.state = net::Io::error};
    }
    done_ = !closed_;
    return {.state = closed_ ? net::Io::again : net::Io::ok};
  }
  net::IoResult read(std::span<char> into) override {
    const net::IoResult result = inner_->read(into);
    error_code_ = inner_->error_code();
    truncated_ = result.state == net::Io::eof;
    return result;
  }
  net::IoResult write(std::span<const iovec> parts) override {
    EXPECT_TRUE(done_) << "written before the handshake";
    return inner_->write(parts);
  }
  net::IoResult flush() override { return inner_->flush(); }
  [[nodiscard]] size_t pending() const override { return inner_->pending(); }
  void shutdown_write() override { inner_->shutdown_write(); }
  [[nodiscard]] bool wants_write() const override { return !done_ || inner_->wants_write(); }
  [[nodiscard]] bool secure() const override { return is_secure; }
  [[nodiscard]] std::string_view alpn() const override { return protocol; }
  bool is_secure = false;
  std::string protocol;

 private:
  std::unique_ptr<net::Transport> inner_;
  const bool& closed_;
  const int& fails_;
  bool done_ = false;
};

class PairConnector final : public Connector {
 public:
  std::unique_ptr<net::Transport> connect(const net::Address& to, Cluster&) override {
    ++calls;
    if (const auto refusing = std::find(refuse.begin(), refuse.end(), to); refusing != refuse.end()) {
      errno = refuse_errno;
      return nullptr;
    }
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return nullptr;
    if (send_buffer != 0) {
      ::setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
      ::setsockopt(ends[1], SOL_SOCKET, SO_RCVBUF, &send_buffer, sizeof send_buffer);
    }
    peers.emplace_back(UniqueFd(ends[1]), to);
    auto transport = std::make_unique<GatedTransport>(UniqueFd(ends[0]), gate_closed, handshake_fails);
    transport->is_secure = secure;
    transport->protocol = protocol;
    return transport;
  }
  std::deque<Peer> peers;  // in order of connecting
  std::vector<net::Address> refuse;
  int refuse_errno = ECONNREFUSED;
  bool gate_closed = false;
  int handshake_fails = 0;
  bool secure = false;
  std::string protocol;  // ALPN
  int send_buffer = 0;
  int calls = 0;
};

// Writes down what an exchange said.
class Recorder final : public http::ResponseEvents {
 public:
  std::vector<std::string> log;
  std::string body;
  http::Error error;
  bool ended = false;
  std::function<void(std::string_view)> hook;  // called after each entry

  void on_response_informational(http::ResponseHead& head) override {
    add("informational " + std::to_string(head.status));
  }
  void on_response_head(http::ResponseHead& head, bool end) override {
    for (const http::Field& field : head.fields.all())
      fields += std::string(field.name) + "=" + std::string(field.value) + ";";
    ended = end;
    add("head " + std::to_string(head.status) + (end ? " end" : ""));
  }
  void on_response_body(http::Bytes bytes, bool end) override {
    body.append(bytes.data(), bytes.size());
    ended = ended || end;
    if (end) add("body end");
    else if (hook) hook("body");
  }
  void on_response_trailers(const http::Fields& trailers) override {
    std::string text;
    for (const http::Field& field : trailers.all())
      text += " " + std::string(field.name) + "=" + std::string(field.value);
    ended = true;
    add("trailers" + text);
  }
  void on_response_flush() override {
    ++flushes;
    if (hook) hook("flush");
  }
  void on_request_writable() override { add("writable"); }
  void on_exchange_error(const http::Error& what) override {
    error = what;
    ended = true;
    add("error " + std::string(http::describe(what.reason).word));
  }
  std::string fields;
  int flushes = 0;

 private:
  void add(std::string text) {
    log.push_back(text);
    if (hook) hook(text);
  }
};

struct EndpointSpec {
  std::string ip;
  uint16_t port = 80;
  ir::EndpointState state = ir::EndpointState::Ready;
};
struct ClusterSpec {
  std::string name;
  std::vector<EndpointSpec> endpoints{};
  std::string empty_reason{};
  ir::LbPolicy lb = ir::LbPolicy::LeastRequest;
  uint64_t hash = 1;
  ir::UpstreamProtocol protocol = ir::UpstreamProtocol::Http1;
  bool tls = false;
  std::string sni{}, ca_pem{}, certificate_name{};
  bool verify = true;
};

// Bytes of one state.
class State {
 public:
  explicit State(const std::vector<ClusterSpec>& specs, uint32_t idle_cap = 512, uint32_t idle_ms = 60000) {
    ir::RouteTableT table;
    ir::EndpointSetT set;
    table.settings = std::make_unique<ir::SettingsT>();
    table.settings->timeouts = std::make_unique<ir::TimeoutSettingsT>();
    table.settings->timeouts->upstream_idle = idle_ms;
    table.settings->limits = std::make_unique<ir::LimitSettingsT>();
    table.settings->limits->upstream_idle = idle_cap;
    for (const ClusterSpec& spec : specs) {
      auto cluster = std::make_unique<ir::ClusterT>();
      cluster->name = spec.name;
      cluster->hash = spec.hash;
      cluster->lb = spec.lb;
      cluster->protocol = spec.protocol;
      if (spec.tls) {
        cluster->tls = std::make_unique<ir::UpstreamTlsT>();
        cluster->tls->sni = spec.sni;
        cluster->tls->ca_pem = spec.ca_pem;
        cluster->tls->name = spec.certificate_name;
        cluster->tls->verify = spec.verify;
      }
      table.clusters.push_back(std::move(cluster));
      auto endpoints = std::make_unique<ir::ClusterEndpointsT>();
      endpoints->name = spec.name;
      endpoints->empty_reason = spec.empty_reason;
      endpoints->hash = std::hash<std::string>{}(spec.empty_reason);
      for (const EndpointSpec& one : spec.endpoints) {
        endpoints->endpoints.push_back(make(one));
        endpoints->hash =
            endpoints->hash * 31 + std::hash<std::string>{}(one.ip) + one.port * 7u + static_cast<unsigned>(one.state);
      }
      set.clusters.push_back(std::move(endpoints));
    }
    table_.Finish(ir::RouteTable::Pack(table_, &table));
    set_.Finish(ir::EndpointSet::Pack(set_, &set));
  }
  [[nodiscard]] const ir::RouteTable& table() const {
    return *flatbuffers::GetRoot<ir::RouteTable>(table_.GetBufferPointer());
  }
  [[nodiscard]] const ir::EndpointSet& endpoints() const {
    return *flatbuffers::GetRoot<ir::EndpointSet>(set_.GetBufferPointer());
  }

 private:
  static std::unique_ptr<ir::EndpointT> make(const EndpointSpec& spec) {
    const net::Address at = address(spec.ip, spec.port);
    uint64_t high = 0, low = 0;
    for (size_t i = 0; i < 8; ++i) {
      high = high << 8 | at.bytes[i];
      low = low << 8 | at.bytes[8 + i];
    }
    auto out = std::make_unique<ir::EndpointT>();
    out->address = std::make_unique<ir::EndpointAddress>(high, low);
    out->port = spec.port;
    out->state = spec.state;
    return out;
  }
  flatbuffers::FlatBufferBuilder table_, set_;
};

// One stream's side of one attempt.
struct Exchange {
  explicit Exchange(ChunkPool& pool) : arena(pool), request(arena) {
    request.method_name = "GET";
    request.host = "example.test";
    request.path = "/";
  }
  Arena arena;
  http::RequestHead request;
  Recorder events;
  Attempts attempts;
  http::RequestSink* sink = nullptr;
  http::Error refused;
};

struct Fixture : ::testing::Test {
  Fixture() : page(std::make_unique<shared::CounterPage>()) {
    auto made = std::make_unique<PairConnector>();
    connector = made.get();
    upstreams = std::make_unique<Upstreams>(reactor, *page, std::move(made));
  }
  ~Fixture() override { upstreams.reset(); }
  void apply(std::unique_ptr<State> next) {
    upstreams->apply(next->table(), next->endpoints());
    state = std::move(next);  // the one before is gone
  }
  void apply(const std::vector<ClusterSpec>& specs) { apply(std::make_unique<State>(specs)); }
  Exchange& start(std::string_view cluster = "c", AttemptOptions options = {}) {
    Exchange& exchange = exchanges.emplace_back(pool);
    start(exchange, cluster, options);
    return exchange;
  }
  void start(Exchange& exchange, std::string_view cluster = "c", AttemptOptions options = {}) {
    const auto found = upstreams->cluster(cluster);
    ASSERT_NE(found, nullptr);
    const auto result = upstreams->start(*found, exchange.events, exchange.arena, exchange.attempts, options);
    exchange.sink = result.has_value() ? *result : nullptr;
    if (!result.has_value()) exchange.refused = result.error();
  }
  // A GET sent whole.
  Exchange& get(std::string_view cluster = "c", AttemptOptions options = {}) {
    Exchange& exchange = start(cluster, options);
    EXPECT_NE(exchange.sink, nullptr);
    exchange.sink->send_head(exchange.request, true);
    exchange.sink->flush();
    return exchange;
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) reactor.run_once(0);
  }
  // Until what is due in real time has fired.
  void turn_until(const std::function<bool()>& done) {
    const uint64_t begin = monotonic_ms();
    while (!done() && monotonic_ms() < begin + 120'000) reactor.run_once(10);
  }
  Peer& peer(size_t i = 0) { return connector->peers.at(i); }
  shared::ClusterSlot& slot(std::string_view cluster = "c") { return shared::cluster_slot(*page, cluster); }

  std::unique_ptr<shared::CounterPage> page;
  net::Reactor reactor;
  ChunkPool pool;
  PairConnector* connector = nullptr;
  std::unique_ptr<State> state;
  std::deque<Exchange> exchanges;
  std::unique_ptr<Upstreams> upstreams;
};

inline constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

}  // namespace sluice::upstream::testing
