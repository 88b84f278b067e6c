#include "dataplane/master/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/master/admin_socket.h"
#include "dataplane/master/child.h"
#include "dataplane/master/ticket_key_page.h"

namespace sluice::master {
namespace {
constexpr int kIdleWaitMs = 250;
constexpr uint64_t kKillGraceMs = 2000;
constexpr int kHandled[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
}  // namespace

bool Supervisor::set_up() {
  sigset_t mask;
  sigemptyset(&mask);
  for (int signal : kHandled) sigaddset(&mask, signal);
  sigprocmask(SIG_SETMASK, &mask, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  signals_.reset(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) {
    log::error("signalfd failed", {{"error", std::strerror(errno)}});
    return false;
  }
  // Each binary has its own: its workers hand nothing to those of another.
  auto loads = shared::WorkerLoads::make();
  auto mapped = loads ? shared::WorkerLoads::map(loads->get()) : std::unexpected(loads.error());
  if (!mapped) {
    log::error("worker loads failed", {{"error", mapped.error().message}});
    return false;
  }
  loads_fd_ = std::move(*loads);
  loads_.emplace(std::move(*mapped));
  if (options_.handover_fd >= 0) {
    if (!read_handover()) return false;
  } else {
    if (options_.admin_port) {
      auto admin = listen_admin(options_.admin_bind, *options_.admin_port);
      if (!admin) {
        log::error("admin listener failed", {{"error", admin.error().message}});
        return false;
      }
      admin_ = std::move(*admin);
    }
    auto keys = make_ticket_key_page();
    if (!keys) {
      log::error("ticket keys failed", {{"error", keys.error().message}});
      return false;
    }
    ticket_keys_ = std::move(*keys);
    ticket_rotation_ms_ = monotonic_ms() + kTicketRotationMs;
    auto buckets = shared::Buckets::make(options_.rate_limit_keys);
    if (!buckets) {
      log::error("rate limit buckets failed", {{"error", buckets.error().message}});
      return false;
    }
    buckets_ = std::move(*buckets);
  }
  last_tick_ms_ = monotonic_ms();
  start_agent();
  return true;
}

int Supervisor::run() {
  if (!set_up()) return 1;
  log::info("started", {{"pid", getpid()}});
  while (!exit_now_) loop_once();
  for (Slot& slot : slots_) {
    if (slot.worker.pid != 0) kill(slot.worker.pid, SIGKILL);
  }
  for (Worker& worker : retired_) kill(worker.pid, SIGKILL);
  // The agent writes its last state to disk when the channel closes; it gets a moment for that.
  agent_.channel.reset();
  const uint64_t until = monotonic_ms() + kKillGraceMs;
  while (agent_.pid != 0 && waitpid(agent_.pid, nullptr, WNOHANG) == 0) {
    if (monotonic_ms() > until) {
      kill(agent_.pid, SIGKILL);
      waitpid(agent_.pid, nullptr, 0);
      break;
    }
    poll(nullptr, 0, 10);
  }
  log::info("stopped");
  return 0;
}

int Supervisor::wait_ms() const {
  const uint64_t now = monotonic_ms();
  uint64_t wait = kIdleWaitMs;
  auto until = [&](uint64_t at) { wait = std::min(wait, at > now ? at - now : 0); };
  for (const Slot& slot : slots_) {
    if (slot.worker.pid == 0) until(slot.respawn_ms);
  }
  if (agent_.pid == 0) until(agent_.respawn_ms);
  return static_cast<int>(wait);
}

void Supervisor::loop_once() {
  std::vector<pollfd> polled{{signals_.get(), POLLIN, 0}, {agent_.channel.get(), POLLIN, 0}};
  std::vector<pid_t> owners{0, 0};
  auto watch = [&](const Worker& worker) {
    if (worker.pid == 0 || !worker.channel) return;
    polled.push_back({worker.channel.get(), POLLIN, 0});
    owners.push_back(worker.pid);
  };
  for (const Slot& slot : slots_) watch(slot.worker);
  for (const Worker& worker : retired_) watch(worker);
  if (poll(polled.data(), polled.size(), wait_ms()) < 0 && errno != EINTR) {
    log::error("poll failed", {{"error", std::strerror(errno)}});
    poll(nullptr, 0, kIdleWaitMs);
  }
  // Messages first: what a child said before it died counts.
  for (size_t i = 2; i < polled.size(); ++i) {
    if (polled[i].revents == 0) continue;
    if (Worker* worker = find_worker(owners[i])) on_worker_message(*worker);  // by pid: a message may move workers
  }
  if (polled[1].revents != 0) on_agent_messages();
  if (polled[0].revents != 0) on_signals();
  tick();
}

Worker* Supervisor::find_worker(pid_t pid) {
  for (Slot& slot : slots_) {
    if (slot.worker.pid == pid) return &slot.worker;
  }
  for (Worker& worker : retired_) {
    if (worker.pid == pid) return &worker;
  }
  return nullptr;
}

void Supervisor::tick() {
  const uint64_t now = monotonic_ms();
  // If we did not run ourselves (machine asleep, all stopped), nobody's heartbeat is late.
  const bool slept = now - last_tick_ms_ > 4u * kIdleWaitMs;
  last_tick_ms_ = now;
  if (!slept) check_workers(now);
  if (agent_.pid == 0 && now >= agent_.respawn_ms && !stopping_) start_agent();
  if (now >= ticket_rotation_ms_) rotate_ticket_keys();
  if (probe_ != 0 && now >= probe_kill_ms_) kill(probe_, SIGKILL);
  if (pending_) check_apply();
  if (!pending_ && next_) start_apply(std::exchange(next_, nullptr));
  if (taking_over_) finish_takeover();
  if (report_due_) report_workers();
  if (upgrade_due_ && !pending_ && !stopping_) execute_upgrade();
  if (stopping_ && retired_.empty()) exit_now_ = true;
}

void Supervisor::on_signals() {
  signalfd_siginfo info{};
  bool children = false;
  while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
    switch (static_cast<int>(info.ssi_signo)) {
      case SIGCHLD:
        children = true;
        break;
      case SIGTERM:
      case SIGINT:
        if (stopping_) exit_now_ = true;  // asked twice: now
        else start_shutdown();
        break;
      case SIGHUP:
        broadcast(sync::MessageType::reopen);
        break;
      case SIGUSR1:
        broadcast(sync::MessageType::dump);
        break;
      case SIGUSR2:
        start_upgrade();
        break;
      default:
        break;
    }
  }
  if (children) reap();
}

void Supervisor::reap() {
  int status = 0;
  for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
    if (pid == agent_.pid) {
      on_agent_exit(status);
      continue;
    }
    if (pid == probe_) {
      on_probe_exit(status);
      continue;
    }
    const auto old = std::ranges::find_if(retired_, [&](const Worker& worker) { return worker.pid == pid; });
    if (old != retired_.end()) {
      log::info("retired worker is gone", {{"worker", old->index + 1}, {"pid", pid}});
      pages_.give_back(old->page);
      pass_on_mailbox(*old);
      retired_.erase(old);
      report_due_ = true;
      continue;
    }
    const auto slot = std::ranges::find_if(slots_, [&](const Slot& candidate) { return candidate.worker.pid == pid; });
    if (slot != slots_.end()) on_worker_exit(*slot, status);
  }
}

// Readiness goes first, so that load balancers look elsewhere; workers end each connection after its stream, and when
// none is left they exit.
void Supervisor::start_shutdown() {
  stopping_ = true;
  const uint32_t drain_ms = current_ ? current_->drain_ms : 0;
  log::info("draining", {{"drain_ms", drain_ms}});
  if (pending_) refuse_apply("the data plane shuts down");
  next_.reset();
  sync::Message message;
  message.type = sync::MessageType::drain;
  message.drain_ms = drain_ms;
  tell_agent(message);
  for (Slot& slot : slots_) {
    if (slot.worker.pid == 0) continue;
    retire(slot.worker, drain_ms);
    retired_.push_back(std::move(slot.worker));
  }
  slots_.clear();
  report_due_ = true;
}

void Supervisor::rotate_ticket_keys() {
  if (Status rotated = rotate_ticket_key_page(ticket_keys_.get()); !rotated) {
    log::error("ticket keys not rotated", {{"error", rotated.error().message}});
  }
  ticket_rotation_ms_ = monotonic_ms() + kTicketRotationMs;
}

int run(const Options& options) { return Supervisor(options).run(); }

}  // namespace sluice::master
