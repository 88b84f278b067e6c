// Which certificate, which session, which version: the choices of the server side.
#include <algorithm>

#include <gmock/gmock.h>

#include "tests/unit/dataplane/net/tls_fixture.h"

namespace sluice::net::test {
namespace {

using ::testing::HasSubstr;

class TlsServerTest : public ::testing::TestWithParam<int> {
 protected:
  static void SetUpTestSuite() {
    a_ = new Made("a", "DNS:a.example");
    b_ = new Made("b", "DNS:b.example");
    wild_ = new Made("wild", "DNS:*.wild.example");
    other_ = new Made("other", "DNS:other.example");
  }
  TlsServerTest() {
    state_.certificate("ns/a", *a_).certificate("ns/b", *b_).certificate("ns/wild", *wild_);
    state_.host("a.example", "ns/a").host("b.example", "ns/b").host("*.wild.example", "ns/wild");
  }
  std::string shown(const std::string& name) {
    Connection connection(server_, {.name = name, .version = GetParam()});
    EXPECT_TRUE(connection.good) << name;
    return connection.shown();
  }
  // Gives the client its tickets (TLS 1.3 sends them after the handshake).
  static void drain(Connection& connection) {
    connection.server_send("x");
    EXPECT_EQ(connection.client_receive(), "x");
  }
  static inline Made *a_, *b_, *wild_, *other_;
  std::unique_ptr<shared::CounterPage, Unmap> page_ = make_page();
  shared::TicketKeyPage keys_;
  State state_;
  TlsServer server_{*page_, &keys_};
};
INSTANTIATE_TEST_SUITE_P(Versions, TlsServerTest, ::testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& info) { return info.param == TLS1_2_VERSION ? "Tls12" : "Tls13"; });

TEST_P(TlsServerTest, TellsWhichHostsAConnectionSpeaksFor) {
  state_.host("same.example", "ns/a").certificate("ns/other", *other_).table.default_certificate = "ns/other";
  EXPECT_TRUE(state_.apply(server_).empty());
  EXPECT_TRUE(server_.same_settings("a.example", "a.example"));
  EXPECT_TRUE(server_.same_settings("a.example", "same.example"));
  EXPECT_FALSE(server_.same_settings("a.example", "b.example"));
  EXPECT_TRUE(server_.same_settings("x.wild.example", "y.wild.example"));
  EXPECT_FALSE(server_.same_settings("x.wild.example", "y.x.wild.example"));
  EXPECT_FALSE(server_.same_settings("a.example", "plain.example")) << "without settings of its own: the default";
  EXPECT_TRUE(server_.same_settings("one.example", "two.example"));
  EXPECT_FALSE(server_.same_settings("", "a.example"));
  EXPECT_TRUE(server_.same_settings("", "192.0.2.1"));
  EXPECT_TRUE(server_.same_settings("", ""));
  EXPECT_FALSE(server_.same_settings("a.example", ""));
  EXPECT_FALSE(server_.same_settings("a.example", std::string(400, 'x')));
  state_.table.default_certificate = "ns/a";
  state_.apply(server_);
  EXPECT_TRUE(server_.same_settings("", "a.example")) << "the default is its certificate";
}

TEST_P(TlsServerTest, ChoosesByName) {
  EXPECT_TRUE(state_.apply(server_).empty());
  EXPECT_EQ(shown("a.example"), "a");
  EXPECT_EQ(shown("b.example"), "b");
  EXPECT_EQ(shown("A.Example"), "a");
  EXPECT_EQ(shown("x.wild.example"), "wild");
  EXPECT_EQ(shown("y.x.wild.example"), "sluice default") << "a wildcard stands for one label";
  EXPECT_EQ(shown("wild.example"), "sluice default");
  EXPECT_EQ(shown("nobody.example"), "sluice default");
  EXPECT_EQ(shown(""), "sluice default");
  state_.certificate("ns/other", *other_).table.default_certificate = "ns/other";
  EXPECT_TRUE(state_.apply(server_).empty());
  EXPECT_EQ(shown("nobody.example"), "other");
  EXPECT_EQ(shown(""), "other");
  EXPECT_EQ(shown("a.example"), "a");
}

TEST_P(TlsServerTest, ServesBeforeAnyState) { EXPECT_EQ(shown("a.example"), "sluice default"); }

TEST_P(TlsServerTest, ExactBeforeWildcard) {
  state_.host("a.wild.example", "ns/a").apply(server_);
  EXPECT_EQ(shown("a.wild.example"), "a");
  EXPECT_EQ(shown("b.wild.example"), "wild");
}

TEST_P(TlsServerTest, TellsNameVersionAndCipher) {
  state_.apply(server_);
  Connection connection(server_,
                        {.name = "A.example", .version = GetParam(), .alpn = std::string("\x02h2\x08http/1.1")});
  ASSERT_TRUE(connection.good);
  EXPECT_EQ(connection.server->server_name(), "a.example");
  EXPECT_EQ(connection.server->tls_version(), GetParam() == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
  EXPECT_THAT(std::string(connection.server->tls_cipher()), HasSubstr("AES"));
  EXPECT_EQ(connection.server->alpn(), "h2");
  EXPECT_TRUE(connection.server->secure());
  EXPECT_EQ(page_->tls_handshakes.get(), 1u);
}

TEST_P(TlsServerTest, NoCommonProtocolEndsTheHandshake) {  // RFC 7301 3.2
  state_.table.settings->http2 = std::make_unique<ir::Http2SettingsT>();
  state_.table.settings->http2->enabled = false;
  state_.apply(server_);
  Connection connection(server_, {.name = "a.example", .version = GetParam(), .alpn = std::string("\x02h2")});
  EXPECT_FALSE(connection.good);
  EXPECT_EQ(connection.client_error, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
  EXPECT_EQ(page_->tls_failures.get(), 1u);
  Connection both(server_, {.name = "a.example", .version = GetParam(), .alpn = std::string("\x02h2\x08http/1.1")});
  EXPECT_TRUE(both.good);
  EXPECT_EQ(both.server->alpn(), "http/1.1");
  state_.table.settings->http2->enabled = true;
  state_.apply(server_);
  Connection h2(server_, {.name = "a.example", .version = GetParam(), .alpn = std::string("\x08http/1.1\x02h2")});
  EXPECT_TRUE(h2.good);
  EXPECT_EQ(h2.server->alpn(), "h2") << "the server's order, not the client's";
}

TEST_P(TlsServerTest, ResumesTheSameHostOnly) {
  state_.host("other.wild.example", "ns/wild").apply(server_);
  Connection first(server_, {.name = "x.wild.example", .version = GetParam()});
  ASSERT_TRUE(first.good);
  EXPECT_FALSE(first.resumed());
  drain(first);
  ASSERT_EQ(first.tickets.size(), GetParam() == TLS1_3_VERSION ? 2u : 1u);
  // RFC 8446 8: early data may be replayed; none is offered.
  for (SSL_SESSION* ticket : first.tickets) EXPECT_EQ(SSL_SESSION_get_max_early_data(ticket), 0u);
  auto again = [&](const std::string& name) {
    Connection second(server_, {.name = name, .version = GetParam(), .resume = first.tickets[0]});
    EXPECT_TRUE(second.good) << name;
    return second.resumed();
  };
  EXPECT_TRUE(again("x.wild.example"));
  EXPECT_EQ(page_->tls_resumed.get(), 1u);
  EXPECT_FALSE(again("a.example")) << "another certificate";
  EXPECT_FALSE(again("y.wild.example")) << "another name of the same certificate";
  EXPECT_FALSE(again("nobody.example"));
  EXPECT_FALSE(again(""));
  EXPECT_TRUE(again("x.wild.example"));
  page_->tls_resumed.sub();
  EXPECT_EQ(page_->tls_resumed.get(), 1u);
}

// RFC 8446 C.4: a client uses a TLS 1.3 ticket once, so a resumed connection has to bring the next one.
TEST_P(TlsServerTest, AResumedConnectionBringsTheNextTicket) {
  if (GetParam() != TLS1_3_VERSION) GTEST_SKIP() << "TLS 1.2 tickets may be used again";
  state_.apply(server_);
  Connection first(server_, {.name = "a.example", .version = GetParam()});
  drain(first);
  Connection second(server_, {.name = "a.example", .version = GetParam(), .resume = first.tickets.at(0)});
  EXPECT_TRUE(second.resumed());
  drain(second);
  ASSERT_FALSE(second.tickets.empty());
  Connection third(server_, {.name = "a.example", .version = GetParam(), .resume = second.tickets.at(0)});
  EXPECT_TRUE(third.resumed());
}

TEST_P(TlsServerTest, APolicyChangeEndsTickets) {
  state_.apply(server_);
  Connection first(server_, {.name = "a.example", .version = GetParam()});
  drain(first);
  state_.table.settings->tls->ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  EXPECT_TRUE(state_.apply(server_).empty());
  Connection second(server_, {.name = "a.example", .version = GetParam(), .resume = first.tickets.at(0)});
  EXPECT_TRUE(second.good);
  EXPECT_FALSE(second.resumed());
  EXPECT_EQ(second.shown(), "a");
}

TEST_P(TlsServerTest, WorkersShareTicketsThroughThePage) {
  std::array<uint8_t, shared::TicketKeyPage::kRandomBytes> random;
  for (size_t i = 0; i < random.size(); ++i) random[i] = static_cast<uint8_t>(i * 7 + i / 80);
  keys_.rotate(random);
  state_.apply(server_);
  auto other_page = make_page();
  TlsServer other(*other_page, &keys_);
  State other_state;
  other_state.certificate("ns/a", *a_).host("a.example", "ns/a").apply(other);
  Connection first(server_, {.name = "a.example", .version = GetParam()});
  drain(first);
  auto resumes = [&] {
    Connection second(other, {.name = "a.example", .version = GetParam(), .resume = first.tickets.at(0)});
    EXPECT_TRUE(second.good);
    return second.resumed();
  };
  EXPECT_TRUE(resumes());
  random.fill(1);
  keys_.rotate(random);
  EXPECT_TRUE(resumes()) << "the previous key still opens";
  random.fill(2);
  keys_.rotate(random);
  EXPECT_FALSE(resumes()) << "two rotations later the ticket is dead";
}

TEST_P(TlsServerTest, KeysOfTheStateOverrideThePage) {
  auto key = [](int64_t slot, uint8_t byte) {
    auto made = std::make_unique<ir::TicketKeyT>();
    made->slot = slot;
    made->key.assign(80, byte);
    return made;
  };
  state_.secrets.ticket_keys.push_back(key(0, 7));
  EXPECT_TRUE(state_.apply(server_).empty());
  Connection first(server_, {.name = "a.example", .version = GetParam()});
  drain(first);
  auto other_page = make_page();
  TlsServer other(*other_page);
  State other_state;
  other_state.certificate("ns/a", *a_).host("a.example", "ns/a");
  other_state.secrets.ticket_keys.push_back(key(100, 8));
  other_state.secrets.ticket_keys.push_back(key(0, 7));
  EXPECT_TRUE(other_state.apply(other).empty());
  Connection second(other, {.name = "a.example", .version = GetParam(), .resume = first.tickets.at(0)});
  EXPECT_TRUE(second.resumed());
  // Another key alone: nothing to open it with.
  other_state.secrets.ticket_keys.pop_back();
  other_state.apply(other);
  Connection third(other, {.name = "a.example", .version = GetParam(), .resume = first.tickets.at(0)});
  EXPECT_TRUE(third.good);
  EXPECT_FALSE(third.resumed());
  other_state.secrets.ticket_keys[0]->key.resize(48);
  const auto problems = other_state.apply(other);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].text, HasSubstr("80 bytes"));
}

TEST_P(TlsServerTest, CertificatesAreSwappedHotAndOthersStay) {
  state_.apply(server_);
  EXPECT_EQ(shown("a.example"), "a");
  EXPECT_EQ(shown("b.example"), "b");
  Connection open(server_, {.name = "a.example", .version = GetParam()});
  const uint64_t built = server_.contexts_built();
  state_.host("c.example", "ns/b").apply(server_);
  EXPECT_EQ(shown("a.example") + shown("b.example"), "ab");
  EXPECT_EQ(server_.contexts_built(), built) << "an unrelated change rebuilds nothing";
  state_.certificate("ns/a", *other_).apply(server_);
  EXPECT_EQ(shown("a.example"), "other");
  EXPECT_EQ(shown("b.example"), "b");
  EXPECT_EQ(server_.contexts_built(), built + 1);
  open.client_send("still here");
  EXPECT_EQ(open.server_receive(), "still here");
}

TEST_P(TlsServerTest, OfTooManyContextsTheFirstBuiltIsLetGoAndBuiltAgain) {
  TlsServer few(*page_);
  few.limit_contexts(2);
  const std::string names[] = {"a.example", "c.example", "d.example", "e.example"};
  State state;
  for (const std::string& name : names) state.certificate("ns/" + name, *a_).host(name, "ns/" + name);
  EXPECT_TRUE(state.apply(few).empty());
  const uint64_t before = few.contexts_built();
  Connection open(few, {.name = "a.example", .version = GetParam()});
  for (int round = 0; round < 3; ++round) {
    for (const std::string& name : names)
      EXPECT_TRUE(Connection(few, {.name = name, .version = GetParam()}).good) << name;
  }
  // Four names go through two places: each is built anew, but for the first, which was there.
  EXPECT_EQ(few.contexts_built() - before, 12u);
  EXPECT_TRUE(Connection(few, {.name = "e.example", .version = GetParam()}).good);
  EXPECT_EQ(few.contexts_built() - before, 12u) << "what is there is used";
  open.client_send("still here");
  EXPECT_EQ(open.server_receive(), "still here");
}

TEST_P(TlsServerTest, ABrokenCertificateKeepsTheLastGoodOneAndIsReported) {
  state_.apply(server_);
  EXPECT_EQ(shown("a.example"), "a");
  const struct {
    std::string chain, key, says;
  } cases[] = {
      {"garbage", a_->key, "no certificate"},
      {a_->chain, "", "tls.key"},
      {a_->chain, b_->key, "does not belong"},
      {a_->chain + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", a_->key, "certificate 2"},
      {std::string(300'000, 'x'), a_->key, "longer than"},
  };
  for (const auto& broken : cases) {
    state_.certificate("ns/a", broken.chain, broken.key);
    const auto problems = state_.apply(server_);
    ASSERT_EQ(problems.size(), 1u) << broken.says;
    EXPECT_EQ(problems[0].object, "Secret ns/a");
    EXPECT_THAT(problems[0].text, HasSubstr(broken.says));
    EXPECT_THAT(problems[0].text, HasSubstr("last good"));
    EXPECT_EQ(shown("a.example"), "a");
    EXPECT_TRUE(state_.apply(server_).empty()) << "reported once";
  }
  state_.secrets.certificates.erase(state_.secrets.certificates.begin());
  EXPECT_EQ(state_.apply(server_).size(), 1u);
  EXPECT_EQ(shown("a.example"), "a");
  state_.certificate("ns/a", *other_);
  EXPECT_TRUE(state_.apply(server_).empty());
  EXPECT_EQ(shown("a.example"), "other");
}

TEST_P(TlsServerTest, ABrokenCertificateThatWasNeverGoodIsReportedAtFirstUse) {
  state_.certificate("ns/a", "garbage", "").apply(server_);
  EXPECT_TRUE(server_.take_problems().empty());
  EXPECT_EQ(shown("a.example"), "sluice default");
  auto problems = server_.take_problems();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].object, "Secret ns/a");
  EXPECT_EQ(shown("a.example"), "sluice default");
  EXPECT_TRUE(server_.take_problems().empty());
}

TEST_P(TlsServerTest, ALastGoodCertificateEndsWithItsValidity) {
  const Made expired("old", "DNS:a.example", nullptr, -1);
  state_.certificate("ns/a", expired).apply(server_);
  EXPECT_EQ(shown("a.example"), "old") << "what the Secret holds is served as it is";
  ASSERT_EQ(server_.take_problems().size(), 1u);
  state_.certificate("ns/a", "garbage", "").apply(server_);
  EXPECT_EQ(shown("a.example"), "sluice default");
}

TEST_P(TlsServerTest, APolicyThatCannotBeUsedKeepsTheOldOne) {
  state_.table.settings->tls->ciphers = "NO-SUCH-CIPHER";
  auto problems = state_.apply(server_);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_THAT(problems[0].text, HasSubstr("NO-SUCH-CIPHER"));
  EXPECT_EQ(shown("a.example"), "a");
  state_.table.settings->tls->ciphers = "";
  state_.table.settings->tls->min_version = 0x0301;
  EXPECT_EQ(state_.apply(server_).size(), 1u);
  EXPECT_EQ(shown("a.example"), "a");
}

TEST_P(TlsServerTest, MinimumVersion) {
  state_.table.settings->tls->min_version = 0x0304;
  state_.apply(server_);
  Connection connection(server_, {.name = "a.example", .version = GetParam()});
  EXPECT_EQ(connection.good, GetParam() == TLS1_3_VERSION);
}

TEST_P(TlsServerTest, SendsTheWholeChain) {
  const Made root("root");
  const Made middle("middle", "", &root);
  const Made leaf("leaf", "DNS:a.example", &middle, 30, true);
  state_.certificate("ns/a", leaf.chain + middle.chain, leaf.key).apply(server_);
  Connection connection(server_, {.name = "a.example", .version = GetParam()});
  ASSERT_TRUE(connection.good);
  EXPECT_EQ(sk_X509_num(SSL_get_peer_cert_chain(connection.client.get())), 2);
}

TEST(TlsServerBytes, GarbageAndSilenceEndCleanly) {
  auto page = make_page();
  TlsServer server(*page);
  for (std::string_view bytes :
       {std::string_view("GET / HTTP/1.1\r\n\r\n"), std::string_view("\x16\x03\x01\x00\x02\x01\x00", 7),
        std::string_view("\x16\x03\x01\xff\xff", 5)}) {
    Sockets sockets;
    auto transport = server.make_server(std::move(sockets.server));
    EXPECT_EQ(transport->handshake().state, Io::again);
    ASSERT_GT(::write(sockets.client.get(), bytes.data(), bytes.size()), 0);
    IoResult result = transport->handshake();
    if (result.state == Io::again) {
      sockets.client.reset();
      result = transport->handshake();
      EXPECT_EQ(result.state, Io::eof);
      EXPECT_TRUE(transport->truncated());
    } else {
      EXPECT_EQ(result.state, Io::error);
      EXPECT_NE(transport->error_code(), 0);
    }
    char byte;
    EXPECT_EQ(transport->read({&byte, 1}).state, Io::error);
  }
}

// Every single-byte change of a real ClientHello must end in some clean way.
TEST(TlsServerBytes, DamagedClientHellos) {
  auto page = make_page();
  TlsServer server(*page);
  State state;
  const Made a("a", "DNS:a.example");
  state.certificate("ns/a", a).host("a.example", "ns/a").apply(server);
  std::string hello;
  {
    const ContextPtr context(SSL_CTX_new(TLS_client_method()));
    const SslPtr ssl(SSL_new(context.get()));
    SSL_set_tlsext_host_name(ssl.get(), "a.example");
    BIO* out = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
    SSL_set_connect_state(ssl.get());
    SSL_do_handshake(ssl.get());
    hello = pem_of(out);
  }
  ASSERT_GT(hello.size(), 100u);
  size_t accepted = 0;
  for (size_t i = 0; i < hello.size(); ++i) {
    std::string damaged = hello;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << i % 8));
    Sockets sockets;
    auto transport = server.make_server(std::move(sockets.server));
    ASSERT_EQ(::write(sockets.client.get(), damaged.data(), damaged.size()), static_cast<ssize_t>(damaged.size()));
    if (transport->handshake().state == Io::again) ++accepted;
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, hello.size());
}

}  // namespace
}  // namespace sluice::net::test
