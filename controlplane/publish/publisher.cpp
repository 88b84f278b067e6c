#include "controlplane/publish/publisher.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ir/memfd.h"
#include "controlplane/publish/peer.h"

namespace sluice::publish {
namespace asio = boost::asio;
using boost::system::error_code;
namespace {
constexpr size_t kMaxPeers = 16;
constexpr std::chrono::milliseconds kRest{100};
// Of a part that is worth having pages ready for, and how long nothing must have happened before they are sought.
constexpr size_t kLargePart = size_t{1} << 20;
constexpr std::chrono::milliseconds kIdle{50};
constexpr const char* kNames[] = {"sluice-table", "sluice-endpoints", "sluice-secrets"};

class SocketPublisher final : public Publisher {
 public:
  SocketPublisher(asio::io_context& io, UniqueFd listening, std::string path, uint32_t peer_uid, Callbacks callbacks)
      : io_(io),
        acceptor_(io, listening.release()),
        rest_(io),
        idle_(io),
        path_(std::move(path)),
        peer_uid_(peer_uid),
        callbacks_(std::move(callbacks)) {
    while (getrandom(&boot_, sizeof boot_, 0) != sizeof boot_ || boot_ == 0) {
    }
    accept();
  }
  ~SocketPublisher() override {
    *alive_ = false;
    for (const auto& peer : std::exchange(peers_, {})) peer->close("the control plane stops");
    ::unlink(path_.c_str());
  }

  ir::StateId publish(StateParts parts) override;

 private:
  [[nodiscard]] ir::StateId not_published(const Error& error) const;
  void make_rooms_later();
  void accept();
  void accept_all();
  void add(UniqueFd fd);
  void on_frame(Peer& peer, const ir::PushFrame& frame);
  void on_closed(Peer& peer);

  asio::io_context& io_;
  asio::posix::stream_descriptor acceptor_;
  asio::steady_timer rest_, idle_;
  std::string path_;
  uint32_t peer_uid_;
  Callbacks callbacks_;
  uint64_t boot_ = 0;
  std::shared_ptr<const Published> state_;
  UniqueFd rooms_[ir::kParts];              // for the next ones of large parts
  std::list<std::shared_ptr<Peer>> peers_;  // in order of their connection
  DataplaneReport report_;                  // of the newest
  // Callbacks of a peer may come after this object is gone, from its last pending handlers.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Out of memory or descriptors: the state before stays the newest, the next change tries again.
ir::StateId SocketPublisher::not_published(const Error& error) const {
  log::error("state not published", {{"error", error.message}});
  return state_ ? state_->frame.id : ir::StateId{};
}

ir::StateId SocketPublisher::publish(StateParts parts) {
  const bool same = state_ && std::ranges::equal(parts.hashes, state_->frame.hashes);
  if (same) return state_->frame.id;
  auto next = std::make_shared<Published>();
  next->frame.type = ir::FrameType::state;
  next->frame.id = {boot_, state_ ? state_->frame.id.sequence + 1 : 1};
  next->frame.published_ns = monotonic_ns();
  for (size_t i = 0; i < ir::kParts; ++i) {
    next->frame.hashes[i] = parts.hashes[i];
    next->frame.sizes[i] = parts.bytes[i]->size();
    if (state_ && state_->frame.hashes[i] == parts.hashes[i]) {
      next->parts[i] = state_->parts[i];
      continue;
    }
    auto sealed = ir::make_sealed(kNames[i], *parts.bytes[i], std::move(rooms_[i]));
    if (!sealed) return not_published(sealed.error());
    next->parts[i] = std::make_shared<const UniqueFd>(std::move(*sealed));
  }
  for (size_t i = 0; i < parts.shards.size(); ++i) {
    const StateParts::Shard& shard = parts.shards[i];
    if (state_ && i < state_->shards.size() && state_->shards[i].hash == shard.hash) {
      next->shards.push_back(state_->shards[i]);
      continue;
    }
    auto sealed = ir::make_sealed("sluice-shard", *shard.bytes);
    if (!sealed) return not_published(sealed.error());
    next->shards.push_back({shard.hash, std::make_shared<const UniqueFd>(std::move(*sealed))});
  }
  state_ = std::move(next);
  const auto peers = peers_;  // an offer may close a peer
  for (const auto& peer : peers) peer->offer(state_);
  make_rooms_later();
  return state_->frame.id;
}

// A large part's pages are found while nothing is to be done, so that the next change need not wait for it. What cannot
// be had now is made when it is needed.
void SocketPublisher::make_rooms_later() {
  idle_.expires_after(kIdle);
  auto idle = [this, alive = alive_](error_code error) {
    if (error || !*alive) return;
    for (size_t i = 0; i < ir::kParts; ++i) {
      const size_t size = state_->frame.sizes[i];
      if (rooms_[i] || size < kLargePart) continue;
      if (auto room = ir::make_room(kNames[i], size + size / 16)) rooms_[i] = std::move(*room);
    }
  };
  idle_.async_wait(idle);
}

void SocketPublisher::accept() {
  auto ready = [this, alive = alive_](error_code error) {
    if (!error && *alive) accept_all();
  };
  acceptor_.async_wait(asio::posix::stream_descriptor::wait_read, ready);
}

void SocketPublisher::accept_all() {
  for (;;) {
    UniqueFd fd(::accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      add(std::move(fd));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return accept();
    log::error("accept on the push socket failed", {{"error", std::strerror(errno)}});
    rest_.expires_after(kRest);
    auto again = [this, alive = alive_](error_code error) {
      if (!error && *alive) accept();
    };
    return rest_.async_wait(again);
  }
}

void SocketPublisher::add(UniqueFd fd) {
  const auto uid = ir::peer_uid(fd.get());
  if (!uid || *uid != peer_uid_) {
    log::warning("connection to the push socket refused",
                 {{"uid", uid ? static_cast<int64_t>(*uid) : -1}, {"expected", peer_uid_}});
    return;
  }
  if (peers_.size() >= kMaxPeers) {
    log::warning("connection to the push socket refused", {{"reason", "too many"}});
    return;
  }
  log::info("data plane connected");
  auto peer = std::make_shared<Peer>(io_, fd.release(), state_,
                                     Peer::Callbacks{[this, alive = alive_](Peer& from, const ir::PushFrame& frame) {
                                                       if (*alive) on_frame(from, frame);
                                                     },
                                                     [this, alive = alive_](Peer& from) {
                                                       if (*alive) on_closed(from);
                                                     }});
  peers_.push_back(peer);
  report_ = {};
  peer->start();
}

void SocketPublisher::on_frame(Peer& peer, const ir::PushFrame& frame) {
  if (frame.type == ir::FrameType::nack) {
    const std::string text(frame.text, frame.text_size);
    log::error("the data plane refuses a state", {{"sequence", frame.id.sequence}, {"reason", text}});
    if (callbacks_.on_nack) callbacks_.on_nack(frame.id, frame.reason, text);
    return;
  }
  if (&peer != peers_.back().get()) return;  // an older one, on its way out
  if (frame.type == ir::FrameType::ack) {
    report_.acknowledged = frame.id;
  } else {
    report_.workers_ready = frame.workers_ready;
    report_.workers_total = frame.workers_total;
    report_.workers_restarted = frame.workers_restarted;
    report_.bound.clear();
    for (size_t i = 0; i < frame.listeners; ++i) report_.bound.emplace_back(frame.bound[i].name, frame.bound[i].port);
  }
  if (callbacks_.on_report) callbacks_.on_report(report_);
}

void SocketPublisher::on_closed(Peer& peer) {
  const bool newest = !peers_.empty() && peers_.back().get() == &peer;
  std::erase_if(peers_, [&](const std::shared_ptr<Peer>& other) { return other.get() == &peer; });
  if (!newest) return;
  report_ = {};
  if (callbacks_.on_disconnect) callbacks_.on_disconnect();
}
}  // namespace

Result<std::unique_ptr<Publisher>> Publisher::listen(asio::io_context& io, const std::string& socket_path,
                                                     uint32_t peer_uid, Callbacks callbacks) {
  const auto address = ir::unix_address(socket_path);
  if (!address) return std::unexpected(address.error());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail("push socket: {}", std::strerror(errno));
  struct stat info {};
  if (::lstat(socket_path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return fail("push socket: {} exists and is no socket", socket_path);
    ::unlink(socket_path.c_str());
  }
  // Nobody may connect before the mode is set: bind makes the file with what the umask leaves.
  const mode_t before = ::umask(0117);
  const bool bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
  const int error = errno;
  ::umask(before);
  if (!bound) return fail("push socket {}: {}", socket_path, std::strerror(error));
  if (::listen(fd.get(), 16) != 0) return fail("push socket {}: {}", socket_path, std::strerror(errno));
  try {
    return std::make_unique<SocketPublisher>(io, std::move(fd), socket_path, peer_uid == 0 ? getuid() : peer_uid,
                                             std::move(callbacks));
  } catch (const std::exception& failure) {
    return fail("push socket {}: {}", socket_path, failure.what());
  }
}

}  // namespace sluice::publish
