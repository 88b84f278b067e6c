#include "dataplane/upstream/idle_pool.h"

#include "dataplane/upstream/cluster.h"

namespace sluice::upstream {

void IdlePool::configure(size_t cap, uint64_t timeout_ms) {
  cap_ = cap;
  timeout_ms_ = timeout_ms;
  while (size_ > cap_) oldest_->close();
}

void IdlePool::put(Pooled& connection) {
  IdleLinks& links = connection.idle_links;
  Endpoint& endpoint = connection.endpoint();
  links = {.since_ms = reactor_.now_ms(), .linked = true};
  links.older = newest_;
  (newest_ == nullptr ? oldest_ : newest_->idle_links.newer) = &connection;
  newest_ = &connection;
  links.below = endpoint.idle;
  if (endpoint.idle != nullptr) endpoint.idle->idle_links.above = &connection;
  endpoint.idle = &connection;
  ++size_;
  if (size_ > cap_) oldest_->close();
  if (size_ > 0 && timeout_ms_ > 0 && !armed())
    reactor_.timers().arm(*this, oldest_->idle_links.since_ms + timeout_ms_);
}

Pooled* IdlePool::take(Endpoint& endpoint) {
  while (endpoint.idle != nullptr) {
    Pooled& connection = *endpoint.idle;
    const bool rested = reactor_.now_ms() - connection.idle_links.since_ms > kProbeAfterMs;
    if (rested && !connection.alive_when_idle()) {
      connection.close();
      continue;
    }
    unlink(connection);
    return &connection;
  }
  return nullptr;
}

void IdlePool::remove(Pooled& connection) {
  if (connection.idle_links.linked) unlink(connection);
}

void IdlePool::unlink(Pooled& connection) {
  IdleLinks& links = connection.idle_links;
  (links.older == nullptr ? oldest_ : links.older->idle_links.newer) = links.newer;
  (links.newer == nullptr ? newest_ : links.newer->idle_links.older) = links.older;
  if (links.above == nullptr) connection.endpoint().idle = links.below;
  else links.above->idle_links.below = links.below;
  if (links.below != nullptr) links.below->idle_links.above = links.above;
  links = {};
  --size_;
}

void IdlePool::close_all(Endpoint& endpoint) {
  while (endpoint.idle != nullptr) {
    // The endpoint may be destroyed with its last connection.
    const bool last = endpoint.idle->idle_links.below == nullptr;
    endpoint.idle->close();
    if (last) return;
  }
}

void IdlePool::close_all() {
  while (oldest_ != nullptr) oldest_->close();
}

// One timer for all: the oldest is always the next to go.
void IdlePool::on_timer() {
  const uint64_t now = reactor_.now_ms();
  while (oldest_ != nullptr && oldest_->idle_links.since_ms + timeout_ms_ <= now) oldest_->close();
  if (oldest_ != nullptr && timeout_ms_ > 0) reactor_.timers().arm(*this, oldest_->idle_links.since_ms + timeout_ms_);
}

}  // namespace sluice::upstream
