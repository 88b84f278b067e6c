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
#include "dataplane/worker/random.h"
#include "dataplane/worker/settings.h"

namespace sluice::worker {

class ActiveRequest;
class ClientConnection;

struct Context {
  static constexpr size_t kReadBuffer = 128 * 1024;

  // Without buckets, routes with rate limits answer that they could not be applied.
  Context(net::Reactor& on, shared::CounterPage& page, const shared::TicketKeyPage* ticket_keys,
          shared::Buckets* buckets);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Settings of a new state; grows the read buffer where larger heads are allowed.
  void configure(const ir::RouteTable& table);
  // Memory for an ActiveRequest: from the free list if there is some.
  [[nodiscard]] void* take_request();
  void give_request(void* memory);

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
  uint64_t sequence = 0;                    // of the present state
  uint16_t https_port = 0;                  // one we listen on; for redirects
  shared::RouteSlot& unmatched;             // counters of requests without a route
  ClientConnection* connections = nullptr;  // a list through all of them
  size_t connection_count = 0;

 private:
  std::vector<void*> free_requests_;
};

}  // namespace sluice::worker
