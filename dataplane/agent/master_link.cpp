#include "dataplane/agent/master_link.h"

#include <algorithm>

#include "common/base/log.h"

namespace sluice::agent {

void MasterLink::wait_readable() {
  auto ready = [this](boost::system::error_code error) {
    if (!error) on_readable();
  };
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read, ready);
}

void MasterLink::on_readable() {
  for (;;) {
    auto received = sync::receive(socket_.native_handle());
    if (!received) {
      if (received.error().message != "closed")
        log::error("channel to the master", {{"error", received.error().message}});
      return callbacks_.on_closed();
    }
    if (received->message.type == sync::MessageType::none) break;
    callbacks_.on_message(std::move(*received));
  }
  wait_readable();
}

void MasterLink::set_log_level(log::Level level) {
  sync::Message message;
  message.type = sync::MessageType::log_level;
  message.level = static_cast<uint32_t>(level);
  if (Status sent = sync::send(socket_.native_handle(), message); !sent) {
    log::error("channel to the master", {{"error", sent.error().message}});
    callbacks_.on_closed();
  }
}

void MasterLink::apply(const State& state, unsigned workers, uint32_t drain_ms,
                       const std::vector<sync::ListenerSpec>& listeners) {
  sync::Message message;
  message.type = sync::MessageType::apply;
  message.id = state.id;
  message.workers_wanted = workers;
  message.drain_ms = drain_ms;
  message.listener_count = static_cast<uint32_t>(listeners.size());
  std::ranges::copy(listeners, message.listeners.begin());
  std::vector<int> fds;
  for (size_t i = 0; i < ir::kParts; ++i) {
    message.sizes[i] = state.parts[i]->bytes().size();
    message.hashes[i] = state.parts[i]->hash;
    fds.push_back(state.parts[i]->fd.get());
  }
  for (const auto& shard : state.shards) fds.push_back(shard->fd.get());
  if (Status sent = sync::send(socket_.native_handle(), message, fds); !sent) {
    log::error("channel to the master", {{"error", sent.error().message}});
    callbacks_.on_closed();
  }
}

}  // namespace sluice::agent
