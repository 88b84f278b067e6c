// Accepts from one inherited listening socket. The socket was made by the master and may be shared with another
// worker's queue; this object owns its copy of the descriptor. It never spins: without descriptors it takes the
// connection with a reserve one and closes it, and rests when even that fails.
#pragma once
#include <cstdint>

#include "common/base/unique_fd.h"
#include "dataplane/net/address.h"
#include "dataplane/net/reactor.h"

namespace sluice::net {

class AcceptHandler {
 public:
  // A connected, non-blocking socket with TCP_NODELAY. May pause or destroy the listener (destroying only through
  // Reactor::destroy_later).
  virtual void on_accept(UniqueFd fd, const Address& peer) = 0;

 protected:
  ~AcceptHandler() = default;
};

class Listener final : private EventHandler, private TimerNode {
 public:
  // Accepts at once. `fd` is made non-blocking. False from ok(): epoll refused the descriptor (errno kept in error()).
  Listener(Reactor& reactor, UniqueFd fd, AcceptHandler& handler);
  ~Listener() override;

  [[nodiscard]] bool ok() const { return error_ == 0; }
  [[nodiscard]] int error() const { return error_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const Address& local() const { return local_; }
  void pause();  // connections wait in the kernel's queue
  void resume();
  [[nodiscard]] bool paused() const { return paused_; }
  // The end of the socket itself, for whoever holds it last: takes what waits in its queue (which would be reset), then
  // refuses everybody, whatever copies of the descriptor there are.
  void finish();
  // Connections closed unserved because the process or the system had no descriptor left.
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  static constexpr uint32_t kMaxPerEvent = 64;
  static constexpr uint64_t kRestMs = 100;
  enum class Next : uint8_t { more, empty, rest };
  void on_event(uint32_t events) override;
  void on_timer() override;
  Next accept_one();
  Next refuse_one();
  void set_interest();

  Reactor& reactor_;
  UniqueFd fd_;
  AcceptHandler& handler_;
  UniqueFd reserve_;
  Address local_;
  uint64_t refused_ = 0;
  uint64_t last_batch_ = 0;
  uint32_t budget_ = 1;
  int error_ = 0;
  bool paused_ = false;
  bool resting_ = false;
  bool* destroyed_ = nullptr;
};

}  // namespace sluice::net
