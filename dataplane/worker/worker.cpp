#include "dataplane/worker/worker.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/net/listener.h"
#include "dataplane/net/tls_memory.h"
#include "dataplane/sync/messages.h"
#include "dataplane/worker/active_request.h"
#include "dataplane/worker/client_connection.h"
#include "dataplane/worker/connection_balance.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/descriptor_reserve.h"
#include "dataplane/worker/overload_monitor.h"
#include "dataplane/worker/state.h"

namespace sluice::worker {
namespace {
using sync::Message;
using sync::MessageType;

constexpr int kHeartbeatMs = 250;
constexpr uint64_t kLookMs = 1000;     // for certificates found broken at first use
constexpr uint64_t kLastWordMs = 500;  // for what is said to those who are cut off
volatile std::sig_atomic_t dump_wanted = 0;

// One listening socket of ours.
class Door final : private net::AcceptHandler {
 public:
  Door(Context& context, ConnectionBalance& balance, uint32_t id, const sync::ListenerSpec& spec, UniqueFd fd)
      : context_(context),
        balance_(balance),
        id_(id),
        tls_(spec.protocol == static_cast<uint8_t>(ir::ListenerProtocol::Https)),
        listener_(context.reactor, std::move(fd), *this) {}
  [[nodiscard]] uint32_t id() const { return id_; }
  [[nodiscard]] bool tls() const { return tls_; }
  [[nodiscard]] bool ok() const { return listener_.ok(); }
  [[nodiscard]] uint16_t port() const { return listener_.local().port; }
  void finish() { listener_.finish(); }

 private:
  void on_accept(UniqueFd fd, const net::Address& peer) override {
    if (balance_.hand_over(fd, port(), tls_)) return;
    ClientConnection::start(context_, std::move(fd), peer, port(), tls_);
  }
  Context& context_;
  ConnectionBalance& balance_;
  uint32_t id_;
  bool tls_;
  net::Listener listener_;
};

class Worker final : private net::EventHandler {
 public:
  Worker(UniqueFd channel, shared::CounterPage& counters, const shared::TicketKeyPage* ticket_keys,
         shared::Buckets& buckets, shared::WorkerLoads loads, unsigned index)
      : channel_(std::move(channel)),
        counters_(counters),
        context_(reactor_, counters, ticket_keys, &buckets),
        balance_(context_, std::move(loads), index) {}
  ~Worker() {
    doors_.clear();
    balance_.end();
    while (context_.connections != nullptr) context_.connections->close();
    context_.log.flush();
    // What was closed is destroyed while all it refers to is still there.
    reactor_.run_once(0);
  }

  int run() {
    // A predecessor on this page left its gauges behind.
    counters_.pid.set(static_cast<uint64_t>(getpid()));
    counters_.connections_active.set(0);
    counters_.streams_active.set(0);
    context_.descriptor_limit = reserve_.for_clients();
    if (!reactor_.add(channel_.get(), *this, net::kReadable) || !monitor_.start()) return 1;
    while (!finished()) {
      counters_.heartbeat_ms.set(monotonic_ms());
      reactor_.run_once(kHeartbeatMs);
      monitor_.after_batch();
      balance_.after_batch(!doors_.empty());
      if (context_.draining) end_doors();
      if (reactor_.now_ms() >= next_look_ms_) {
        next_look_ms_ = reactor_.now_ms() + kLookMs;
        report_tls(context_.tls.take_problems());
      }
      if (dump_wanted != 0) {
        dump_wanted = 0;
        dump();
      }
    }
    return master_gone_ ? 1 : 0;
  }

 private:
  [[nodiscard]] bool finished() {
    if (master_gone_) return true;
    if (!context_.draining) return false;
    if (context_.connection_count == 0) return true;
    if (reactor_.now_ms() < drain_deadline_) return false;
    if (std::exchange(cut_off_, true)) return true;
    drain_deadline_ = reactor_.now_ms() + kLastWordMs;
    for_each_connection([](ClientLink& connection) { connection.cut_off(); });
    return false;
  }

  // Each may close itself.
  template <class Action>
  void for_each_connection(Action&& action) {
    for (ClientLink* at = context_.connections; at != nullptr;) {
      ClientLink* const next = at->next();
      action(*at);
      at = next;
    }
  }

  void on_event(uint32_t) override {
    reserve_.release();
    on_messages();
    reserve_.keep();
  }

  void on_messages() {
    for (;;) {
      auto received = sync::receive(channel_.get());
      if (!received) {
        if (received.error().message != "closed")
          log::error("message from the master", {{"error", received.error().message}});
        master_gone_ = true;
        return;
      }
      if (received->message.type == MessageType{}) return;
      handle(*received);
    }
  }

  void handle(sync::Received& received) {
    const Message& message = received.message;
    switch (message.type) {
      case MessageType::state:
        take_state(received);
        break;
      case MessageType::listener:
        open_door(received);
        break;
      case MessageType::unlisten:
        std::erase_if(doors_, [&](const std::unique_ptr<Door>& door) { return door->id() == message.listener_id; });
        find_https_port();
        break;
      case MessageType::mailboxes:
        balance_.introduce(message.worker, {received.fds.data(), received.fd_count});
        break;
      case MessageType::mailbox_left:
        if (received.fd_count == 1) balance_.take_over(std::move(received.fds[0]));
        break;
      case MessageType::drain:
        drain(message.drain_ms);
        break;
      case MessageType::dump:
        dump();
        break;
      case MessageType::log_level:
        log::set_level(static_cast<log::Level>(message.level));
        break;
      case MessageType::reopen:
        context_.log.reopen();
        break;
      default:
        log::warning("message of no use to a worker", {{"type", static_cast<unsigned>(message.type)}});
        break;
    }
  }

  void take_state(sync::Received& received) {
    context_.upstreams.set_workers(received.message.workers_wanted);
    monitor_.set_workers(std::max(received.message.workers_wanted, 1u));
    Message answer;
    answer.id = received.message.id;
    const Status applied = state_.apply(received.message.id, {received.fds.data(), received.fd_count}, context_);
    balance_.configure(context_.settings.even_connections);
    answer.type = applied ? MessageType::ready : MessageType::refused;
    if (!applied) {
      log::error("state refused", {{"sequence", received.message.id.sequence}, {"error", applied.error().message}});
      const size_t size = std::min(applied.error().message.size(), sizeof answer.text - 1);
      std::memcpy(answer.text, applied.error().message.data(), size);
    }
    if (const Status sent = sync::send(channel_.get(), answer); !sent) {
      log::error("answer to the master", {{"error", sent.error().message}});
      master_gone_ = true;
    }
  }

  void open_door(sync::Received& received) {
    const Message& message = received.message;
    if (received.fd_count != 1 || message.listener_count < 1) {
      log::error("listener without a socket", {{"id", message.listener_id}});
      return;
    }
    auto door = std::make_unique<Door>(context_, balance_, message.listener_id, message.listeners[0],
                                       std::move(received.fds[0]));
    if (!door->ok()) {
      log::error("listener not opened", {{"id", message.listener_id}});
      return;
    }
    doors_.push_back(std::move(door));
    find_https_port();
  }

  void find_https_port() {
    context_.https_port = 0;
    for (const auto& door : doors_) {
      if (door->tls()) context_.https_port = door->port();
    }
  }

  // Listeners still here while we drain end with us: nobody takes them over. They accept as long as there is something
  // to do, at most for half of the time, so that what they accepted last has the other half.
  void end_doors() {
    if (doors_.empty() || (context_.connection_count != 0 && reactor_.now_ms() < doors_deadline_)) return;
    for (const auto& door : doors_) door->finish();
    doors_.clear();
  }

  void drain(uint32_t milliseconds) {
    context_.draining = true;
    drain_deadline_ = reactor_.now_ms() + milliseconds;
    doors_deadline_ = reactor_.now_ms() + milliseconds / 2;
    balance_.drain();
    for_each_connection([](ClientLink& connection) { connection.drain(); });
  }

  // What each stream does, one line each. Warnings, because a person has asked: `sluice run` shows no less by default.
  void dump() {
    log::warning("dump", {{"connections", context_.connection_count},
                          {"idle_upstream", context_.upstreams.idle_connections()},
                          {"sequence", context_.sequence}});
    for (const ClientLink* at = context_.connections; at != nullptr; at = at->next()) {
      for (ActiveRequest* request = at->next_request(nullptr); request != nullptr; request = at->next_request(request))
        dump(*at, *request);
    }
  }

  static void dump(const ClientLink& client, ActiveRequest& request) {
    static constexpr const char* kPhases[] = {"head", "filtering", "attempt", "backoff", "answer", "tunnel", "done"};
    http::Stream& stream = request.stream();
    const upstream::Attempts& attempts = request.attempts();
    log::warning("stream", {{"client", client.socket_peer().text()},
                            {"method", stream.head().method_name},
                            {"host", stream.head().host},
                            {"path", stream.head().path},
                            {"phase", kPhases[static_cast<size_t>(stream.phase())]},
                            {"age_ms", (monotonic_ns() - stream.start_ns()) / 1'000'000},
                            {"upstream", attempts.count == 0 ? std::string("-") : attempts.last_address.text()},
                            {"attempts", attempts.count}});
  }

  UniqueFd channel_;
  shared::CounterPage& counters_;
  net::Reactor reactor_;
  Context context_;
  ConnectionBalance balance_;
  State state_;
  DescriptorReserve reserve_;
  OverloadMonitor monitor_{context_, MemoryGauge::of_this_process()};
  std::vector<std::unique_ptr<Door>> doors_;
  uint64_t drain_deadline_ = 0, doors_deadline_ = 0;
  uint64_t next_look_ms_ = 0;
  bool master_gone_ = false;
  bool cut_off_ = false;  // the drain time is over, and everybody was told
};

// A shared page of the master's; null with the error logged.
template <class T>
T* map_page(int fd, const char* what, int protection) {
  void* const memory = mmap(nullptr, sizeof(T), protection, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) return static_cast<T*>(memory);
  log::error("page not mapped", {{"page", what}, {"errno", errno}});
  return nullptr;
}

}  // namespace

int run(int channel_fd, int counters_fd, int ticket_keys_fd, int buckets_fd, int loads_fd, unsigned index) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGUSR1, [](int) { dump_wanted = 1; });
  net::use_tls_memory();  // where it may not, malloc does
  auto* counters = map_page<shared::CounterPage>(counters_fd, "counters", PROT_READ | PROT_WRITE);
  if (counters == nullptr) return 1;
  if (counters->magic != shared::CounterPage::kMagic) {
    log::error("counter page of another version", {{"worker", index + 1}});
    return 1;
  }
  const auto* keys = map_page<const shared::TicketKeyPage>(ticket_keys_fd, "ticket keys", PROT_READ);
  auto buckets = shared::Buckets::map(buckets_fd);
  if (!buckets) {
    log::error("buckets not mapped", {{"error", buckets.error().message}});
    return 1;
  }
  auto loads = shared::WorkerLoads::map(loads_fd);
  if (!loads || index >= shared::WorkerLoads::kMaxWorkers) {
    log::error("worker loads not mapped", {{"error", loads ? "no such worker" : loads.error().message}});
    return 1;
  }
  // Mapped: the descriptors are not needed any more.
  for (const int fd : {counters_fd, ticket_keys_fd, buckets_fd, loads_fd}) ::close(fd);
  Worker worker(UniqueFd(channel_fd), *counters, keys, *buckets, std::move(*loads), index);
  return worker.run();
}

}  // namespace sluice::worker
