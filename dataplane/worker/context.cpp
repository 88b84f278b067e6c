#include "dataplane/worker/context.h"

#include <algorithm>

#include "dataplane/worker/active_request.h"

namespace sluice::worker {
namespace {
constexpr size_t kIdleRequests = 1024;
}  // namespace

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
      unmatched(shared::route_slot(page, "none")) {
  free_requests_.reserve(kIdleRequests);
}

Context::~Context() {
  for (void* memory : free_requests_) ::operator delete(memory);
}

void Context::configure(const ir::RouteTable& table) {
  read_settings(table, settings);
  // A head and what is behind it have to fit beside each other.
  const size_t head = size_t{settings.limits.header_bytes} + settings.limits.request_line;
  const size_t wanted = std::max(kReadBuffer, head + kReadBuffer / 2);
  if (wanted > read_size && !reading) {
    read_buffer = std::make_unique_for_overwrite<char[]>(wanted);
    read_size = wanted;
  }
}

void* Context::take_request() {
  if (free_requests_.empty()) return ::operator new(sizeof(ActiveRequest));
  void* memory = free_requests_.back();
  free_requests_.pop_back();
  return memory;
}

void Context::give_request(void* memory) {
  if (free_requests_.size() < kIdleRequests) free_requests_.push_back(memory);
  else ::operator delete(memory);
}

}  // namespace sluice::worker
