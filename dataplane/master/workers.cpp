#include <algorithm>
#include <csignal>
#include <cstring>

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
constexpr uint64_t kHeartbeatMs = 2000;
constexpr uint64_t kStartMs = 10000;  // until the first heartbeat
constexpr uint64_t kQuickDeathMs = 1000;
constexpr uint64_t kMaxBackoffMs = 1000;
constexpr uint64_t kCloseGraceMs = 1000;
constexpr uint64_t kRetireGraceMs = 2000;  // after drain_ms, which the worker keeps itself
}  // namespace

void Supervisor::start_worker(unsigned index, const std::shared_ptr<HeldState>& state) {
  Slot& slot = slots_[index];
  const uint64_t now = monotonic_ms();
  slot.respawn_ms = now + kMaxBackoffMs;  // if anything below fails
  if (!slot.worker.mailbox.theirs) make_mailbox(index);
  auto channel = make_channel();
  auto page = pages_.take(slot.page);
  if (!channel || !page) {
    log::error("worker not started",
               {{"worker", index + 1}, {"error", channel ? page.error().message : channel.error().message}});
    if (page) pages_.give_back(*page);
    return;
  }
  std::vector<std::string> arguments{"--role=worker", fmt::format("--index={}", index),
                                     fmt::format("--parent={}", getpid())};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  const int fds[] = {channel->theirs.get(), pages_.fd(*page), ticket_keys_.get(), buckets_.get(), loads_fd_.get()};
  pages_.at(*page).heartbeat_ms.set(0);
  pages_.at(*page).route_limit.set(options_.metric_routes);
  auto pid = spawn(options_.binary, arguments, fds);
  if (!pid) {
    log::error("worker not started", {{"worker", index + 1}, {"error", pid.error().message}});
    pages_.give_back(*page);
    return;
  }
  slot.page = *page;
  Channel mailbox = std::move(slot.worker.mailbox);
  slot.worker = Worker{};
  slot.worker.index = index;
  slot.worker.mailbox = std::move(mailbox);
  slot.worker.pid = *pid;
  slot.worker.channel = std::move(channel->ours);
  slot.worker.page = *page;
  slot.worker.spawned_ms = now;
  log::info("worker started", {{"worker", index + 1}, {"pid", *pid}});
  // All of it is in the channel before the process runs: it never accepts without a state.
  send_state(slot.worker, state);
  send_to(slot.worker, level_message());
  give_mailbox(slot.worker);
  report_due_ = true;
}

void Supervisor::on_worker_exit(Slot& slot, int status) {
  const unsigned index = slot.worker.index;
  const uint64_t now = monotonic_ms();
  log::warning("worker died", {{"worker", index + 1},
                               {"pid", slot.worker.pid},
                               {"signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0},
                               {"code", WIFEXITED(status) ? WEXITSTATUS(status) : 0}});
  // Somebody's SIGKILL of a worker that ran says nothing about the worker: only what ends by itself has to wait.
  const bool by_itself = !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && slot.worker.running.boot != 0);
  slot.quick_deaths = by_itself && now - slot.worker.spawned_ms < kQuickDeathMs ? slot.quick_deaths + 1 : 0;
  pages_.give_back(slot.worker.page);
  loads_->clear(index);
  Channel mailbox = std::move(slot.worker.mailbox);
  slot.worker = Worker{};
  slot.worker.index = index;
  slot.worker.mailbox = std::move(mailbox);
  ++restarts_;
  report_due_ = true;
  if (pending_ && !pending_deaths_.insert(index).second) {
    refuse_apply(fmt::format("worker {} died twice while it took the state", index + 1));
  }
  if (index >= slots_.size() || slots_[index].worker.pid != 0) return;  // the refusal changed the slots
  // One accident costs nothing; who dies again and again waits a little longer each time, and others take what waits in
  // its sockets.
  const uint64_t delay = slots_[index].quick_deaths < 2
                             ? 0
                             : std::min<uint64_t>(kMaxBackoffMs, 50u << std::min(slots_[index].quick_deaths - 2, 6u));
  slots_[index].respawn_ms = now + delay;
  if (delay == 0) start_worker(index, pending_ ? pending_ : current_);
  else pass_on_mailbox(slots_[index].worker);
  share_sockets();
}

void Supervisor::on_worker_message(Worker& worker) {
  while (worker.channel) {
    auto received = sync::receive(worker.channel.get());
    if (!received) {
      // Closed: it is about to end, SIGCHLD tells how. Anything else is not a worker any more.
      if (received.error().message != "closed") kill_worker(worker, received.error().message.c_str());
      const uint64_t patience = monotonic_ms() + kCloseGraceMs;
      worker.kill_at_ms = worker.kill_at_ms == 0 ? patience : std::min(worker.kill_at_ms, patience);
      worker.channel.reset();
      return;
    }
    const Message& message = received->message;
    if (message.type == MessageType::none) return;
    if (message.type == MessageType::ready) {
      worker.running = message.id;
      report_due_ = true;
    } else if (message.type == MessageType::refused) {
      if (pending_ && message.id == pending_->id)
        refuse_apply(fmt::format("worker {}: {}", worker.index + 1, message.text));
      else log::error("worker refused a state that others run", {{"worker", worker.index + 1}, {"text", message.text}});
      return;  // the refusal may have moved workers
    } else {
      kill_worker(worker, "unexpected message");
      return;
    }
  }
}

void Supervisor::send_to(Worker& worker, const Message& message, std::span<const int> fds) {
  if (worker.pid == 0 || !worker.channel) return;
  if (Status sent = sync::send(worker.channel.get(), message, fds); !sent)
    kill_worker(worker, sent.error().message.c_str());
}

void Supervisor::send_state(Worker& worker, const std::shared_ptr<HeldState>& state) {
  Message message;
  message.type = MessageType::state;
  message.id = state->id;
  message.sizes = state->sizes;
  message.hashes = state->hashes;
  message.workers_wanted = state->workers;
  worker.sent = state->id;
  send_to(worker, message, numbers_of(state->fds));
}

void Supervisor::broadcast(MessageType type) {
  Message message;
  message.type = type;
  for (Slot& slot : slots_) send_to(slot.worker, message);
  for (Worker& worker : retired_) send_to(worker, message);
}

// Who accepts from the sockets made for worker `owner`: that worker; if there is none (fewer workers now, or it waits
// for its restart), another.
unsigned Supervisor::holder_of(unsigned owner) const {
  const auto count = static_cast<unsigned>(slots_.size());
  if (owner < count && slots_[owner].worker.pid != 0) return owner;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned candidate = (owner + i) % count;
    if (slots_[candidate].worker.pid != 0) return candidate;
  }
  return owner;
}

// Brings every worker's set of sockets to what it should be. New holders first: no socket is without one for a moment.
void Supervisor::share_sockets(const std::vector<ListenGroup>& closing) {
  if (slots_.empty()) return;
  std::vector<std::set<uint32_t>> wanted(slots_.size());
  for (const ListenGroup& group : sockets_.groups()) {
    for (const ListenSocket& socket : group.sockets) {
      const unsigned holder = holder_of(socket.owner);
      if (holder >= slots_.size()) continue;
      Worker& worker = slots_[holder].worker;
      wanted[holder].insert(socket.id);
      if (worker.pid == 0 || worker.listening.contains(socket.id)) continue;
      Message message;
      message.type = MessageType::listener;
      message.worker = static_cast<uint16_t>(socket.owner);
      message.listener_id = socket.id;
      message.listener_count = 1;
      message.listeners[0] = group.spec;
      message.listeners[0].port = group.port;
      const int fd = socket.fd.get();
      send_to(worker, message, std::span(&fd, 1));
      worker.listening.insert(socket.id);
    }
  }
  auto stop = [&](Worker& worker, const std::set<uint32_t>& keep) {
    std::erase_if(worker.listening, [&](uint32_t id) {
      if (keep.contains(id)) return false;
      Message message;
      message.type = MessageType::unlisten;
      message.listener_id = id;
      send_to(worker, message);
      return true;
    });
  };
  for (size_t i = 0; i < slots_.size(); ++i) stop(slots_[i].worker, wanted[i]);
  // `closing` needs no more: its ids are in nobody's wanted set, and the copies of the master end with the caller's
  // list.
  if (!closing.empty()) log::info("listeners closed", {{"count", closing.size()}});
}

// The caller moves it to retired_.
void Supervisor::retire(Worker& worker, uint32_t drain_ms) {
  Message message;
  if (!stopping_) {
    for (uint32_t id : worker.listening) {
      message.type = MessageType::unlisten;
      message.listener_id = id;
      send_to(worker, message);
    }
    worker.listening.clear();
  }
  message = {};
  message.type = MessageType::drain;
  message.drain_ms = drain_ms;
  send_to(worker, message);
  worker.kill_at_ms = monotonic_ms() + drain_ms + kRetireGraceMs;
}

void Supervisor::kill_worker(Worker& worker, const char* why) {
  if (worker.pid == 0) return;
  log::error("worker killed", {{"worker", worker.index + 1}, {"pid", worker.pid}, {"reason", why}});
  kill(worker.pid, SIGKILL);
  worker.channel.reset();
}

void Supervisor::check_workers(uint64_t now) {
  auto late = [&](const Worker& worker) {
    const uint64_t beat = pages_.at(worker.page).heartbeat_ms.get();
    if (beat == 0) return now > worker.spawned_ms + kStartMs;
    return now > beat + kHeartbeatMs;
  };
  auto check = [&](Worker& worker) {
    if (worker.pid == 0) return;
    if (worker.kill_at_ms != 0 && now >= worker.kill_at_ms)
      return kill_worker(worker, worker.channel ? "drain time is over" : "does not end");
    if (!worker.channel || !late(worker)) {
      worker.late.reset();
      return;
    }
    if (!worker.late) {
      worker.late.emplace();
      log::warning("worker is late", {{"worker", worker.index + 1}, {"pid", worker.pid}});
    }
    if (worker.late->hangs(look_at(worker.pid))) kill_worker(worker, "no heartbeat");
  };
  for (Slot& slot : slots_) {
    check(slot.worker);
    if (slot.worker.running.boot != 0 && !slot.worker.knows_others) introduce(slot.worker);
    if (slot.worker.pid == 0 && now >= slot.respawn_ms && (pending_ || current_)) {
      start_worker(static_cast<unsigned>(&slot - slots_.data()), pending_ ? pending_ : current_);
      share_sockets();
    }
  }
  for (Worker& worker : retired_) check(worker);
}

unsigned Supervisor::ready_workers() const {
  return static_cast<unsigned>(std::ranges::count_if(
      slots_, [&](const Slot& slot) { return slot.worker.pid != 0 && slot.worker.running.boot != 0; }));
}

}  // namespace sluice::master
