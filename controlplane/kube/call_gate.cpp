#include "controlplane/kube/call_gate.h"

#include <utility>

#include "common/base/asio.h"

namespace sluice::kube {

CallGate::Ticket CallGate::enter(Urgency urgency, Begin begin) {
  Ticket ticket = 0;
  {
    std::lock_guard lock(mutex_);
    ticket = ++last_ticket_;
    if (closed_) return ticket;
    queue(urgency).emplace(ticket, std::move(begin));
  }
  pump();
  return ticket;
}

void CallGate::withdraw(Ticket ticket) {
  // What it holds ends outside the lock: it may give a place back.
  Queue::node_type gone;
  std::lock_guard lock(mutex_);
  for (Queue& queue : queues_) {
    if (gone.empty()) gone = queue.extract(ticket);
  }
}

void CallGate::close() {
  std::array<Queue, 3> gone;
  std::lock_guard lock(mutex_);
  closed_ = true;
  std::swap(gone, queues_);
}

size_t CallGate::under_way() const {
  std::lock_guard lock(mutex_);
  return under_way_;
}

size_t CallGate::waiting() const {
  std::lock_guard lock(mutex_);
  size_t out = 0;
  for (const Queue& queue : queues_) out += queue.size();
  return out;
}

void CallGate::pump() {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(pumping_, true)) return;  // entered by what begins: the loop below goes on with it
  }
  while (auto one = next()) one->begin(std::move(one->place));
}

std::optional<CallGate::Next> CallGate::next() {
  std::lock_guard lock(mutex_);
  Queue &urgent = queue(Urgency::urgent), &normal = queue(Urgency::normal), &background = queue(Urgency::background);
  if (under_way_ < kPlaces) {
    if (!urgent.empty()) return take(urgent, Urgency::urgent);
    if (ordinary_ < kOrdinaryPlaces) {
      if (background.empty()) normal_in_a_row_ = 0;
      if (!normal.empty() && normal_in_a_row_ < kNormalInARow) {
        if (!background.empty()) ++normal_in_a_row_;
        return take(normal, Urgency::normal);
      }
      if (!background.empty()) {
        normal_in_a_row_ = 0;
        return take(background, Urgency::background);
      }
    }
  }
  pumping_ = false;
  return std::nullopt;
}

CallGate::Next CallGate::take(Queue& queue, Urgency urgency) {
  ++under_way_;
  if (urgency != Urgency::urgent) ++ordinary_;
  auto first = queue.extract(queue.begin());
  return {std::move(first.mapped()),
          Place(this, [self = shared_from_this(), urgency](void*) { self->leave(urgency); })};
}

void CallGate::leave(Urgency urgency) {
  std::lock_guard lock(mutex_);
  --under_way_;
  if (urgency != Urgency::urgent) --ordinary_;
  // Under the lock: after close() the io_context may be gone.
  if (closed_) return;
  boost::asio::post(io_, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->pump();
  });
}

}  // namespace sluice::kube
