#include "dataplane/worker/client_link.h"

#include "dataplane/worker/context.h"

namespace sluice::worker {

ClientLink::ClientLink(Context& context, const ConnectionFacts& facts, const net::Address& socket_peer,
                       uint16_t local_port)
    : context_(context), facts_(facts), socket_peer_(socket_peer), local_port_(local_port) {
  next_ = context_.connections;
  if (next_ != nullptr) next_->previous_ = this;
  context_.connections = this;
  ++context_.connection_count;
  context_.counters.connections_active.add();
}

void ClientLink::unwatch(int fd, net::EventHandler& handler) {
  if (handed_over_ && fd >= 0) context_.reactor.remove(fd, handler);
  else context_.reactor.forget(handler);
}

void ClientLink::leave() {
  if (previous_ != nullptr) previous_->next_ = next_;
  else context_.connections = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  --context_.connection_count;
  context_.counters.connections_active.sub();
}

}  // namespace sluice::worker
