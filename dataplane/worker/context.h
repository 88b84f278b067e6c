// What everything in one worker shares: its loop, its state of the tables, its buffers and free lists. One thread, no
// locks. Owned by Worker; outlives all.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/filters/chain.h"
#include "dataplane/net/reactor.h"
#include "dataplane/net/tls.h"
#include "dataplane/observe/access_log.h"
#include "dataplane/route/router.h"
#include "dataplane/shared/counters.h"
#include "dataplane/upstream/upstream.h"
#include "dataplane/worker/date.h"
#include "dataplane/worker/output_batch.h"
#include "dataplane/worker/overload.h"
#include "dataplane/worker/random.h"
#include "dataplane/worker/settings.h"

namespace sluice::worker {

class ClientLink;

// Memory of ended objects of one size, to be used again.
class FreeList {
 public:
  explicit FreeList(size_t most) : most_(most) { free_.reserve(most); }
  FreeList(const FreeList&) = delete;
  FreeList& operator=(const FreeList&) = delete;
  ~FreeList() {
    for (void* memory : free_) ::operator delete(memory);
  }
  [[nodiscard]] void* take(size_t size) {
    if (free_.empty()) return ::operator new(size);
    void* const memory = free_.back();
    free_.pop_back();
    return memory;
  }
  void give(void* memory) {
    if (free_.size() < most_) free_.push_back(memory);
    else ::operator delete(memory);
  }

 private:
  size_t most_;
  std::vector<void*> free_;
};

struct Context {
  static constexpr size_t kReadBuffer = 128 * 1024;
  // So many clients beyond a limit still hear why (503, Retry-After); others find the connection closed.
  static constexpr size_t kAnsweredOverLimit = 256;

  // Without buckets, routes with rate limits answer that they could not be applied.
  Context(net::Reactor& on, shared::CounterPage& page, const shared::TicketKeyPage* ticket_keys,
          shared::Buckets* buckets);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Settings of a new state; grows the read buffer where larger heads are allowed.
  void configure(const ir::RouteTable& table);
  // Descriptors in use, near enough: clients, upstreams, and a few that are ours.
  [[nodiscard]] size_t descriptors() const;
  // With so many in use a new connection is only told that it is one too many, and with so many not even that: what is
  // left is for the upstreams of those who are served. 0 = no limit.
  [[nodiscard]] size_t descriptors_to_serve() const;
  [[nodiscard]] size_t descriptors_to_answer() const;
  // No connection is kept for a further request.
  [[nodiscard]] bool ends_keep_alive() const { return draining || overload.ends_keep_alive(); }

  net::Reactor& reactor;
  shared::CounterPage& counters;
  filters::Environment filter_environment;
  ChunkPool chunks;
  Settings settings;
  route::Router router;
  upstream::Upstreams upstreams;
  net::TlsServer tls;
  observe::AccessLog log;
  Random random;
  Date date;
  OutputBatch batch;
  std::unique_ptr<char[]> read_buffer;
  size_t read_size = 0;
  bool reading = false;  // read_buffer holds bytes that are being worked on
  bool draining = false;
  Overload overload;
  size_t descriptor_limit = 0;        // 0 = none known
  uint64_t sequence = 0;              // of the present state
  uint16_t https_port = 0;            // one we listen on; for redirects
  shared::RouteSlots unmatched;       // counters of requests without a route
  ClientLink* connections = nullptr;  // a list through all of them
  size_t connection_count = 0;
  size_t mailboxes = 0;     // of workers (connection_balance.h)
  FreeList requests{1024};  // ActiveRequest
  FreeList streams{1024};   // Http2Stream
};

}  // namespace sluice::worker
