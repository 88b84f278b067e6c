#include "controlplane/status/status_writer.h"

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "common/base/asio.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "controlplane/status/event_ledger.h"
#include "controlplane/status/json_text.h"
#include "controlplane/status/object_status.h"

namespace sluice::status {
namespace {

constexpr size_t kStatusCalls = 4, kEventCalls = 2;
constexpr double kEventBurst = 100, kEventsPerSecond = 10;
constexpr const char* kMergePatch = "application/merge-patch+json";
constexpr size_t kMaxAnswer = 4u << 20;

class Impl : public StatusWriter {
 public:
  Impl(boost::asio::io_context& io, kube::Transport& transport, StatusOptions options)
      : transport_(transport), options_(std::move(options)), timer_(io), alive_(std::make_shared<bool>(true)) {
    tick();
  }
  ~Impl() override { stop(); }

  void update(Wanted wanted, uint64_t sequence) override {
    if (stopped_) return;
    const uint64_t now = monotonic_ms();
    ledger_.want(std::move(wanted.events), now);
    std::map<store::ObjectRef, Entry> next;
    for (WantedStatus& status : wanted.statuses) {
      const auto old = statuses_.find(status.object);
      Entry entry;
      if (old != statuses_.end()) entry = std::move(old->second);
      if (old == statuses_.end() || entry.wanted != status) {
        entry.wanted = std::move(status);
        entry.sequence = sequence;
        entry.version = entry.wanted.resource_version;
        entry.since_ms = now;
        entry.clean = false;
        entry.epoch = ++epochs_;
        entry.backoff_ms = entry.not_before_ms = 0;
      }
      next.emplace(entry.wanted.object, std::move(entry));
    }
    statuses_ = std::move(next);
    step();
  }

  void set_addresses(std::optional<Addresses> addresses) override {
    if (stopped_ || addresses == addresses_) return;
    addresses_ = std::move(addresses);
    for (auto& [ref, entry] : statuses_) {
      if (ref.kind == store::Kind::rate_limit_policy) continue;
      entry.clean = false;
      entry.epoch = ++epochs_;
      entry.backoff_ms = entry.not_before_ms = 0;
    }
    step();
  }

  void acknowledged(uint64_t sequence) override {
    acknowledged_ = std::max(acknowledged_, sequence);
    step();
  }

  void replicas_changed() override {
    const bool leads = options_.leases == nullptr || options_.leases->leading();
    if (leads && !led_) {
      // What the one before us wrote is read again; what is there is not written twice.
      const uint64_t now = monotonic_ms();
      for (auto& [ref, entry] : statuses_) {
        entry.clean = false;
        entry.since_ms = now;
        entry.not_before_ms = entry.backoff_ms = 0;
      }
    }
    led_ = leads;
    step();
  }

  void stop() override {
    stopped_ = true;
    alive_.reset();
    timer_.cancel();
  }

  [[nodiscard]] Counts counts() const override {
    Counts out = counts_;
    out.events_wanted = ledger_.wanted();
    out.statuses_wanted = statuses_.size();
    out.statuses_waiting = static_cast<size_t>(
        std::count_if(statuses_.begin(), statuses_.end(), [](const auto& item) { return !item.second.clean; }));
    return out;
  }

 private:
  struct Entry {
    WantedStatus wanted;
    uint64_t sequence = 0;  // the state in which this verdict first was,
    std::string version;    // and the object's version then
    uint64_t since_ms = 0, not_before_ms = 0, backoff_ms = 0;
    uint64_t epoch = 0, call_epoch = 0;  // of the verdict, and of the one a call under way is about
    bool clean = false, in_flight = false;
    Programmed written = Programmed::pending;
  };

  void tick() {
    timer_.expires_after(std::chrono::milliseconds(options_.tick_ms));
    // A timer that has run out cannot be cancelled any more: its handler may outlive us.
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
      if (!alive.lock() || error || stopped_) return;
      step();
      tick();
    });
  }

  void step() {
    if (stopped_ || (options_.leases != nullptr && !options_.leases->leading())) return;
    const uint64_t now = monotonic_ms();
    step_statuses(now);
    step_events(now);
  }

  void call(kube::Call call, kube::Transport::Done done) {
    call.max_body = kMaxAnswer;
    transport_.send(std::move(call),
                    [alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<kube::Reply> reply) {
                      if (alive.lock()) done(std::move(reply));
                    });
  }

  // ---- statuses

  // `waits_for`: the replica that lacks it; empty = ourselves.
  [[nodiscard]] Programmed programmed(const Entry& entry, std::string& waits_for) const {
    waits_for.clear();
    if (!entry.wanted.accepted) return Programmed::no;
    if (acknowledged_ < entry.sequence) return Programmed::pending;
    if (options_.leases == nullptr) return Programmed::yes;
    const store::ObjectRef& object = entry.wanted.object;
    auto missing = options_.leases->missing(object.kind, object.key.ns, entry.version, entry.since_ms);
    if (!missing) return Programmed::yes;
    waits_for = std::move(*missing);
    return Programmed::pending;
  }

  void step_statuses(uint64_t now) {
    bool waits = false;
    std::string waits_for;
    for (auto& [ref, entry] : statuses_) {
      if (entry.in_flight || (entry.clean && entry.written != Programmed::pending)) continue;
      const bool ingress = ref.kind == store::Kind::ingress;
      if (ingress && !addresses_) {
        entry.clean = true;  // nothing of it is ours to write
        entry.written = Programmed::yes;
        continue;
      }
      const Programmed state = ingress ? Programmed::yes : programmed(entry, waits_for);
      waits = waits || state == Programmed::pending;
      if (entry.clean && state == Programmed::pending) continue;
      entry.clean = false;
      if (status_calls_ >= kStatusCalls || now < entry.not_before_ms) continue;
      if (state == Programmed::pending && now - entry.since_ms < options_.pending_ms) continue;
      entry.in_flight = true;
      entry.call_epoch = entry.epoch;
      ++status_calls_;
      read_status(ref, entry.epoch, state, waits_for);
    }
    if (options_.leases != nullptr) options_.leases->waiting(waits);
  }

  static std::string target_of(const store::ObjectRef& ref) {
    const char* path = ref.kind == store::Kind::ingress ? "networking.k8s.io/v1/namespaces/{}/ingresses/{}"
                       : ref.kind == store::Kind::route ? "sluice.dev/v1alpha1/namespaces/{}/routes/{}"
                                                        : "sluice.dev/v1alpha1/namespaces/{}/ratelimitpolicies/{}";
    return "/apis/" +
           fmt::format(fmt::runtime(path), kube::percent_encode(ref.key.ns), kube::percent_encode(ref.key.name));
  }

  void read_status(const store::ObjectRef& ref, uint64_t epoch, Programmed state, const std::string& waits_for) {
    kube::Call get;
    // The whole object, too; of Ingresses a right to read them one by one is not needed.
    get.target = target_of(ref) + (ref.kind == store::Kind::ingress ? "/status" : "");
    call(std::move(get), [this, ref, epoch, state, waits_for](Result<kube::Reply> reply) {
      const auto found = statuses_.find(ref);
      if (!reply || reply->status != 200 || found == statuses_.end() || found->second.epoch != epoch) {
        // Gone meanwhile: the watch will say so.
        const bool gone = reply && reply->status == 404;
        return status_done(ref, epoch, state, gone ? std::string() : why(reply));
      }
      auto patch = status_patch(reply->body, found->second.wanted, state, options_.controller_name,
                                wall_us() / 1'000'000, addresses_, waits_for);
      if (!patch) return status_done(ref, epoch, state, patch.error().message);
      if (!*patch) return status_done(ref, epoch, state, {});
      write_status(ref, epoch, state, std::move(**patch));
    });
  }

  void write_status(const store::ObjectRef& ref, uint64_t epoch, Programmed state, std::string patch) {
    kube::Call write;
    write.method = kube::Method::patch;
    write.target = target_of(ref) + "/status?fieldManager=sluice";
    write.content_type = kMergePatch;
    write.body = std::move(patch);
    call(std::move(write), [this, ref, epoch, state](const Result<kube::Reply>& reply) {
      if (reply && reply->status == 200) ++counts_.statuses_written;
      const bool fine = reply && (reply->status == 200 || reply->status == 404);
      status_done(ref, epoch, state, fine ? std::string() : why(reply));
    });
  }

  static std::string why(const Result<kube::Reply>& reply) {
    return reply ? fmt::format("the API server answered {}: {}", reply->status, reply->body.substr(0, 300))
                 : reply.error().message;
  }

  void status_done(const store::ObjectRef& ref, uint64_t epoch, Programmed state, const std::string& error) {
    --status_calls_;
    const auto found = statuses_.find(ref);
    if (found != statuses_.end()) {
      Entry& entry = found->second;
      if (entry.call_epoch == epoch) entry.in_flight = false;
      if (entry.epoch != epoch) {
        // The verdict changed meanwhile: written anew by the next step.
      } else if (error.empty()) {
        entry.clean = true;
        entry.written = state;
        entry.backoff_ms = 0;
      } else {
        ++counts_.failures;
        log::warning(
            "cannot write a status",
            {{"kind", store::kind_name(ref.kind)}, {"namespace", ref.key.ns}, {"name", ref.key.name}, {"why", error}});
        entry.backoff_ms = next_backoff(entry.backoff_ms);
        entry.not_before_ms = monotonic_ms() + entry.backoff_ms;
      }
    }
    step();
  }

  [[nodiscard]] uint64_t next_backoff(uint64_t last) const {
    return last == 0 ? options_.backoff_start_ms : std::min(last * 2, options_.backoff_cap_ms);
  }

  // ---- Events

  void step_events(uint64_t now) {
    event_budget_ =
        std::min(kEventBurst, event_budget_ + static_cast<double>(now - budget_at_) * kEventsPerSecond / 1000);
    budget_at_ = now;
    if (event_calls_ >= kEventCalls || event_budget_ < 1) return;
    const size_t limit = std::min(kEventCalls - event_calls_, static_cast<size_t>(event_budget_));
    for (EventLedger::Due& due : ledger_.due(now, wall_us() / 1'000'000, limit)) {
      ++event_calls_;
      event_budget_ -= 1;
      if (due.count > 1) patch_event(due, due.count, true);
      else post_event(due, true);
    }
  }

  static std::string events_target(const EventLedger::Due& due) {
    return fmt::format("/api/v1/namespaces/{}/events", kube::percent_encode(event_namespace(due.event)));
  }
  static std::string event_target(const EventLedger::Due& due) {
    return events_target(due) + "/" + kube::percent_encode(due.name);
  }

  // `fallback`: an Event that is already there (a restart) is counted on; one that has expired is made anew. Once each,
  // so no endless to and fro.
  void post_event(const EventLedger::Due& due, bool fallback) {
    kube::Call post;
    post.method = kube::Method::post;
    post.target = events_target(due) + "?fieldManager=sluice";
    post.content_type = "application/json";
    post.body = event_json(due, options_.controller_name, options_.host, wall_us() / 1'000'000);
    call(std::move(post), [this, due, fallback](const Result<kube::Reply>& reply) {
      if (reply && reply->status == 409 && fallback) return read_event(due);
      event_done(due, due.count, reply, reply && reply->status == 201);
    });
  }

  void read_event(const EventLedger::Due& due) {
    kube::Call get;
    get.target = event_target(due);
    call(std::move(get), [this, due](const Result<kube::Reply>& reply) {
      if (!reply || reply->status != 200) return event_done(due, due.count, reply, false);
      const auto event = nlohmann::json::parse(reply->body, nullptr, false);
      uint32_t count = 1;
      if (event.is_object() && event.contains("count") && event["count"].is_number_unsigned())
        count = event["count"].get<uint32_t>();
      // Another replica, or we before a restart, told it lately.
      const std::string since = rfc3339(wall_us() / 1'000'000 - static_cast<int64_t>(EventLedger::kRepeatMs / 1000));
      if (text(event, "message") == due.event.problem.text && text(event, "lastTimestamp") > since)
        return event_done(due, count, reply, true, false);
      patch_event(due, count + 1, false);
    });
  }

  void patch_event(const EventLedger::Due& due, uint32_t count, bool fallback) {
    kube::Call patch;
    patch.method = kube::Method::patch;
    patch.target = event_target(due) + "?fieldManager=sluice";
    patch.content_type = kMergePatch;
    patch.body = event_patch(due, count, wall_us() / 1'000'000);
    call(std::move(patch), [this, due, count, fallback](const Result<kube::Reply>& reply) {
      if (reply && reply->status == 404 && fallback) return post_event(due, false);
      event_done(due, count, reply, reply && reply->status == 200);
    });
  }

  // `fine`: it is there. `wrote`: by this call.
  void event_done(const EventLedger::Due& due, uint32_t count, const Result<kube::Reply>& reply, bool fine,
                  bool wrote = true) {
    --event_calls_;
    if (fine) {
      counts_.events_written += wrote ? 1 : 0;
      event_backoff_ms_ = 0;
    } else {
      ++counts_.failures;
      event_backoff_ms_ = next_backoff(event_backoff_ms_);
      log::warning("cannot write an Event",
                   {{"namespace", due.event.problem.object.key.ns}, {"name", due.name}, {"why", why(reply)}});
    }
    ledger_.done(EventLedger::identity(due.event), monotonic_ms(), count, fine ? 0 : event_backoff_ms_);
    step();
  }

  kube::Transport& transport_;
  const StatusOptions options_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_;  // callbacks of calls under way look whether we still are
  std::map<store::ObjectRef, Entry> statuses_;
  std::optional<Addresses> addresses_;
  EventLedger ledger_;
  uint64_t acknowledged_ = 0, epochs_ = 0, event_backoff_ms_ = 0, budget_at_ = 0;
  double event_budget_ = kEventBurst;
  size_t status_calls_ = 0, event_calls_ = 0;
  Counts counts_;
  bool stopped_ = false, led_ = false;
};

}  // namespace

std::unique_ptr<StatusWriter> make_status_writer(boost::asio::io_context& io, kube::Transport& transport,
                                                 StatusOptions options) {
  return std::make_unique<Impl>(io, transport, std::move(options));
}

}  // namespace sluice::status
