#include "dataplane/agent/agent.h"

#include <algorithm>
#include <cstring>

#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/unix_listener.h"
#include "dataplane/agent/admin_server.h"
#include "dataplane/agent/condition.h"
#include "dataplane/agent/control_link.h"
#include "dataplane/agent/cpu_quota.h"
#include "dataplane/agent/inspect.h"
#include "dataplane/agent/last_good.h"
#include "dataplane/agent/listener_plan.h"
#include "dataplane/agent/master_link.h"
#include "dataplane/agent/state_store.h"

namespace sluice::agent {
namespace asio = boost::asio;
using boost::system::error_code;
using sync::Message;
using sync::MessageType;
namespace {
constexpr std::chrono::milliseconds kReportInterval{1000}, kRetryInterval{2000};

// What the master holds, with its descriptors.
Result<std::shared_ptr<const State>> take_running(sync::Received& received) {
  auto state = std::make_shared<State>();
  state->id = received.message.id;
  if (received.fd_count < ir::kParts) return fail("{} parts", received.fd_count);
  for (size_t i = 0; i < ir::kParts; ++i) {
    auto part = check_part(static_cast<ir::PartKind>(i), std::move(received.fds[i]), received.message.hashes[i]);
    if (!part) return fail("{}", part.error().text);
    state->parts[i] = std::move(*part);
  }
  const std::vector<ir::ContentHash> shards = ir::shard_hashes(state->head());
  if (received.fd_count != ir::kParts + shards.size())
    return fail("{} shards, the table names {}", received.fd_count - ir::kParts, shards.size());
  for (size_t i = 0; i < shards.size(); ++i) {
    auto shard = check_part(ir::PartKind::shard, std::move(received.fds[ir::kParts + i]), shards[i]);
    if (!shard) return fail("{}", shard.error().text);
    state->shards.push_back(std::move(*shard));
  }
  if (Status whole = check_whole(*state); !whole) return std::unexpected(whole.error());
  return state;
}

class Agent {
 public:
  Agent(asio::io_context& io, const Options& options);
  void start() { master_.start(); }

 private:
  void on_message(sync::Received received);
  void on_first_state(sync::Received received);
  void on_applied(ir::StateId id);
  void on_refused(const Message& message);
  void on_workers(const Message& message);
  void offer(std::shared_ptr<const State> state);
  void refuse(const State& state, ir::NackReason reason, const std::string& text);
  void apply_next();
  void retry_later(std::shared_ptr<const State> state);
  void report_soon();
  void report_now();
  void stop();
  void serve_operators();
  void set_level(std::string_view name);

  asio::io_context& io_;
  const Options& options_;
  Condition condition_;
  MasterLink master_;
  ControlLink control_;
  std::unique_ptr<StateStore> store_;
  Inspected inspected_;
  std::unique_ptr<AdminServer> admin_, operator_;
  std::shared_ptr<const State> applying_, next_;  // at the master; the newest that came meanwhile
  std::shared_ptr<const State> retrying_;         // refused for something that may pass
  std::shared_ptr<const State> latest_;           // offered last, or found running
  Kept last_good_;                                // Secrets that it has only from states before it
  asio::steady_timer report_timer_, retry_timer_;
  std::chrono::steady_clock::time_point last_report_{};
  bool report_armed_ = false, started_ = false;
};

Agent::Agent(asio::io_context& io, const Options& options)
    : io_(io),
      options_(options),
      master_(io, options.channel_fd,
              {[this](sync::Received received) { on_message(std::move(received)); }, [this] { stop(); }}),
      control_(io, options.socket, options.control_uid.value_or(getuid()),
               {[this](std::shared_ptr<const State> state) { offer(std::move(state)); }, [this] { report_now(); }}),
      inspected_{condition_, options.version, options.arguments, [this](std::string_view name) { set_level(name); }},
      report_timer_(io),
      retry_timer_(io) {
  if (!options.state_dir.empty())
    store_ = std::make_unique<StateStore>(io, options.state_dir, options.persist_secrets, condition_.persist_failures);
  if (options.admin_fd >= 0) {
    admin_ = std::make_unique<AdminServer>(io, options.admin_fd,
                                           [this](std::string_view head) { return answer_admin(head, condition_); });
    admin_->start();
  }
  if (!options.admin_socket.empty()) serve_operators();
}

// Traffic does not need it: without it there is a line in the log, and the rest goes on.
void Agent::serve_operators() {
  auto listening = listen_unix(options_.admin_socket);
  if (!listening) return log::error("admin socket", {{"error", listening.error().message}});
  operator_ = std::make_unique<AdminServer>(
      io_, listening->release(), [this](std::string_view head) { return answer_operator(head, inspected_); });
  operator_->start();
}

void Agent::set_level(std::string_view name) {
  log::Level level = log::level();
  if (!log::parse_level(name, level)) return;
  log::set_level(level);
  master_.set_log_level(level);
  log::warning("log level changed", {{"to", name}});
}

void Agent::stop() {
  control_.stop();
  if (store_) store_->finish();
  io_.stop();
}

void Agent::on_message(sync::Received received) {
  const Message& message = received.message;
  switch (message.type) {
    case MessageType::state:
      return on_first_state(std::move(received));
    case MessageType::applied:
      return on_applied(message.id);
    case MessageType::refused:
      return on_refused(message);
    case MessageType::workers:
      return on_workers(message);
    case MessageType::counters:
      if (CounterView view(std::move(received.fds[0])); view.page() != nullptr)
        condition_.counters.push_back(std::move(view));
      return;
    case MessageType::log_level:
      return log::set_level(static_cast<log::Level>(message.level));
    case MessageType::drain:
      condition_.draining = true;
      return report_soon();
    default:
      log::error("unexpected message from the master", {{"type", static_cast<int>(message.type)}});
  }
}

// The master tells what runs; a new data plane runs nothing, and gets the last good state before anybody connects.
void Agent::on_first_state(sync::Received received) {
  if (std::exchange(started_, true)) return;
  const Message& message = received.message;
  if (message.id.boot != 0) {
    auto state = take_running(received);
    if (state) condition_.running = std::move(*state);
    else log::error("the running state is not readable", {{"error", state.error().message}});
    latest_ = condition_.running;
    // The agent before us may have died with this still to be written.
    if (store_ && latest_) store_->save(latest_);
    control_.set_running(condition_.running);
  } else if (store_) {
    if (auto state = store_->load()) offer(std::move(state));
  }
  control_.start();
}

void Agent::offer(std::shared_ptr<const State> state) {
  retrying_.reset();
  if (condition_.running != nullptr && condition_.running->id == state->id && applying_ == nullptr)
    return control_.ack(state->id);
  Kept kept;
  state = keep_last_good(std::move(state), latest_.get(), wall_us() / 1'000'000, kept);
  if (kept != last_good_) {
    for (const std::string& id : kept.certificates)
      log::warning("certificate missing in the new state, its last good form stays in use", {{"secret", id}});
    if (!kept.ticket_keys.empty())
      log::warning("ticket keys missing in the new state, the last good ones stay in use",
                   {{"secret", kept.ticket_keys}});
    last_good_ = std::move(kept);
  }
  latest_ = state;
  next_ = std::move(state);
  if (applying_ == nullptr) apply_next();
}

void Agent::apply_next() {
  while (next_ != nullptr) {
    const std::shared_ptr<const State> state = std::exchange(next_, nullptr);
    const ir::RouteTable& table = state->head();
    auto listeners = plan_listeners(table);
    if (!listeners) {
      refuse(*state, ir::NackReason::bad_schema, listeners.error().message);
      continue;
    }
    unsigned workers = table.settings() != nullptr ? table.settings()->workers() : 0;
    if (workers == 0) workers = options_.workers;
    if (workers == 0) workers = default_workers();
    applying_ = state;
    master_.apply(*state, workers, table.settings() != nullptr ? table.settings()->drain_ms() : 30000, *listeners);
    return;
  }
}

void Agent::on_applied(ir::StateId id) {
  if (applying_ == nullptr || applying_->id != id) return;  // asked for by an agent before us
  condition_.running = std::exchange(applying_, nullptr);
  control_.set_running(condition_.running);
  ++condition_.states_applied;
  if (condition_.running->published_ns != 0)
    condition_.propagation.record((monotonic_ns() - condition_.running->published_ns) / 1000);
  log::info("state applied", {{"sequence", id.sequence}});
  report_now();  // first: who waits for the acknowledgement wants the ports with it
  control_.ack(id);
  if (store_) store_->save(condition_.running);
  apply_next();
}

void Agent::on_refused(const Message& message) {
  if (applying_ == nullptr || applying_->id != message.id) return;
  const std::shared_ptr<const State> refused = std::exchange(applying_, nullptr);
  refuse(*refused, message.transient != 0 ? ir::NackReason::internal : ir::NackReason::worker_refused, message.text);
  if (next_ == nullptr && message.transient != 0) retry_later(refused);
  apply_next();
}

void Agent::refuse(const State& state, ir::NackReason reason, const std::string& text) {
  ++condition_.states_refused;
  control_.nack(state.id, reason, text);
}

void Agent::retry_later(std::shared_ptr<const State> state) {
  retrying_ = std::move(state);
  retry_timer_.expires_after(kRetryInterval);
  auto again = [this](error_code error) {
    if (!error && retrying_ != nullptr) offer(std::shared_ptr<const State>(retrying_));
  };
  retry_timer_.async_wait(again);
}

void Agent::on_workers(const Message& message) {
  condition_.workers_ready = std::min(message.ready, message.total);
  condition_.workers_total = message.total;
  condition_.worker_restarts = message.restarts;
  condition_.bound.clear();
  for (size_t i = 0; i < message.listener_count; ++i) {
    const std::pair<std::string, uint16_t> bound(message.listeners[i].name, message.listeners[i].port);
    if (std::ranges::find(condition_.bound, bound) == condition_.bound.end()) condition_.bound.push_back(bound);
  }
  if (admin_) condition_.bound.emplace_back("admin", admin_->port());
  report_soon();
}

void Agent::report_soon() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_report_ >= kReportInterval) return report_now();
  if (std::exchange(report_armed_, true)) return;
  report_timer_.expires_at(last_report_ + kReportInterval);
  auto due = [this](error_code error) {
    report_armed_ = false;
    if (!error) report_now();
  };
  report_timer_.async_wait(due);
}

void Agent::report_now() {
  condition_.connected = control_.connected();
  if (!condition_.connected) return;
  last_report_ = std::chrono::steady_clock::now();
  ir::PushFrame frame;
  frame.type = ir::FrameType::report;
  if (condition_.running) frame.id = condition_.running->id;
  frame.workers_ready = condition_.workers_ready;
  frame.workers_total = condition_.workers_total;
  frame.workers_restarted = condition_.worker_restarts;
  for (const auto& [name, port] : condition_.bound) {
    if (frame.listeners == frame.bound.size()) break;
    auto& bound = frame.bound[frame.listeners++];
    std::strncpy(bound.name, name.c_str(), sizeof bound.name - 1);
    bound.port = port;
  }
  control_.report(frame);
}
}  // namespace

int run(const Options& options) {
  log::set_component("agent");
  try {
    asio::io_context io(1);
    Agent agent(io, options);
    agent.start();
    io.run();
  } catch (const std::exception& error) {
    log::error("agent failed", {{"error", error.what()}});
    return 1;
  }
  return 0;
}

}  // namespace sluice::agent
