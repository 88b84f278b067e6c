// The last good state on disk, so that a data plane that starts alone serves at once. Files of DIR (mode 0700):
//   state.table.N  state.endpoints.N  state.secrets.N (mode 0600)     a part's bytes, the same as its memfd's
//   state.shards.N                                                   those of a large table, one behind the other
//   manifest, manifest.previous                                      N, state id, size and hash of each part, and a
//                                                                    checksum of all this
// Every file is written beside its place, synced and renamed; the manifest last. What is damaged is passed over: the
// newest whole generation, else the one before, else nothing; never parts of two. Disk is waited for on a thread of its
// own, which gives way to everything else; a newer state replaces one that waits, and there is at most one write a
// second.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "dataplane/agent/state.h"

namespace sluice::agent {

class StateStore {
 public:
  // Without `secrets`, private keys are not written; a state loaded then has an empty secret set until the control
  // plane sends one. `failures` counts writes that failed.
  StateStore(boost::asio::io_context& io, std::string folder, bool secrets, uint64_t& failures);
  ~StateStore();
  [[nodiscard]] std::shared_ptr<const State> load();
  void save(std::shared_ptr<const State> state);
  // Waits until what was given to save() is on disk.
  void finish();

 private:
  void write_next();
  void written(const Status& result);
  boost::asio::io_context& io_;
  std::string folder_;
  bool secrets_;
  std::shared_ptr<const State> next_;
  bool writing_ = false;
  boost::asio::steady_timer pause_;
  uint64_t& failures_;
  boost::asio::thread_pool disk_{1};
};

// The work itself, without threads.
[[nodiscard]] Status write_state(const std::string& folder, const State& state, bool secrets);
// `secrets` false: those on disk are not read (and the next write_state removes them).
// Null: nothing usable; `problems` says why for each generation that was passed over.
[[nodiscard]] std::shared_ptr<const State> read_state(const std::string& folder, bool secrets,
                                                      std::vector<std::string>& problems);

}  // namespace sluice::agent
