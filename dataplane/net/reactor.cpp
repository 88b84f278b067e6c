#include "dataplane/net/reactor.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include <sys/epoll.h>

#include "common/base/clock.h"
#include "common/base/log.h"

namespace sluice::net {
namespace {
constexpr int kBatch = 256;
constexpr int kMostBatchEnds = 4096;  // a round; what is beyond waits for the next
static_assert(kReadable == EPOLLIN && kWritable == EPOLLOUT && kHangup == (EPOLLERR | EPOLLHUP | EPOLLRDHUP));

// Nothing but these two bits is ever asked for. EPOLLRDHUP would say the same as a readable end of stream, but also
// while reads are paused, again and again: the loop is level-triggered.
epoll_event event_for(EventHandler& handler, uint32_t interest) {
  epoll_event event{};
  event.events = interest & (kReadable | kWritable);
  event.data.ptr = &handler;
  return event;
}
}  // namespace

struct Reactor::Batch {
  epoll_event events[kBatch];
};

Reactor::Reactor()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      now_ns_(monotonic_ns()),
      now_ms_(now_ns_ / 1'000'000u),
      timers_(now_ms_),
      batch_(std::make_unique<Batch>()) {
  if (!epoll_) {
    // A process without an event loop is of no use; this happens only at start.
    log::error("epoll_create1 failed", {{"errno", errno}});
    std::abort();
  }
}

Reactor::~Reactor() { destroy_deferred(); }

bool Reactor::add(int fd, EventHandler& handler, uint32_t interest) {
  epoll_event event = event_for(handler, interest);
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Reactor::modify(int fd, EventHandler& handler, uint32_t interest) {
  epoll_event event = event_for(handler, interest);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) {
    log::error("epoll_ctl modify failed", {{"fd", fd}, {"errno", errno}});
  }
}

void Reactor::remove(int fd, EventHandler& handler) {
  epoll_event unused{};
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &unused);
  forget(handler);
}

void Reactor::forget(EventHandler& handler) {
  for (int i = batch_at_; i < batch_size_; ++i) {
    if (batch_->events[i].data.ptr == &handler) batch_->events[i].data.ptr = nullptr;
  }
}

void Reactor::destroy_later(Deferred& object) {
  object.next_deferred_ = deferred_;
  deferred_ = &object;
}

void Reactor::destroy_deferred() {
  while (deferred_ != nullptr) {
    Deferred* object = std::exchange(deferred_, nullptr);
    // Destroying one may defer others.
    while (object != nullptr) std::exchange(object, object->next_deferred_)->destroy();
  }
}

void Reactor::at_batch_end(BatchEnd& object) {
  if (object.at_batch_end_) return;
  object.at_batch_end_ = true;
  object.next_batch_end_ = nullptr;
  (batch_ends_ == nullptr ? batch_ends_ : last_batch_end_->next_batch_end_) = &object;
  last_batch_end_ = &object;
}

void Reactor::forget_batch_end(BatchEnd& object) {
  if (!object.at_batch_end_) return;
  object.at_batch_end_ = false;
  BatchEnd* before = nullptr;
  for (BatchEnd* at = batch_ends_; at != &object; at = at->next_batch_end_) before = at;
  (before == nullptr ? batch_ends_ : before->next_batch_end_) = object.next_batch_end_;
  if (last_batch_end_ == &object) last_batch_end_ = before;
}

void Reactor::end_batch() {
  for (int left = kMostBatchEnds; batch_ends_ != nullptr && left > 0; --left) {
    BatchEnd& object = *batch_ends_;
    forget_batch_end(object);
    object.on_batch_end();
  }
}

void Reactor::run_once(int max_wait_ms) {
  int wait = timers_.next_wait_ms(now_ms_, max_wait_ms);
  if (deferred_ != nullptr || batch_ends_ != nullptr) wait = 0;
  // EINTR (signals) is a batch without events.
  batch_size_ = std::max(0, epoll_wait(epoll_.get(), batch_->events, kBatch, wait));
  now_ns_ = monotonic_ns();
  now_ms_ = now_ns_ / 1'000'000u;
  ++batches_;
  events_ = batch_size_;
  for (batch_at_ = 0; batch_at_ < batch_size_;) {
    const epoll_event& event = batch_->events[batch_at_++];
    if (event.data.ptr != nullptr) static_cast<EventHandler*>(event.data.ptr)->on_event(event.events);
  }
  batch_size_ = batch_at_ = 0;
  timers_.advance(now_ms_);
  if (batch_ends_ != nullptr) end_batch();
  if (batch_ends_ == nullptr) destroy_deferred();  // whose end is due may still be asked for
}

}  // namespace sluice::net
