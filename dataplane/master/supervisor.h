// The master's insides: what it holds and how it reacts. Implementation by concern: supervisor.cpp (loop, signals,
// shutdown), workers.cpp (processes and the sockets they accept from), mailboxes.cpp (what they hand to each other
// over), apply.cpp (states and the agent), handover.cpp (new binary).
//
//   worker:  starting --ready--> running --(fewer workers, new binary, shutdown)--> retired --exit--> gone
//            any --exit, hang--> gone, and a successor in the same slot at once (later and later if it keeps dying
//            within a second)
//   state:   apply -> every worker gets it -> all ready: it is current, listeners and worker count follow, `applied`
//                                          -> one refuses, or a worker and its successor die on it: the old one is sent
//                                          again, `refused`
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/base/unique_fd.h"
#include "dataplane/master/child.h"
#include "dataplane/master/counter_pages.h"
#include "dataplane/master/hang_watch.h"
#include "dataplane/master/listen_sockets.h"
#include "dataplane/master/master.h"
#include "dataplane/shared/worker_loads.h"
#include "dataplane/sync/messages.h"

namespace sluice::master {

struct HeldState {
  ir::StateId id;
  std::vector<UniqueFd> fds;  // the parts, then the table's shards
  std::array<uint64_t, ir::kParts> sizes{};
  std::array<ir::ContentHash, ir::kParts> hashes{};
  std::vector<sync::ListenerSpec> listeners;
  unsigned workers = 0;
  uint32_t drain_ms = 30000;
};

// As they are, for a message.
[[nodiscard]] std::vector<int> numbers_of(const std::vector<UniqueFd>& fds);

struct Worker {
  unsigned index = 0;
  pid_t pid = 0;  // 0 = none
  UniqueFd channel;
  unsigned page = 0;
  uint64_t spawned_ms = 0;
  ir::StateId sent, running;
  std::set<uint32_t> listening;   // ids of sockets it has
  uint64_t kill_at_ms = 0;        // when patience ends; 0 = never
  Channel mailbox;                // ours is written, theirs read; a successor has the same
  bool knows_others = false;      // it was given all mailboxes
  std::optional<HangWatch> late;  // while its heartbeat is
};

// A worker index: who has it, and how fast its last owners died.
struct Slot {
  Worker worker;
  unsigned page = 0;  // of the last owner
  unsigned quick_deaths = 0;
  uint64_t respawn_ms = 0;  // when there is no worker
};

struct AgentProcess {
  pid_t pid = 0;
  UniqueFd channel;
  uint64_t spawned_ms = 0, respawn_ms = 0;
  unsigned quick_deaths = 0;
};

class Supervisor {
 public:
  explicit Supervisor(const Options& options) : options_(options) {}
  [[nodiscard]] int run();

 private:
  // supervisor.cpp
  [[nodiscard]] bool set_up();
  void loop_once();
  void on_signals();
  void reap();
  void start_shutdown();
  void tick();
  [[nodiscard]] int wait_ms() const;
  void rotate_ticket_keys();
  [[nodiscard]] Worker* find_worker(pid_t pid);

  // workers.cpp
  void start_worker(unsigned index, const std::shared_ptr<HeldState>& state);
  void on_worker_exit(Slot& slot, int status);
  void on_worker_message(Worker& worker);
  void send_state(Worker& worker, const std::shared_ptr<HeldState>& state);
  void send_to(Worker& worker, const sync::Message& message, std::span<const int> fds = {});
  void broadcast(sync::MessageType type);
  void share_sockets(const std::vector<ListenGroup>& closing = {});
  void retire(Worker& worker, uint32_t drain_ms);
  void check_workers(uint64_t now);
  void kill_worker(Worker& worker, const char* why);
  [[nodiscard]] unsigned ready_workers() const;
  [[nodiscard]] unsigned holder_of(unsigned owner) const;

  // mailboxes.cpp
  void make_mailbox(unsigned index);
  static void give_mailbox(const Worker& worker);
  void introduce(Worker& worker);
  void pass_on_mailbox(Worker& worker);

  // apply.cpp
  void start_agent();
  void on_agent_exit(int status);
  void on_agent_messages();
  void begin_apply(sync::Received received);
  void start_apply(std::shared_ptr<HeldState> state);
  void check_apply();
  void commit_apply();
  void refuse_apply(const std::string& text);
  void tell_refused(ir::StateId id, const std::string& text, bool transient);
  void set_log_level(uint32_t level);
  [[nodiscard]] static sync::Message level_message();
  void tell_agent(const sync::Message& message, std::span<const int> fds = {});
  void report_workers();

  // handover.cpp
  void start_upgrade();
  void on_probe_exit(int status);
  void execute_upgrade();
  [[nodiscard]] bool read_handover();
  void finish_takeover();

  Options options_;
  UniqueFd signals_, admin_, ticket_keys_, buckets_, loads_fd_;
  std::optional<shared::WorkerLoads> loads_;
  ListenSockets sockets_;
  CounterPages pages_;
  std::shared_ptr<HeldState> current_, pending_, next_;  // next_: came while one is pending
  ListenSockets::Change pending_change_;
  std::set<unsigned> pending_deaths_;  // indexes whose worker died while it applied
  uint64_t pending_since_ms_ = 0;
  bool pending_late_ = false;  // the workers that were late have been replaced once
  std::vector<Slot> slots_;
  std::vector<Worker> retired_;
  AgentProcess agent_;
  pid_t probe_ = 0;  // the new binary, asked whether it can start
  uint64_t probe_kill_ms_ = 0;
  bool upgrade_due_ = false;  // it can
  bool taking_over_ = false;  // we are it, and the workers of the binary before still accept
  uint32_t restarts_ = 0;
  size_t pages_told_ = 0;
  bool report_due_ = false;
  bool stopping_ = false, exit_now_ = false;
  uint64_t last_tick_ms_ = 0, ticket_rotation_ms_ = 0;
};

}  // namespace sluice::master
