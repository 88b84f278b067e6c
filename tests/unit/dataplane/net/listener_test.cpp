#include "dataplane/net/listener.h"

#include <functional>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "dataplane/net/socket.h"
#include "dataplane/net/transport.h"

namespace sluice::net {
namespace {

struct Accepted final : AcceptHandler {
  std::vector<UniqueFd> fds;
  std::vector<Address> peers;
  std::function<void()> action;
  void on_accept(UniqueFd fd, const Address& peer) override {
    fds.push_back(std::move(fd));
    peers.push_back(peer);
    if (action) action();
  }
};

class ListenerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto fd = listen_on(*Address::parse(GetParam()));
    if (!fd) GTEST_SKIP() << fd.error().message;
    where_ = *local_address(fd->get());
    listener_ = std::make_unique<Listener>(reactor_, std::move(*fd), accepted_);
    ASSERT_TRUE(listener_->ok());
  }
  void run(size_t wanted) {
    for (int i = 0; i < 1000 && accepted_.fds.size() < wanted; ++i) reactor_.run_once(20);
  }
  Reactor reactor_;
  Accepted accepted_;
  Address where_;
  std::unique_ptr<Listener> listener_;
};
INSTANTIATE_TEST_SUITE_P(Families, ListenerTest, ::testing::Values("127.0.0.1", "::1"));

TEST_P(ListenerTest, AcceptsManyWithTheirAddresses) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(start_connect(where_));
  run(200);
  ASSERT_EQ(accepted_.fds.size(), 200u);
  for (size_t i = 0; i < 200; ++i) EXPECT_EQ(accepted_.peers[i], *local_address(clients[i].get()));
  int value = 0;
  socklen_t size = sizeof value;
  ASSERT_EQ(getsockopt(accepted_.fds[0].get(), IPPROTO_TCP, TCP_NODELAY, &value, &size), 0);
  EXPECT_NE(value, 0);
  EXPECT_NE(fcntl(accepted_.fds[0].get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(accepted_.fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(listener_->local(), where_);
}

TEST_P(ListenerTest, PausedConnectionsWaitInTheQueue) {
  listener_->pause();
  UniqueFd client = start_connect(where_);
  for (int i = 0; i < 5; ++i) reactor_.run_once(5);
  EXPECT_EQ(accepted_.fds.size(), 0u);
  listener_->resume();
  run(1);
  EXPECT_EQ(accepted_.fds.size(), 1u);
}

TEST_P(ListenerTest, TheHandlerMayPauseOrDestroyIt) {
  accepted_.action = [&] { listener_->pause(); };
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(start_connect(where_));
  for (int i = 0; i < 10; ++i) reactor_.run_once(5);
  EXPECT_EQ(accepted_.fds.size(), 1u);
  accepted_.action = [&] { listener_.reset(); };
  listener_->resume();
  for (int i = 0; i < 10; ++i) reactor_.run_once(5);
  EXPECT_EQ(accepted_.fds.size(), 2u);
}

TEST_P(ListenerTest, WithoutDescriptorsClientsAreClosedAndLaterOnesServed) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(start_connect(where_));
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  std::vector<UniqueFd> filler;
  const UniqueFd top(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  rlimit tight = old;
  tight.rlim_cur = static_cast<rlim_t>(top.get()) + 1;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  for (int fd; (fd = ::dup(top.get())) >= 0;) filler.emplace_back(fd);
  for (int i = 0; i < 50 && listener_->refused() < 3; ++i) reactor_.run_once(20);
  EXPECT_EQ(listener_->refused(), 3u);
  EXPECT_EQ(accepted_.fds.size(), 0u);
  setrlimit(RLIMIT_NOFILE, &old);
  filler.clear();
  char byte;
  EXPECT_LE(::recv(clients[0].get(), &byte, 1, 0), 0);
  clients.push_back(start_connect(where_));
  run(1);
  EXPECT_EQ(accepted_.fds.size(), 1u);
}

TEST_P(ListenerTest, WithoutEvenTheReserveItRestsAndComesBack) {
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(start_connect(where_));
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
  rlimit none = old;
  none.rlim_cur = 0;  // also what its reserve gives back is beyond this
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  for (int i = 0; i < 10; ++i) reactor_.run_once(20);
  setrlimit(RLIMIT_NOFILE, &old);
  EXPECT_EQ(accepted_.fds.size(), 0u);
  run(3);
  EXPECT_EQ(accepted_.fds.size(), 3u) << "they waited in the queue";
  EXPECT_EQ(listener_->refused(), 0u);
}

TEST(Socket, TwoSocketsShareAPort) {
  auto first = listen_on(*Address::parse("127.0.0.1"));
  ASSERT_TRUE(first);
  Address where = *local_address(first->get());
  EXPECT_TRUE(listen_on(where));
  auto clash = listen_on(where, {.reuse_port = false, .backlog = 1});
  ASSERT_FALSE(clash);
  EXPECT_NE(clash.error().message.find(where.text()), std::string::npos) << clash.error().message;
}

}  // namespace
}  // namespace sluice::net
