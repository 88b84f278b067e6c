// The listening sockets of the data plane: one SO_REUSEPORT socket per worker index and (listener, address). The master
// owns them for as long as the listener exists, so a worker that dies refuses nobody: what is queued in its socket
// waits for the successor. Never accepts, never reads.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "dataplane/sync/messages.h"

namespace sluice::master {

struct ListenSocket {
  uint32_t id = 0;     // unique for the life of the data plane
  unsigned owner = 0;  // worker index it was made for
  UniqueFd fd;
};

// The sockets of one listener at one address.
struct ListenGroup {
  sync::ListenerSpec spec;  // as wanted: port 0 = any
  uint16_t port = 0;        // as bound
  std::vector<ListenSocket> sockets;
};

class ListenSockets {
 public:
  // What has to be opened for a wanted set. Sockets in it are bound but do not listen yet; dropping it closes them.
  struct Change {
    std::vector<ListenGroup> added;
    struct Extra {
      size_t group;  // index into groups()
      ListenSocket socket;
    };
    std::vector<Extra> extra;     // more workers for a listener that stays
    std::vector<size_t> removed;  // indexes into groups()
  };
  // Binds what is missing; groups() does not change. The error names listener and address.
  [[nodiscard]] Result<Change> prepare(std::span<const sync::ListenerSpec> wanted, unsigned workers);
  // New sockets listen from here on. Returns the removed groups: close them when no worker accepts from them any more.
  [[nodiscard]] std::vector<ListenGroup> commit(Change change);

  [[nodiscard]] const std::vector<ListenGroup>& groups() const { return groups_; }
  // Taking over from an earlier master.
  void adopt(std::vector<ListenGroup> groups, uint32_t next_id);
  [[nodiscard]] uint32_t next_id() const { return next_id_; }

 private:
  [[nodiscard]] Result<uint16_t> choose_port(const std::vector<const sync::ListenerSpec*>& specs,
                                             std::vector<ListenGroup>& into);
  [[nodiscard]] bool holds_port(uint16_t port) const;
  std::vector<ListenGroup> groups_;
  uint32_t next_id_ = 1;
};

}  // namespace sluice::master
