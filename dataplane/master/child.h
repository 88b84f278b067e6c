// Starting the other processes of the data plane: the same binary again with a role, never fork without exec.
// Descriptors are given by number from 3.
#pragma once
#include <span>
#include <string>
#include <vector>

#include <sys/types.h>

#include "common/base/result.h"
#include "common/base/unique_fd.h"

namespace sluice::master {

inline constexpr int kFirstChildFd = 3;

// Runs `binary` with `arguments` (without argv[0]); fds[i] becomes 3 + i, everything else is closed by CLOEXEC. Signals
// are at their defaults.
[[nodiscard]] Result<pid_t> spawn(const std::string& binary, const std::vector<std::string>& arguments,
                                  std::span<const int> fds);

// The two ends of a channel (SOCK_SEQPACKET), both close-on-exec.
struct Channel {
  UniqueFd ours, theirs;
};
[[nodiscard]] Result<Channel> make_channel();

// First thing in a child: dies with the master, leaves shutdown to it (SIGINT and SIGTERM of a whole process group are
// not for children). False: the master is gone already.
[[nodiscard]] bool enter_child(pid_t master);

// Process title in ps: writes over the argument area. Call init first thing in main; arguments must have been copied
// before set.
void init_title(int argc, char** argv);
void set_title(const std::string& role);

}  // namespace sluice::master
