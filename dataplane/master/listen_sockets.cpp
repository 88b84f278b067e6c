#include "dataplane/master/listen_sockets.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/base/log.h"

namespace sluice::master {
namespace {
using sync::ListenerSpec;
constexpr int kBacklog = 65535;    // the kernel cuts it to net.core.somaxconn
constexpr int kPortAttempts = 16;  // a port that is free on one address may be taken on the next

bool is_v4(const ListenerSpec& spec) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(spec.address, kMapped, sizeof kMapped) == 0;
}
bool is_any_v6(const ListenerSpec& spec) {
  static constexpr uint8_t kZero[16]{};
  return std::memcmp(spec.address, kZero, sizeof kZero) == 0;
}

socklen_t fill(const ListenerSpec& spec, uint16_t port, sockaddr_storage& to) {
  to = {};
  if (is_v4(spec)) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, spec.address + 12, 4);
    return sizeof v4;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, spec.address, 16);
  return sizeof v6;
}

std::string describe(const ListenerSpec& spec, uint16_t port) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (is_v4(spec)) inet_ntop(AF_INET, spec.address + 12, text, sizeof text);
  else inet_ntop(AF_INET6, spec.address, text, sizeof text);
  return is_v4(spec) ? fmt::format("listener {} at {}:{}", spec.name, text, port)
                     : fmt::format("listener {} at [{}]:{}", spec.name, text, port);
}

// A bound socket that does not listen. `shared`: with SO_REUSEPORT, as those that are kept; without, to see whether
// anybody else listens there.
Result<UniqueFd> bind_socket(const ListenerSpec& spec, uint16_t port, bool shared) {
  UniqueFd fd(::socket(is_v4(spec) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail("{}: socket: {}", describe(spec, port), std::strerror(errno));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (shared && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
    return fail("{}: SO_REUSEPORT: {}", describe(spec, port), std::strerror(errno));
  }
  if (!is_v4(spec)) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  // Accepted sockets inherit it: one system call less for each connection.
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_storage address;
  const socklen_t size = fill(spec, port, address);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    return fail("{}: bind: {}", describe(spec, port), std::strerror(errno));
  }
  return fd;
}

uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                            : reinterpret_cast<sockaddr_in6&>(address).sin6_port);
}

// A kernel without IPv6: "all addresses" then means all IPv4 addresses.
bool skipped(const ListenerSpec& spec) {
  if (!is_any_v6(spec)) return false;
  const UniqueFd probe(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return !probe && errno == EAFNOSUPPORT;
}
}  // namespace

bool ListenSockets::holds_port(uint16_t port) const {
  return std::ranges::any_of(groups_, [&](const ListenGroup& group) { return group.port == port; });
}

// One port for all addresses of a listener that has none yet. The sockets of worker 0 are the proof and are kept in
// `into`.
Result<uint16_t> ListenSockets::choose_port(const std::vector<const ListenerSpec*>& specs,
                                            std::vector<ListenGroup>& into) {
  Error last;
  for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
    std::vector<ListenGroup> bound;
    uint16_t port = 0;
    bool complete = true;
    for (const ListenerSpec* spec : specs) {
      // A port found on one address must be free on the next, too; SO_REUSEPORT alone would not say so.
      auto fd = port == 0 ? bind_socket(*spec, 0, true) : bind_socket(*spec, port, false);
      if (fd && port != 0) {
        fd->reset();
        fd = bind_socket(*spec, port, true);
      }
      if (!fd) {
        last = fd.error();
        complete = false;
        break;
      }
      if (port == 0) port = bound_port(fd->get());
      ListenGroup& group = bound.emplace_back();
      group.spec = *spec;
      group.sockets.push_back({next_id_++, 0, std::move(*fd)});
    }
    if (!complete) continue;
    for (ListenGroup& group : bound) {
      group.port = port;
      into.push_back(std::move(group));
    }
    return port;
  }
  return std::unexpected(last);
}

Result<ListenSockets::Change> ListenSockets::prepare(std::span<const ListenerSpec> wanted, unsigned workers) {
  Change change;
  std::vector<bool> kept(groups_.size(), false);
  std::vector<const ListenerSpec*> missing;
  for (const ListenerSpec& spec : wanted) {
    const auto found = std::ranges::find_if(groups_, [&](const ListenGroup& group) { return group.spec == spec; });
    if (found != groups_.end()) kept[static_cast<size_t>(found - groups_.begin())] = true;
    else if (!skipped(spec)) missing.push_back(&spec);
  }
  while (!missing.empty()) {
    const ListenerSpec first = *missing.front();
    std::vector<const ListenerSpec*> together;  // all new addresses of one listener
    std::erase_if(missing, [&](const ListenerSpec* spec) {
      if (std::strcmp(spec->name, first.name) != 0 || spec->port != first.port) return false;
      together.push_back(spec);
      return true;
    });
    uint16_t port = first.port;
    if (port == 0) {
      // Another address, or another protocol, of a listener that has a port already: it keeps it.
      const auto same = std::ranges::find_if(groups_, [&](const ListenGroup& group) {
        return group.spec.port == 0 && std::strcmp(group.spec.name, first.name) == 0;
      });
      if (same != groups_.end()) port = same->port;
    }
    if (port == 0) {
      if (auto chosen = choose_port(together, change.added); !chosen) return std::unexpected(chosen.error());
      continue;
    }
    for (const ListenerSpec* spec : together) {
      // SO_REUSEPORT would let us share the port with a stranger of our own uid without a word.
      if (!holds_port(port)) {
        if (auto probe = bind_socket(*spec, port, false); !probe) return std::unexpected(probe.error());
      }
      ListenGroup& group = change.added.emplace_back();
      group.spec = *spec;
      group.port = port;
    }
  }
  auto complete = [&](const ListenGroup& group, auto&& take) -> Status {
    for (unsigned owner = 0; owner < workers; ++owner) {
      if (std::ranges::any_of(group.sockets, [&](const ListenSocket& socket) { return socket.owner == owner; }))
        continue;
      auto fd = bind_socket(group.spec, group.port, true);
      if (!fd) return std::unexpected(fd.error());
      take(ListenSocket{next_id_++, owner, std::move(*fd)});
    }
    return {};
  };
  for (ListenGroup& group : change.added) {
    std::vector<ListenSocket> more;
    if (Status done = complete(group, [&](ListenSocket socket) { more.push_back(std::move(socket)); }); !done)
      return std::unexpected(done.error());
    std::ranges::move(more, std::back_inserter(group.sockets));
  }
  for (size_t i = 0; i < groups_.size(); ++i) {
    if (!kept[i]) {
      change.removed.push_back(i);
      continue;
    }
    Status done = complete(groups_[i], [&](ListenSocket socket) { change.extra.push_back({i, std::move(socket)}); });
    if (!done) return std::unexpected(done.error());
  }
  return change;
}

std::vector<ListenGroup> ListenSockets::commit(Change change) {
  auto start = [](const ListenGroup& group, const ListenSocket& socket) {
    if (::listen(socket.fd.get(), kBacklog) != 0)
      log::error("listen failed", {{"listener", describe(group.spec, group.port)}, {"error", std::strerror(errno)}});
  };
  for (auto& [index, socket] : change.extra) {
    start(groups_[index], socket);
    groups_[index].sockets.push_back(std::move(socket));
  }
  std::vector<ListenGroup> removed, kept;
  for (size_t i = 0; i < groups_.size(); ++i) {
    const bool gone = std::ranges::find(change.removed, i) != change.removed.end();
    (gone ? removed : kept).push_back(std::move(groups_[i]));
  }
  groups_ = std::move(kept);
  for (ListenGroup& group : change.added) {
    for (const ListenSocket& socket : group.sockets) start(group, socket);
    groups_.push_back(std::move(group));
  }
  return removed;
}

void ListenSockets::adopt(std::vector<ListenGroup> groups, uint32_t next_id) {
  groups_ = std::move(groups);
  next_id_ = next_id;
}

}  // namespace sluice::master
