// Either end of the push socket may be anything: frames out of order, mutated, with descriptors that are not what they
// say. Nobody dies, what runs runs on.
#include <poll.h>
#include <random>

#include <sys/mman.h>
#include <sys/socket.h>

#include "common/ir/memfd.h"
#include "common/ir/push_socket.h"
#include "common/ir/table_view.h"
#include "tests/integration/planes_fixture.h"

namespace sluice::test {
namespace {
using ir::FrameType;
using ir::PushFrame;

UniqueFd unix_socket(const std::string& path, bool server) {
  const auto address = ir::unix_address(path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto* raw = reinterpret_cast<const sockaddr*>(&*address);
  const int done = server ? ::bind(fd.get(), raw, sizeof *address) : ::connect(fd.get(), raw, sizeof *address);
  EXPECT_EQ(done, 0);
  if (server) {
    EXPECT_EQ(::listen(fd.get(), 8), 0);
  }
  return fd;
}

// The next frame of one of these types, skipping reports; nullopt: closed.
std::optional<PushFrame> next_frame(int fd) {
  for (;;) {
    pollfd polled{fd, POLLIN, 0};
    if (poll(&polled, 1, 120'000) != 1) return std::nullopt;
    auto received = ir::receive_frame(fd);
    if (!received) return std::nullopt;
    if (*received && (*received)->frame.type != FrameType::report) return (*received)->frame;
  }
}

// A control plane under the test's hand.
class HostileControl : public PlanesTest {
 protected:
  void begin() {
    server_ = unix_socket(socket_, true);
    start_data();
    accept_agent();
  }
  void accept_agent() {
    connection_ = UniqueFd(::accept4(server_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(connection_);
    const auto hello = next_frame(connection_.get());
    ASSERT_TRUE(hello && hello->type == FrameType::hello);
    hello_ = *hello;
  }
  PushFrame state(const publish::StateParts& parts, uint64_t sequence) const {
    PushFrame frame;
    frame.type = FrameType::state;
    frame.id = {42, sequence};
    for (size_t i = 0; i < ir::kParts; ++i) {
      frame.hashes[i] = parts.hashes[i];
      frame.sizes[i] = parts.bytes[i]->size();
    }
    return frame;
  }
  bool send(const PushFrame& frame, int part = -1) const {
    const auto sent = ir::send_frame(connection_.get(), frame, part);
    return sent && *sent;
  }
  bool send_part(const PushFrame& about, ir::PartKind kind, std::span<const std::byte> bytes) const {
    auto sealed = ir::make_sealed("test", bytes);
    return sealed && send_part(about, kind, sealed->get());
  }
  bool send_part(const PushFrame& about, ir::PartKind kind, int fd) const {
    PushFrame frame;
    frame.type = FrameType::part;
    frame.id = about.id;
    frame.part = kind;
    frame.hashes[static_cast<size_t>(kind)] = about.hashes[static_cast<size_t>(kind)];
    return send(frame, fd);
  }
  // Sends a state in full; the verdict: ack, nack, or nullopt for a closed connection.
  std::optional<PushFrame> push(const publish::StateParts& parts, uint64_t sequence) {
    const PushFrame frame = state(parts, sequence);
    if (!send(frame)) return std::nullopt;
    auto answer = next_frame(connection_.get());
    if (answer && answer->type == FrameType::need) {
      for (size_t i = 0; i < ir::kParts; ++i) {
        if ((answer->need_mask & (1u << i)) != 0) (void)send_part(frame, static_cast<ir::PartKind>(i), *parts.bytes[i]);
      }
      answer = next_frame(connection_.get());
    }
    return answer;
  }
  UniqueFd server_, connection_;
  PushFrame hello_;  // of the agent that is connected
};

TEST_F(HostileControl, PartsAreNotWhatTheySay) {
  begin();
  const publish::StateParts parts = build({.marker = "good"});
  auto good = push(parts, 1);
  ASSERT_TRUE(good && good->type == FrameType::ack);
  const pid_t agent = child("agent");
  const publish::StateParts next = build({.marker = "next"});

  PushFrame frame = state(next, 2);
  ASSERT_TRUE(send(frame));
  auto answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::need);
  EXPECT_EQ(answer->need_mask, 1u) << "only the table is new";
  ASSERT_TRUE(send_part(frame, ir::PartKind::table, *parts.bytes[0]));
  answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::nack);
  EXPECT_EQ(answer->reason, ir::NackReason::bad_hash);

  frame = state(next, 3);
  ASSERT_TRUE(send(frame) && next_frame(connection_.get()));
  UniqueFd open_fd(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(open_fd.get(), next.bytes[0]->data(), next.bytes[0]->size()),
            static_cast<ssize_t>(next.bytes[0]->size()));
  ASSERT_TRUE(send_part(frame, ir::PartKind::table, open_fd.get()));
  answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::nack);
  EXPECT_EQ(answer->reason, ir::NackReason::not_sealed);

  publish::StateParts swapped = next;  // endpoints where the table should be
  swapped.bytes[0] = next.bytes[1];
  swapped.hashes[0] = next.hashes[1];
  answer = push(swapped, 4);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, FrameType::ack) << "an endpoint set without clusters reads as a table without listeners";
  answer = push(next, 5);
  ASSERT_TRUE(answer && answer->type == FrameType::ack);
  EXPECT_EQ(child("agent"), agent);
}

// Only what is missing is asked for; what comes in place of a shard is refused, and the state before runs on.
TEST_F(HostileControl, Shards) {
  begin();
  const auto shard = [&](const PushFrame& about, size_t index, std::span<const std::byte> bytes) {
    PushFrame frame;
    frame.type = FrameType::part;
    frame.id = about.id;
    frame.part = ir::PartKind::shard;
    frame.shard = static_cast<uint8_t>(index);
    auto sealed = ir::make_sealed("test", bytes);
    return sealed && send(frame, sealed->get());
  };
  // Everything up to the need of shards, which is returned.
  const auto offer = [&](const publish::StateParts& parts, uint64_t sequence) {
    const PushFrame frame = state(parts, sequence);
    EXPECT_TRUE(send(frame));
    auto need = next_frame(connection_.get());
    for (size_t i = 0; need && i < ir::kParts; ++i) {
      if ((need->need_mask & (1u << i)) == 0) continue;
      EXPECT_TRUE(send_part(frame, static_cast<ir::PartKind>(i), *parts.bytes[i]));
    }
    return next_frame(connection_.get());
  };
  const publish::StateParts first = build({.shards = 8, .shard_marker = "a"});
  auto need = offer(first, 1);
  ASSERT_TRUE(need && need->type == FrameType::need);
  EXPECT_EQ(need->need_mask, 0u);
  EXPECT_EQ(need->need_shards[0], 0xffu);
  const PushFrame frame = state(first, 1);
  for (size_t i = 0; i < 8; ++i) ASSERT_TRUE(shard(frame, i, *first.shards[i].bytes));
  auto answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::ack);

  const publish::StateParts second = build({.shards = 8, .shard_marker = "b"});
  const size_t marked = ir::shard_of("marker", 8), other = (marked + 1) % 8;
  need = offer(second, 2);
  ASSERT_TRUE(need && need->type == FrameType::need);
  EXPECT_EQ(need->need_shards[0], uint64_t{1} << marked);
  ASSERT_TRUE(shard(state(second, 2), marked, *first.shards[marked].bytes));  // the old one's bytes
  answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::nack);
  EXPECT_EQ(answer->reason, ir::NackReason::bad_hash);

  // A shard in another's place, with the hash that the head says: its names do not belong there.
  publish::StateParts misplaced = build({.shards = 8, .shard_marker = "c"});
  const std::unique_ptr<ir::RouteTableT> head(ir::GetRouteTable(misplaced.bytes[0]->data())->UnPack());
  std::swap(head->shards[marked], head->shards[other]);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::RouteTable::Pack(builder, head.get()));
  const auto bytes = std::as_bytes(builder.GetBufferSpan());
  misplaced.bytes[0] = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  misplaced.hashes[0] = ir::content_hash(bytes);
  need = offer(misplaced, 3);
  ASSERT_TRUE(need && need->type == FrameType::need);
  ASSERT_TRUE(shard(state(misplaced, 3), marked, *misplaced.shards[other].bytes));
  ASSERT_TRUE(shard(state(misplaced, 3), other, *misplaced.shards[marked].bytes));
  answer = next_frame(connection_.get());
  ASSERT_TRUE(answer && answer->type == FrameType::nack);
  EXPECT_EQ(answer->reason, ir::NackReason::bad_schema);

  // One that the table does not have.
  need = offer(second, 4);
  ASSERT_TRUE(need && need->type == FrameType::need);
  ASSERT_TRUE(shard(state(second, 4), 8, *second.shards[marked].bytes));
  EXPECT_FALSE(next_frame(connection_.get())) << "the connection is closed";
  accept_agent();
  EXPECT_EQ(hello_.hashes[0], first.hashes[0]) << "what runs";
}

TEST_F(HostileControl, SequenceGoingBackClosesTheConnection) {
  begin();
  ASSERT_TRUE(push(build({.marker = "a"}), 7));
  EXPECT_FALSE(push(build({.marker = "b"}), 6));
  accept_agent();  // it comes back and takes a newer one
  const auto answer = push(build({.marker = "c"}), 8);
  EXPECT_TRUE(answer && answer->type == FrameType::ack);
}

TEST_F(HostileControl, FramesOnlyAgentsSendCloseTheConnection) {
  begin();
  PushFrame frame;
  frame.type = FrameType::ack;
  ASSERT_TRUE(send(frame));
  EXPECT_FALSE(next_frame(connection_.get()));
  accept_agent();
}

TEST_F(HostileControl, ThousandMutatedParts) {
  begin();
  const publish::StateParts good = build({.marker = "good", .workers = 1, .certificates = {"ns/a"}});
  const auto first = push(good, 1);
  ASSERT_TRUE(first && first->type == FrameType::ack);
  const pid_t agent = child("agent"), worker = child("worker 1");
  std::mt19937_64 random(1);
  uint64_t sequence = 1;
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    publish::StateParts parts = good;
    const size_t kind =
        1 +
        random() % 2;  // endpoints, secrets: a mutated table may ask for real ports and workers, table_fuzz has those
    std::vector<std::byte> bytes = *good.bytes[kind];
    for (size_t flips = 1 + random() % 4; flips > 0; --flips)
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << random() % 8);
    parts.hashes[kind] = ir::content_hash(bytes);
    parts.bytes[kind] = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
    const auto answer = push(parts, ++sequence);
    ASSERT_TRUE(answer) << i;
    refused += answer->type == FrameType::nack;
  }
  EXPECT_GT(refused, 300);
  const auto last = push(build({.marker = "last", .workers = 1}), ++sequence);
  EXPECT_TRUE(last && last->type == FrameType::ack);
  EXPECT_EQ(child("agent"), agent);
  EXPECT_EQ(child("worker 1"), worker);
}

// push_frame_fuzz has the many; this is the whole agent.
TEST_F(HostileControl, MutatedFrames) {
  begin();
  const publish::StateParts good = build({.marker = "good", .workers = 1});
  const auto first = push(good, 1);
  ASSERT_TRUE(first && first->type == FrameType::ack);
  const pid_t agent = child("agent");
  std::mt19937_64 random(2);
  for (int i = 0; i < 200; ++i) {
    PushFrame frame = state(good, 2 + static_cast<uint64_t>(i));
    auto* bytes = reinterpret_cast<uint8_t*>(&frame);
    for (size_t flips = 1 + random() % 3; flips > 0; --flips)
      bytes[random() % 128] ^= static_cast<uint8_t>(1u << random() % 8);
    const size_t size = random() % 16 == 0 ? random() % sizeof frame : sizeof frame;
    if (::send(connection_.get(), bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 && i % 8 != 7) continue;
    // It has closed, or we do: it comes back.
    connection_.reset();
    accept_agent();
    ASSERT_TRUE(push(good, 1));  // a valid state, so that its patience starts anew
  }
  EXPECT_EQ(child("agent"), agent);
}

TEST_F(PlanesTest, PublisherSurvivesHostilePeers) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "one"})));
  std::mt19937_64 random(3);
  for (int i = 0; i < 200; ++i) {
    const UniqueFd peer = unix_socket(socket_, false);
    for (int k = 0; k < 6; ++k) {
      PushFrame frame;
      frame.type = k == 0 ? FrameType::hello : static_cast<FrameType>(1 + random() % 7);
      frame.need_mask = static_cast<uint8_t>(random() % 8);
      auto* bytes = reinterpret_cast<uint8_t*>(&frame);
      for (size_t flips = random() % 3; flips > 0; --flips)
        bytes[random() % sizeof frame] ^= static_cast<uint8_t>(1u << random() % 8);
      const size_t size = random() % 8 == 0 ? 1 + random() % sizeof frame : sizeof frame;
      if (::send(peer.get(), bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    }
  }
  // The data plane proper has not noticed; the newest connection's word counts again once the strangers are gone.
  ASSERT_TRUE(eventually([&] { return heard().disconnects > 0; }));
  pid_t agent = 0;
  ASSERT_NO_FATAL_FAILURE(await_child("agent", agent));
  kill(agent, SIGKILL);
  ASSERT_TRUE(wait_ack(publish({.marker = "two"})));
  EXPECT_NE(ask(port("http")).find("marker two"), std::string::npos);
}

TEST_F(PlanesTest, PeersOfAnotherUidAreNotSpokenTo) {
  start_control();
  start_data({fmt::format("--control-uid={}", getuid() + 1)});
  publish({.marker = "one"});
  // It never says hello, so it is never told anything; its own port is up, so it has had its chance.
  EXPECT_FALSE(wait_for([](const Heard& heard) { return heard.report.acknowledged.boot != 0; }, 1));
}

}  // namespace
}  // namespace sluice::test
