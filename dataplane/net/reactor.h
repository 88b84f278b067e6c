// A worker's event loop: level-triggered epoll, one thread, no locks (docs/decisions/0002: 4.1 system calls a request
// against Asio's 5.2). Nothing outside dataplane/net/ calls epoll, so the engine can be replaced.
#pragma once
#include <cstdint>
#include <memory>

#include "common/base/unique_fd.h"
#include "dataplane/net/timer_wheel.h"

namespace sluice::net {

// kHangup (in practice EPOLLERR or EPOLLHUP) comes whatever the interest is, and again and again: on it, read what is
// left or close, never ignore it. A peer's FIN is kReadable and a read that says eof; stop asking for kReadable after
// it.
inline constexpr uint32_t kReadable = 1u, kWritable = 4u,
                          kHangup = 0x2018u;  // EPOLLIN, EPOLLOUT, EPOLLERR|EPOLLHUP|EPOLLRDHUP

class EventHandler {
 public:
  virtual void on_event(uint32_t events) = 0;

 protected:
  ~EventHandler() = default;
};

// An object to be destroyed when no event of the current batch can reach it any more.
class Deferred {
 public:
  virtual void destroy() = 0;

 protected:
  ~Deferred() = default;

 private:
  friend class Reactor;
  Deferred* next_deferred_ = nullptr;
};

// Called once at the end of the batch in which it was registered: for what many events of one batch share, such as a
// write. It must forget itself before it is destroyed.
class BatchEnd {
 public:
  virtual void on_batch_end() = 0;

 protected:
  ~BatchEnd() = default;

 private:
  friend class Reactor;
  BatchEnd* next_batch_end_ = nullptr;
  bool at_batch_end_ = false;
};

class Reactor {
 public:
  Reactor();
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  // `interest` is a mask of kReadable and kWritable. The caller removes fd before closing it. False with errno on
  // failure.
  [[nodiscard]] bool add(int fd, EventHandler& handler, uint32_t interest);
  void modify(int fd, EventHandler& handler, uint32_t interest);
  void remove(int fd, EventHandler& handler);  // also drops events of this handler still in the current batch
  // For a socket that is closed at once and that nobody else shares (close takes it out of epoll): saves a system call.
  // Only drops events of this handler still in the current batch.
  void forget(EventHandler& handler);
  void destroy_later(Deferred& object);
  // After the events and timers of the present batch (the next one, outside of run_once), before deferred destruction;
  // once, however often it is said. Also from inside of on_batch_end: then in the same round, within bounds.
  void at_batch_end(BatchEnd& object);
  void forget_batch_end(BatchEnd& object);

  // Handles one batch; waits at most until the next timer or max_wait_ms. Then timers, ends of batch, deferred
  // destruction.
  void run_once(int max_wait_ms);

  [[nodiscard]] uint64_t now_ns() const { return now_ns_; }  // the same moment, finer
  [[nodiscard]] uint64_t now_ms() const { return now_ms_; }  // monotonic, of this batch
  [[nodiscard]] TimerWheel& timers() { return timers_; }
  [[nodiscard]] uint64_t batches() const { return batches_; }  // how many run_once calls there were
  [[nodiscard]] int events() const { return events_; }         // of the last of them

 private:
  UniqueFd epoll_;
  uint64_t now_ns_ = 0;
  uint64_t now_ms_ = 0;
  TimerWheel timers_;
  Deferred* deferred_ = nullptr;
  struct Batch;
  BatchEnd* batch_ends_ = nullptr;  // in order of registering
  BatchEnd* last_batch_end_ = nullptr;
  void destroy_deferred();
  void end_batch();
  uint64_t batches_ = 0;
  std::unique_ptr<Batch> batch_;
  int batch_size_ = 0, batch_at_ = 0;
  int events_ = 0;
};

}  // namespace sluice::net
