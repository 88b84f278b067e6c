#include <algorithm>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/master/child.h"
#include "dataplane/master/supervisor.h"

namespace sluice::master {
namespace {
using sync::Message;
using sync::MessageType;
constexpr uint64_t kApplyMs = 10000;
constexpr uint64_t kQuickDeathMs = 1000;
constexpr uint64_t kMaxBackoffMs = 2000;

void put_text(Message& message, const std::string& text) {
  const size_t used = std::min(text.size(), sizeof message.text - 1);
  std::memcpy(message.text, text.data(), used);
  message.text[used] = 0;
}

// Sealed: what a worker maps cannot shrink under it, whatever becomes of the agent.
bool is_sealed(int fd) {
  constexpr int kNeeded = F_SEAL_WRITE | F_SEAL_SHRINK;
  const int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & kNeeded) == kNeeded;
}
}  // namespace

std::vector<int> numbers_of(const std::vector<UniqueFd>& fds) {
  std::vector<int> out;
  out.reserve(fds.size());
  for (const UniqueFd& fd : fds) out.push_back(fd.get());
  return out;
}

Message Supervisor::level_message() {
  Message message;
  message.type = MessageType::log_level;
  message.level = static_cast<uint32_t>(log::level());
  return message;
}

void Supervisor::start_agent() {
  const uint64_t now = monotonic_ms();
  agent_.respawn_ms = now + kMaxBackoffMs;  // if anything below fails
  auto channel = make_channel();
  if (!channel) {
    log::error("agent not started", {{"error", channel.error().message}});
    return;
  }
  std::vector<std::string> arguments{"--role=agent", fmt::format("--parent={}", getpid())};
  std::vector<int> fds{channel->theirs.get()};
  if (admin_) {
    arguments.push_back(fmt::format("--admin-fd={}", kFirstChildFd + 1));
    fds.push_back(admin_.get());
  }
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  auto pid = spawn(options_.binary, arguments, fds);
  if (!pid) {
    log::error("agent not started", {{"error", pid.error().message}});
    return;
  }
  agent_.pid = *pid;
  agent_.channel = std::move(channel->ours);
  agent_.spawned_ms = now;
  Message message;
  message.type = MessageType::state;
  std::vector<int> parts;
  if (current_) {
    message.id = current_->id;
    message.sizes = current_->sizes;
    message.hashes = current_->hashes;
    parts = numbers_of(current_->fds);
  }
  tell_agent(message, parts);
  tell_agent(level_message());
  pages_told_ = 0;
  report_workers();
  if (stopping_) {
    message = {};
    message.type = MessageType::drain;
    tell_agent(message);
  }
}

void Supervisor::on_agent_exit(int status) {
  const uint64_t now = monotonic_ms();
  agent_.quick_deaths = now - agent_.spawned_ms < kQuickDeathMs ? agent_.quick_deaths + 1 : 0;
  const uint64_t delay =
      agent_.quick_deaths < 2 ? 0 : std::min<uint64_t>(kMaxBackoffMs, 50u << std::min(agent_.quick_deaths - 2, 6u));
  log::warning("agent died", {{"pid", agent_.pid},
                              {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0},
                              {"code", WIFEXITED(status) ? WEXITSTATUS(status) : 0},
                              {"restart_ms", delay}});
  agent_.pid = 0;
  agent_.channel.reset();
  agent_.respawn_ms = now + delay;
}

void Supervisor::tell_agent(const Message& message, std::span<const int> fds) {
  if (!agent_.channel) return;
  if (Status sent = sync::send(agent_.channel.get(), message, fds); !sent) {
    log::error("agent killed", {{"reason", sent.error().message}});
    kill(agent_.pid, SIGKILL);
    agent_.channel.reset();
  }
}

void Supervisor::on_agent_messages() {
  while (agent_.channel) {
    auto received = sync::receive(agent_.channel.get());
    if (received && received->message.type == MessageType::none) return;
    if (received && received->message.type == MessageType::log_level) {
      set_log_level(received->message.level);
      continue;
    }
    if (!received || received->message.type != MessageType::apply) {
      log::error("agent killed", {{"reason", received ? "unexpected message" : received.error().message}});
      kill(agent_.pid, SIGKILL);  // harmless if it has ended by itself
      agent_.channel.reset();
      return;
    }
    begin_apply(std::move(*received));
  }
}

// Ours is what processes to come are told.
void Supervisor::set_log_level(uint32_t level) {
  log::set_level(static_cast<log::Level>(level));
  for (Slot& slot : slots_) send_to(slot.worker, level_message());
  for (Worker& worker : retired_) send_to(worker, level_message());
}

void Supervisor::begin_apply(sync::Received received) {
  const Message& message = received.message;
  auto state = std::make_shared<HeldState>();
  state->id = message.id;
  state->sizes = message.sizes;
  state->hashes = message.hashes;
  state->workers = std::max(1u, message.workers_wanted);
  state->drain_ms = message.drain_ms;
  state->listeners.assign(message.listeners.begin(), message.listeners.begin() + message.listener_count);
  bool whole = received.fd_count >= ir::kParts;
  for (size_t i = 0; i < received.fd_count; ++i) {
    whole = whole && is_sealed(received.fds[i].get());
    state->fds.push_back(std::move(received.fds[i]));
  }
  if (!whole) return tell_refused(state->id, "a state without its sealed parts", false);
  if (stopping_) return tell_refused(state->id, "the data plane shuts down", false);
  if (pending_) next_ = std::move(state);  // an earlier `next_` is out of date
  else start_apply(std::move(state));
}

void Supervisor::start_apply(std::shared_ptr<HeldState> state) {
  auto change = sockets_.prepare(state->listeners, state->workers);
  if (!change) {
    log::error("state refused", {{"sequence", state->id.sequence}, {"reason", change.error().message}});
    return tell_refused(state->id, change.error().message, true);  // the port may be free a moment later
  }
  pending_ = std::move(state);
  pending_change_ = std::move(*change);
  pending_deaths_.clear();
  pending_since_ms_ = monotonic_ms();
  pending_late_ = false;
  for (Slot& slot : slots_) {
    if (slot.worker.pid != 0) send_state(slot.worker, pending_);
  }
  while (slots_.size() < pending_->workers) {
    slots_.emplace_back().page = static_cast<unsigned>(slots_.size() - 1);
    start_worker(static_cast<unsigned>(slots_.size() - 1), pending_);
  }
}

void Supervisor::check_apply() {
  const bool all = std::ranges::all_of(
      slots_, [&](const Slot& slot) { return slot.worker.pid != 0 && slot.worker.running == pending_->id; });
  if (all) return commit_apply();
  if (monotonic_ms() < pending_since_ms_ + kApplyMs) return;
  if (pending_late_) return refuse_apply("the workers do not take it in time");
  pending_late_ = true;
  for (Slot& slot : slots_) {
    if (slot.worker.pid != 0 && slot.worker.running != pending_->id)
      kill_worker(slot.worker, "does not take the new state");
  }
  pending_since_ms_ = monotonic_ms();
}

void Supervisor::commit_apply() {
  current_ = std::move(pending_);
  pending_.reset();
  const std::vector<ListenGroup> closing = sockets_.commit(std::exchange(pending_change_, {}));
  std::vector<Worker> leaving;
  while (slots_.size() > current_->workers) {
    if (slots_.back().worker.pid != 0) leaving.push_back(std::move(slots_.back().worker));
    else pass_on_mailbox(slots_.back().worker);
    slots_.pop_back();
  }
  share_sockets(closing);  // survivors have the orphaned sockets before the leaving let them go
  for (Worker& worker : leaving) {
    retire(worker, current_->drain_ms);
    retired_.push_back(std::move(worker));
  }
  Message message;
  message.type = MessageType::applied;
  message.id = current_->id;
  report_workers();  // first, so that the agent knows the ports when it acknowledges
  tell_agent(message);
}

// Back to the state before: workers that took the new one get the old one again.
void Supervisor::refuse_apply(const std::string& text) {
  const std::shared_ptr<HeldState> refused = std::move(pending_);
  pending_.reset();
  pending_change_ = {};
  log::error("state refused", {{"sequence", refused->id.sequence}, {"reason", text}});
  const size_t keep = current_ ? current_->workers : 0;
  while (slots_.size() > keep) {
    if (slots_.back().worker.pid != 0) {
      retire(slots_.back().worker, 0);
      retired_.push_back(std::move(slots_.back().worker));
    } else {
      pass_on_mailbox(slots_.back().worker);
    }
    slots_.pop_back();
  }
  for (Slot& slot : slots_) {
    if (slot.worker.pid != 0 && slot.worker.sent != current_->id) send_state(slot.worker, current_);
  }
  tell_refused(refused->id, text, false);
  report_due_ = true;
}

void Supervisor::tell_refused(ir::StateId id, const std::string& text, bool transient) {
  Message message;
  message.type = MessageType::refused;
  message.id = id;
  message.transient = transient ? 1 : 0;
  put_text(message, text);
  tell_agent(message);
}

void Supervisor::report_workers() {
  report_due_ = false;
  for (; pages_told_ < pages_.count(); ++pages_told_) {
    Message message;
    message.type = MessageType::counters;
    message.worker = static_cast<uint16_t>(pages_told_);
    const int fd = pages_.fd(static_cast<unsigned>(pages_told_));
    tell_agent(message, std::span(&fd, 1));
  }
  Message message;
  message.type = MessageType::workers;
  if (current_) message.id = current_->id;
  // While a new binary takes over, the workers of the old one serve.
  message.ready = taking_over_ ? static_cast<uint32_t>(slots_.size()) : ready_workers();
  message.total = static_cast<uint32_t>(slots_.size());
  message.restarts = restarts_;
  for (const ListenGroup& group : sockets_.groups()) {
    if (message.listener_count == message.listeners.size()) break;
    message.listeners[message.listener_count] = group.spec;
    message.listeners[message.listener_count++].port = group.port;
  }
  tell_agent(message);
}

}  // namespace sluice::master
