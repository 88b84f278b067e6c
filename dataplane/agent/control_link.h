// The agent's end of the push protocol (common/ir/push_frame.h): connects, says what it holds, collects a state's
// parts, checks each of them, and gives out whole states only. Reconnects for ever (50 ms, twice as long each time, at
// most 2 s). A peer of another uid is not spoken to.
//
//   away --connect--> greeting --state--> idle | collecting     (hello is sent at once)
//   idle, collecting --state--> collecting (parts missing: need) | idle (all there: on_state)
//   collecting --part--> collecting (a table whose shards are missing: need, once more) | idle
//   any --closed, protocol broken--> away
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "common/ir/push_socket.h"
#include "dataplane/agent/state.h"

namespace sluice::agent {

class ControlLink {
 public:
  struct Callbacks {
    std::function<void(std::shared_ptr<const State>)> on_state;  // whole and verified
    std::function<void()> on_connected;                          // after hello
  };
  ControlLink(boost::asio::io_context& io, std::string path, uint32_t peer_uid, Callbacks callbacks);
  void start();
  void stop();
  // What runs now: the source of parts that need not be sent again, and what hello says.
  void set_running(std::shared_ptr<const State> state) { running_ = std::move(state); }
  void ack(ir::StateId id);
  void nack(ir::StateId id, ir::NackReason reason, const std::string& text);
  void report(const ir::PushFrame& frame) { send(frame); }
  [[nodiscard]] bool connected() const { return socket_.is_open(); }

 private:
  void connect();
  void retry();
  void wait_readable();
  void on_readable();
  void disconnect(const std::string& why);
  void send(const ir::PushFrame& frame);
  [[nodiscard]] Status on_frame(ir::ReceivedFrame received);
  [[nodiscard]] Status on_state_frame(const ir::PushFrame& frame);
  [[nodiscard]] Status on_part(ir::ReceivedFrame received);
  [[nodiscard]] const Part* known_part(const ir::PushFrame& frame) const;
  void take_shards();
  void proceed();
  void refuse(ir::NackReason reason, const std::string& text);

  boost::asio::posix::stream_descriptor socket_;
  boost::asio::steady_timer timer_;
  std::string path_;
  uint32_t peer_uid_;
  Callbacks callbacks_;
  std::shared_ptr<const State> running_;
  std::shared_ptr<const State> last_;      // newest whole state, running or not
  ir::PushFrame target_;                   // the state frame being collected
  std::shared_ptr<State> collecting_;      // null = nothing under way
  std::shared_ptr<const State> replaced_;  // was collected when a newer one came: what it has need not come again
  std::vector<ir::ContentHash> shards_;    // that its table names, once that is here
  ir::StateId newest_;                     // seen on this connection: a sequence never goes back
  std::chrono::milliseconds backoff_;
  uint64_t connection_ = 0;  // tells a late callback that its connection is gone
  bool stopped_ = false, complained_ = false;
};

}  // namespace sluice::agent
