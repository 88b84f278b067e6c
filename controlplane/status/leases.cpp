#include "controlplane/status/leases.h"

#include <utility>

#include "common/base/asio.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "controlplane/status/election.h"

namespace sluice::status {
namespace {

constexpr uint64_t kLeaveMs = 1'000, kRetryMs = 1'000, kRetryCapMs = 15'000;
constexpr size_t kMaxAnswer = 16u << 20;
constexpr const char* kMergePatch = "application/merge-patch+json";

class Impl : public Leases {
 public:
  Impl(boost::asio::io_context& io, kube::Transport& transport, LeaseOptions options)
      : transport_(transport),
        options_(std::move(options)),
        election_(options_.self.ns, options_.self.group, options_.self.pod),
        timer_(io),
        alive_(std::make_shared<bool>(true)) {}
  ~Impl() override {
    alive_.reset();
    timer_.cancel();
  }

  void start(std::function<void()> changed) override {
    changed_ = std::move(changed);
    create_own(false);
    tick();
  }
  [[nodiscard]] bool leading() const override { return !leaving_ && election_.leading(monotonic_ms()); }
  [[nodiscard]] const std::string& leader() const override { return election_.holder(); }

  void seen(uint64_t sequence, Versions versions) override {
    own_.seen(sequence, std::move(versions));
    mark();
  }
  void acknowledged(uint64_t sequence) override {
    own_.acknowledged(sequence);
    mark();
  }
  [[nodiscard]] std::optional<std::string> missing(store::Kind kind, const std::string& ns, std::string_view version,
                                                   uint64_t since_ms) const override {
    if (!listed_ || listed_begun_ms_ < since_ms) return "the list of replicas";
    return replicas_.missing(monotonic_ms(), kind, ns, version);
  }
  void waiting(bool somebody) override { waiting_ = somebody; }

  void leave(std::function<void()> done) override {
    leaving_ = true;
    left_ = std::move(done);
    timer_.expires_after(std::chrono::milliseconds(kLeaveMs));
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
      if (alive.lock() && !error) gone();
    });
    if (auto body = election_.release(wall_us())) {
      ++leave_calls_;
      call(kube::Method::put, leader_target(), "application/json", std::move(*body),
           [this](int, const std::string&) { left_one(); });
    }
    ++leave_calls_;
    // Where only our container ends, the workers go on and the Lease says what they run.
    call(kube::Method::get, pod_target(options_.self.pod), "", "", [this](int status, const std::string& body) {
      if (pod_serves(status, body).value_or(true)) return left_one();
      call(kube::Method::delete_, own_target(), "", "", [this](int, const std::string&) { left_one(); });
    });
  }

  [[nodiscard]] Counts counts() const override { return {failures_, replicas_.size()}; }

 private:
  using Done = std::function<void(int status, const std::string& body)>;

  void call(kube::Method method, std::string target, const char* type, std::string body, Done done) {
    kube::Call call;
    call.method = method;
    call.target = std::move(target);
    call.content_type = type;
    call.body = std::move(body);
    call.max_body = kMaxAnswer;
    call.urgency = kube::Urgency::urgent;
    transport_.send(std::move(call),
                    [this, alive = std::weak_ptr<bool>(alive_), done = std::move(done)](Result<kube::Reply> reply) {
                      if (!alive.lock()) return;
                      if (!reply) last_error_ = reply.error().message;
                      else if (reply->status >= 400)
                        last_error_ = fmt::format("{}: {}", reply->status, reply->body.substr(0, 200));
                      done(reply ? reply->status : 0, reply ? reply->body : std::string());
                    });
  }
  [[nodiscard]] std::string leases_target() const {
    return fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", kube::percent_encode(options_.self.ns));
  }
  [[nodiscard]] std::string leader_target() const {
    return leases_target() + "/" + kube::percent_encode(options_.self.group);
  }
  [[nodiscard]] std::string own_target() const {
    return leases_target() + "/" + kube::percent_encode(options_.self.pod);
  }

  [[nodiscard]] std::string pod_target(const std::string& pod) const {
    return fmt::format("/api/v1/namespaces/{}/pods/{}", kube::percent_encode(options_.self.ns),
                       kube::percent_encode(pod));
  }

  void failed(const char* what) {
    ++failures_;
    const uint64_t now = monotonic_ms();
    if (told_ms_ != 0 && now - told_ms_ < 60'000) return;
    told_ms_ = now;
    log::warning("Leases: cannot be kept; status may wait", {{"what", what}, {"why", last_error_}});
  }

  void tick() {
    timer_.expires_after(std::chrono::milliseconds(options_.tick_ms));
    timer_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const boost::system::error_code& error) {
      if (!alive.lock() || error || leaving_) return;
      step();
      tick();
    });
  }

  void step() {
    const uint64_t now = monotonic_ms();
    step_election(now);
    const bool leads = leading();
    if (leads != led_) {
      led_ = leads;
      listed_ = false;
      list_begun_ms_ = 0;
      log::info(leads ? "this replica writes status now" : "another replica writes status now",
                {{"leader", election_.holder()}});
      changed_();
    }
    if (own_.ready() && !own_busy_ && now >= own_not_before_ms_ && (dirty_ || now >= own_due_ms_)) write_own();
    if (!leads) return;
    const uint64_t every = waiting_ ? options_.list_ms : options_.idle_list_ms;
    if (!list_busy_ && now >= list_not_before_ms_ && (list_begun_ms_ == 0 || now - list_begun_ms_ >= every)) list(now);
    for (const std::string& pod : replicas_.to_ask(now)) ask(pod);
  }

  // ---- who leads
  void step_election(uint64_t now) {
    if (!election_.due(now)) return;
    call(kube::Method::get, leader_target(), "", "", [this](int status, const std::string& body) {
      if (status != 200 && status != 404) failed("reading the leader's Lease");
      auto write = election_.read(monotonic_ms(), wall_us(), status, body);
      if (!write || leaving_) return;
      const bool create = write->create;
      call(create ? kube::Method::post : kube::Method::put, create ? leases_target() : leader_target(),
           "application/json", std::move(write->body), [this](int answer, const std::string& lease) {
             if (answer != 200 && answer != 201 && answer != 409) failed("writing the leader's Lease");
             election_.written(monotonic_ms(), answer, lease);
             if (!leaving_) step();
           });
    });
  }

  // ---- what we run
  void mark() {
    if (!own_.ready() || own_.applied() == written_) return;
    dirty_ = true;
  }
  void create_own(bool ready) {
    own_busy_ = true;
    Versions versions = own_.applied();
    // There may be one of our Pod's control plane before this one: it says what our workers still run, until we know.
    call(kube::Method::post, leases_target(), "application/json",
         replica_lease(options_.self, versions, ready, wall_us()),
         [this, versions, ready](int status, const std::string&) {
           own_written(status == 201 || (status == 409 && !ready), ready, versions);
         });
  }
  void write_own() {
    own_busy_ = true;
    Versions versions = own_.applied();
    call(kube::Method::patch, own_target(), kMergePatch, replica_patch(options_.self, versions, wall_us()),
         [this, versions](int status, const std::string&) {
           if (status == 404 && !leaving_) return create_own(true);
           own_written(status == 200, true, versions);
         });
  }
  void own_written(bool fine, bool said, Versions versions) {
    own_busy_ = false;
    const uint64_t now = monotonic_ms();
    if (fine) {
      own_retry_ms_ = 0;
      own_not_before_ms_ = now + options_.write_ms;
      own_due_ms_ = now + options_.renew_ms;
      if (said) written_ = std::move(versions);
      dirty_ = !said || own_.applied() != written_;
      return;
    }
    failed("writing our own Lease");
    own_retry_ms_ = own_retry_ms_ == 0 ? kRetryMs : std::min(2 * own_retry_ms_, kRetryCapMs);
    own_not_before_ms_ = now + own_retry_ms_;
    dirty_ = true;
  }

  // ---- what the others run
  void list(uint64_t now) {
    list_busy_ = true;
    list_begun_ms_ = now;
    call(kube::Method::get, leases_target() + "?labelSelector=" + kube::percent_encode(replica_selector(options_.self)),
         "", "", [this, begun = now](int status, const std::string& body) {
           list_busy_ = false;
           if (status != 200 || !replicas_.listed(body, options_.self.pod, monotonic_ms())) {
             list_not_before_ms_ = monotonic_ms() + kRetryMs;
             return failed("listing the replicas' Leases");
           }
           listed_ = true;
           listed_begun_ms_ = begun;
           changed_();
         });
  }
  void ask(const std::string& pod) {
    call(kube::Method::get, pod_target(pod), "", "", [this, pod](int status, const std::string& body) {
      if (status != 200 && status != 404) failed("reading a replica's Pod");
      replicas_.pod(pod, status, body);
      changed_();
    });
  }

  // ---- the end
  void left_one() {
    if (--leave_calls_ == 0) gone();
  }
  void gone() {
    timer_.cancel();
    if (auto done = std::exchange(left_, nullptr)) done();
  }

  kube::Transport& transport_;
  const LeaseOptions options_;
  Election election_;
  OwnVersions own_;
  Replicas replicas_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_;  // callbacks of calls under way look whether we still are
  std::function<void()> changed_, left_;
  std::string last_error_;
  Versions written_;
  bool led_ = false, waiting_ = false, dirty_ = false, leaving_ = false;
  bool own_busy_ = false, list_busy_ = false, listed_ = false;
  uint64_t own_not_before_ms_ = 0, own_due_ms_ = 0, own_retry_ms_ = 0, list_begun_ms_ = 0, listed_begun_ms_ = 0,
           list_not_before_ms_ = 0, told_ms_ = 0, failures_ = 0;
  size_t leave_calls_ = 0;
};

}  // namespace

std::unique_ptr<Leases> make_leases(boost::asio::io_context& io, kube::Transport& transport, LeaseOptions options) {
  return std::make_unique<Impl>(io, transport, std::move(options));
}

}  // namespace sluice::status
