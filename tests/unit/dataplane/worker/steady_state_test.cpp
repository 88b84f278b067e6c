// A request in steady state allocates nothing: counted over a thousand of them, client side to upstream side.
#include <cstdlib>
#include <new>

#include "dataplane/http/h2/session_memory.h"
#include "http2_frames.h"
#include "worker_rig.h"

namespace {
size_t allocations = 0;
bool counting = false;
}  // namespace

// Not inlined: g++ would see malloc meet operator delete.
[[gnu::noinline]] void* operator new(size_t size) {
  if (counting) ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size); memory != nullptr) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace sluice::worker {
namespace {
using namespace testing;

// Like Origin, without anything that grows.
class FixedOrigin final : private net::AcceptHandler, private net::EventHandler {
 public:
  explicit FixedOrigin(net::Reactor& reactor) : reactor_(reactor) {
    auto fd = net::listen_on(*net::Address::parse("127.0.0.1"));
    EXPECT_TRUE(fd.has_value());
    listener_ = std::make_unique<net::Listener>(reactor, std::move(*fd), static_cast<net::AcceptHandler&>(*this));
  }
  ~FixedOrigin() {
    if (fd_) reactor_.remove(fd_.get(), *this);
  }
  [[nodiscard]] uint16_t port() const { return listener_->local().port; }

 private:
  void on_accept(UniqueFd fd, const net::Address&) override {
    fd_ = std::move(fd);
    EXPECT_TRUE(reactor_.add(fd_.get(), *this, net::kReadable));
  }
  void on_event(uint32_t) override {
    static constexpr std::string_view kAnswer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: x\r\nETag: \"1\"\r\nContent-Length: 5\r\n\r\nhello";
    char buffer[65536];
    if (::recv(fd_.get(), buffer, sizeof buffer, 0) > 0)
      (void)!::send(fd_.get(), kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
  }
  net::Reactor& reactor_;
  std::unique_ptr<net::Listener> listener_;
  UniqueFd fd_;
};

// Requests one after the other on one connection; whether each was answered.
bool run(WorkerRig& rig, int fd, std::string_view request, int times) {
  char buffer[4096];
  for (int i = 0; i < times; ++i) {
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return false;
    size_t got = 0;
    for (int turn = 0; turn < 200; ++turn) {
      rig.reactor.run_once(20);
      const ssize_t n = ::recv(fd, buffer + got, sizeof buffer - got, MSG_DONTWAIT);
      if (n > 0) got += static_cast<size_t>(n);
      if (std::string_view(buffer, got).ends_with("hello")) break;
    }
    if (!std::string_view(buffer, got).ends_with("hello")) return false;
  }
  return true;
}

TEST(SteadyState, NoAllocationPerRequest) {
  WorkerRig rig;
  FixedOrigin origin(rig.reactor);
  rig.add_cluster("ns/web:80", {origin.port()});
  rig.add_route("a.example", "/plain", "ns/web:80");
  ir::RouteT& filtered = rig.add_route("a.example", "/filtered", "ns/web:80");
  ir::RewriteT rewrite;
  rewrite.path_kind = ir::RewriteKind::PrefixPath;
  rewrite.path = "/x";
  WorkerRig::add_filter(filtered, std::move(rewrite));
  ir::RouteT& limited = rig.add_route("a.example", "/limited", "ns/web:80");
  ir::RateLimitT limits;
  limits.legacy_fields = true;
  for (const char* name : {"a", "b", "c"}) {
    auto limit = std::make_unique<ir::LimitT>();
    limit->id = std::string("ns/policy/") + name;
    limit->name = std::string("policy.") + name;
    limit->requests = limit->burst = 1'000'000;
    limit->per_ms = 1000;
    limit->shadow = *name == 'c';
    for (const ir::LimitKeyKind kind :
         {ir::LimitKeyKind::ClientIp, ir::LimitKeyKind::Cookie, ir::LimitKeyKind::Header}) {
      auto key = std::make_unique<ir::LimitKeyT>();
      key->kind = kind;
      key->name = kind == ir::LimitKeyKind::Cookie ? "sid" : kind == ir::LimitKeyKind::Header ? "x-key" : "";
      limit->keys.push_back(std::move(key));
    }
    limits.limits.push_back(std::move(limit));
  }
  WorkerRig::add_filter(limited, std::move(limits));
  rig.apply();
  rig.context.log.configure("/dev/null", "json");
  Client client = rig.connect();
  const std::string_view requests[] = {
      "GET /plain?q=1 HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test\r\nAccept: */*\r\nCookie: a=b; c=d\r\n\r\n",
      "GET /filtered/y HTTP/1.1\r\nHost: a.example\r\nUser-Agent: test\r\n\r\n",
      "GET /limited HTTP/1.1\r\nHost: a.example\r\nCookie: a=b; sid=d\r\nX-Key: 1\r\nX-Key: 2\r\n\r\n",
      "POST /plain HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nabcde",
      "POST /plain HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/grpc\r\ngrpc-timeout: 9H\r\n"
      "Content-Length: 5\r\n\r\nabcde",
  };
  for (const std::string_view request : requests) ASSERT_TRUE(run(rig, client.fd(), request, 100));
  for (const std::string_view request : requests) {
    allocations = 0;
    counting = true;
    const bool good = run(rig, client.fd(), request, 1000);
    counting = false;
    ASSERT_TRUE(good);
    EXPECT_EQ(allocations, 0u) << request;
  }
}

// Requests one after the other on a connection of HTTP/2; whether each was answered.
bool run_http2(WorkerRig& rig, int fd, std::span<const std::string> requests) {
  char buffer[4096];
  for (const std::string& request : requests) {
    if (::send(fd, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return false;
    size_t got = 0;
    for (int turn = 0; turn < 200; ++turn) {
      rig.reactor.run_once(20);
      const ssize_t n = ::recv(fd, buffer + got, sizeof buffer - got, MSG_DONTWAIT);
      if (n > 0) got += static_cast<size_t>(n);
      if (std::string_view(buffer, got).ends_with("hello")) break;
    }
    if (!std::string_view(buffer, got).ends_with("hello")) return false;
  }
  return true;
}

TEST(SteadyState, NoAllocationPerHttp2Request) {
  WorkerRig rig;
  FixedOrigin origin(rig.reactor);
  rig.add_cluster("ns/web:80", {origin.port()});
  rig.add_route("a.example", "", "ns/web:80");
  rig.apply();
  rig.context.log.configure("/dev/null", "json");
  Client client = rig.connect();
  client.send(preface());
  std::vector<std::string> requests;
  // A field of its own for each: the peer's table of fields and ours turn over.
  for (uint32_t i = 0; i < 1500; ++i) {
    std::string own = "\x40\x06x-turn\x08";
    own += std::to_string(10'000'000 + i);
    std::string head =
        "\x82\x86\x84\x01\x09"
        "a.example";
    requests.push_back(frame(FrameType::headers, 0x05, 2 * i + 1, head + own));
  }
  const std::span<const std::string> all(requests);
  ASSERT_TRUE(run_http2(rig, client.fd(), all.first(500)));
  const auto before = http::h2::SessionMemory::figures();
  allocations = 0;
  counting = true;
  const bool good = run_http2(rig, client.fd(), all.subspan(500));
  counting = false;
  ASSERT_TRUE(good);
  EXPECT_EQ(allocations, 0u);
  const auto after = http::h2::SessionMemory::figures();
  EXPECT_EQ(after.mallocs, before.mallocs);
#ifndef __SANITIZE_ADDRESS__
  EXPECT_GE(after.blocks, before.blocks + 4000) << "of nghttp2";
#endif
}

}  // namespace
}  // namespace sluice::worker
