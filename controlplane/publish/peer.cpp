#include "controlplane/publish/peer.h"

#include "common/base/log.h"

namespace sluice::publish {
namespace asio = boost::asio;
using boost::system::error_code;
using ir::FrameType;
namespace {
constexpr int kFramesPerTurn = 16;
}

Peer::Peer(asio::io_context& io, int fd, std::shared_ptr<const Published> state, Callbacks callbacks)
    : socket_(io, fd), state_(std::move(state)), callbacks_(std::move(callbacks)) {}

void Peer::start() { wait_readable(); }

void Peer::close(const std::string& why) {
  if (!socket_.is_open()) return;
  log::info("data plane connection ended", {{"reason", why}});
  error_code ignored;
  socket_.close(ignored);
  outgoing_.clear();
  callbacks_.on_closed(*this);
}

void Peer::wait_readable() {
  auto ready = [self = shared_from_this()](error_code error) {
    if (!error) self->on_readable();
  };
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, ready);
}

void Peer::on_readable() {
  for (int i = 0; i < kFramesPerTurn && socket_.is_open(); ++i) {
    auto received = ir::receive_frame(socket_.native_handle());
    if (!received) return close(received.error().message);
    if (!*received) break;
    if (Status done = on_frame((*received)->frame); !done) return close(done.error().message);
  }
  if (socket_.is_open()) wait_readable();
}

Status Peer::on_frame(const ir::PushFrame& frame) {
  if (frame.type == FrameType::hello) {
    if (std::exchange(greeted_, true)) return fail("a second hello");
    if (state_) queue({state_->frame, nullptr});
    return {};
  }
  if (!greeted_) return fail("frame {} before hello", static_cast<int>(frame.type));
  switch (frame.type) {
    case FrameType::need:
      on_need(frame);
      return {};
    case FrameType::ack:
    case FrameType::nack:
    case FrameType::report:
      callbacks_.on_frame(*this, frame);
      return {};
    default:
      return fail("unexpected frame {}", static_cast<int>(frame.type));
  }
}

void Peer::on_need(const ir::PushFrame& frame) {
  // For a state that has been replaced: the newer one is on its way, the peer will ask again.
  if (!state_ || frame.id != state_->frame.id) return;
  ir::PushFrame part;
  part.type = FrameType::part;
  part.id = state_->frame.id;
  for (size_t i = 0; i < ir::kParts; ++i) {
    if ((frame.need_mask & (1u << i)) == 0) continue;
    ir::PushFrame one = part;
    one.part = static_cast<ir::PartKind>(i);
    one.hashes[i] = state_->frame.hashes[i];
    one.sizes[i] = state_->frame.sizes[i];
    queue({one, state_->parts[i]});
  }
  part.part = ir::PartKind::shard;
  for (size_t i = 0; i < state_->shards.size(); ++i) {
    if ((frame.need_shards[i / 64] >> (i % 64) & 1) == 0) continue;
    part.shard = static_cast<uint8_t>(i);
    queue({part, state_->shards[i].fd});
  }
}

void Peer::offer(std::shared_ptr<const Published> state) {
  state_ = std::move(state);
  if (!greeted_) return;
  // What has not left belongs to older states.
  outgoing_.clear();
  queue({state_->frame, nullptr});
}

void Peer::queue(Outgoing outgoing) {
  if (outgoing_.size() >= kMaxQueued) return close("it does not read");
  outgoing_.push_back(std::move(outgoing));
  flush();
}

void Peer::flush() {
  while (socket_.is_open() && !outgoing_.empty() && !waiting_to_write_) {
    const Outgoing& next = outgoing_.front();
    auto sent = ir::send_frame(socket_.native_handle(), next.frame, next.part ? next.part->get() : -1);
    if (!sent) return close(sent.error().message);
    if (*sent) {
      outgoing_.pop_front();
      continue;
    }
    waiting_to_write_ = true;
    auto ready = [self = shared_from_this()](error_code error) {
      self->waiting_to_write_ = false;
      if (!error) self->flush();
    };
    socket_.async_wait(asio::posix::stream_descriptor::wait_write, ready);
  }
}

}  // namespace sluice::publish
