#include "dataplane/sync/messages.h"

#include <cstring>
#include <functional>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::sync {
namespace {

struct Pair {
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    here.reset(ends[0]);
    there.reset(ends[1]);
  }
  UniqueFd here, there;
};

Message sample() {
  Message message;
  message.type = MessageType::apply;
  message.id.boot = 7;
  message.id.sequence = 42;
  message.workers_wanted = 2;
  message.listener_count = 1;
  std::strcpy(message.listeners[0].name, "http");
  std::strcpy(message.text, "well");
  return message;
}

// Empty: taken.
std::string verdict(const Message& message) {
  Pair pair;
  EXPECT_TRUE(send(pair.here.get(), message));
  const auto received = receive(pair.there.get());
  return received ? "" : received.error().message;
}
std::string verdict(const std::function<void(Message&)>& change) {
  Message message = sample();
  change(message);
  return verdict(message);
}

// A packet as no sender of ours makes it.
void send_raw(int socket, const void* data, size_t size, const std::vector<int>& fds = {}) {
  iovec part{const_cast<void*>(data), size};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * (kMaxFds + 8))]{};
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
  }
  ASSERT_EQ(::sendmsg(socket, &header, 0), static_cast<ssize_t>(size));
}

bool same_file(int a, int b) {
  const UniqueFd probe(::dup(a));
  EXPECT_EQ(::fcntl(probe.get(), F_SETFL, O_APPEND), 0);  // a flag of the open file, which both share
  const bool same = (::fcntl(b, F_GETFL) & O_APPEND) != 0;
  EXPECT_EQ(::fcntl(probe.get(), F_SETFL, 0), 0);
  return same;
}

TEST(Messages, ArriveWithTheirDescriptorsInOrder) {
  Pair pair;
  std::vector<UniqueFd> files;
  std::vector<int> raw;
  for (size_t i = 0; i < kMaxFds; ++i) raw.push_back(files.emplace_back(::open("/dev/null", O_RDWR | O_CLOEXEC)).get());
  ASSERT_TRUE(send(pair.here.get(), sample(), raw));
  const auto received = receive(pair.there.get());
  ASSERT_TRUE(received) << received.error().message;
  EXPECT_EQ(received->message.type, MessageType::apply);
  EXPECT_EQ(received->message.id.sequence, 42u);
  EXPECT_EQ(received->message.listeners[0], sample().listeners[0]);
  EXPECT_STREQ(received->message.text, "well");
  ASSERT_EQ(received->fd_count, kMaxFds);
  for (size_t i = 0; i < kMaxFds; ++i) {
    EXPECT_TRUE(same_file(received->fds[i].get(), raw[i])) << i;
    EXPECT_NE(::fcntl(received->fds[i].get(), F_GETFD) & FD_CLOEXEC, 0);
  }
}

TEST(Messages, NothingThereIsNoError) {
  Pair pair;
  const auto received = receive(pair.there.get());
  ASSERT_TRUE(received);
  EXPECT_EQ(received->message.type, MessageType::none);
}

TEST(Messages, AClosedPeerIsSaid) {
  Pair pair;
  pair.here.reset();
  const auto received = receive(pair.there.get());
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().message, "closed");
  EXPECT_FALSE(send(pair.there.get(), sample()));
}

TEST(Messages, MoreDescriptorsThanAllowed) {
  const std::vector<int> one_more(kMaxFds + 1, STDERR_FILENO), many_more(kMaxFds + 8, STDERR_FILENO);
  Pair pair;
  EXPECT_FALSE(send(pair.here.get(), sample(), one_more));
  const Message message = sample();
  for (const auto& fds : {one_more, many_more}) {
    const int before = ::dup(STDERR_FILENO);
    ::close(before);
    send_raw(pair.here.get(), &message, sizeof message, fds);
    EXPECT_FALSE(receive(pair.there.get()));
    const int after = ::dup(STDERR_FILENO);
    ::close(after);
    EXPECT_EQ(before, after) << "a descriptor leaked";
  }
}

TEST(Messages, PacketsOfAnotherSize) {
  std::vector<char> bytes(sizeof(Message) + 64);
  const Message message = sample();
  std::memcpy(bytes.data(), &message, sizeof message);
  Pair pair;
  for (const size_t size : {size_t{1}, sizeof(Message) / 2, sizeof(Message) - 1, sizeof(Message) + 1, bytes.size()}) {
    send_raw(pair.here.get(), bytes.data(), size);
    EXPECT_FALSE(receive(pair.there.get())) << size;
  }
  send_raw(pair.here.get(), bytes.data(), sizeof(Message));
  EXPECT_TRUE(receive(pair.there.get()));
}

TEST(Messages, FieldsOutOfBoundsAreRefused) {
  EXPECT_EQ(verdict(sample()), "");
  EXPECT_NE(verdict([](Message& m) { ++m.magic; }), "");
  EXPECT_NE(verdict([](Message& m) { m.type = MessageType::none; }), "");
  EXPECT_EQ(verdict([](Message& m) { m.type = MessageType::reopen; }), "");
  EXPECT_NE(
      verdict([](Message& m) { m.type = static_cast<MessageType>(static_cast<int>(MessageType::mailbox_left) + 1); }),
      "");
  EXPECT_EQ(verdict([](Message& m) { m.level = 4; }), "");
  EXPECT_NE(verdict([](Message& m) { m.level = 5; }), "");
  EXPECT_EQ(verdict([](Message& m) { m.listener_count = kMaxListeners; }), "");
  EXPECT_NE(verdict([](Message& m) { m.listener_count = kMaxListeners + 1; }), "");
  EXPECT_EQ(verdict([](Message& m) { m.workers_wanted = kMaxWorkers; }), "");
  EXPECT_NE(verdict([](Message& m) { m.workers_wanted = kMaxWorkers + 1; }), "");
  EXPECT_NE(verdict([](Message& m) { std::memset(m.text, 'x', sizeof m.text); }), "");
  EXPECT_NE(verdict([](Message& m) { std::memset(m.listeners.back().name, 'x', sizeof m.listeners.back().name); }), "");
  EXPECT_EQ(verdict([](Message& m) { m.sizes.back() = ir::kMaxPartBytes; }), "");
  EXPECT_NE(verdict([](Message& m) { m.sizes.back() = ir::kMaxPartBytes + 1; }), "");
}

}  // namespace
}  // namespace sluice::sync
