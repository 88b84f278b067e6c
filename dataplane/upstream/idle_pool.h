// Connections that wait for their next exchange: per endpoint last used first, over all in order of age. The oldest
// goes when the cap is reached or its time is over. Holds links only; closing is the connection's.
#pragma once
#include <cstddef>
#include <cstdint>

#include "dataplane/net/reactor.h"
#include "dataplane/net/timer_wheel.h"

namespace sluice::upstream {

class Endpoint;
class Pooled;

struct IdleLinks {
  Pooled *older = nullptr, *newer = nullptr;  // over all
  Pooled *above = nullptr, *below = nullptr;  // of the endpoint
  uint64_t since_ms = 0;
  bool linked = false;
};

// What can wait here.
class Pooled {
 public:
  [[nodiscard]] virtual Endpoint& endpoint() const = 0;
  // Asks the socket: nothing to read and not ended, or nothing that speaks against another exchange.
  [[nodiscard]] virtual bool alive_when_idle() = 0;
  // Ends it, without a word to streams; takes it out of the pool.
  virtual void close() = 0;
  IdleLinks idle_links;  // the pool's

 protected:
  ~Pooled() = default;
};

class IdlePool final : private net::TimerNode {
 public:
  // Longer than this and a connection is asked whether it still lives before it is used again: one more system call,
  // where it does not matter.
  static constexpr uint64_t kProbeAfterMs = 5;

  explicit IdlePool(net::Reactor& reactor) : reactor_(reactor) {}
  // Closes what is over the cap now.
  void configure(size_t cap, uint64_t timeout_ms);
  [[nodiscard]] size_t size() const { return size_; }
  [[nodiscard]] size_t cap() const { return cap_; }
  void put(Pooled& connection);
  // The last one used, out of the pool and alive as far as can be told; null if there is none.
  [[nodiscard]] Pooled* take(Endpoint& endpoint);
  void remove(Pooled& connection);  // it is about to be closed
  void close_all(Endpoint& endpoint);
  void close_all();

 private:
  void on_timer() override;
  void unlink(Pooled& connection);
  net::Reactor& reactor_;
  size_t size_ = 0, cap_ = 512;
  uint64_t timeout_ms_ = 60000;
  Pooled* oldest_ = nullptr;
  Pooled* newest_ = nullptr;
};

}  // namespace sluice::upstream
