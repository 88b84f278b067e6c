#include "dataplane/sync/mailbox.h"

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/net/socket.h"

namespace sluice::sync {
namespace {

struct MailboxTest : ::testing::Test {
  UniqueFd in, out;  // written, read
  UniqueFd listener = net::listen_on(*net::Address::parse("127.0.0.1")).value();
  uint16_t port = net::local_address(listener.get())->port;

  MailboxTest() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    in.reset(ends[0]);
    out.reset(ends[1]);
  }
  // A client and our end of its connection.
  struct Connection {
    UniqueFd client, ours;
  };
  Connection connect() {
    Connection made;
    made.client.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage to;
    net::Address address = *net::Address::parse("127.0.0.1");
    address.port = port;
    const socklen_t size = address.to_sockaddr(to);
    EXPECT_EQ(::connect(made.client.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
    made.ours.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return made;
  }
  void send_raw(const std::string& bytes, const std::vector<int>& fds) {
    iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 16)> control{};
    if (!fds.empty()) {
      header.msg_control = control.data();
      header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
      cmsghdr* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
      std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
    }
    ASSERT_EQ(::sendmsg(in.get(), &header, 0), static_cast<ssize_t>(bytes.size()));
  }
  Taken take() { return sync::take(out.get(), taken); }
  // What give() puts on the wire, so that the tests below change one thing each.
  std::string good_packet() {
    const Connection one = connect();
    EXPECT_TRUE(give(in.get(), one.ours.get(), port, true));
    std::array<char, 256> bytes;
    const ssize_t size = ::recv(out.get(), bytes.data(), bytes.size(), 0);
    return {bytes.data(), static_cast<size_t>(std::max<ssize_t>(0, size))};
  }
  HandedConnection taken;
};

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 512; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST_F(MailboxTest, AConnectionArrivesWithWhatIsKnownOfIt) {
  for (const bool tls : {false, true}) {
    Connection one = connect();
    ASSERT_TRUE(give(in.get(), one.ours.get(), port, tls));
    one.ours.reset();  // the sender's copy
    ASSERT_EQ(take(), Taken::connection);
    EXPECT_EQ(taken.local_port, port);
    EXPECT_EQ(taken.tls, tls);
    EXPECT_EQ(taken.peer, *net::local_address(one.client.get()));
    EXPECT_NE(::fcntl(taken.fd.get(), F_GETFD) & FD_CLOEXEC, 0);
    ASSERT_EQ(::send(one.client.get(), "hello", 5, MSG_NOSIGNAL), 5);
    std::array<char, 8> bytes;
    EXPECT_EQ(::recv(taken.fd.get(), bytes.data(), bytes.size(), 0), 5);
  }
  EXPECT_EQ(take(), Taken::nothing);
}

TEST_F(MailboxTest, WhatIsNoPacketOfOursIsClosed) {
  const std::string good = good_packet();
  const Connection one = connect();
  const int fd = one.ours.get();
  const int before = open_descriptors();
  auto verdict = [&](const std::string& bytes, const std::vector<int>& fds) {
    send_raw(bytes, fds);
    return take();
  };
  auto changed = [&](size_t at, char to) {
    std::string bytes = good;
    bytes.at(at) = to;
    return bytes;
  };
  EXPECT_EQ(verdict(good, {}), Taken::refused) << "none";
  EXPECT_EQ(verdict(good, {fd, fd}), Taken::refused) << "two";
  EXPECT_EQ(verdict(good, std::vector<int>(16, fd)), Taken::refused) << "many";
  EXPECT_EQ(verdict(good.substr(0, good.size() - 1), {fd}), Taken::refused) << "short";
  EXPECT_EQ(verdict(good + "x", {fd}), Taken::refused) << "long";
  EXPECT_EQ(verdict(good + std::string(4096, 'x'), {fd}), Taken::refused);
  EXPECT_EQ(verdict(changed(0, 'x'), {fd}), Taken::refused) << "magic";
  EXPECT_EQ(verdict(changed(6, 2), {fd}), Taken::refused) << "neither with TLS nor without";
  EXPECT_EQ(verdict(changed(7, 1), {fd}), Taken::refused) << "reserved";
  std::string no_port = good;
  no_port[4] = no_port[5] = 0;
  EXPECT_EQ(verdict(no_port, {fd}), Taken::refused);
  EXPECT_FALSE(taken.fd);
  EXPECT_EQ(open_descriptors(), before) << "all that came was closed";
  EXPECT_EQ(verdict(good, {fd}), Taken::connection) << "the next one is well";
}

TEST_F(MailboxTest, WhatIsNoConnectionIsClosed) {
  const std::string good = good_packet();
  int pipe_ends[2], pair[2];
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  const UniqueFd a(pipe_ends[0]), b(pipe_ends[1]), c(pair[0]), d(pair[1]);
  for (const int fd : {a.get(), c.get()}) {
    send_raw(good, {fd});
    EXPECT_EQ(take(), Taken::refused);
  }
  send_raw(good, {listener.get()});
  EXPECT_EQ(take(), Taken::gone) << "it has no peer";
  EXPECT_FALSE(taken.fd);
}

TEST_F(MailboxTest, AClientThatHasLeftIsNoError) {
  Connection one = connect();
  net::reset_on_close(one.client.get());
  ASSERT_TRUE(give(in.get(), one.ours.get(), port, false));
  one.client.reset();
  EXPECT_EQ(take(), Taken::gone);
}

TEST_F(MailboxTest, AFullOneTakesNoMoreAndWaitsForNobody) {
  const Connection one = connect();
  size_t sent = 0;
  while (sent < 100'000 && give(in.get(), one.ours.get(), port, false)) ++sent;
  EXPECT_GT(sent, 16u);
  EXPECT_LT(sent, 100'000u);
  EXPECT_FALSE(give(in.get(), one.ours.get(), port, false));
  ASSERT_EQ(take(), Taken::connection);
  EXPECT_TRUE(give(in.get(), one.ours.get(), port, false)) << "room again";
}

TEST_F(MailboxTest, ShutItLetsNothingInAndKeepsWhatItHas) {
  const Connection one = connect(), two = connect();
  ASSERT_TRUE(give(in.get(), one.ours.get(), port, false));
  ASSERT_TRUE(give(in.get(), two.ours.get(), port, true));
  shut(out.get());
  EXPECT_FALSE(give(in.get(), one.ours.get(), port, false));
  ASSERT_EQ(take(), Taken::connection);
  ASSERT_EQ(take(), Taken::connection);
  EXPECT_TRUE(taken.tls);
  EXPECT_EQ(take(), Taken::ended);
  EXPECT_FALSE(give(-1, one.ours.get(), port, false));
}

TEST_F(MailboxTest, ItEndsWithThoseWhoCouldSend) {
  const Connection one = connect();
  ASSERT_TRUE(give(in.get(), one.ours.get(), port, false));
  in.reset();
  ASSERT_EQ(take(), Taken::connection);
  EXPECT_EQ(take(), Taken::ended);
}

}  // namespace
}  // namespace sluice::sync
