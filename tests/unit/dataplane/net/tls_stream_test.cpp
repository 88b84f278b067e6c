// Bytes through an established TLS connection: records, back-pressure, ends, and the client side.
#include <netinet/in.h>
#include <poll.h>

#include "dataplane/net/socket.h"
#include "tests/unit/dataplane/net/tls_fixture.h"

namespace sluice::net::test {
namespace {

std::string pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return text;
}

class TlsStreamTest : public ::testing::TestWithParam<int> {
 protected:
  TlsStreamTest() { state_.certificate("ns/a", made_).host("a.example", "ns/a").apply(tls_); }
  ClientOptions options() { return {.name = "a.example", .version = GetParam()}; }
  std::unique_ptr<shared::CounterPage, Unmap> page_ = make_page();
  Made made_{"a", "DNS:a.example"};
  State state_;
  TlsServer tls_{*page_};
};
INSTANTIATE_TEST_SUITE_P(Versions, TlsStreamTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) { return info.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(TlsStreamTest, SmallMessagesBothWays) {
  Connection c(tls_, options());
  ASSERT_TRUE(c.good);
  EXPECT_EQ(c.server_receive(), "");
  EXPECT_EQ(c.last.state, Io::again);
  c.client_send("request");
  EXPECT_EQ(c.server_receive(), "request");
  EXPECT_EQ(c.last.state, Io::ok);
  EXPECT_TRUE(c.last.drained);
  EXPECT_FALSE(c.server->readable_now());
  const std::string head = "head ", body = "body";
  const iovec parts[] = {{const_cast<char*>(head.data()), 5}, {const_cast<char*>(body.data()), 4}};
  EXPECT_EQ(c.server->write(parts).bytes, 9u);
  EXPECT_EQ(c.server->pending(), 0u);
  char buffer[64];
  EXPECT_EQ(SSL_read(c.client.get(), buffer, sizeof buffer), 9) << "head and body are one record";
}

TEST_P(TlsStreamTest, ManyRecordsFitOneRead) {
  Connection c(tls_, options());
  const std::string big = pattern(60'000);
  c.client_send(big);
  EXPECT_TRUE(c.server_receive() == big);
  EXPECT_TRUE(c.last.drained);
}

TEST_P(TlsStreamTest, WhatDoesNotFitStaysReadable) {
  Connection c(tls_, options());
  c.client_send(pattern(40'000));
  std::string got = c.server_receive(1000);
  EXPECT_EQ(got.size(), 1000u);
  EXPECT_FALSE(c.last.drained);
  EXPECT_TRUE(c.server->readable_now());
  // Another connection uses the shared buffer meanwhile.
  Connection other(tls_, options());
  other.client_send("other");
  EXPECT_EQ(other.server_receive(), "other");
  while (c.server->readable_now()) got += c.server_receive(777);
  while (got.size() < 40'000) {
    const std::string more = c.server_receive(30'000);
    ASSERT_EQ(c.last.state, Io::ok);
    got += more;
  }
  EXPECT_TRUE(got == pattern(40'000));
}

TEST_P(TlsStreamTest, LargeWritesArePendingUntilFlushed) {
  Connection c(tls_, options());
  const std::string big = pattern(2'000'000);
  c.server_send(big);
  EXPECT_GT(c.server->pending(), 0u);
  EXPECT_TRUE(c.server->wants_write());
  c.server_send("tail");
  std::string got = c.client_receive();
  for (int i = 0; i < 1000 && c.server->pending() != 0; ++i) {
    ASSERT_NE(c.server->flush().state, Io::error);
    got += c.client_receive();
  }
  EXPECT_TRUE(got == big + "tail");
  EXPECT_FALSE(c.server->wants_write());
}

TEST_P(TlsStreamTest, CloseNotifyIsACleanEnd) {
  Connection c(tls_, options());
  c.client_send("last");
  SSL_shutdown(c.client.get());
  EXPECT_EQ(c.server_receive(), "last");
  EXPECT_FALSE(c.last.drained);
  EXPECT_EQ(c.server_receive(), "");
  EXPECT_EQ(c.last.state, Io::eof);
  EXPECT_FALSE(c.server->truncated());
  // The other direction still works (half-close).
  c.server_send("answer");
  c.server->shutdown_write();
  EXPECT_EQ(c.client_receive(), "answer");
  EXPECT_NE(SSL_get_shutdown(c.client.get()) & SSL_RECEIVED_SHUTDOWN, 0);
}

TEST_P(TlsStreamTest, TheLastWriteSaysTheEnd) {
  Connection c(tls_, options());
  std::string text = "answer";
  const iovec part{text.data(), text.size()};
  EXPECT_EQ(c.server->write_last({&part, 1}).bytes, text.size());
  EXPECT_EQ(c.server->write({&part, 1}).state, Io::error) << "nothing may follow";
  c.server->say_end();  // said once
  c.server.reset();
  EXPECT_EQ(c.client_receive(), "answer");
  EXPECT_NE(SSL_get_shutdown(c.client.get()) & SSL_RECEIVED_SHUTDOWN, 0);
  char byte;
  EXPECT_EQ(::read(c.client_fd.get(), &byte, 1), 0);
}

TEST_P(TlsStreamTest, ALastWriteThatTheSocketDoesNotTakeEndsAfterIt) {
  Connection c(tls_, options());
  std::string big = pattern(1'500'000);
  const iovec part{big.data(), big.size()};
  EXPECT_EQ(c.server->write_last({&part, 1}).bytes, big.size());
  std::string got;
  for (int i = 0; i < 1000 && c.server->pending() != 0; ++i) {
    got += c.client_receive();
    ASSERT_NE(c.server->flush().state, Io::error);
  }
  c.server->shutdown_write();
  got += c.client_receive();
  EXPECT_TRUE(got == big);
  EXPECT_NE(SSL_get_shutdown(c.client.get()) & SSL_RECEIVED_SHUTDOWN, 0);
  char byte;
  EXPECT_EQ(::read(c.client_fd.get(), &byte, 1), 0);
}

TEST_P(TlsStreamTest, AFinWithoutCloseNotifyIsTruncation) {
  Connection c(tls_, options());
  c.client_send("cut");
  ::shutdown(c.client_fd.get(), SHUT_WR);
  EXPECT_EQ(c.server_receive(), "cut");
  EXPECT_EQ(c.server_receive(), "");
  EXPECT_EQ(c.last.state, Io::eof);
  EXPECT_TRUE(c.server->truncated());
}

TEST_P(TlsStreamTest, CloseNotifyFollowsWhatIsPending) {
  Connection c(tls_, options());
  const std::string big = pattern(1'500'000);
  c.server_send(big);
  c.server->shutdown_write();
  std::string got;
  for (int i = 0; i < 1000; ++i) {
    got += c.client_receive();
    if (c.server->pending() == 0) break;
    ASSERT_NE(c.server->flush().state, Io::error);
  }
  got += c.client_receive();
  EXPECT_TRUE(got == big);
  EXPECT_NE(SSL_get_shutdown(c.client.get()) & SSL_RECEIVED_SHUTDOWN, 0);
  char byte;
  EXPECT_EQ(::read(c.client_fd.get(), &byte, 1), 0);
}

TEST_P(TlsStreamTest, ADamagedRecordIsAnErrorWithAnAlert) {
  Connection c(tls_, options());
  // A record that cannot be authentic.
  const std::string record = std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x');
  ASSERT_EQ(::write(c.client_fd.get(), record.data(), record.size()), static_cast<ssize_t>(record.size()));
  EXPECT_EQ(c.server_receive(), "");
  EXPECT_EQ(c.last.state, Io::error);
  EXPECT_NE(c.server->error_code(), 0);
  char buffer[16];
  EXPECT_LE(SSL_read(c.client.get(), buffer, sizeof buffer), 0);
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
  ERR_clear_error();
}

TEST_P(TlsStreamTest, RenegotiationIsRefused) {
  if (GetParam() != TLS1_2_VERSION) GTEST_SKIP() << "TLS 1.3 has none";
  Connection c(tls_, options());
  SSL_renegotiate(c.client.get());
  SSL_do_handshake(c.client.get());
  c.server_receive();
  SSL_do_handshake(c.client.get());
  EXPECT_EQ(ERR_GET_REASON(ERR_peek_error()), SSL_R_NO_RENEGOTIATION);
  ERR_clear_error();
}

TEST_P(TlsStreamTest, KeyUpdatesAreAnsweredButNotWithoutEnd) {
  if (GetParam() != TLS1_3_VERSION) GTEST_SKIP() << "TLS 1.2 has none";
  Connection c(tls_, options());
  SSL_key_update(c.client.get(), SSL_KEY_UPDATE_REQUESTED);
  c.client_send("new keys");
  EXPECT_EQ(c.server_receive(), "new keys");
  c.server_send("fine");
  EXPECT_EQ(c.client_receive(), "fine");
  // A peer that reads nothing and asks again and again.
  c.server_send(pattern(1'000'000));
  ASSERT_GT(c.server->pending(), 0u);
  const size_t before = c.server->pending();
  Io state = Io::ok;
  for (int i = 0; i < 20'000 && state != Io::error; ++i) {
    SSL_key_update(c.client.get(), SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(c.client.get());
    c.server_receive();
    state = c.last.state;
    ASSERT_LT(c.server->pending(), before + 200'000);
  }
  EXPECT_EQ(state, Io::error);
}

TEST_P(TlsStreamTest, ARequestWithTheFinishedIsReadAtOnce) {
  if (GetParam() != TLS1_3_VERSION) GTEST_SKIP();
  Sockets sockets;
  auto server = tls_.make_server(std::move(sockets.server));
  const ContextPtr context(SSL_CTX_new(TLS_client_method()));
  const SslPtr client(SSL_new(context.get()));
  SSL_set_fd(client.get(), sockets.client.get());
  SSL_set_tlsext_host_name(client.get(), "a.example");
  EXPECT_EQ(SSL_connect(client.get()), -1);
  EXPECT_EQ(server->handshake().state, Io::again);
  ASSERT_EQ(SSL_connect(client.get()), 1);
  ASSERT_EQ(SSL_write(client.get(), "GET", 3), 3);
  ASSERT_EQ(server->handshake().state, Io::ok);
  EXPECT_TRUE(server->readable_now());
  EXPECT_FALSE(server->wants_write());
  char buffer[100];
  const IoResult got = server->read(buffer);
  EXPECT_EQ(std::string_view(buffer, got.bytes), "GET");
  char answer[] = "answer";
  const iovec part{answer, 6};
  EXPECT_EQ(server->write({&part, 1}).state, Io::ok);
  EXPECT_EQ(SSL_read(client.get(), buffer, sizeof buffer), 6);
}

// ---------------------------------------------------------------- client side

struct ClientResult {
  Io state;
  std::string answer;
};

class TlsClientTest : public ::testing::Test {
 protected:
  TlsClientTest() {
    state_.certificate("ns/leaf", leaf_).certificate("ns/ip", ip_);
    state_.host("a.example", "ns/leaf").host("b.example", "ns/leaf");
    state_.table.default_certificate = "ns/ip";
    state_.apply(tls_);
  }
  ClientResult exchange(const TlsClientOptions& options, std::string_view name) {
    auto context = TlsClientContext::make(options);
    EXPECT_TRUE(context) << context.error().message;
    Sockets sockets;
    auto server = tls_.make_server(std::move(sockets.server));
    auto client = make_client(std::move(sockets.client), *context, name, name, {});
    IoResult ours{.state = Io::again}, theirs{.state = Io::again};
    std::string question = "question";
    const iovec part{question.data(), question.size()};
    for (int i = 0; i < 10 && ours.state == Io::again; ++i) {
      ours = client->handshake();
      theirs = server->handshake();
    }
    if (ours.state != Io::ok) return {ours.state, ""};
    EXPECT_FALSE(client->wants_write());
    EXPECT_EQ(client->write({&part, 1}).state, Io::ok);
    for (int i = 0; i < 10 && theirs.state == Io::again; ++i) theirs = server->handshake();
    EXPECT_EQ(theirs.state, Io::ok);
    char buffer[100];
    const IoResult got = server->read(buffer);
    EXPECT_EQ(std::string_view(buffer, got.bytes), question);
    seen_name_ = server->server_name();
    char answer[] = "answer";
    const iovec back{answer, 6};
    EXPECT_EQ(server->write({&back, 1}).state, Io::ok);
    const IoResult received = client->read(buffer);
    return {received.state, std::string(buffer, received.bytes)};
  }
  std::unique_ptr<shared::CounterPage, Unmap> page_ = make_page();
  Made root_{"root"};
  Made leaf_{"leaf", "DNS:a.example", &root_};
  Made ip_{"ip", "IP:192.0.2.7", &root_};
  State state_;
  TlsServer tls_{*page_};
  std::string seen_name_;
};

TEST_F(TlsClientTest, VerifiesChainAndName) {
  const TlsClientOptions trusting{.verify = true, .ca_pem = root_.chain, .ciphers = ""};
  const ClientResult good = exchange(trusting, "a.example");
  EXPECT_EQ(good.state, Io::ok);
  EXPECT_EQ(good.answer, "answer");
  EXPECT_EQ(seen_name_, "a.example");
  EXPECT_EQ(exchange(trusting, "b.example").state, Io::error) << "the certificate is for another name";
  EXPECT_EQ(exchange({.verify = true, .ca_pem = "", .ciphers = ""}, "a.example").state, Io::error)
      << "unknown authority";
  EXPECT_EQ(exchange({.verify = false, .ca_pem = "", .ciphers = ""}, "b.example").answer, "answer");
}

TEST_F(TlsClientTest, AddressesAreVerifiedAndNotSentAsName) {  // RFC 6066 section 3
  const TlsClientOptions trusting{.verify = true, .ca_pem = root_.chain, .ciphers = ""};
  EXPECT_EQ(exchange(trusting, "192.0.2.7").answer, "answer");
  EXPECT_EQ(seen_name_, "");
  EXPECT_EQ(exchange(trusting, "192.0.2.8").state, Io::error);
}

TEST_F(TlsClientTest, UnusableNamesAndAuthoritiesAreRefused) {
  auto context = TlsClientContext::make({.verify = true, .ca_pem = root_.chain, .ciphers = ""});
  ASSERT_TRUE(context);
  EXPECT_EQ(make_client(UniqueFd(), *context, "", "", {}), nullptr);
  EXPECT_EQ(make_client(UniqueFd(), *context, "", std::string(300, 'a'), {}), nullptr);
  EXPECT_FALSE(TlsClientContext::make({.verify = true, .ca_pem = "garbage", .ciphers = ""}));
  EXPECT_FALSE(TlsClientContext::make({.verify = true, .ca_pem = "", .ciphers = "NOTHING"}));
}

TEST_F(TlsClientTest, ConnectsOverTcp) {
  auto listening = listen_on(*Address::parse("127.0.0.1"));
  ASSERT_TRUE(listening);
  auto context = TlsClientContext::make({.verify = true, .ca_pem = root_.chain, .ciphers = ""});
  auto client = make_client(start_connect(*local_address(listening->get())), *context, "a.example", "a.example", {});
  std::unique_ptr<Transport> server;
  IoResult ours{.state = Io::again}, theirs{.state = Io::again};
  for (int i = 0; i < 200 && ours.state == Io::again; ++i) {
    ours = client->handshake();
    if (server == nullptr) {
      UniqueFd fd(::accept4(listening->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd) server = tls_.make_server(std::move(fd));
    }
    if (server != nullptr) theirs = server->handshake();
    pollfd p{client->fd(), POLLIN, 0};
    if (ours.state == Io::again) poll(&p, 1, 5);
  }
  EXPECT_EQ(ours.state, Io::ok);
  listening->reset();
  auto refused = make_client(start_connect(*Address::parse("127.0.0.1")), *context, "a.example", "a.example", {});
  EXPECT_NE(refused->handshake().state, Io::ok);
}

}  // namespace
}  // namespace sluice::net::test
