#include "dataplane/agent/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace sluice::agent {
namespace {
using nlohmann::json;
using testing::ElementsAre;

TEST(AdminRequest, Parameters) {
  AdminRequest request;
  ASSERT_TRUE(parse_request("GET /table?host=a.example&path=%2Fx%20y&empty=&p=%zz HTTP/1.1\r\nHost: x", request));
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/table");
  EXPECT_EQ(request.parameter("host"), "a.example");
  EXPECT_EQ(request.parameter("path"), "/x y");
  EXPECT_EQ(request.parameter("empty"), "");
  EXPECT_EQ(request.parameter("p"), "%zz");
  EXPECT_EQ(request.parameter("hos"), "");
  EXPECT_EQ(request.parameter("absent"), "");
  EXPECT_FALSE(parse_request("GET /", request));
  EXPECT_FALSE(parse_request("", request));
  EXPECT_FALSE(parse_request("GET / HTTP/2", request));
}

// Two hosts; a's routes: exact /a/x, a regex, /a, everything.
std::shared_ptr<const State> make_state() {
  const auto route = [](ir::PathKind kind, const std::string& path, const std::string& name) {
    auto out = std::make_unique<ir::RouteT>();
    out->path_kind = kind;
    out->path = path;
    out->origin = std::make_unique<ir::OriginT>();
    out->origin->kind = "Route";
    out->origin->namespace_ = "ns";
    out->origin->name = name;
    ir::ForwardT forward;
    forward.backends.push_back(std::make_unique<ir::BackendT>());
    forward.backends[0]->cluster = "ns/web/80";
    out->action.Set(std::move(forward));
    return out;
  };
  const auto entry = [](const std::string& path, uint32_t index) {
    auto out = std::make_unique<ir::PathEntryT>();
    out->path = path;
    out->routes = {index};
    return out;
  };
  const auto pack = [](const ir::VirtualHostT& host) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(ir::VirtualHost::Pack(builder, &host));
    auto ref = std::make_unique<ir::VirtualHostRefT>();
    ref->host = host.host;
    ref->data.assign(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
    return ref;
  };
  ir::VirtualHostT wild;
  wild.host = "*.example";
  wild.routes.push_back(route(ir::PathKind::Prefix, "", "wild"));
  wild.prefix.push_back(entry("", 0));
  ir::VirtualHostT a;
  a.host = "a.example";
  a.routes.push_back(route(ir::PathKind::Prefix, "", "all"));
  a.routes.push_back(route(ir::PathKind::Exact, "/a/x", "exact"));
  a.routes.push_back(route(ir::PathKind::Prefix, "/a", "prefix"));
  a.routes.push_back(route(ir::PathKind::Regex, "/a/[xy]", "regex"));
  auto set = std::make_unique<ir::HeaderValueT>();
  set->name = "Authorization";
  set->value = "Bearer hunter2";
  ir::RequestHeadersT edits;
  edits.edits = std::make_unique<ir::HeaderEditsT>();
  edits.edits->set.push_back(std::move(set));
  a.routes[0]->filters.push_back(std::make_unique<ir::FilterT>());
  a.routes[0]->filters[0]->config.Set(std::move(edits));
  a.routes[1]->upgrades = {"websocket", "x"};
  a.routes[1]->priority = ir::Priority::Critical;
  a.routes[2]->priority = ir::Priority::Sheddable;
  a.exact.push_back(entry("/a/x", 1));
  a.prefix.push_back(entry("", 0));
  a.prefix.push_back(entry("/a", 2));
  a.regex = {3};
  ir::RouteTableT table;
  table.hosts.push_back(pack(wild));
  table.hosts.push_back(pack(a));
  table.clusters.push_back(std::make_unique<ir::ClusterT>());
  table.clusters[0]->name = "ns/web/80";
  table.clusters[0]->protocol = ir::UpstreamProtocol::H2;
  table.tls_hosts.push_back(std::make_unique<ir::TlsHostT>());
  table.tls_hosts[0]->host = "a.example";
  table.tls_hosts[0]->certificate = "ns/cert";
  ir::EndpointSetT endpoints;
  endpoints.clusters.push_back(std::make_unique<ir::ClusterEndpointsT>());
  endpoints.clusters[0]->name = "ns/web/80";
  endpoints.clusters[0]->endpoints.push_back(std::make_unique<ir::EndpointT>());
  endpoints.clusters[0]->endpoints[0]->address = std::make_unique<ir::EndpointAddress>(0, 0x0000ffff0a000001u);
  endpoints.clusters[0]->endpoints[0]->port = 8080;
  ir::SecretSetT secrets;
  for (const auto& [id, end] :
       {std::pair("ns/cert", int64_t{4'000'000'000}), std::pair("ns/late", int64_t{1'000'000'000})}) {
    auto certificate = std::make_unique<ir::CertificateT>();
    certificate->id = id;
    certificate->key_pem = "-----BEGIN PRIVATE KEY-----";
    certificate->not_after = end;
    secrets.certificates.push_back(std::move(certificate));
  }
  const auto part = [](const auto& from, auto pack_it) {
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(pack_it(builder, &from));
    auto out = std::make_shared<Part>();
    const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
    auto fd = ir::make_sealed("test", bytes);
    out->mapping = std::move(*ir::Mapping::map(fd->get(), ir::kMaxPartBytes));
    return out;
  };
  auto state = std::make_shared<State>();
  state->id = {1, 7};
  state->parts[0] = part(table, [](auto& b, auto* t) { return ir::RouteTable::Pack(b, t); });
  state->parts[1] = part(endpoints, [](auto& b, auto* t) { return ir::EndpointSet::Pack(b, t); });
  state->parts[2] = part(secrets, [](auto& b, auto* t) { return ir::SecretSet::Pack(b, t); });
  return state;
}

class Inspect : public testing::Test {
 protected:
  AdminAnswer ask(const std::string& line) { return answer_operator(line + " HTTP/1.1\r\nHost: x", inspected); }
  json get(const std::string& target) {
    const AdminAnswer answer = ask("GET " + target);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body);
  }
  // "HOST:NAME" of each route, in order.
  std::vector<std::string> routes(const std::string& target) {
    std::vector<std::string> out;
    const json table = get(target);
    for (const json& host : table["hosts"]) {
      for (const json& route : host["routes"])
        out.push_back(host["host"].get<std::string>() + ":" + route["object"]["name"].get<std::string>());
    }
    return out;
  }
  Condition condition;
  std::string level;
  Inspected inspected{condition, "1.2.3", {"sluice-dataplane"}, [this](std::string_view name) { level = name; }};
};

TEST_F(Inspect, BeforeAnyState) {
  const json status = get("/status");
  EXPECT_EQ(status["ready"], false);
  EXPECT_EQ(status["not_ready_because"], "no state yet");
  EXPECT_EQ(status["version"], "1.2.3");
  EXPECT_EQ(get("/table")["hosts"].size(), 0u);
  EXPECT_EQ(get("/dump")["arguments"][0], "sluice-dataplane");
}

TEST_F(Inspect, TheTableIsInTheOrderOfDecision) {
  condition.running = make_state();
  EXPECT_THAT(routes("/table"),
              ElementsAre("*.example:wild", "a.example:exact", "a.example:regex", "a.example:prefix", "a.example:all"));
  EXPECT_THAT(routes("/table?host=A.example&path=%2Fa%2Fx"),
              ElementsAre("a.example:exact", "a.example:regex", "a.example:prefix", "a.example:all", "*.example:wild"));
  EXPECT_THAT(routes("/table?host=a.example&path=/ab"),
              ElementsAre("a.example:regex", "a.example:all", "*.example:wild"));
  EXPECT_THAT(routes("/table?host=b.example"), ElementsAre("*.example:wild"));
  EXPECT_THAT(routes("/table?host=b.other"), ElementsAre());
  const json table = get("/table?host=a.example");
  const json& list = table["hosts"][0]["routes"];
  const json& cluster = list[0]["action"]["clusters"][0];
  EXPECT_EQ(cluster["endpoints"][0]["address"], "10.0.0.1:8080");
  EXPECT_EQ(cluster["protocol"], "h2");
  EXPECT_EQ(cluster["tls"], false);
  EXPECT_EQ(list[0]["upgrades"], json::array({"websocket", "x"}));
  EXPECT_EQ(list[1]["upgrades"], json::array()) << "none, said so";
  EXPECT_EQ(list[0]["priority"], "critical");
  EXPECT_FALSE(list[1].contains("priority")) << "standard";
  EXPECT_EQ(list[2]["priority"], "sheddable");
}

TEST_F(Inspect, CertificatesThatEndFirstComeFirst) {
  condition.running = make_state();
  const json status = get("/status");
  EXPECT_EQ(status["generation"], 7);
  ASSERT_EQ(status["certificates"].size(), 2u);
  EXPECT_EQ(status["certificates"][0]["secret"], "ns/late");
  EXPECT_EQ(status["certificates"][0]["not_after"], "2001-09-09T01:46:40Z");
  EXPECT_LT(status["certificates"][0]["days_left"].get<int>(), 0);
  EXPECT_EQ(status["certificates"][1]["hosts"][0], "a.example");
}

TEST_F(Inspect, NothingSecretIsSaid) {
  condition.running = make_state();
  for (const char* target : {"/status", "/table", "/dump"}) {
    const std::string body = ask(std::string("GET ") + target).body;
    EXPECT_EQ(body.find("PRIVATE"), std::string::npos) << target;
    EXPECT_EQ(body.find("hunter2"), std::string::npos) << target;
  }
}

TEST_F(Inspect, TheLevelAndWhatIsRefused) {
  EXPECT_EQ(ask("PUT /log-level?level=debug").status, 200);
  EXPECT_EQ(level, "debug");
  level.clear();
  EXPECT_EQ(ask("PUT /log-level?level=loud").status, 400);
  EXPECT_EQ(ask("PUT /log-level").status, 400);
  EXPECT_EQ(ask("GET /log-level?level=debug").status, 200);
  EXPECT_EQ(level, "");
  EXPECT_EQ(ask("PUT /status").status, 405);
  EXPECT_EQ(ask("POST /dump").status, 405);
  EXPECT_EQ(ask("GET /healthz").status, 200);
  EXPECT_EQ(ask("GET /nothing").status, 404);
  EXPECT_TRUE(ask("HEAD /status").head_only);
}

}  // namespace
}  // namespace sluice::agent
