// Connections that wait for their next exchange: per endpoint last used first, over all in order of age. The oldest
// goes when the cap is reached or its time is over. Holds links only; closing is the connection's.
#pragma once
#include <cstddef>
#include <cstdint>

#include "dataplane/net/reactor.h"
#include "dataplane/net/timer_wheel.h"

namespace sluice::upstream {

class Connection;
class Endpoint;

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
  void put(Connection& connection);
  // The last one used, out of the pool and alive as far as can be told; null if there is none.
  [[nodiscard]] Connection* take(Endpoint& endpoint);
  void remove(Connection& connection);  // it is about to be closed
  void close_all(Endpoint& endpoint);
  void close_all();

 private:
  void on_timer() override;
  void unlink(Connection& connection);
  net::Reactor& reactor_;
  size_t size_ = 0, cap_ = 512;
  uint64_t timeout_ms_ = 60000;
  Connection* oldest_ = nullptr;
  Connection* newest_ = nullptr;
};

}  // namespace sluice::upstream
