#include "tests/integration/stand_in_worker.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/base/clock.h"
#include "common/ir/memfd.h"
#include "common/ir/table_view.h"
#include "dataplane/shared/counters.h"
#include "dataplane/sync/messages.h"

namespace sluice::test {
namespace {
using sync::MessageType;

struct StandIn {
  int channel;
  unsigned index;
  shared::CounterPage* page;
  ir::StateId id;
  std::string marker;
  std::map<uint32_t, UniqueFd> listeners;
  bool draining = false;

  void reply(MessageType type, ir::StateId about) const {
    sync::Message message;
    message.type = type;
    message.id = about;
    if (!sync::send(channel, message)) std::exit(0);
  }
  // What the cluster "marker" says, in whichever shard it is; each shard has to be there.
  static std::string in_shards(const ir::RouteTable& head, std::span<const UniqueFd> fds) {
    if ((head.shards() == nullptr ? 0 : head.shards()->size()) != fds.size()) std::abort();
    std::vector<ir::Mapping> mappings;
    std::vector<const ir::RouteTable*> roots;
    for (const UniqueFd& fd : fds) {
      mappings.push_back(ir::Mapping::map(fd.get(), ir::kMaxPartBytes).value());
      roots.push_back(flatbuffers::GetRoot<ir::RouteTable>(mappings.back().bytes().data()));
    }
    const ir::Cluster* marked = ir::TableView(head, roots).cluster("marker");
    return marked == nullptr ? "" : " shard " + marked->origin()->name()->str();
  }
  void on_state(sync::Received& received) {
    auto table = ir::Mapping::map(received.fds[0].get(), ir::kMaxPartBytes);
    if (!table || received.fd_count < ir::kParts) std::abort();
    const auto* root = flatbuffers::GetRoot<ir::RouteTable>(table->bytes().data());
    std::string next = root->default_certificate() ? root->default_certificate()->str() : "";
    next += in_shards(*root, std::span(received.fds).subspan(ir::kParts, received.fd_count - ir::kParts));
    if (next == "die") std::abort();
    if (next == "refuse") return reply(MessageType::refused, received.message.id);
    id = received.message.id;
    marker = next;
    page->sequence.set(id.sequence);
    reply(MessageType::ready, id);
  }
  void on_channel() {
    for (;;) {
      auto received = sync::receive(channel);
      if (!received) std::exit(0);
      const sync::Message& message = received->message;
      switch (message.type) {
        case MessageType::none:
          return;
        case MessageType::state:
          on_state(*received);
          break;
        case MessageType::listener:
          listeners[message.listener_id] = std::move(received->fds[0]);
          break;
        case MessageType::unlisten:
          listeners.erase(message.listener_id);
          break;
        case MessageType::drain:
          draining = true;
          break;
        case MessageType::dump:
          page->log_lines.add();
          break;
        default:
          break;
      }
    }
  }
  void accept_from(int socket) {
    const UniqueFd client(::accept(socket, nullptr, nullptr));
    if (!client) return;
    page->connections_accepted.add();
    page->connections_active.set(7);  // the master clears it when we die
    shared::route_slots(*page, "ingress/test/" + marker).route.requests[2].add();
    const std::string line =
        fmt::format("worker {} pid {} sequence {} marker {}\n", index, getpid(), id.sequence, marker);
    [[maybe_unused]] ssize_t n = ::send(client.get(), line.data(), line.size(), MSG_NOSIGNAL);
  }
};
}  // namespace

int run_stand_in_worker(int channel, int counters, unsigned index) {
  void* memory = mmap(nullptr, sizeof(shared::CounterPage), PROT_READ | PROT_WRITE, MAP_SHARED, counters, 0);
  if (memory == MAP_FAILED) return 1;
  StandIn worker{channel, index, static_cast<shared::CounterPage*>(memory), {}, {}, {}, false};
  worker.page->pid.set(static_cast<uint64_t>(getpid()));
  for (;;) {
    worker.page->heartbeat_ms.set(monotonic_ms());
    std::vector<pollfd> polled{{channel, POLLIN, 0}};
    for (const auto& [id, fd] : worker.listeners) polled.push_back({fd.get(), POLLIN, 0});
    const int ready = poll(polled.data(), polled.size(), 100);
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) worker.accept_from(polled[i].fd);
    }
    if (polled[0].revents != 0) worker.on_channel();
    if (worker.draining && ready == 0) return 0;
  }
}

}  // namespace sluice::test
