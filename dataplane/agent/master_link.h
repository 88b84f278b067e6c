// The agent's end of the channel to the master (dataplane/sync/messages.h), on Asio.
#pragma once
#include <functional>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "dataplane/agent/state.h"
#include "dataplane/sync/messages.h"

namespace sluice::agent {

class MasterLink {
 public:
  struct Callbacks {
    std::function<void(sync::Received)> on_message;
    std::function<void()> on_closed;  // the master is gone, or does not read
  };
  MasterLink(boost::asio::io_context& io, int fd, Callbacks callbacks)
      : socket_(io, fd), callbacks_(std::move(callbacks)) {}
  void start() { wait_readable(); }
  void set_log_level(log::Level level);
  // `workers`, `drain_ms` and `listeners` come from the state's table.
  void apply(const State& state, unsigned workers, uint32_t drain_ms, const std::vector<sync::ListenerSpec>& listeners);

 private:
  void wait_readable();
  void on_readable();
  boost::asio::posix::stream_descriptor socket_;
  Callbacks callbacks_;
};

}  // namespace sluice::agent
