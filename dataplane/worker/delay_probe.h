// How long an event waits for its turn: the probe is made ready and sees when the loop comes to it, behind everything
// that was ready before (epoll hands out what is ready in that order). A reading costs two system calls, and there is
// one at a time: while it is under way nothing else is done.
#pragma once
#include <cstdint>

#include "common/base/unique_fd.h"
#include "dataplane/net/reactor.h"
#include "dataplane/worker/overload.h"

namespace sluice::worker {

class DelayProbe final : private net::EventHandler {
 public:
  // Both outlive it. Readings go to `overload`.
  DelayProbe(net::Reactor& reactor, Overload& overload) : reactor_(reactor), overload_(overload) {}
  ~DelayProbe();
  DelayProbe(const DelayProbe&) = delete;
  DelayProbe& operator=(const DelayProbe&) = delete;

  // False with errno: there is no descriptor for it, and nothing is measured.
  [[nodiscard]] bool open();
  [[nodiscard]] bool under_way() const { return sent_ns_ != 0; }
  // Starts a reading, unless one is under way.
  void send();

 private:
  void on_event(uint32_t events) override;

  net::Reactor& reactor_;
  Overload& overload_;
  UniqueFd fd_;
  uint64_t sent_ns_ = 0;  // 0 = none is under way
};

}  // namespace sluice::worker
