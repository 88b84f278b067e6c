#include "worker_rig.h"

namespace sluice::worker {
namespace {
using namespace testing;

std::string header(const std::string& answer, std::string_view name) {
  const size_t at = answer.find("\r\n" + std::string(name) + ": ");
  if (at == std::string::npos) return "";
  const size_t begin = at + name.size() + 4;
  return answer.substr(begin, answer.find("\r\n", begin) - begin);
}
std::string get(std::string_view target, std::string_view host = "a.example", std::string_view more = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" + std::string(more) + "\r\n";
}

struct RoutesTest : ::testing::Test {
  WorkerRig rig;
  Origin origin{rig.reactor, simple_origin};
  void SetUp() override { rig.add_cluster("ns/web:80", {origin.port()}); }
  // The request line and head that the origin saw last.
  std::string seen() { return origin.requests.empty() ? "" : origin.requests.back(); }
};

TEST_F(RoutesTest, Redirects) {
  auto redirect = [&](const char* prefix) -> ir::RedirectT& {
    ir::RouteT& route = rig.add_route("a.example", prefix);
    route.action.Set(ir::RedirectT());
    return *route.action.AsRedirect();
  };
  redirect("/scheme").scheme = "https";
  redirect("/host").host = "b.example";
  auto& port = redirect("/port");
  port.port = 8443;
  port.status = 301;
  auto& prefix = redirect("/old");
  prefix.path_kind = ir::RewriteKind::PrefixPath;
  prefix.path = "/new";
  auto& full = redirect("/full");
  full.path_kind = ir::RewriteKind::FullPath;
  full.path = "/there";
  rig.apply();
  EXPECT_EQ(header(rig.ask(get("/scheme/x?q=1")), "Location"), "https://a.example/scheme/x?q=1");
  EXPECT_EQ(header(rig.ask(get("/host")), "Location"), "http://b.example/host");
  EXPECT_EQ(header(rig.ask(get("/host", "a.example:8080")), "Location"), "http://b.example:8080/host");
  const std::string moved = rig.ask(get("/port"));
  EXPECT_EQ(header(moved, "Location"), "http://a.example:8443/port");
  EXPECT_EQ(moved.substr(9, 3), "301");
  EXPECT_EQ(header(rig.ask(get("/old/a/b?c")), "Location"), "http://a.example/new/a/b?c");
  EXPECT_EQ(header(rig.ask(get("/full/a")), "Location"), "http://a.example/there");
}

TEST_F(RoutesTest, HttpsOnlyRedirectsPlainRequests) {
  rig.add_route("a.example", "", "ns/web:80").https_only = true;
  rig.apply();
  rig.context.https_port = 8443;
  const std::string answer = rig.ask(get("/x?y"));
  EXPECT_EQ(answer.substr(9, 3), "308");
  EXPECT_EQ(header(answer, "Location"), "https://a.example/x?y");
  // The client names the very port we listen on: ports are what they seem.
  EXPECT_EQ(header(rig.ask(get("/x", "a.example:8080")), "Location"), "https://a.example:8443/x");
  EXPECT_EQ(header(rig.ask(get("/x", "a.example:9999")), "Location"), "https://a.example/x");
  EXPECT_TRUE(origin.requests.empty());
}

TEST_F(RoutesTest, DirectResponses) {
  ir::DirectResponseT direct;
  direct.status = 418;
  direct.content_type = "text/x-tea";
  direct.body = "short and stout";
  rig.add_route("a.example", "/tea").action.Set(direct);
  ir::DirectResponseT reason;
  reason.status = 503;
  reason.reason = "no_endpoints";
  rig.add_route("a.example", "/gone").action.Set(reason);
  rig.apply();
  const std::string tea = rig.ask(get("/tea"));
  EXPECT_TRUE(tea.starts_with("HTTP/1.1 418 ")) << tea;
  EXPECT_TRUE(tea.ends_with("\r\n\r\nshort and stout"));
  EXPECT_EQ(header(tea, "Content-Type"), "text/x-tea");
  const std::string gone = rig.ask(get("/gone"));
  EXPECT_TRUE(gone.starts_with("HTTP/1.1 503 "));
  EXPECT_NE(gone.find("\"reason\":\"no_endpoints\""), std::string::npos);
  EXPECT_EQ(rig.page->reasons[static_cast<size_t>(http::Reason::no_endpoints)].get(), 1u);
}

TEST_F(RoutesTest, HeaderFiltersAndRewrite) {
  ir::RouteT& route = rig.add_route("a.example", "/api", "ns/web:80");
  auto pair = [](const char* name, const char* value) {
    auto one = std::make_unique<ir::HeaderValueT>();
    one->name = name;
    one->value = value;
    return one;
  };
  ir::RequestHeadersT request;
  request.edits = std::make_unique<ir::HeaderEditsT>();
  request.edits->remove = {"cookie"};
  request.edits->set.push_back(pair("X-Set", "1"));
  request.edits->add.push_back(pair("X-Add", "2"));
  WorkerRig::add_filter(route, std::move(request));
  ir::ResponseHeadersT response;
  response.edits = std::make_unique<ir::HeaderEditsT>();
  response.edits->set.push_back(pair("X-Out", "3"));
  WorkerRig::add_filter(route, std::move(response));
  ir::RewriteT rewrite;
  rewrite.host = "inner.example";
  rewrite.path_kind = ir::RewriteKind::PrefixPath;
  rewrite.path = "/";
  WorkerRig::add_filter(route, std::move(rewrite));
  rig.apply();
  const std::string answer = rig.ask(get("/api/v1/x?q=1", "a.example", "Cookie: a=b\r\nX-Set: old\r\nX-Add: old\r\n"));
  EXPECT_EQ(header(answer, "X-Out"), "3");
  EXPECT_TRUE(seen().starts_with("GET /v1/x?q=1 HTTP/1.1\r\nHost: inner.example\r\n")) << seen();
  EXPECT_EQ(seen().find("Cookie"), std::string::npos);
  EXPECT_EQ(header(seen(), "X-Set"), "1");
  EXPECT_NE(seen().find("X-Add: old\r\n"), std::string::npos);
  EXPECT_NE(seen().find("X-Add: 2\r\n"), std::string::npos);
  EXPECT_EQ(header(seen(), "X-Forwarded-Host"), "a.example");
}

TEST_F(RoutesTest, EncodedSlashPolicy) {
  rig.add_route("a.example", "", "ns/web:80").encoded_slash = 1;
  rig.add_route("k.example", "", "ns/web:80");
  rig.apply();
  EXPECT_EQ(rig.ask(get("/a%2fb")).substr(9, 3), "400");
  EXPECT_EQ(rig.ask(get("/a%2fb", "k.example")).substr(9, 3), "200");
  EXPECT_TRUE(seen().starts_with("GET /a%2Fb HTTP/1.1\r\n")) << seen();
}

TEST_F(RoutesTest, WeightsAndInvalidBackends) {
  ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
  auto invalid = std::make_unique<ir::BackendT>();
  invalid->weight = 1;
  invalid->error = std::make_unique<ir::DirectResponseT>();
  invalid->error->status = 500;
  invalid->error->reason = "backend_invalid";
  route.action.AsForward()->backends[0]->weight = 1;
  route.action.AsForward()->backends.push_back(std::move(invalid));
  ir::RouteT& none = rig.add_route("n.example", "", "ns/web:80");
  none.action.AsForward()->backends[0]->weight = 0;
  rig.apply();
  int good = 0, bad = 0;
  for (int i = 0; i < 40; ++i) {
    const std::string status = rig.ask(get("/")).substr(9, 3);
    good += status == "200";
    bad += status == "500";
  }
  EXPECT_EQ(good + bad, 40);
  EXPECT_GT(good, 3);
  EXPECT_GT(bad, 3);
  EXPECT_EQ(rig.ask(get("/", "n.example")).substr(9, 3), "500");
}

TEST_F(RoutesTest, MissingClustersAndEndpoints) {
  rig.add_cluster("ns/empty:80", {});
  rig.add_route("a.example", "", "ns/none:80");
  rig.add_route("e.example", "", "ns/empty:80");
  rig.apply();
  EXPECT_NE(rig.ask(get("/")).find("service_not_found"), std::string::npos);
  const std::string empty = rig.ask(get("/", "e.example"));
  EXPECT_EQ(empty.substr(9, 3), "503");
  EXPECT_EQ(header(empty, "Retry-After"), "5");
  EXPECT_EQ(header(rig.ask(get("/")), "Retry-After"), "");
}

// "On every answer" means every answer: errors, refusals, redirects. Not what is answered before a route is known.
TEST_F(RoutesTest, ResponseHeadersAreOnLocalAnswers) {
  rig.add_cluster("ns/empty:80", {});
  auto with_header = [&](ir::RouteT& route) -> ir::RouteT& {
    ir::ResponseHeadersT response;
    response.edits = std::make_unique<ir::HeaderEditsT>();
    auto one = std::make_unique<ir::HeaderValueT>();
    one->name = "X-Frame-Options";
    one->value = "DENY";
    response.edits->set.push_back(std::move(one));
    response.edits->remove = {"retry-after"};
    WorkerRig::add_filter(route, std::move(response));
    return route;
  };
  with_header(rig.add_route("a.example", "/empty", "ns/empty:80"));
  with_header(rig.add_route("a.example", "/secure", "ns/web:80")).https_only = true;
  with_header(rig.add_route("a.example", "/slash", "ns/web:80")).encoded_slash = 1;
  with_header(rig.add_route("a.example", "/small", "ns/web:80")).max_body_bytes = 1;
  with_header(rig.add_route("a.example", "/moved")).action.Set(ir::RedirectT());
  with_header(rig.add_route("a.example", "/web", "ns/web:80"));
  rig.apply();
  struct {
    const char* request;
    const char* status;
  } cases[] = {{"GET /empty HTTP/1.1\r\nHost: a.example\r\n\r\n", "503"},
               {"GET /secure HTTP/1.1\r\nHost: a.example\r\n\r\n", "308"},
               {"GET /slash/%2F HTTP/1.1\r\nHost: a.example\r\n\r\n", "400"},
               {"POST /small HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nab", "413"},
               {"GET /moved HTTP/1.1\r\nHost: a.example\r\n\r\n", "302"},
               {"GET /web HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "400"},
               {"GET /web HTTP/1.1\r\nHost: a.example\r\n\r\n", "200"}};
  for (const auto& one : cases) {
    const std::string answer = rig.ask(one.request);
    EXPECT_EQ(answer.substr(9, 3), one.status) << one.request;
    EXPECT_EQ(header(answer, "X-Frame-Options"), "DENY") << answer;
    EXPECT_EQ(header(answer, "Retry-After"), "");
  }
  EXPECT_EQ(header(rig.ask(get("/none")), "X-Frame-Options"), "");
  EXPECT_EQ(header(rig.ask("GET / HTTP/1.1\r\n\r\n"), "X-Frame-Options"), "");
}

TEST_F(RoutesTest, ConnectFailureGoesToAnotherEndpoint) {
  auto dead = std::make_unique<Origin>(rig.reactor, simple_origin);
  rig.add_cluster("ns/two:80", {dead->port(), origin.port()});
  dead.reset();
  rig.add_route("a.example", "", "ns/two:80");
  rig.apply();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(rig.ask(get("/")).substr(9, 3), "200");
}

TEST_F(RoutesTest, ReusedConnectionThatDiedIsNotSeen) {
  int answered = 0;
  Origin flaky(rig.reactor, [&](const std::string& request) -> std::string {
    if (request.find("\r\n\r\n") == std::string::npos) return "";
    return ++answered % 2 == 0 ? "close" : "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  });
  rig.add_cluster("ns/flaky:80", {flaky.port()});
  rig.add_route("a.example", "", "ns/flaky:80");
  rig.apply();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(rig.ask(get("/")).substr(9, 3), "200") << i;
}

TEST_F(RoutesTest, StreamsEndWithTheTableTheyBeganWith) {
  rig.add_route("a.example", "", "ns/web:80");
  rig.apply();
  Client client = rig.connect();
  client.send("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\na");
  rig.settle();
  rig.hosts.clear();
  rig.add_route("other.example", "", "ns/web:80");
  for (int i = 0; i < 3; ++i) rig.apply();
  client.send("bc");
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 200 "));
  client.forget();
  client.send(get("/"));
  ASSERT_TRUE(rig.until([&] { return WorkerRig::answered(client.received()); }));
  EXPECT_TRUE(client.received().starts_with("HTTP/1.1 404 "));
}

TEST_F(RoutesTest, ProbeUsesEveryPartOfAFilter) {
  ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
  ir::TestProbeT probe;
  probe.mode = "timer:1,fetch:ns/web:80,gather-request:100,gather-response:100,upper";
  WorkerRig::add_filter(route, std::move(probe));
  rig.apply();
  const std::string answer = rig.ask("POST /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_TRUE(answer.ends_with("\r\n\r\nHELLO")) << answer;
  EXPECT_EQ(header(answer, "x-probe"), "seen");
  ASSERT_EQ(origin.requests.size(), 2u);
  EXPECT_TRUE(origin.requests[0].starts_with("GET /probe HTTP/1.1\r\nHost: probe.invalid\r\n"));
  EXPECT_EQ(header(seen(), "x-probe-timer"), "fired");
  EXPECT_EQ(header(seen(), "x-probe-fetch"), "200");
  EXPECT_EQ(header(seen(), "x-probe-size"), "3");
  EXPECT_TRUE(seen().ends_with("\r\n\r\nABC")) << seen();
}

TEST_F(RoutesTest, ProbeDenies) {
  ir::RouteT& route = rig.add_route("a.example", "", "ns/web:80");
  ir::TestProbeT probe;
  probe.mode = "deny";
  WorkerRig::add_filter(route, std::move(probe));
  ir::RouteT& late = rig.add_route("b.example", "", "ns/web:80");
  probe.mode = "deny-response";
  WorkerRig::add_filter(late, std::move(probe));
  ir::RouteT& large = rig.add_route("c.example", "", "ns/web:80");
  probe.mode = "gather-request:2";
  WorkerRig::add_filter(large, std::move(probe));
  rig.apply();
  EXPECT_EQ(rig.ask(get("/")).substr(9, 3), "403");
  EXPECT_EQ(rig.ask(get("/", "b.example")).substr(9, 3), "451");
  EXPECT_EQ(rig.ask("POST / HTTP/1.1\r\nHost: c.example\r\nContent-Length: 3\r\n\r\nabc").substr(9, 3), "413");
}

}  // namespace
}  // namespace sluice::worker
