#include "dataplane/worker/context.h"

#include <algorithm>

namespace sluice::worker {

Context::Context(net::Reactor& on, shared::CounterPage& page, const shared::TicketKeyPage* ticket_keys,
                 shared::Buckets* buckets)
    : reactor(on),
      counters(page),
      filter_environment{buckets, &page},
      upstreams(on, page, chunks),
      tls(page, ticket_keys),
      log(on, page),
      read_buffer(std::make_unique_for_overwrite<char[]>(kReadBuffer)),
      read_size(kReadBuffer),
      unmatched(shared::route_slots(page, shared::kNone)) {}

void Context::configure(const ir::RouteTable& table) {
  read_settings(table, settings);
  overload.set_queue_delay(settings.queue_delay_ms);
  // A head and what is behind it have to fit beside each other.
  const size_t head = size_t{settings.limits.header_bytes} + settings.limits.request_line;
  const size_t wanted = std::max(kReadBuffer, head + kReadBuffer / 2);
  if (wanted > read_size && !reading) {
    read_buffer = std::make_unique_for_overwrite<char[]>(wanted);
    read_size = wanted;
  }
}

size_t Context::descriptors() const {
  constexpr size_t kOwn = 32;  // epoll, channel, listeners and their reserves, log, control group
  return kOwn + mailboxes + connection_count + upstreams.active_exchanges() + upstreams.idle_connections();
}

size_t Context::descriptors_to_serve() const {
  return descriptor_limit - 2 * std::min(kAnsweredOverLimit, descriptor_limit / 8);
}

size_t Context::descriptors_to_answer() const {
  return descriptor_limit - std::min(kAnsweredOverLimit, descriptor_limit / 8);
}

}  // namespace sluice::worker
