// Bounds how many plain calls (everything but watches) are under way to the API server at once, and so how many
// connections we have there: one for each watch and at most kPlaces beside them. Who asks for a place gets it at once
// or waits for it. Knows nothing of what is called.
//
// Who goes first: urgent before normal before background, and each in the order it came. Two exceptions keep a crowd
// from shutting others out:
// - One place is for urgent calls only. The REST library gives up on a silent call after 30 s; until then two that hang
//   must not hold up the pulse and the Leases, or we would take the API server for gone and lose the lead. Urgent calls
//   are few and small. They may have every place; those that hang delay the rest for the same 30 s at most.
// - Where a background call waits, at most kNormalInARow normal ones overtake it: ten thousand statuses must not keep a
//   renewed certificate waiting.
//
// The time a call waits here counts for the caller's own patience (a Reflector's answer_ms, the pulse's). Lives on the
// io_context's thread, except that a place may be given back on any thread.
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "controlplane/kube/transport.h"

namespace boost::asio {
class io_context;
}

namespace sluice::kube {

class CallGate : public std::enable_shared_from_this<CallGate> {
 public:
  static constexpr size_t kPlaces = 3, kOrdinaryPlaces = 2;  // ordinary: normal and background together
  static constexpr size_t kNormalInARow = 4;

  // Held while the call uses a connection. With its last copy the place is free, and the next one begins on the
  // io_context's thread, never where the place is given back.
  using Place = std::shared_ptr<void>;
  using Begin = std::function<void(Place)>;
  using Ticket = uint64_t;

  // Made with std::make_shared.
  explicit CallGate(boost::asio::io_context& io) : io_(io) {}

  // `begin` is called once, before this returns if there is a place; it may enter again.
  Ticket enter(Urgency urgency, Begin begin);
  // Who waits no more. Nothing happens if it has begun.
  void withdraw(Ticket ticket);
  // Nobody who waits or comes later begins, and the io_context is not touched any more.
  void close();

  [[nodiscard]] size_t under_way() const;
  [[nodiscard]] size_t waiting() const;

 private:
  struct Next {
    Begin begin;
    Place place;
  };
  using Queue = std::map<Ticket, Begin>;

  void pump();
  std::optional<Next> next();
  Next take(Queue& queue, Urgency urgency);
  void leave(Urgency urgency);
  Queue& queue(Urgency urgency) { return queues_[static_cast<size_t>(urgency)]; }

  boost::asio::io_context& io_;
  mutable std::mutex mutex_;  // of all below
  std::array<Queue, 3> queues_;
  Ticket last_ticket_ = 0;
  size_t under_way_ = 0, ordinary_ = 0, normal_in_a_row_ = 0;
  bool pumping_ = false, closed_ = false;
};

}  // namespace sluice::kube
