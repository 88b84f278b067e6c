#include "dataplane/agent/control_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

#include "common/base/log.h"

namespace sluice::agent {
namespace asio = boost::asio;
using boost::system::error_code;
using ir::FrameType;
using ir::PushFrame;
namespace {
constexpr std::chrono::milliseconds kFirstBackoff{50}, kMaxBackoff{2000};
constexpr int kFramesPerTurn = 16;
}  // namespace

ControlLink::ControlLink(asio::io_context& io, std::string path, uint32_t peer_uid, Callbacks callbacks)
    : socket_(io),
      timer_(io),
      path_(std::move(path)),
      peer_uid_(peer_uid),
      callbacks_(std::move(callbacks)),
      backoff_(kFirstBackoff) {}

void ControlLink::start() { connect(); }

void ControlLink::stop() {
  stopped_ = true;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
}

void ControlLink::connect() {
  if (stopped_) return;
  const auto address = ir::unix_address(path_);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  std::string problem;
  if (!address) problem = address.error().message;
  else if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0)
    problem = std::strerror(errno);
  if (problem.empty()) {
    const auto uid = ir::peer_uid(fd.get());
    if (!uid) problem = uid.error().message;
    else if (*uid != peer_uid_) problem = fmt::format("peer has uid {}, expected {}", *uid, peer_uid_);
  }
  if (!problem.empty()) {
    // Said once, not at every try: the control plane may be away for long.
    if (!complained_) log::warning("control plane not reachable", {{"socket", path_}, {"error", problem}});
    complained_ = true;
    return retry();
  }
  complained_ = false;
  ++connection_;
  socket_.assign(fd.release());
  newest_ = {};
  collecting_.reset();
  PushFrame hello;
  hello.type = FrameType::hello;
  if (running_) hello.id = running_->id;
  for (size_t i = 0; i < ir::kParts; ++i) {
    if (running_) hello.hashes[i] = running_->parts[i]->hash;
  }
  log::info("connected to the control plane", {{"socket", path_}});
  send(hello);
  if (!connected()) return;
  callbacks_.on_connected();
  if (connected()) wait_readable();
}

void ControlLink::retry() {
  if (stopped_) return;
  timer_.expires_after(backoff_);
  backoff_ = std::min(backoff_ * 2, kMaxBackoff);
  auto again = [this](error_code error) {
    if (!error) connect();
  };
  timer_.async_wait(again);
}

void ControlLink::disconnect(const std::string& why) {
  if (!connected()) return;
  log::warning("control plane connection ended", {{"reason", why}});
  error_code ignored;
  socket_.close(ignored);
  collecting_.reset();
  ++connection_;
  retry();
}

void ControlLink::send(const PushFrame& frame) {
  if (!connected()) return;
  auto sent = ir::send_frame(socket_.native_handle(), frame);
  if (!sent) disconnect(sent.error().message);
  else if (!*sent) disconnect("it does not read");
}

void ControlLink::wait_readable() {
  auto ready = [this, connection = connection_](error_code error) {
    if (!error && connection == connection_) on_readable();
  };
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, ready);
}

void ControlLink::on_readable() {
  const uint64_t connection = connection_;
  for (int i = 0; i < kFramesPerTurn; ++i) {
    auto received = ir::receive_frame(socket_.native_handle());
    if (!received) return disconnect(received.error().message);
    if (!*received) break;
    if (Status done = on_frame(std::move(**received)); !done) return disconnect(done.error().message);
    if (connection != connection_) return;  // a send failed meanwhile
  }
  wait_readable();
}

Status ControlLink::on_frame(ir::ReceivedFrame received) {
  switch (received.frame.type) {
    case FrameType::state:
      return on_state_frame(received.frame);
    case FrameType::part:
      return on_part(std::move(received));
    default:
      return fail("unexpected frame {}", static_cast<int>(received.frame.type));
  }
}

Status ControlLink::on_state_frame(const PushFrame& frame) {
  if (frame.id.boot == 0) return fail("state without a boot id");
  if (newest_.boot == frame.id.boot && frame.id.sequence <= newest_.sequence) {
    return fail("state {} after state {}", frame.id.sequence, newest_.sequence);
  }
  newest_ = frame.id;
  backoff_ = kFirstBackoff;  // it speaks our language
  target_ = frame;
  // Parts of the state before, even if it is not whole yet, and of what runs: equal hash, equal bytes.
  const std::shared_ptr<const State> sources[] = {collecting_, last_, running_};
  auto next = std::make_shared<State>();
  next->id = frame.id;
  next->published_ns = frame.published_ns;
  PushFrame need;
  need.type = FrameType::need;
  need.id = frame.id;
  for (size_t i = 0; i < ir::kParts; ++i) {
    for (const auto& source : sources) {
      if (source != nullptr && source->parts[i] != nullptr && source->parts[i]->hash == frame.hashes[i])
        next->parts[i] = source->parts[i];
    }
    if (next->parts[i] == nullptr) need.need_mask |= static_cast<uint8_t>(1u << i);
  }
  replaced_ = std::exchange(collecting_, std::move(next));
  shards_.clear();
  if (need.need_mask != 0) send(need);
  if (collecting_ != nullptr && collecting_->parts[0] != nullptr) take_shards();
  proceed();
  return {};
}

// The table is here: its shards from states that have them, the rest is asked for.
void ControlLink::take_shards() {
  shards_ = ir::shard_hashes(collecting_->head());
  collecting_->shards.assign(shards_.size(), nullptr);
  PushFrame need;
  need.type = FrameType::need;
  need.id = collecting_->id;
  bool missing = false;
  const std::shared_ptr<const State> sources[] = {replaced_, last_, running_};
  for (size_t i = 0; i < shards_.size(); ++i) {
    for (const std::shared_ptr<const State>& source : sources) {
      if (source == nullptr || i >= source->shards.size()) continue;
      if (const auto& shard = source->shards[i]; shard != nullptr && shard->hash == shards_[i])
        collecting_->shards[i] = shard;
    }
    if (collecting_->shards[i] != nullptr) continue;
    need.need_shards[i / 64] |= uint64_t{1} << (i % 64);
    missing = true;
  }
  if (missing) send(need);
}

Status ControlLink::on_part(ir::ReceivedFrame received) {
  const PushFrame& frame = received.frame;
  // Of a state that was replaced meanwhile, or refused already.
  if (collecting_ == nullptr || frame.id != collecting_->id) return {};
  const bool is_shard = frame.part == ir::PartKind::shard;
  const auto kind = static_cast<size_t>(frame.part);
  if (is_shard && frame.shard >= shards_.size()) return fail("shard {} of {}", frame.shard, shards_.size());
  auto& place = is_shard ? collecting_->shards[frame.shard] : collecting_->parts[kind];
  if (place != nullptr) return fail("part {} was not asked for", part_name(frame.part));
  auto part = check_part(frame.part, std::move(received.part), is_shard ? shards_[frame.shard] : target_.hashes[kind],
                         known_part(frame));
  if (!part) {
    refuse(part.error().reason, part.error().text);
    return {};
  }
  place = std::move(*part);
  if (frame.part == ir::PartKind::table) take_shards();
  proceed();
  return {};
}

// The same part of the state before: what is equal need not be judged again.
const Part* ControlLink::known_part(const PushFrame& frame) const {
  const auto& base = last_ != nullptr ? last_ : running_;
  if (base == nullptr) return nullptr;
  if (frame.part != ir::PartKind::shard) return base->parts[static_cast<size_t>(frame.part)].get();
  return base->shards.size() == shards_.size() ? base->shards[frame.shard].get() : nullptr;
}

void ControlLink::refuse(ir::NackReason reason, const std::string& text) {
  const ir::StateId id = collecting_->id;
  collecting_.reset();
  nack(id, reason, text);
}

// With all of it here, the state is given out.
void ControlLink::proceed() {
  const auto here = [](const auto& part) { return part != nullptr; };
  if (collecting_ == nullptr || !std::ranges::all_of(collecting_->parts, here) ||
      !std::ranges::all_of(collecting_->shards, here))
    return;
  const auto& base = last_ != nullptr ? last_ : running_;
  if (Status whole = check_whole(*collecting_, base.get()); !whole)
    return refuse(ir::NackReason::bad_schema, fmt::format("table: {}", whole.error().message));
  last_ = std::exchange(collecting_, nullptr);
  replaced_.reset();
  callbacks_.on_state(last_);
}

void ControlLink::ack(ir::StateId id) {
  PushFrame frame;
  frame.type = FrameType::ack;
  frame.id = id;
  send(frame);
}

void ControlLink::nack(ir::StateId id, ir::NackReason reason, const std::string& text) {
  log::error("state refused", {{"sequence", id.sequence}, {"reason", text}});
  PushFrame frame;
  frame.type = FrameType::nack;
  frame.id = id;
  frame.reason = reason;
  frame.text_size = static_cast<uint32_t>(std::min(text.size(), sizeof frame.text));
  std::memcpy(frame.text, text.data(), frame.text_size);
  send(frame);
}

}  // namespace sluice::agent
