// HTTP/2 over TLS: the worker's connector against an OpenSSL server that chooses a protocol.
#include <gmock/gmock.h>
#include <openssl/ssl.h>

#include "dataplane/http/h2/session.h"
#include "dataplane/net/socket.h"
#include "tests/unit/dataplane/net/tls_fixture.h"
#include "tests/unit/dataplane/upstream/http2_kit.h"

namespace sluice::upstream {
namespace {

using http::Reason;
using testing::ClusterSpec;
using testing::Exchange;

// Takes one connection after the other; answers each request with "ok".
class TlsServer final : public http::h2::SessionOwner {
 public:
  // `chooses`: ALPN, as it travels; empty: none is answered.
  TlsServer(const net::test::Made& certificate, std::string chooses) : chooses_(std::move(chooses)) {
    context_.reset(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_use_certificate(context_.get(), certificate.certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), certificate.private_key.get());
    SSL_CTX_set_alpn_select_cb(context_.get(), select, this);
    listener_ = std::move(*net::listen_on(testing::address("127.0.0.1", 0)));
    port = net::local_address(listener_.get())->port;
  }
  void turn() {
    if (ssl_ == nullptr) {
      fd_ = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd_) return;
      ++connections;
      ssl_.reset(SSL_new(context_.get()));
      SSL_set_fd(ssl_.get(), fd_.get());
      SSL_set_accept_state(ssl_.get());
      session_ = std::make_unique<http::h2::Session>(http::h2::Role::server, http::h2::Settings{}, *this);
    }
    ERR_clear_error();
    if (SSL_do_handshake(ssl_.get()) != 1) return;
    char buffer[4096];
    for (int n; (n = SSL_read(ssl_.get(), buffer, sizeof buffer)) > 0;) {
      received.append(buffer, static_cast<size_t>(n));
      if (!session_->receive({buffer, static_cast<size_t>(n)}, 0)) break;
    }
    for (const auto& call : calls_) {
      if (call->ended && call->answer.status == 0) call->respond(200, "ok");
    }
    session_->pump();
    const http::Bytes out = session_->output();
    if (out.empty()) return;
    ASSERT_EQ(SSL_write(ssl_.get(), out.data(), static_cast<int>(out.size())), static_cast<int>(out.size()));
    session_->wrote(out.size());
  }
  uint16_t port = 0;
  int connections = 0;
  std::string received;
  std::string offered;  // by the last client, as it travels

 private:
  http::h2::SessionStream* open_stream() override {
    calls_.push_back(std::make_unique<testing::Call>(pool_));
    calls_.back()->session = session_.get();
    return calls_.back().get();
  }
  static int select(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size,
                    void* self) {
    auto& own = *static_cast<TlsServer*>(self);
    own.offered.assign(reinterpret_cast<const char*>(in), in_size);
    if (own.chooses_.empty()) return SSL_TLSEXT_ERR_NOACK;
    const auto* const mine = reinterpret_cast<const unsigned char*>(own.chooses_.data());
    return SSL_select_next_proto(const_cast<unsigned char**>(out), size, mine,
                                 static_cast<unsigned>(own.chooses_.size()), in, in_size) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  std::string chooses_;
  ChunkPool pool_;
  UniqueFd listener_, fd_;
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
  std::vector<std::unique_ptr<testing::Call>> calls_;
  std::unique_ptr<http::h2::Session> session_;
};

struct Http2TlsTest : ::testing::Test {
  Http2TlsTest()
      : page(std::make_unique<shared::CounterPage>()),
        ca("ca"),
        leaf("leaf", "DNS:svc.test", &ca),
        upstreams(reactor, *page, pool) {}
  void serve(std::string chooses) {
    server = std::make_unique<TlsServer>(leaf, std::move(chooses));
    ClusterSpec spec{"c", {{"127.0.0.1", server->port}}};
    spec.protocol = ir::UpstreamProtocol::H2;
    spec.tls = true;
    spec.sni = "svc.test";
    spec.ca_pem = ca.chain;
    state = std::make_unique<testing::State>(std::vector<ClusterSpec>{spec});
    upstreams.apply(state->table(), state->endpoints());
  }
  void begin(Exchange& one) {
    const auto sink = upstreams.start(*upstreams.cluster("c"), one.events, one.arena, one.attempts, {});
    ASSERT_TRUE(sink.has_value());
    (*sink)->send_head(one.request, true);
    (*sink)->flush();
  }
  void play(const std::function<bool()>& done) {
    const uint64_t from = monotonic_ms();
    while (!done() && monotonic_ms() < from + 120'000) {
      reactor.run_once(1);
      server->turn();
    }
  }
  std::unique_ptr<shared::CounterPage> page;
  net::Reactor reactor;
  ChunkPool pool;
  net::test::Made ca, leaf;
  std::unique_ptr<TlsServer> server;
  std::unique_ptr<testing::State> state;
  Upstreams upstreams;
};

TEST_F(Http2TlsTest, OffersH2AloneAndSharesTheConnection) {
  serve("\x02h2");
  Exchange a(pool), b(pool), c(pool);
  begin(a);
  begin(b);
  play([&] { return a.events.ended && b.events.ended; });
  EXPECT_EQ(a.events.body, "ok") << testing::word(a);
  EXPECT_EQ(b.events.body, "ok") << testing::word(b);
  EXPECT_EQ(server->offered, "\x02h2");
  begin(c);
  play([&] { return c.events.ended; });
  EXPECT_EQ(c.events.body, "ok") << testing::word(c);
  EXPECT_TRUE(c.attempts.reused);
  EXPECT_EQ(server->connections, 1);
  EXPECT_THAT(server->received, ::testing::HasSubstr("\x82\x87")) << ":method: GET, :scheme: https";
}

TEST_F(Http2TlsTest, PeerThatChoosesNothing) {
  serve("");
  Exchange one(pool);
  begin(one);
  play([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_failed);
  EXPECT_EQ(one.events.error.retry, http::Retry::yes);
  play([&] { return true; });
  EXPECT_EQ(server->received, "");
}

TEST_F(Http2TlsTest, PeerThatKnowsHttp1Only) {
  serve("\x08http/1.1");
  Exchange one(pool);
  begin(one);
  play([&] { return one.events.ended; });
  EXPECT_EQ(one.events.error.reason, Reason::upstream_tls_failed);
  EXPECT_EQ(one.events.error.retry, http::Retry::yes);
}

}  // namespace
}  // namespace sluice::upstream
