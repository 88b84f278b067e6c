#include <cerrno>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/socket.h"
#include "dataplane/net/transport.h"

namespace sluice::net {
namespace {

struct Ends {
  std::unique_ptr<Transport> ours;
  UniqueFd theirs;
  Ends() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    ours = make_plain(UniqueFd(fds[0]), true);
    theirs.reset(fds[1]);
  }
  std::string take() {
    std::string all;
    char buffer[65536];
    for (ssize_t n; (n = ::read(theirs.get(), buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
    return all;
  }
};
iovec part(const std::string& text) { return {const_cast<char*>(text.data()), text.size()}; }
std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return text;
}

TEST(Plain, GathersAndReads) {
  Ends ends;
  const std::string head = "head ", body = "body";
  const iovec parts[] = {part(head), part(body)};
  IoResult result = ends.ours->write(parts);
  EXPECT_EQ(result.state, Io::ok);
  EXPECT_EQ(result.bytes, 9u);
  EXPECT_EQ(ends.ours->pending(), 0u);
  EXPECT_EQ(ends.take(), "head body");
  ASSERT_EQ(::write(ends.theirs.get(), "answer", 6), 6);
  char buffer[32];
  result = ends.ours->read(buffer);
  EXPECT_EQ(result.state, Io::ok);
  EXPECT_EQ(std::string_view(buffer, result.bytes), "answer");
  EXPECT_TRUE(result.drained);
  EXPECT_EQ(ends.ours->read(buffer).state, Io::again);
}

TEST(Plain, AFullReadIsNotDrained) {
  Ends ends;
  ASSERT_EQ(::write(ends.theirs.get(), "abcdef", 6), 6);
  char buffer[4];
  IoResult result = ends.ours->read(buffer);
  EXPECT_EQ(result.bytes, 4u);
  EXPECT_FALSE(result.drained);
}

TEST(Plain, EndOfStream) {
  Ends ends;
  ends.theirs.reset();
  char buffer[4];
  EXPECT_EQ(ends.ours->read(buffer).state, Io::eof);
  EXPECT_FALSE(ends.ours->truncated());
  const std::string text = "x";
  const iovec one = part(text);
  EXPECT_EQ(ends.ours->write({&one, 1}).state, Io::error);
  EXPECT_EQ(ends.ours->error_code(), EPIPE);
}

TEST(Plain, WhatTheKernelDoesNotTakeIsKeptInOrder) {
  Ends ends;
  const std::string big = pattern(3 * 1024 * 1024), more = pattern(1000);
  const iovec parts[] = {part(more), part(big)};
  EXPECT_EQ(ends.ours->write(parts).bytes, big.size() + more.size());
  EXPECT_GT(ends.ours->pending(), 0u);
  EXPECT_TRUE(ends.ours->wants_write());
  const iovec tail = part(more);
  EXPECT_EQ(ends.ours->write({&tail, 1}).bytes, more.size());
  ends.ours->shutdown_write();
  std::string got;
  while (ends.ours->pending() != 0) {
    got += ends.take();
    const IoResult result = ends.ours->flush();
    ASSERT_NE(result.state, Io::error);
    EXPECT_EQ(result.state == Io::ok, ends.ours->pending() == 0);
  }
  got += ends.take();
  EXPECT_TRUE(got == more + big + more);
  EXPECT_FALSE(ends.ours->wants_write());
  char buffer[1];
  EXPECT_EQ(::read(ends.theirs.get(), buffer, 1), 0) << "the FIN follows what was pending";
}

TEST(Plain, ConnectsAndReportsARefusal) {
  auto listening = listen_on(*Address::parse("127.0.0.1"), {.reuse_port = false, .backlog = 8});
  ASSERT_TRUE(listening) << listening.error().message;
  const Address where = *local_address(listening->get());
  ASSERT_NE(where.port, 0);
  auto connect = [&] {
    auto transport = make_plain(start_connect(where));
    EXPECT_TRUE(transport->wants_write());
    IoResult result = transport->handshake();
    for (int i = 0; i < 100 && result.state == Io::again; ++i) {
      pollfd p{transport->fd(), POLLOUT, 0};
      poll(&p, 1, 1000);
      result = transport->handshake();
    }
    EXPECT_EQ(transport->wants_write(), result.state != Io::ok);
    return std::pair(result.state, transport->error_code());
  };
  EXPECT_EQ(connect().first, Io::ok);
  listening->reset();
  EXPECT_EQ(connect(), std::pair(Io::error, ECONNREFUSED));
}

TEST(PendingBuffer, BehavesLikeAQueueOfBytes) {
  PendingBuffer buffer;
  std::string model;
  const std::string source = pattern(300'000);
  uint32_t random = 12345;
  size_t taken = 0;
  for (int i = 0; i < 5000; ++i) {
    random = random * 1664525 + 1013904223;
    const size_t count = (random >> 8) % (i % 50 == 0 ? 200'000 : 3000);
    if (random & 1) {
      buffer.append(source.data(), count);
      model.append(source, 0, count);
    } else {
      const size_t n = std::min(count, model.size() - taken);
      ASSERT_EQ(std::string_view(buffer.data(), n), std::string_view(model).substr(taken, n));
      if (n != 0) buffer.consume(n);
      taken += n;
    }
    ASSERT_EQ(buffer.size(), model.size() - taken);
    if (taken > 1'000'000) {
      model.erase(0, taken);
      taken = 0;
    }
  }
}

}  // namespace
}  // namespace sluice::net
