// Steady state allocates nothing: this test program's operator new counts.
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>

#include "tests/unit/dataplane/upstream/test_kit.h"

namespace {
size_t allocations = 0;
}

[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  if (void* const at = std::malloc(size); at != nullptr) return at;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* at) noexcept { std::free(at); }
[[gnu::noinline]] void operator delete(void* at, size_t) noexcept { std::free(at); }

namespace sluice::upstream {
namespace {

class Silent final : public http::ResponseEvents {
 public:
  void on_response_informational(http::ResponseHead&) override {}
  void on_response_head(http::ResponseHead& head, bool end) override {
    status = head.status;
    ended = end;
  }
  void on_response_body(http::Bytes bytes, bool end) override {
    body += bytes.size();
    ended = ended || end;
  }
  void on_response_trailers(const http::Fields&) override { ended = true; }
  void on_response_flush() override {}
  void on_request_writable() override {}
  void on_exchange_error(const http::Error&) override { ended = true; }
  int status = 0;
  size_t body = 0;
  bool ended = false;
};

struct SteadyStateTest : testing::Fixture {
  // The peer's bytes go through a buffer of the test's own.
  void exchange(std::string_view answer, size_t body) {
    Silent events;
    Arena arena(pool);
    http::RequestHead head(arena);
    head.host = "example.test";
    head.path = "/";
    head.method_name = "GET";
    head.fields.add("Accept", "*/*");
    Attempts attempts;
    const auto sink =
        upstreams->start(*cluster, events, arena, attempts, {.connect_ms = 1000, .response_ms = 1000, .idle_ms = 1000});
    ASSERT_TRUE(sink.has_value());
    if (body > 0) {
      head.method = http::Method::post;
      head.has_body = true;
    }
    (*sink)->send_head(head, body == 0);
    if (body > 0) (*sink)->send_body({payload, body}, true);
    (*sink)->flush();
    (void)peer().received_once();
    peer().send(answer);
    reactor.run_once(0);
    ASSERT_TRUE(events.ended);
    ASSERT_EQ(events.status, 200);
  }
  std::shared_ptr<Cluster> cluster;
  char payload[2048] = {};
};

TEST_F(SteadyStateTest, AnExchangeAllocatesNothing) {
  apply({{"c", {{"10.0.0.1"}}}});
  cluster = upstreams->cluster("c");
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  for (const size_t body : {size_t{0}, sizeof payload}) {
    for (const std::string_view answer : {testing::kOk, std::string_view(chunked)}) {
      exchange(answer, body);  // makes the connection, fills the free lists
      // The test's own received_once() makes one string a request.
      const size_t before = allocations;
      for (int i = 0; i < 50; ++i) exchange(answer, body);
      EXPECT_LE(allocations - before, 50u);
    }
  }
  EXPECT_EQ(connector->calls, 1);
}

// The session's own memory is not from operator new; the gateway's part is what is counted here.
struct Http2SteadyStateTest : testing::Fixture {
  // A peer that answers stream `id` with a head and two bytes, and gives back the windows it took.
  void exchange(uint32_t id, size_t body) {
    Silent events;
    Arena arena(pool);
    http::RequestHead head(arena);
    head.host = "example.test";
    head.path = "/";
    head.method_name = "GET";
    head.fields.add("Accept", "*/*");
    if (body > 0) {
      head.method = http::Method::post;
      head.has_body = true;
    }
    Attempts attempts;
    const auto sink =
        upstreams->start(*cluster, events, arena, attempts, {.connect_ms = 1000, .response_ms = 1000, .idle_ms = 1000});
    ASSERT_TRUE(sink.has_value());
    (*sink)->send_head(head, body == 0);
    if (body > 0) (*sink)->send_body({payload, body}, true);
    (*sink)->flush();
    reactor.run_once(0);
    (void)peer().received_once();
    const char answer[] = {0,      0,   1, 1, 4, 0, 0, 0, static_cast<char>(id),
                           '\x88',  // HEADERS
                           0,      0,   2, 0, 1, 0, 0, 0, static_cast<char>(id),
                           'o',    'k',  // DATA
                           0,      0,   4, 8, 0, 0, 0, 0, 0,
                           0,      0,   8, 0};  // WINDOW_UPDATE
    peer().send({answer, sizeof answer});
    reactor.run_once(0);
    ASSERT_TRUE(events.ended);
    ASSERT_EQ(events.status, 200);
    ASSERT_EQ(events.body, 2u);
  }
  std::shared_ptr<Cluster> cluster;
  char payload[2048] = {};
};

TEST_F(Http2SteadyStateTest, AnExchangeAllocatesNothing) {
  testing::ClusterSpec spec{"c", {{"10.0.0.1"}}};
  spec.protocol = ir::UpstreamProtocol::H2;
  apply({spec});
  cluster = upstreams->cluster("c");
  uint32_t id = 1;
  for (const size_t body : {size_t{0}, sizeof payload}) {
    if (id == 1) {
      // The first bytes of a server are its SETTINGS.
      connector->gate_closed = true;
      Silent first;
      Arena arena(pool);
      Attempts attempts;
      const auto sink = upstreams->start(*cluster, first, arena, attempts, {});
      ASSERT_TRUE(sink.has_value());
      const char settings[] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
      peer().send({settings, sizeof settings});
      connector->gate_closed = false;
      reactor.run_once(0);
      (*sink)->cancel();
      reactor.run_once(0);
    }
    for (int i = 0; i < 3; ++i, id += 2) exchange(id, body);
    const size_t before = allocations;
    // The test's own received_once() makes one string a request.
    for (int i = 0; i < 25; ++i, id += 2) exchange(id, body);
    EXPECT_LE(allocations - before, 25u);
  }
  EXPECT_EQ(connector->calls, 1);
}

}  // namespace
}  // namespace sluice::upstream
