// The agent: takes states from the control plane, checks every byte, hands them to the master, keeps the last good one
// on disk, answers the admin port. One process with one Asio thread (and one more that waits for the disk). Traffic
// does not depend on it: it may die at any moment.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::agent {

struct Options {
  int channel_fd = -1;                  // to the master
  int admin_fd = -1;                    // listening socket of the admin port; -1 = none
  std::string socket;                   // of the control plane
  std::string admin_socket;             // for operators; empty = none
  std::string state_dir;                // empty = nothing on disk
  std::optional<uint32_t> control_uid;  // absent = our own
  unsigned workers = 0;                 // where the table leaves it open; 0 = by the CPU quota
  bool persist_secrets = true;
  std::string version;  // for operators, as the command line
  std::vector<std::string> arguments;
};

// Runs until the master goes away. Returns the exit code.
[[nodiscard]] int run(const Options& options);

}  // namespace sluice::agent
