// A client's connection as requests and the worker know it, whatever protocol it speaks: who is there, and that it can
// be told to end. A node of the worker's list. ClientConnection speaks HTTP/1.1, Http2Connection HTTP/2.
#pragma once
#include <cstdint>

#include "dataplane/net/reactor.h"
#include "dataplane/net/transport.h"
#include "dataplane/worker/identity.h"
#include "dataplane/worker/overload.h"

namespace sluice::worker {

class ActiveRequest;
struct Context;

class ClientLink {
 public:
  ClientLink(const ClientLink&) = delete;
  ClientLink& operator=(const ClientLink&) = delete;

  [[nodiscard]] const ConnectionFacts& facts() const { return facts_; }
  [[nodiscard]] const net::Address& socket_peer() const { return socket_peer_; }
  [[nodiscard]] uint16_t local_port() const { return local_port_; }
  // Accepted only to be answered 503.
  [[nodiscard]] bool over_limit() const { return over_limit_; }
  // Accepted by another process, which may not have closed its descriptor yet.
  [[nodiscard]] bool handed_over() const { return handed_over_; }
  // Null before the PROXY header and after the end.
  [[nodiscard]] const net::Transport* transport() const { return transport_.get(); }
  [[nodiscard]] ClientLink* next() const { return next_; }
  // Requests under way, one after the other; null begins.
  [[nodiscard]] virtual ActiveRequest* next_request(const ActiveRequest* after) const = 0;

  // The worker drains: whoever waits is answered and told that this was the last; who asks for nothing is closed soon.
  virtual void drain() = 0;
  // The drain time is over: what is not answered yet is answered 503, the rest is cut.
  virtual void cut_off() = 0;
  virtual void close() = 0;
  // What is held for this client, here and in the kernel, until it takes it: the connection's and each stream's.
  virtual void note_held(HeldSizes& sizes) const = 0;
  // Resets what of that is at least so large, until `wanted` bytes are freed. How many were. May close itself.
  virtual uint64_t reset_held(size_t at_least, uint64_t wanted) = 0;

 protected:
  ClientLink(Context& context, const ConnectionFacts& facts, const net::Address& socket_peer, uint16_t local_port);
  ~ClientLink() = default;
  // Out of the event loop, before `fd` is closed (-1: there is none any more). Closing does that by itself, unless
  // another process has the socket, too: then events would go on to come for a handler that is gone.
  void unwatch(int fd, net::EventHandler& handler);
  // Out of the worker's list and its counts.
  void leave();

  Context& context_;
  std::unique_ptr<net::Transport> transport_;
  ConnectionFacts facts_;
  net::Address socket_peer_;
  uint16_t local_port_;
  bool over_limit_ = false;
  bool handed_over_ = false;

 private:
  ClientLink *next_ = nullptr, *previous_ = nullptr;
};

}  // namespace sluice::worker
