#include "controlplane/kube/cluster_source.h"

#include <memory>
#include <random>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/content_fetcher.h"
#include "controlplane/kube/reflector_runner.h"

namespace sluice::kube {
namespace {

// Secrets that no gateway can use are not even listed; the rest by metadata.
constexpr const char* kSecretSelector =
    "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token";
constexpr const char* kConfigMapSelector = "metadata.name!=kube-root-ca.crt";

std::string in_namespace(std::string_view group_version, const std::string& ns, std::string_view plural) {
  return ns.empty() ? fmt::format("{}/{}", group_version, plural)
                    : fmt::format("{}/namespaces/{}/{}", group_version, percent_encode(ns), plural);
}

class Impl : public ClusterSource {
 public:
  Impl(boost::asio::io_context& io, Transport& transport, ClusterSourceOptions options)
      : io_(io), transport_(transport), options_(std::move(options)), pulse_timer_(io) {
    if (!options_.chance) {
      options_.chance = [engine = std::make_shared<std::mt19937_64>(std::random_device{}())] {
        return std::uniform_real_distribution<double>(0.0, 1.0)(*engine);
      };
    }
  }
  ~Impl() override { stop(); }

  void start(Callbacks callbacks) override {
    callbacks_ = std::move(callbacks);
    auto sink = [this](store::Change change) { callbacks_.change(std::move(change)); };
    secrets_ =
        std::make_shared<ContentFetcher>(io_, transport_, store::Kind::secret, options_.timings, options_.chance, sink);
    config_maps_ = std::make_shared<ContentFetcher>(io_, transport_, store::Kind::config_map, options_.timings,
                                                    options_.chance, sink);
    for (ReflectorScope& scope : scopes_of(options_.watch_namespaces)) {
      ReflectorRunner::Callbacks runner_callbacks;
      runner_callbacks.change = [this, kind = scope.kind](store::Change change) { on_change(kind, std::move(change)); };
      runner_callbacks.synced = [this] { on_synced(); };
      runners_.push_back(std::make_shared<ReflectorRunner>(
          io_, transport_, Reflector(std::move(scope), options_.timings, options_.chance),
          std::move(runner_callbacks)));
    }
    for (auto& runner : runners_) runner->start();
    schedule_pulse();
  }

  void want(const std::vector<store::ObjectKey>& secrets, const std::vector<store::ObjectKey>& config_maps) override {
    if (stopped_ || !secrets_) return;
    secrets_->want(secrets);
    config_maps_->want(config_maps);
  }

  [[nodiscard]] bool settled() const override { return secrets_ && secrets_->settled() && config_maps_->settled(); }

  void stop() override {
    if (stopped_) return;
    stopped_ = true;
    for (auto& runner : runners_) runner->stop();
    if (secrets_) secrets_->stop();
    if (config_maps_) config_maps_->stop();
    pulse_timer_.cancel();
    if (pulse_) pulse_->cancel();
  }

  [[nodiscard]] ClusterSourceStatus status() const override {
    ClusterSourceStatus out;
    for (const auto& runner : runners_) {
      const Reflector& reflector = runner->reflector();
      out.kinds.push_back(
          {store::kind_name(reflector.scope().kind), reflector.scope().ns, reflector.synced(), reflector.counts()});
    }
    if (secrets_) {
      out.wanted = secrets_->wanted() + config_maps_->wanted();
      out.loaded = secrets_->loaded() + config_maps_->loaded();
    }
    out.connected = !away_;
    return out;
  }

 private:
  void on_change(store::Kind kind, store::Change change) {
    if (kind == store::Kind::secret) secrets_->on_metadata(std::move(change));
    else if (kind == store::Kind::config_map) config_maps_->on_metadata(std::move(change));
    else callbacks_.change(std::move(change));
  }

  void on_synced() {
    if (++synced_ == runners_.size()) callbacks_.synced();
  }

  void schedule_pulse() {
    if (options_.pulse_ms == 0) return;
    pulse_timer_.expires_after(std::chrono::milliseconds(options_.pulse_ms));
    pulse_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
      if (alive.lock() && !error && !stopped_) send_pulse();
    });
  }

  void send_pulse() {
    Call call;
    call.target = "/version";
    call.urgency = Urgency::urgent;
    call.max_body = 64u << 10;
    pulse_ = transport_.send(std::move(call), [this](const Result<Reply>& reply) {
      pulse_.reset();
      on_pulse(reply.has_value());
    });
    pulse_timer_.expires_after(std::chrono::milliseconds(options_.pulse_answer_ms));
    pulse_timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
      if (!alive.lock() || error || stopped_ || !pulse_) return;
      pulse_->cancel();
      pulse_.reset();
      on_pulse(false);
    });
  }

  void on_pulse(bool answered) {
    if (stopped_) return;
    if (answered && away_) {
      log::info("API server answers again; watches are renewed");
      for (auto& runner : runners_) runner->nudge();
    } else if (!answered && !away_) {
      log::warning("API server does not answer; the last state stays in force");
    }
    away_ = !answered;
    schedule_pulse();
  }

  boost::asio::io_context& io_;
  Transport& transport_;
  ClusterSourceOptions options_;
  Callbacks callbacks_;
  std::vector<std::shared_ptr<ReflectorRunner>> runners_;
  std::shared_ptr<ContentFetcher> secrets_, config_maps_;
  boost::asio::steady_timer pulse_timer_;
  std::shared_ptr<Exchange> pulse_;
  // A timer that has run out cannot be cancelled any more: its handler, queued already, looks here before it touches
  // us.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  size_t synced_ = 0;
  bool away_ = false, stopped_ = false;
};

}  // namespace

std::vector<ReflectorScope> scopes_of(const std::vector<std::string>& watch_namespaces) {
  std::vector<ReflectorScope> out;
  const auto add = [&](store::Kind kind, std::string_view group_version, std::string_view plural,
                       const std::string& ns) -> ReflectorScope& {
    ReflectorScope scope;
    scope.kind = kind;
    scope.path = in_namespace(group_version, ns, plural);
    scope.ns = ns;
    return out.emplace_back(std::move(scope));
  };
  std::vector<std::string> namespaces = watch_namespaces;
  if (namespaces.empty()) namespaces.emplace_back();
  add(store::Kind::ingress_class, "/apis/networking.k8s.io/v1", "ingressclasses", "");
  for (const std::string& ns : namespaces) {
    add(store::Kind::ingress, "/apis/networking.k8s.io/v1", "ingresses", ns);
    add(store::Kind::service, "/api/v1", "services", ns);
    add(store::Kind::endpoint_slice, "/apis/discovery.k8s.io/v1", "endpointslices", ns);
    ReflectorScope& secret = add(store::Kind::secret, "/api/v1", "secrets", ns);
    secret.field_selector = kSecretSelector;
    secret.metadata_only = true;
    ReflectorScope& config_map = add(store::Kind::config_map, "/api/v1", "configmaps", ns);
    config_map.field_selector = kConfigMapSelector;
    config_map.metadata_only = true;
    // Namespaces are not namespaced: one of them is chosen by name, so that a role may allow just that one.
    ReflectorScope& name_space = add(store::Kind::namespace_, "/api/v1", "namespaces", "");
    if (!ns.empty()) {
      name_space.field_selector = "metadata.name=" + ns;
      name_space.only_name = ns;
      name_space.may_be_forbidden = true;
    }
    ReflectorScope& route = add(store::Kind::route, "/apis/sluice.dev/v1alpha1", "routes", ns);
    route.may_be_absent = true;
    route.may_be_forbidden = true;
    ReflectorScope& limits = add(store::Kind::rate_limit_policy, "/apis/sluice.dev/v1alpha1", "ratelimitpolicies", ns);
    limits.may_be_absent = true;
    limits.may_be_forbidden = true;
  }
  return out;
}

std::unique_ptr<ClusterSource> make_cluster_source(boost::asio::io_context& io, Transport& transport,
                                                   ClusterSourceOptions options) {
  return std::make_unique<Impl>(io, transport, std::move(options));
}

}  // namespace sluice::kube
