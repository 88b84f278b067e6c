// The parent of the data plane: holds what must outlive its children (listening sockets, the current state's memfds,
// counter pages, ticket keys, rate limit buckets), starts and watches one agent and N workers, carries states from the
// agent to the workers. One thread, a poll loop, no I/O but with its children; it parses nothing that comes from
// outside and never touches a request.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/shared/buckets.h"
#include "dataplane/shared/counters.h"

namespace sluice::master {

struct Options {
  std::string binary = "/proc/self/exe";  // what children run: exactly this program, even if the file was replaced
  std::string upgrade_path;               // what SIGUSR2 executes; empty = no upgrade
  std::vector<std::string> arguments;  // our own command line without roles; given to children and to the next binary
  std::optional<uint16_t> admin_port;  // absent = no admin listener; 0 = any
  std::string admin_bind = "127.0.0.1";
  uint32_t rate_limit_keys = shared::Buckets::kDefaultKeys;
  uint32_t metric_routes = shared::kDefaultRoutes;  // that count for themselves
  int handover_fd = -1;                             // --handover: what the earlier binary left
};

// Two binaries agree on what is handed over at SIGUSR2.
inline constexpr unsigned kHandoverVersion = 5;

// Runs until SIGTERM or SIGINT and the drain after it. Returns the exit code.
[[nodiscard]] int run(const Options& options);

}  // namespace sluice::master
