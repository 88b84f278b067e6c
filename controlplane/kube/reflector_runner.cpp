#include "controlplane/kube/reflector_runner.h"

#include "common/base/clock.h"
#include "common/base/log.h"

namespace sluice::kube {

void ReflectorRunner::start() { act(reflector_.start(monotonic_ms())); }
void ReflectorRunner::nudge() {
  if (!stopped_) act(reflector_.nudge(monotonic_ms()));
}

void ReflectorRunner::stop() {
  stopped_ = true;
  timer_.cancel();
  if (exchange_) exchange_->cancel();
  exchange_.reset();
}

void ReflectorRunner::act(Reflector::Actions actions) {
  if (actions.cancel && exchange_) {
    exchange_->cancel();
    exchange_.reset();
  }
  for (const std::string& text : actions.warnings) log::warning("kubernetes watch", {{"about", text}});
  for (store::Change& change : actions.changes) {
    if (!stopped_) callbacks_.change(std::move(change));
  }
  if (actions.synced && !stopped_) callbacks_.synced();
  if (stopped_) return;  // a callback may stop us
  if (actions.list) send_list(std::move(*actions.list));
  if (actions.watch) send_watch(std::move(*actions.watch));
  arm();
}

void ReflectorRunner::send_list(std::string target) {
  Call call;
  call.target = std::move(target);
  call.accept = reflector_.accept();
  if (call.target.find("limit=") == std::string::npos)
    call.max_body = 4 * kMaxBody;  // a whole list at once, after an expired continue token
  exchange_ = transport_.send(std::move(call), [weak = weak_from_this()](Result<Reply> reply) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->exchange_.reset();
    self->act(self->reflector_.on_list(monotonic_ms(), std::move(reply)));
  });
}

void ReflectorRunner::send_watch(std::string target) {
  Call call;
  call.target = std::move(target);
  call.accept = reflector_.accept();
  Transport::WatchEvents events;
  events.on_head = [weak = weak_from_this()](const Head& head) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->act(self->reflector_.on_watch_head(monotonic_ms(), head));
  };
  events.on_bytes = [weak = weak_from_this()](std::string_view bytes) {
    auto self = weak.lock();
    if (self && !self->stopped_) self->act(self->reflector_.on_watch_bytes(monotonic_ms(), bytes));
  };
  events.on_end = [weak = weak_from_this()](const Status& status) {
    auto self = weak.lock();
    if (!self || self->stopped_) return;
    self->exchange_.reset();
    self->act(self->reflector_.on_watch_end(monotonic_ms(), status));
  };
  exchange_ = transport_.watch(std::move(call), std::move(events));
}

void ReflectorRunner::arm() {
  const uint64_t at = reflector_.wake_at(), now = monotonic_ms();
  if (at == UINT64_MAX) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(std::chrono::milliseconds(at > now ? at - now : 0));
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    auto self = weak.lock();
    if (!error && self && !self->stopped_) self->act(self->reflector_.on_timer(monotonic_ms()));
  });
}

}  // namespace sluice::kube
