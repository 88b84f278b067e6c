// Serves compiled state to the data plane over a unix SOCK_SEQPACKET socket (common/ir/push_frame.h). Holds only the
// newest state. Lives on one io_context thread; every call and callback is on it. Several data planes may be connected
// (old and new during an upgrade).
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/ir/push_frame.h"

namespace boost::asio {
class io_context;
}

namespace sluice::publish {

struct StateParts {
  std::shared_ptr<const std::vector<std::byte>> bytes[ir::kParts];
  ir::ContentHash hashes[ir::kParts];
  // Those that the table names, in its order; at most ir::kMaxShards.
  struct Shard {
    std::shared_ptr<const std::vector<std::byte>> bytes;
    ir::ContentHash hash;
  };
  std::vector<Shard> shards;
};

// What the newest connected data plane says of itself.
struct DataplaneReport {
  ir::StateId acknowledged;  // by all workers
  uint32_t workers_ready = 0, workers_total = 0, workers_restarted = 0;
  std::vector<std::pair<std::string, uint16_t>> bound;  // listener name, port
};

class Publisher {
 public:
  struct Callbacks {
    std::function<void(const DataplaneReport&)> on_report;  // also on every ack
    std::function<void(ir::StateId, ir::NackReason, std::string text)> on_nack;
    std::function<void()> on_disconnect;
  };
  // Peers of another uid than `peer_uid` (or 0 = our own uid) are refused. `socket_path` is replaced if it exists; mode
  // 0660.
  [[nodiscard]] static Result<std::unique_ptr<Publisher>> listen(boost::asio::io_context& io,
                                                                 const std::string& socket_path, uint32_t peer_uid,
                                                                 Callbacks callbacks);
  virtual ~Publisher() = default;
  // Takes the next state; the same hashes as the current one = no push. Returns its id. Boot id is random per process.
  virtual ir::StateId publish(StateParts parts) = 0;
};

}  // namespace sluice::publish
