// Two workers without processes, each with its loop, and the mailboxes between them.
#include "dataplane/worker/connection_balance.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

// A mailbox as the master makes it.
struct Pair {
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    written.reset(ends[0]);
    read.reset(ends[1]);
  }
  UniqueFd written, read;
};
UniqueFd copy_of(const UniqueFd& fd) { return UniqueFd(::dup(fd.get())); }

struct Side {
  Side(int memory, unsigned index)
      : balance(std::make_unique<ConnectionBalance>(rig.context, shared::WorkerLoads::map(memory).value(), index)) {
    rig.add_cluster("ns/web:80", {origin.port()});
    rig.add_route("a.example", "", "ns/web:80");
    rig.apply();
  }
  ~Side() {
    while (rig.context.connections != nullptr) rig.context.connections->close();
    balance.reset();
  }
  void turn() {
    rig.reactor.run_once(1);
    if (balance != nullptr) balance->after_batch(true);
  }
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  std::unique_ptr<ConnectionBalance> balance;
};

struct BalanceTest : ::testing::Test {
  UniqueFd memory = shared::WorkerLoads::make().value();
  shared::WorkerLoads loads = shared::WorkerLoads::map(memory.get()).value();
  Side first{memory.get(), 0}, second{memory.get(), 1};
  Pair to_first, to_second;
  UniqueFd listener = net::listen_on(*net::Address::parse("127.0.0.1")).value();
  std::vector<Client> clients;

  void introduce(Side& side, unsigned own) {
    std::vector<UniqueFd> mailboxes;
    mailboxes.push_back(copy_of(own == 0 ? to_first.read : to_first.written));
    mailboxes.push_back(copy_of(own == 1 ? to_second.read : to_second.written));
    side.balance->introduce(0, mailboxes);
  }
  void even() {
    introduce(first, 0);
    introduce(second, 1);
    for (Side* side : {&first, &second}) side->balance->configure(true);
    turn();
  }
  void turn(int times = 1) {
    for (int i = 0; i < times; ++i) {
      first.turn();
      second.turn();
    }
  }
  bool until(const std::function<bool()>& holds) {
    const uint64_t give_up = monotonic_ms() + 120'000;
    while (!holds() && monotonic_ms() < give_up) turn();
    return holds();
  }
  // A new client whose connection `by` accepts. True: it was handed over.
  bool accept(Side& by) {
    const net::Address address = *net::local_address(listener.get());
    UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage to;
    const socklen_t size = address.to_sockaddr(to);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
    UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const net::Address peer = *net::local_address(client.get());
    clients.emplace_back(std::move(client));
    if (keep_descriptors) kept.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (by.balance->hand_over(fd, address.port, false)) {
      EXPECT_FALSE(fd);
      return true;
    }
    EXPECT_TRUE(fd);
    ClientConnection::start(by.rig.context, std::move(fd), peer, address.port, false);
    return false;
  }
  bool serves(Client& client) {
    client.forget();
    client.send(kGet);
    return until([&] { return WorkerRig::answered(client.received()); }) &&
           client.received().starts_with("HTTP/1.1 200");
  }
  // As of an accepter that is not given the CPU between sending a descriptor and closing it.
  bool keep_descriptors = false;
  std::vector<UniqueFd> kept;
  static size_t count(Side& side) { return side.rig.context.connection_count; }
};

TEST_F(BalanceTest, OffNothingIsHandedOver) {
  introduce(first, 0);
  introduce(second, 1);
  turn();
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(accept(first));
  EXPECT_EQ(count(first), 4u);
  EXPECT_EQ(loads.load(0), 0u) << "nothing is even said";
  EXPECT_EQ(first.rig.page->handovers_done.get() + first.rig.page->handovers_kept.get(), 0u);
}

TEST_F(BalanceTest, AloneNothingIsHandedOver) {
  first.balance->configure(true);
  EXPECT_FALSE(accept(first));
  EXPECT_FALSE(accept(first));
  std::vector<UniqueFd> own;
  own.push_back(copy_of(to_first.read));
  first.balance->introduce(0, own);
  turn();
  EXPECT_FALSE(accept(first));
  EXPECT_EQ(loads.load(0), 0u);
}

// An event of a socket that somebody else still has must find no handler that is gone.
TEST_F(BalanceTest, WhatIsClosedHereIsNotWatchedHere) {
  even();
  keep_descriptors = true;
  EXPECT_FALSE(accept(first));
  ASSERT_TRUE(accept(first));
  Client& client = clients.back();
  ASSERT_TRUE(serves(client));
  ASSERT_EQ(count(second), 1u);
  second.rig.context.connections->close();
  turn(2);
  client.send(kGet);
  for (int i = 0; i < 20; ++i) {
    second.rig.reactor.run_once(1);
    EXPECT_EQ(second.rig.reactor.events(), 0);
  }
  kept.clear();
  EXPECT_TRUE(until([&] { return client.ended(); }));
}

TEST_F(BalanceTest, ConnectionsAreServedByWhoHasFewest) {
  even();
  for (int i = 0; i < 9; ++i) {
    accept(first);
    turn();
  }
  EXPECT_EQ(count(first), 5u);
  EXPECT_EQ(count(second), 4u);
  EXPECT_EQ(first.rig.page->handovers_done.get(), 4u);
  EXPECT_EQ(second.rig.page->connections_accepted.get(), 4u) << "counted where they are served";
  EXPECT_EQ(second.rig.page->handovers_done.get(), 0u);
  for (Client& client : clients) EXPECT_TRUE(serves(client));
  EXPECT_FALSE(second.origin.requests.empty());
  EXPECT_EQ(second.rig.context.connections->socket_peer().text().substr(0, 10), "127.0.0.1:");
}

// Before anybody looks into its mailbox.
TEST_F(BalanceTest, ABurstIsSpreadToo) {
  even();
  for (int i = 0; i < 40; ++i) accept(first);
  EXPECT_EQ(count(first), 20u);
  EXPECT_EQ(count(second), 0u);
  EXPECT_EQ(loads.load(1), 20u);
  ASSERT_TRUE(until([&] { return count(second) == 20; }));
  turn();
  EXPECT_EQ(loads.coming(1), 0);
  EXPECT_EQ(loads.load(1), 20u);
}

TEST_F(BalanceTest, WhoCannotTakeItLeavesItWithTheAccepter) {
  even();
  accept(first);
  ASSERT_EQ(::shutdown(to_second.read.get(), SHUT_RD), 0);
  EXPECT_FALSE(accept(first));
  EXPECT_EQ(first.rig.page->handovers_kept.get(), 1u);
  EXPECT_EQ(loads.coming(1), 0) << "the claim is given back";
  EXPECT_EQ(count(first), 2u);
  for (Client& client : clients) EXPECT_TRUE(serves(client));
}

TEST_F(BalanceTest, ADrainingWorkerServesWhatWasOnItsWay) {
  even();
  accept(first);
  EXPECT_TRUE(accept(first));
  second.rig.context.draining = true;
  second.balance->drain();
  EXPECT_EQ(count(second), 1u) << "at once: it may be about to end";
  EXPECT_FALSE(accept(first)) << "and is sent no more";
  EXPECT_FALSE(accept(second)) << "nor hands over what it accepts";
  EXPECT_TRUE(serves(clients[1]));
  EXPECT_NE(clients[1].received().find("Connection: close"), std::string::npos);
}

TEST_F(BalanceTest, ASuccessorFindsWhatWaits) {
  even();
  accept(first);
  EXPECT_TRUE(accept(first));
  second.balance.reset();  // dies without a look into its mailbox
  loads.clear(1);
  EXPECT_FALSE(accept(first)) << "nobody is there";
  EXPECT_EQ(loads.coming(1), 1);
  second.balance =
      std::make_unique<ConnectionBalance>(second.rig.context, shared::WorkerLoads::map(memory.get()).value(), 1);
  second.balance->configure(true);
  introduce(second, 1);
  ASSERT_TRUE(until([&] { return count(second) == 1; }));
  EXPECT_TRUE(serves(clients[1]));
  EXPECT_EQ(loads.coming(1), 0);
  EXPECT_TRUE(accept(first)) << "and it is handed more";
}

TEST_F(BalanceTest, WhatAWorkerWithoutSuccessorLeftIsServed) {
  even();
  accept(first);
  EXPECT_TRUE(accept(first));
  second.balance.reset();
  first.balance->take_over(copy_of(to_second.read));
  EXPECT_EQ(count(first), 2u);
  EXPECT_TRUE(serves(clients[1]));
  EXPECT_FALSE(accept(first)) << "the mailbox is shut, whatever the loads say";
  EXPECT_EQ(first.rig.page->handovers_kept.get(), 1u);
}

TEST_F(BalanceTest, WhatWasUnderWayWhenTheOptionChangedIsServed) {
  even();
  accept(first);
  EXPECT_TRUE(accept(first));
  for (Side* side : {&first, &second}) side->balance->configure(false);
  ASSERT_TRUE(until([&] { return count(second) == 1; }));
  EXPECT_TRUE(serves(clients[1]));
  EXPECT_FALSE(accept(second));
  EXPECT_FALSE(accept(second));
}

TEST_F(BalanceTest, WhoDoesNotListenOrHasNoDescriptorsIsHandedNothing) {
  even();
  accept(first);
  second.balance->after_batch(false);
  EXPECT_FALSE(accept(first));
  second.rig.context.descriptor_limit = 8;  // less than what is in use
  second.balance->after_batch(true);
  EXPECT_FALSE(accept(first));
  second.rig.context.descriptor_limit = 0;
  second.balance->after_batch(true);
  EXPECT_TRUE(accept(first));
}

TEST_F(BalanceTest, WhatIsNoConnectionIsCountedAndPassedOver) {
  even();
  accept(first);
  ASSERT_EQ(::send(to_second.written.get(), "nonsense", 8, 0), 8);
  EXPECT_TRUE(accept(first));
  ASSERT_TRUE(until([&] { return count(second) == 1; }));
  EXPECT_EQ(second.rig.page->handovers_refused.get(), 1u);
  EXPECT_TRUE(serves(clients[1]));
}

// Of a worker that died between its claim and its send.
TEST_F(BalanceTest, ALostClaimIsDropped) {
  even();
  accept(first);
  ASSERT_EQ(loads.claim(0, 2, first.rig.reactor.now_ms()), 1u);
  EXPECT_FALSE(accept(first)) << "one is on its way, as it seems";
  ASSERT_TRUE(until([&] { return loads.coming(1) == 0; }));
  EXPECT_TRUE(accept(first));
}

TEST_F(BalanceTest, AMailboxThatNobodyCanWriteToIsClosed) {
  even();
  const uint64_t now = second.rig.reactor.now_ms();
  loads.publish(0, 5, true, now);
  EXPECT_EQ(loads.claim(0, 2, now), 1u);
  loads.release(1);
  to_second.written.reset();
  first.balance.reset();  // the other copy
  second.turn();
  loads.publish(0, 5, true, now);
  EXPECT_EQ(loads.claim(0, 2, now), 0u);
}

// The last index of all hands over as the first does.
TEST_F(BalanceTest, EveryWorkerHandsOver) {
  even();
  accept(second);
  EXPECT_TRUE(accept(second));
  ASSERT_TRUE(until([&] { return count(first) == 1; }));
}

}  // namespace
}  // namespace sluice::worker
