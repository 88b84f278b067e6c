#include "controlplane/status/address_source.h"

#include <algorithm>
#include <memory>
#include <random>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/reflector_runner.h"

namespace sluice::status {
namespace {

kube::ReflectorScope scope_of(const store::ObjectKey& service) {
  kube::ReflectorScope scope;
  scope.kind = store::Kind::service;
  scope.path = fmt::format("/api/v1/namespaces/{}/services", kube::percent_encode(service.ns));
  scope.ns = service.ns;
  scope.field_selector = "metadata.name=" + service.name;  // a role may allow just that one
  scope.addresses = true;
  scope.may_be_forbidden = true;
  return scope;
}

}  // namespace

struct AddressSource::State {
  boost::asio::io_context& io;
  kube::Transport& transport;
  const kube::ReflectorTimings timings;
  const Told told;
  std::optional<store::ObjectKey> service;  // watched
  std::shared_ptr<kube::ReflectorRunner> runner;
  bool wanted = false, stopped = false;

  void forget() {
    if (runner) runner->stop();
    runner.reset();
    service.reset();
  }

  void watch(const store::ObjectKey& key, const std::shared_ptr<State>& self) {
    forget();
    service = key;
    told(std::nullopt);
    auto chance = [engine = std::make_shared<std::mt19937_64>(std::random_device{}())] {
      return std::uniform_real_distribution<double>(0.0, 1.0)(*engine);
    };
    kube::ReflectorRunner::Callbacks callbacks;
    callbacks.change = [weak = std::weak_ptr<State>(self)](const store::Change& change) {
      if (const auto state = weak.lock(); state && !state->stopped) state->on_change(change);
    };
    callbacks.synced = [] {};
    runner = std::make_shared<kube::ReflectorRunner>(io, transport, kube::Reflector(scope_of(key), timings, chance),
                                                     std::move(callbacks));
    runner->start();
  }

  void on_change(const store::Change& change) {
    if (const auto* list = std::get_if<store::Replace>(&change)) {
      const auto found = std::ranges::find_if(
          list->objects, [&](const store::Object& object) { return store::meta_of(object).key() == service; });
      if (found != list->objects.end()) read(*found);
      else missing("is not there, or may not be read");
    } else if (const auto* upsert = std::get_if<store::Upsert>(&change)) {
      if (store::meta_of(upsert->object).key() == service) read(upsert->object);
    } else if (const auto* gone = std::get_if<store::Delete>(&change)) {
      if (gone->ref.key == service) missing("is deleted");
    } else if (const auto* bad = std::get_if<store::Undecodable>(&change)) {
      if (bad->ref.key == service) missing("cannot be read");
    }
  }

  void missing(const char* why) const {
    log::warning("publishService: statuses keep the addresses they have",
                 {{"namespace", service->ns}, {"name", service->name}, {"why", why}});
    told(std::nullopt);
  }

  void read(const store::Object& object) const {
    PublishedBy found = addresses_of(std::get<store::Service>(object));
    for (const std::string& text : found.refused)
      log::warning("publishService: an address is left out",
                   {{"namespace", service->ns}, {"name", service->name}, {"why", text}});
    log::info("addresses of the publish Service",
              {{"namespace", service->ns}, {"name", service->name}, {"count", found.addresses.size()}});
    told(std::move(found.addresses));
  }
};

AddressSource::AddressSource(boost::asio::io_context& io, kube::Transport& transport, kube::ReflectorTimings timings,
                             Told told)
    : state_(std::make_shared<State>(State{io, transport, timings, std::move(told), {}, {}})) {}
AddressSource::~AddressSource() { stop(); }

bool AddressSource::wanted() const { return state_->wanted; }

void AddressSource::set(const config::Options& options) {
  if (state_->stopped) return;
  state_->wanted = !options.publish_addresses.empty() || options.publish_service;
  if (!options.publish_addresses.empty() || !options.publish_service) {
    state_->forget();
    state_->told(options.publish_addresses.empty() ? std::nullopt : std::optional(options.publish_addresses));
  } else if (state_->service != options.publish_service) {
    state_->watch(*options.publish_service, state_);
  }
}

void AddressSource::stop() {
  state_->stopped = true;
  state_->forget();
}

}  // namespace sluice::status
