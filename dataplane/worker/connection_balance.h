// connections.balance: who has accepted a connection hands it to the worker that has the fewest, over that worker's
// mailbox (sync/mailbox.h); and takes what others hand over. Off, or with nobody beside, an accepted connection costs
// one comparison and nothing is sent; the mailbox is in the event loop all the same, so that what is under way when the
// option changes is served.
//
//   on_        the option is even, there are others, and we do not drain
//   own_       our mailbox's end that is read; none before the master gave it and after the drain began
//   others_    by worker index, the ends that are written; nothing at our own
#pragma once
#include <span>
#include <vector>

#include "common/base/unique_fd.h"
#include "dataplane/net/reactor.h"
#include "dataplane/shared/worker_loads.h"
#include "dataplane/worker/context.h"

namespace sluice::worker {

class ConnectionBalance final : private net::EventHandler {
 public:
  // `index`: this worker's, below shared::WorkerLoads::kMaxWorkers.
  ConnectionBalance(Context& context, shared::WorkerLoads loads, unsigned index);
  ConnectionBalance(const ConnectionBalance&) = delete;
  ConnectionBalance& operator=(const ConnectionBalance&) = delete;
  ~ConnectionBalance();

  // Mailboxes of the workers from index `first` on, those that we had of them are closed: ours to be read, the others
  // to be written.
  void introduce(unsigned first, std::span<UniqueFd> mailboxes);
  // The mailbox of a worker that has no successor: what waits in it is served here, and it is shut.
  void take_over(UniqueFd mailbox);
  // As the settings in force say.
  void configure(bool even);
  // An accepted connection. True: another worker serves it, and `fd` is closed.
  [[nodiscard]] bool hand_over(UniqueFd& fd, uint16_t local_port, bool tls) {
    return on_ && hand_over_to_least(fd, local_port, tls);
  }
  // Nothing is handed to us any more. What is on its way is served as what was accepted a moment ago.
  void drain();
  // Reads no mailbox any more.
  void end();
  // After a batch of events: says what we have. `listening`: we may be handed connections.
  void after_batch(bool listening);

 private:
  static constexpr int kMaxPerEvent = 64;
  static constexpr uint64_t kLookMs = 1000;
  void on_event(uint32_t events) override;
  [[nodiscard]] bool hand_over_to_least(UniqueFd& fd, uint16_t local_port, bool tls);
  [[nodiscard]] bool take_one(int mailbox);
  void update();
  void publish(size_t connections);
  void look_for_lost_claims();

  Context& context_;
  shared::WorkerLoads loads_;
  unsigned index_;
  UniqueFd own_;
  std::vector<UniqueFd> others_;
  uint64_t next_look_ms_ = 0;
  bool even_ = false, on_ = false;
  bool takes_ = false;      // as said last
  bool suspected_ = false;  // at the last look something was on its way that the mailbox did not have
};

}  // namespace sluice::worker
