#include "dataplane/worker/connection_balance.h"

#include <algorithm>

#include "common/base/log.h"
#include "dataplane/sync/mailbox.h"
#include "dataplane/worker/client_connection.h"

namespace sluice::worker {

using sync::Taken;

ConnectionBalance::ConnectionBalance(Context& context, shared::WorkerLoads loads, unsigned index)
    : context_(context), loads_(std::move(loads)), index_(index) {}

ConnectionBalance::~ConnectionBalance() { end(); }

void ConnectionBalance::end() {
  // The master holds it, too: closing would not take it out of epoll.
  if (own_) context_.reactor.remove(own_.get(), *this);
  own_.reset();
}

void ConnectionBalance::introduce(unsigned first, std::span<UniqueFd> mailboxes) {
  for (unsigned i = 0; i < mailboxes.size(); ++i) {
    const unsigned index = first + i;
    if (index >= shared::WorkerLoads::kMaxWorkers) break;
    if (others_.size() <= index) others_.resize(index + 1);
    if (index == index_) {
      if (context_.draining) {
        take_over(std::move(mailboxes[i]));
        continue;
      }
      end();
      own_ = std::move(mailboxes[i]);
      if (!context_.reactor.add(own_.get(), *this, net::kReadable)) {
        log::error("mailbox not watched", {{"worker", index + 1}});
        own_.reset();
      }
      continue;
    }
    others_[index] = std::move(mailboxes[i]);
  }
  context_.mailboxes = others_.size();
  update();
}

void ConnectionBalance::take_over(UniqueFd mailbox) {
  sync::shut(mailbox.get());
  while (take_one(mailbox.get())) {
  }
}

void ConnectionBalance::configure(bool even) {
  even_ = even;
  update();
}

void ConnectionBalance::update() {
  on_ = even_ && !context_.draining && std::ranges::any_of(others_, [](const UniqueFd& one) { return bool(one); });
  if (!on_ && takes_) {
    takes_ = false;
    publish(context_.connection_count);
  }
}

void ConnectionBalance::publish(size_t connections) {
  loads_.publish(index_, connections, takes_, context_.reactor.now_ms());
}

bool ConnectionBalance::hand_over_to_least(UniqueFd& fd, uint16_t local_port, bool tls) {
  publish(context_.connection_count);
  const unsigned to = loads_.claim(index_, static_cast<unsigned>(others_.size()), context_.reactor.now_ms());
  if (to != index_) {
    if (others_[to] && sync::give(others_[to].get(), fd.get(), local_port, tls)) {
      context_.counters.handovers_done.add();
      fd.reset();
      return true;
    }
    loads_.release(to);
    context_.counters.handovers_kept.add();
  }
  publish(context_.connection_count + 1);
  return false;
}

// False: there is no more.
bool ConnectionBalance::take_one(int mailbox) {
  sync::HandedConnection connection;
  const Taken taken = sync::take(mailbox, connection);
  if (taken == Taken::connection)
    ClientConnection::start(context_, std::move(connection.fd), connection.peer, connection.local_port, connection.tls,
                            true);
  else if (taken == Taken::refused) context_.counters.handovers_refused.add();
  return taken != Taken::nothing && taken != Taken::ended;
}

void ConnectionBalance::on_event(uint32_t events) {
  for (int i = 0; i < kMaxPerEvent; ++i) {
    if (!take_one(own_.get())) {
      // Nobody is left who could send: it would wake us without end.
      if ((events & net::kHangup) != 0) end();
      return;
    }
    publish(context_.connection_count);
    loads_.release(index_);
    // Asking once more only to hear that there is nothing would cost a system call.
    if (loads_.coming(index_) <= 0) return;
  }
}

void ConnectionBalance::drain() {
  on_ = takes_ = false;
  publish(context_.connection_count);
  if (!own_) return;
  UniqueFd mailbox(std::move(own_));
  context_.reactor.remove(mailbox.get(), *this);
  take_over(std::move(mailbox));
}

void ConnectionBalance::after_batch(bool listening) {
  if (!on_) return;
  takes_ =
      listening && own_ && (context_.descriptor_limit == 0 || context_.descriptors() < context_.descriptors_to_serve());
  publish(context_.connection_count);
  if (context_.reactor.now_ms() >= next_look_ms_) {
    next_look_ms_ = context_.reactor.now_ms() + kLookMs;
    look_for_lost_claims();
  }
}

// A worker that dies between its claim and its send leaves us one connection too heavy for ever.
void ConnectionBalance::look_for_lost_claims() {
  const bool odd = own_ && loads_.coming(index_) != 0;
  if (odd) on_event(0);
  const bool still = odd && loads_.coming(index_) != 0;
  if (still && suspected_) loads_.settle(index_);
  suspected_ = still && !suspected_;
}

}  // namespace sluice::worker
