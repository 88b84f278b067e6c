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

// Not worth a worker: the kernel bounds how many descriptors of a user may be on their way at once (RLIMIT_NOFILE).
bool tell(const Worker& worker, MessageType type, size_t first, std::span<const int> fds) {
  if (worker.pid == 0 || !worker.channel) return false;
  Message message;
  message.type = type;
  message.worker = static_cast<uint16_t>(first);
  const Status sent = sync::send(worker.channel.get(), message, fds);
  if (!sent) log::warning("mailbox not given", {{"worker", worker.index + 1}, {"error", sent.error().message}});
  return sent.has_value();
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
  const int written = slots_[index].worker.mailbox.ours.get();
  for (Slot& slot : slots_) {
    if (slot.worker.knows_others)
      slot.worker.knows_others = tell(slot.worker, MessageType::mailboxes, index, std::span(&written, 1));
  }
}

// Its own, before it runs: a successor finds there what its predecessor left.
void Supervisor::give_mailbox(const Worker& worker) {
  const int read = worker.mailbox.theirs.get();
  if (read >= 0) (void)tell(worker, MessageType::mailboxes, worker.index, std::span(&read, 1));
}

// All of them, in runs without a gap, once it reads its messages: so many descriptors do not wait in a channel. What
// fails is tried again with the next turn.
void Supervisor::introduce(Worker& worker) {
  worker.knows_others = true;
  std::vector<int> run;
  for (size_t i = 0; i <= slots_.size(); ++i) {
    const Channel* const mailbox = i < slots_.size() ? &slots_[i].worker.mailbox : nullptr;
    if (mailbox != nullptr && mailbox->ours) {
      run.push_back(i == worker.index ? mailbox->theirs.get() : mailbox->ours.get());
      continue;
    }
    if (!run.empty() && !tell(worker, MessageType::mailboxes, i - run.size(), run)) worker.knows_others = false;
    run.clear();
  }
}

// Its index has no successor, or not at once: what waits in the mailbox is another's to serve, and who sends on finds
// it shut.
void Supervisor::pass_on_mailbox(Worker& worker) {
  const Channel mailbox = std::move(worker.mailbox);
  worker.mailbox = {};
  if (!mailbox.theirs || !holds_something(mailbox.theirs.get())) return;
  const int read = mailbox.theirs.get();
  auto takes = [&](const Worker& other) {
    return &other != &worker && tell(other, MessageType::mailbox_left, worker.index, std::span(&read, 1));
  };
  const bool taken = std::ranges::any_of(slots_, [&](const Slot& slot) { return takes(slot.worker); }) ||
                     std::ranges::any_of(retired_, takes);
  if (taken) log::info("mailbox passed on", {{"worker", worker.index + 1}});
  else log::warning("connections lost with a mailbox", {{"worker", worker.index + 1}});
}

}  // namespace sluice::master
