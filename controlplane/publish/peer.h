// One connected data plane: its socket, what it asked for, what has not been sent yet. Internal to the room.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "common/ir/push_socket.h"

namespace sluice::publish {

// The newest state as it is sent: frame, and a sealed memfd for each part.
struct Published {
  ir::PushFrame frame;
  std::shared_ptr<const UniqueFd> parts[ir::kParts];
  struct Shard {
    ir::ContentHash hash;
    std::shared_ptr<const UniqueFd> fd;
  };
  std::vector<Shard> shards;
};

//   connected --hello--> greeted;  greeted --need--> greeted;  ack, nack, report: told to the publisher
//   anything before hello, a second hello, a frame only servers send, more than kMaxQueued unsent frames --> closed
class Peer : public std::enable_shared_from_this<Peer> {
 public:
  struct Callbacks {
    std::function<void(Peer&, const ir::PushFrame&)> on_frame;  // ack, nack, report
    std::function<void(Peer&)> on_closed;
  };
  Peer(boost::asio::io_context& io, int fd, std::shared_ptr<const Published> state, Callbacks callbacks);
  void start();
  // A newer state; it replaces one that has not left yet.
  void offer(std::shared_ptr<const Published> state);
  void close(const std::string& why);

 private:
  static constexpr size_t kMaxQueued = 16 + ir::kMaxShards;
  struct Outgoing {
    ir::PushFrame frame;
    std::shared_ptr<const UniqueFd> part;
  };
  void wait_readable();
  void on_readable();
  [[nodiscard]] Status on_frame(const ir::PushFrame& frame);
  void on_need(const ir::PushFrame& frame);
  void queue(Outgoing outgoing);
  void flush();
  boost::asio::posix::stream_descriptor socket_;
  std::shared_ptr<const Published> state_;
  Callbacks callbacks_;
  std::deque<Outgoing> outgoing_;
  bool greeted_ = false, waiting_to_write_ = false;
};

}  // namespace sluice::publish
