// One worker process: takes its state and its listening sockets from the master (sync/messages.h), serves, says that it
// is alive. One thread; everything it owns ends with it. Returns when drained or when the master is gone.
#pragma once

namespace sluice::worker {

// The descriptors are the master's: channel (SOCK_SEQPACKET), counter page (shared memory, written by us), ticket keys
// (shared memory, read-only), rate limit buckets and loads (shared memory of all workers). `index` counts from 0.
// Returns the exit code.
[[nodiscard]] int run(int channel_fd, int counters_fd, int ticket_keys_fd, int buckets_fd, int loads_fd,
                      unsigned index);

}  // namespace sluice::worker
