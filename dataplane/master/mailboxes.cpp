// The mailboxes over which workers hand accepted connections to each other (sync/mailbox.h): one pair of sockets for
// each worker index. The master keeps both ends, so that what waits in one outlives its worker. Ours alone: the workers
// of the binary before have theirs among themselves.
#include <algorithm>

#include <sys/ioctl.h>

#include "common/base/log.h"
#include "dataplane/master/supervisor.h"

namespace sluice::master {
namespace {
using sync::Message;
using sync::MessageType;
static_assert(shared::WorkerLoads::kMaxWorkers == sync::kMaxWorkers && sync::kMaxWorkers <= sync::kMaxFds);

bool holds_something(int mailbox) {
  int bytes = 0;
  return ioctl(mailbox, FIONREAD, &bytes) == 0 && bytes > 0;
}
}  // namespace

// Without one (no descriptors left) it serves what it accepts.
void Supervisor::make_mailbox(unsigned index) {
  auto pair = make_channel();
  if (!pair) {
    log::error("no mailbox", {{"worker", index + 1}, {"error", pair.error().message}});
    return;
  }
  slots_[index].worker.mailbox = std::move(*pair);
  loads_->clear(index);
  loads_->settle(index);
  Message message;
  message.type = MessageType::mailboxes;
  message.worker = static_cast<uint16_t>(index);
  const int written = slots_[index].worker.mailbox.ours.get();
  for (Slot& slot : slots_) {
    if (slot.worker.knows_others) send_to(slot.worker, message, std::span(&written, 1));
  }
}

// Its own, before it runs: a successor finds there what its predecessor left.
void Supervisor::give_mailbox(Worker& worker) {
  if (!worker.mailbox.theirs) return;
  Message message;
  message.type = MessageType::mailboxes;
  message.worker = static_cast<uint16_t>(worker.index);
  const int read = worker.mailbox.theirs.get();
  send_to(worker, message, std::span(&read, 1));
}

// Those of all others, in runs without a gap, once it reads its messages: so many descriptors do not wait in a channel.
void Supervisor::introduce(Worker& worker) {
  if (worker.knows_others) return;
  worker.knows_others = true;
  Message message;
  message.type = MessageType::mailboxes;
  std::vector<int> run;
  auto flush = [&](size_t end) {
    message.worker = static_cast<uint16_t>(end - run.size());
    if (!run.empty()) send_to(worker, message, run);
    run.clear();
  };
  for (size_t i = 0; i < slots_.size(); ++i) {
    const UniqueFd& written = slots_[i].worker.mailbox.ours;
    if (i != worker.index && written) run.push_back(written.get());
    else flush(i);
  }
  flush(slots_.size());
}

// Its index has no successor, or not at once: what waits in the mailbox is another's to serve, and who sends on finds
// it shut.
void Supervisor::pass_on_mailbox(Worker& worker) {
  const Channel mailbox = std::move(worker.mailbox);
  worker.mailbox = {};
  if (!mailbox.theirs || !holds_something(mailbox.theirs.get())) return;
  auto alive = [&](const Worker& other) { return &other != &worker && other.pid != 0 && other.channel; };
  Message message;
  message.type = MessageType::mailbox_left;
  const int read = mailbox.theirs.get();
  for (Slot& slot : slots_) {
    if (alive(slot.worker)) return send_to(slot.worker, message, std::span(&read, 1));
  }
  for (Worker& other : retired_) {
    if (alive(other)) return send_to(other, message, std::span(&read, 1));
  }
}

}  // namespace sluice::master
