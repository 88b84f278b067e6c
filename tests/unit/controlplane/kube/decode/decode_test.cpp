#include "controlplane/kube/decode/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/kube/decode/json_node.h"

namespace sluice::kube {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class T>
T decoded(std::string_view json) {
  auto result = decode(json);
  EXPECT_TRUE(result.has_value()) << result.error().message;
  if (!result || !result->object) {
    ADD_FAILURE() << (result && !result->problems.empty() ? result->problems[0].field + ": " + result->problems[0].text
                                                          : "not decoded");
    return {};
  }
  return std::get<T>(*result->object);
}

std::vector<std::string> problem_fields(std::string_view json) {
  auto result = decode(json);
  EXPECT_TRUE(result.has_value());
  std::vector<std::string> out;
  if (result) {
    EXPECT_FALSE(result->object.has_value());
    for (const auto& problem : result->problems) out.push_back(problem.field);
  }
  return out;
}

template <class T>
std::vector<std::string> flaw_fields(const T& object) {
  std::vector<std::string> out;
  for (const auto& flaw : object.meta.flaws) out.push_back(flaw.field);
  return out;
}

TEST(Decode, IngressWhole) {
  const auto ingress = decoded<store::Ingress>(R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress",
    "metadata":{"name":"web","namespace":"shop","uid":"u","resourceVersion":"17","generation":3,"creationTimestamp":"2026-01-02T03:04:05Z",
      "labels":{"a":"b"},"annotations":{"x":"y","kubectl.kubernetes.io/last-applied-configuration":"{}"}},
    "spec":{"ingressClassName":"sluice","defaultBackend":{"service":{"name":"d","port":{"number":80}}},
      "rules":[{"host":"a.example.com","http":{"paths":[{"path":"/x","pathType":"Exact","backend":{"service":{"name":"s","port":{"name":"http"}}}},
        {"pathType":"Prefix","path":"/","backend":{"resource":{"apiGroup":"k8s.example.com","kind":"Bucket","name":"b"}}}]}},{"host":"b.example.com"}],
      "tls":[{"hosts":["a.example.com"],"secretName":"cert"},{}]}})");
  EXPECT_EQ(ingress.meta.key(), (store::ObjectKey{"shop", "web"}));
  EXPECT_EQ(ingress.meta.creation, 1767323045);
  EXPECT_EQ(ingress.meta.generation, 3);
  EXPECT_EQ(ingress.meta.annotations, (std::map<std::string, std::string>{{"x", "y"}}));
  EXPECT_EQ(ingress.class_name, "sluice");
  EXPECT_EQ(ingress.default_backend->port.number, 80);
  ASSERT_EQ(ingress.rules.size(), 2u);
  EXPECT_EQ(ingress.rules[0].paths[0].type, store::PathType::exact);
  EXPECT_EQ(ingress.rules[0].paths[0].backend.port.name, "http");
  EXPECT_EQ(ingress.rules[0].paths[1].backend.resource_kind, "Bucket");
  EXPECT_TRUE(ingress.rules[1].paths.empty());
  EXPECT_THAT(ingress.tls[0].hosts, ElementsAre("a.example.com"));
  EXPECT_EQ(ingress.tls[0].secret, "cert");
}

TEST(Decode, NullIsAbsent) {
  const auto ingress = decoded<store::Ingress>(
      R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"w","creationTimestamp":null,"labels":null},"spec":{"rules":null,"ingressClassName":null}})");
  EXPECT_FALSE(ingress.class_name.has_value());
  EXPECT_EQ(ingress.meta.ns, "default");
  EXPECT_EQ(ingress.meta.creation, 0);
}

TEST(Decode, EveryProblemNamesItsField) {
  EXPECT_THAT(
      problem_fields(
          R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"w"},"spec":{"ingressClassName":7,
      "rules":[{"host":"a"},{"http":{"paths":[{"path":"/","pathType":"Glob","backend":{"service":{"name":"s","port":{"number":70000}}}},
        {"path":"/","backend":{}},{"path":["x"],"pathType":"Exact","backend":{"service":{"name":"s","port":{"name":"a","number":1}}}}]}}]}})"),
      ElementsAre("spec.ingressClassName", "spec.rules[1].http.paths[0].pathType",
                  "spec.rules[1].http.paths[0].backend.service.port.number",
                  "spec.rules[1].http.paths[0].backend.service.port", "spec.rules[1].http.paths[1].pathType",
                  "spec.rules[1].http.paths[1].backend", "spec.rules[1].http.paths[2].path",
                  "spec.rules[1].http.paths[2].backend.service.port"));
}

TEST(Decode, NamesAreChecked) {
  for (const char* name : {"", "UPPER", "a/b", "a b", "-a", "a-", "a..b", "a\\u0000b", "\\u00e4"}) {
    EXPECT_EQ(
        problem_fields(std::string(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":")") + name + R"("}})")
            .size(),
        1u)
        << name;
  }
  EXPECT_EQ(
      problem_fields(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":")" + std::string(254, 'a') + R"("}})"),
      std::vector<std::string>{"metadata.name"});
  EXPECT_EQ(problem_fields(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"a.b"}})"),
            std::vector<std::string>{"metadata.namespace"});
  EXPECT_EQ(problem_fields(R"({"apiVersion":"v1","kind":"Service"})"), std::vector<std::string>{"metadata"});
}

TEST(Decode, RefIsKnownBesideProblems) {
  const auto result =
      decode(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"n"},"spec":{"ports":7}})");
  ASSERT_TRUE(result.has_value());
  EXPECT_FALSE(result->object);
  ASSERT_TRUE(result->ref);
  EXPECT_EQ(*result->ref, (store::ObjectRef{store::Kind::service, {"n", "a"}}));
  ASSERT_EQ(result->problems.size(), 1u);
  EXPECT_EQ(result->problems[0].object, *result->ref);
  EXPECT_EQ(result->problems[0].field, "spec.ports");
}

TEST(Decode, ServiceDefaults) {
  const auto service =
      decoded<store::Service>(R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[
      {"port":80},{"name":"n","port":81,"targetPort":"http","protocol":"UDP","appProtocol":"https"},{"port":82,"targetPort":8080}]}})");
  EXPECT_EQ(service.type, "ClusterIP");
  EXPECT_EQ(service.ports[0].protocol, "TCP");
  EXPECT_EQ(service.ports[0].target_port, "80");
  EXPECT_EQ(service.ports[1].target_port, "http");
  EXPECT_EQ(service.ports[1].app_protocol, "https");
  EXPECT_EQ(service.ports[2].target_port, "8080");
}

TEST(Decode, EndpointConditionsDefault) {
  const auto slice = decoded<store::EndpointSlice>(R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
      "metadata":{"name":"s-1","labels":{"kubernetes.io/service-name":"s"}},"addressType":"IPv4","ports":[{"name":"http","port":80},{"name":"all"}],
      "endpoints":[{"addresses":["10.0.0.1"]},{"addresses":["10.0.0.2"],"conditions":{"ready":false,"serving":null,"terminating":true},"zone":"z"}]})");
  EXPECT_EQ(slice.service, "s");
  ASSERT_EQ(slice.ports.size(), 1u);
  EXPECT_EQ(slice.ports[0].protocol, "TCP");
  EXPECT_TRUE(slice.endpoints[0].ready && slice.endpoints[0].serving && !slice.endpoints[0].terminating);
  EXPECT_TRUE(!slice.endpoints[1].ready && slice.endpoints[1].serving && slice.endpoints[1].terminating);
  EXPECT_EQ(slice.endpoints[1].zone, "z");
}

TEST(Decode, SecretAndItsMetadata) {
  const auto secret = decoded<store::Secret>(
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"type":"kubernetes.io/tls","data":{"tls.key":"AAEC","tls.crt":"aGk="},"stringData":{"tls.crt":"ho"}})");
  EXPECT_TRUE(secret.loaded);
  EXPECT_EQ(secret.data.at("tls.key").reveal(), std::string_view("\0\1\2", 3));
  EXPECT_EQ(secret.data.at("tls.crt").reveal(), "ho");
  const auto flawed = decoded<store::Secret>(
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"a":"*","b":7,"c":"aGk="}})");
  EXPECT_THAT(flaw_fields(flawed), ElementsAre("data.b", "data.a"));
  EXPECT_EQ(flawed.data.size(), 1u);
  EXPECT_EQ(flawed.data.at("c").reveal(), "hi");
  const auto partial = decode_as(
      store::Kind::secret,
      R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"s","namespace":"n","resourceVersion":"5"}})");
  ASSERT_TRUE(partial && partial->object);
  EXPECT_FALSE(std::get<store::Secret>(*partial->object).loaded);
  const auto whole = decode_as(store::Kind::secret, R"({"metadata":{"name":"s","namespace":"n"},"type":"Opaque"})");
  ASSERT_TRUE(whole && whole->object);
  EXPECT_TRUE(std::get<store::Secret>(*whole->object).loaded);
}

TEST(Decode, IngressClassDefaultAnnotation) {
  const auto yes = decoded<store::IngressClass>(R"({"apiVersion":"networking.k8s.io/v1","kind":"IngressClass",
      "metadata":{"name":"c","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}},"spec":{"controller":"sluice.dev/ingress-controller"}})");
  EXPECT_TRUE(yes.is_default);
  EXPECT_EQ(yes.meta.ns, "");
  EXPECT_EQ(yes.controller, "sluice.dev/ingress-controller");
}

TEST(Decode, RouteWithEverything) {
  const auto route = decoded<store::Route>(
      R"({"apiVersion":"sluice.dev/v1alpha1","kind":"Route","metadata":{"name":"r","namespace":"n"},"spec":{
    "parentRefs":[{"name":"sluice"}],"hostnames":["a.example.com"],"rules":[{"name":"one",
      "matches":[{"path":{"type":"RegularExpression","value":"/x.*"},"method":"GET","headers":[{"name":"X-Env","value":"blue"},{"type":"Present","name":"A"}],
        "queryParams":[{"type":"RegularExpression","name":"q","value":"v+"}]},{},
        {"grpc":{"service":"a.B","method":"C"},"method":"POST"},{"grpc":{"type":"RegularExpression","method":"C.*"}}],
      "filters":[{"type":"RequestHeaderModifier","requestHeaderModifier":{"set":[{"name":"A","value":"1"}],"add":[{"name":"B","value":""}],"remove":["C"]}},
        {"type":"ResponseHeaderModifier","responseHeaderModifier":{}},
        {"type":"URLRewrite","urlRewrite":{"hostname":"h","path":{"type":"ReplaceRegexMatch","replaceRegexMatch":{"pattern":"^/a","substitution":"/b"}}}},
        {"type":"RequestRedirect","requestRedirect":{"scheme":"https","port":8443,"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":""},"statusCode":301}},
        {"type":"DirectResponse","directResponse":{"statusCode":418,"body":"tea\n"}}],
      "backendRefs":[{"name":"s","port":80},{"name":"t","port":81,"weight":0,"namespace":"o"}],
      "timeouts":{"request":"1m30s","backendRequest":"500ms"},"retry":{"attempts":3,"codes":[503],"backoff":"100ms","onNonIdempotent":true},"upgrades":["WebSocket","x"],"priority":"critical"},
      {"upgrades":[],"priority":"sheddable"},{"upgrades":null,"priority":null},{"priority":"standard"}]}})");
  EXPECT_EQ(route.parent_refs[0].group, "networking.k8s.io");
  EXPECT_EQ(route.parent_refs[0].kind, "IngressClass");
  const auto& rule = route.rules.at(0);
  EXPECT_EQ(rule.matches[0].path.type, store::PathMatchType::regular_expression);
  EXPECT_EQ(rule.matches[0].headers[1].type, store::ValueMatchType::present);
  EXPECT_EQ(rule.matches[1], store::RouteMatch{});
  EXPECT_EQ(rule.matches[2].grpc, (store::GrpcMatch{store::GrpcMatch::Type::exact, "a.B", "C"}));
  EXPECT_EQ(rule.matches[2].method, "POST");
  EXPECT_EQ(rule.matches[3].grpc, (store::GrpcMatch{store::GrpcMatch::Type::regular_expression, "", "C.*"}));
  EXPECT_THAT(rule.upgrades, ElementsAre("WebSocket", "x"));
  EXPECT_THAT(route.rules.at(1).upgrades, ElementsAre());
  EXPECT_THAT(route.rules.at(2).upgrades, ElementsAre("websocket"));
  EXPECT_THAT(route.rules.at(3).upgrades, ElementsAre("websocket"));
  EXPECT_EQ(rule.priority, store::Priority::critical);
  EXPECT_EQ(route.rules.at(1).priority, store::Priority::sheddable);
  EXPECT_EQ(route.rules.at(2).priority, store::Priority::standard);
  EXPECT_EQ(route.rules.at(3).priority, store::Priority::standard);
  ASSERT_EQ(rule.filters.size(), 5u);
  EXPECT_EQ(std::get<store::RewriteFilter>(rule.filters[2]).path->pattern, "^/a");
  EXPECT_EQ(std::get<store::RedirectFilter>(rule.filters[3]).status_code, 301);
  EXPECT_EQ(std::get<store::DirectResponseFilter>(rule.filters[4]).content_type, "text/plain");
  EXPECT_EQ(rule.backend_refs[0].weight, 1u);
  EXPECT_EQ(rule.backend_refs[1].weight, 0u);
  EXPECT_EQ(rule.request_timeout_ms, 90'000u);
  EXPECT_EQ(rule.backend_request_timeout_ms, 500u);
  EXPECT_EQ(rule.retry, (store::RouteRetry{3, {503}, 100, true}));
}

TEST(Decode, RouteProblems) {
  EXPECT_THAT(
      problem_fields(
          R"({"apiVersion":"sluice.dev/v1alpha1","kind":"Route","metadata":{"name":"r"},"spec":{"parentRefs":[{}],"rules":[{
      "matches":[{"path":{"type":"Glob"}}],"filters":[{"type":"URLRewrite","requestRedirect":{}},{"type":"Nope"},
        {"type":"RequestRedirect","requestRedirect":{"statusCode":304,"path":{"type":"ReplaceFullPath","replacePrefixMatch":"/"}}}],
      "timeouts":{"request":"5 s"},"retry":{"codes":[200]}}]}})"),
      ElementsAre("spec.parentRefs[0].name", "spec.rules[0].matches[0].path.type",
                  "spec.rules[0].filters[0].requestRedirect", "spec.rules[0].filters[0].urlRewrite",
                  "spec.rules[0].filters[1].type", "spec.rules[0].filters[2].requestRedirect.path.replacePrefixMatch",
                  "spec.rules[0].filters[2].requestRedirect.path.replaceFullPath",
                  "spec.rules[0].filters[2].requestRedirect.statusCode", "spec.rules[0].timeouts.request",
                  "spec.rules[0].retry.codes[0]"));
  EXPECT_THAT(
      problem_fields(
          R"({"apiVersion":"sluice.dev/v1alpha1","kind":"Route","metadata":{"name":"r"},"spec":{"parentRefs":[],"rules":[]}})"),
      ElementsAre("spec.parentRefs", "spec.rules"));
}

// One bad element never takes the others with it.
TEST(Decode, RouteFlaws) {
  const auto route = decoded<store::Route>(
      R"({"apiVersion":"sluice.dev/v1alpha1","kind":"Route","metadata":{"name":"r"},"spec":{
      "parentRefs":[{"kind":7,"name":"x"},{"name":"sluice","port":0}],"hostnames":["a.example.com",7,""],"rules":[
        {"matches":[{"path":{"value":"/a"}},{"path":{"type":"Glob"}}]},
        {"filters":[{"type":"Nope"}]},
        "x",
        {"matches":{}},
        {"matches":[{"headers":[{"name":"h","type":"Glob","value":"v"}]},{"headers":[7]}]},
        {"matches":[{"headers":[7]},{}]},
        {"backendRefs":[{"name":"a","port":80},{"name":"b","port":99999,"weight":3}]},
        {"name":"A","retry":{"codes":[200]}},
        {},
        {"matches":[{"grpc":{}},{"grpc":{"service":"a"},"path":{}},{"grpc":{"service":"a","type":"Glob"}},{"grpc":{"service":"a"}}]},
        {"upgrades":"websocket"},{"upgrades":["a",7]},{"priority":"Critical"},{"priority":7}]}})");
  EXPECT_THAT(flaw_fields(route),
              ElementsAre("spec.parentRefs[0].kind", "spec.parentRefs[1].port", "spec.hostnames[1]",
                          "spec.hostnames[2]", "spec.rules[0].matches[1].path.type", "spec.rules[1].filters[0].type",
                          "spec.rules[2]", "spec.rules[3].matches", "spec.rules[4].matches[0].headers[0].type",
                          "spec.rules[4].matches[1].headers[0]", "spec.rules[5].matches[0].headers[0]",
                          "spec.rules[6].backendRefs[1].port", "spec.rules[7].name", "spec.rules[7].retry.codes[0]",
                          "spec.rules[9].matches[0].grpc.service", "spec.rules[9].matches[1].grpc",
                          "spec.rules[9].matches[2].grpc.type", "spec.rules[10].upgrades", "spec.rules[11].upgrades[1]",
                          "spec.rules[12].priority", "spec.rules[13].priority"));
  EXPECT_EQ(route.parent_refs[0].name, "");
  EXPECT_EQ(route.parent_refs[1].name, "sluice");
  EXPECT_THAT(route.hostnames, ElementsAre("a.example.com", "", ""));
  ASSERT_EQ(route.rules.size(), 14u);
  for (const size_t i : {size_t{12}, size_t{13}}) {
    EXPECT_FALSE(route.rules[i].invalid) << "it spoils nothing but itself";
    EXPECT_EQ(route.rules[i].priority, store::Priority::standard);
  }
  const auto invalid = [&](size_t rule) {
    std::string out = route.rules[rule].invalid ? "rule:" : "fine:";
    for (const auto& match : route.rules[rule].matches) out += match.invalid ? 'x' : '.';
    return out;
  };
  EXPECT_EQ(invalid(0), "fine:.x");
  EXPECT_EQ(invalid(1), "rule:");
  EXPECT_EQ(invalid(2), "rule:x");  // not "everything"
  EXPECT_EQ(invalid(3), "fine:x");
  EXPECT_EQ(invalid(4), "rule:.x");
  EXPECT_EQ(route.rules[4].matches[0].headers[0], (store::ValueMatch{store::ValueMatchType::present, "h", ""}));
  EXPECT_EQ(invalid(5), "fine:x.");
  EXPECT_EQ(invalid(6), "fine:");
  EXPECT_FALSE(route.rules[6].backend_refs[0].invalid);
  EXPECT_TRUE(route.rules[6].backend_refs[1].invalid);
  EXPECT_EQ(route.rules[6].backend_refs[1].weight, 3u);
  EXPECT_EQ(invalid(7), "rule:");
  EXPECT_EQ(route.rules[7].name, "");
  EXPECT_EQ(invalid(8), "fine:");
  EXPECT_EQ(invalid(9), "fine:xxx.");
  EXPECT_EQ(invalid(10), "rule:");
  EXPECT_EQ(invalid(11), "rule:");
}

TEST(Decode, IngressFlaws) {
  const auto ingress = decoded<store::Ingress>(
      R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"w","annotations":{"a":true,"b":"c"}},"spec":{
      "defaultBackend":{},
      "rules":[{"host":7},{"host":"a","http":{"paths":[{"path":"/","pathType":"Glob"},
        {"path":"/b","pathType":"Exact","backend":{"service":{"name":"s"}}},
        {"path":"/c","pathType":"Exact","backend":{"service":{"name":"s","port":{"number":1}}}}]}},7],
      "tls":[{"hosts":[7,"a"],"secretName":"s"},{"hosts":["b"],"secretName":7},{"hosts":"c"}]}})");
  EXPECT_THAT(flaw_fields(ingress),
              ElementsAre("metadata.annotations.a", "spec.defaultBackend", "spec.rules[0].host",
                          "spec.rules[1].http.paths[0].pathType", "spec.rules[1].http.paths[0].backend",
                          "spec.rules[1].http.paths[1].backend.service.port", "spec.rules[2]", "spec.tls[0].hosts[0]",
                          "spec.tls[1].secretName", "spec.tls[2].hosts"));
  EXPECT_EQ(ingress.meta.annotations.at("a"), store::kUnreadable);
  EXPECT_EQ(ingress.meta.annotations.at("b"), "c");
  EXPECT_TRUE(ingress.default_backend->invalid);
  ASSERT_EQ(ingress.rules.size(), 3u);
  EXPECT_TRUE(ingress.rules[0].invalid && !ingress.rules[1].invalid && ingress.rules[2].invalid);
  const auto& paths = ingress.rules[1].paths;
  ASSERT_EQ(paths.size(), 3u);
  EXPECT_TRUE(paths[0].invalid);
  EXPECT_TRUE(!paths[1].invalid && paths[1].backend.invalid);
  EXPECT_TRUE(!paths[2].invalid && !paths[2].backend.invalid);
  EXPECT_THAT(ingress.tls[0].hosts, ElementsAre("", "a"));
  EXPECT_TRUE(!ingress.tls[1].invalid && ingress.tls[1].secret.empty() && ingress.tls[2].invalid);
}

TEST(Decode, ServiceAndSliceFlaws) {
  const auto service = decoded<store::Service>(
      R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","labels":{"l":1,"m":"n"}},"spec":{"ports":[{"port":0},{"port":80},7]}})");
  EXPECT_THAT(flaw_fields(service), ElementsAre("metadata.labels.l", "spec.ports[0].port", "spec.ports[2]"));
  EXPECT_EQ(service.meta.labels.size(), 1u);
  ASSERT_EQ(service.ports.size(), 1u);
  EXPECT_EQ(service.ports[0].port, 80);
  const auto slice = decoded<store::EndpointSlice>(R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
      "metadata":{"name":"s-1","labels":{"kubernetes.io/service-name":"s"}},"addressType":"IPv4","ports":[{"port":-1},{"name":"b","port":2}],
      "endpoints":[{"addresses":["10.0.0.1"]},{"addresses":[7]},{"addresses":["10.0.0.3"],"conditions":{"ready":"yes"}},null,{"addresses":["10.0.0.5"]}]})");
  EXPECT_THAT(flaw_fields(slice), ElementsAre("ports[0].port", "endpoints[1].addresses[0]",
                                              "endpoints[2].conditions.ready", "endpoints[3]"));
  ASSERT_EQ(slice.ports.size(), 1u);
  EXPECT_EQ(slice.ports[0].name, "b");
  ASSERT_EQ(slice.endpoints.size(), 5u);  // places stay
  EXPECT_THAT(slice.endpoints[1].addresses, ElementsAre(""));
  EXPECT_TRUE(slice.endpoints[2].invalid && slice.endpoints[3].invalid && !slice.endpoints[4].invalid);
  EXPECT_EQ(problem_fields(R"({"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice",
      "metadata":{"name":"s-1","labels":{"kubernetes.io/service-name":7}},"addressType":"IPv4"})"),
            std::vector<std::string>{"metadata.labels.kubernetes.io/service-name"});
}

TEST(Decode, FlawsAreBounded) {
  std::string rules;
  for (int i = 0; i < 1000; ++i) rules += i == 0 ? "7" : ",7";
  const auto ingress = decoded<store::Ingress>(
      R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"w"},"spec":{"rules":[)" + rules +
      "]}}");
  ASSERT_EQ(ingress.meta.flaws.size(), DecodeContext::kMaxProblems);
  EXPECT_THAT(ingress.meta.flaws.back().text, HasSubstr("and 936 more"));
}

TEST(Decode, ForeignAndOldVersions) {
  auto foreign = decode(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}})");
  ASSERT_TRUE(foreign);
  EXPECT_TRUE(foreign->foreign);
  foreign = decode(R"({"apiVersion":"serving.knative.dev/v1","kind":"Service","metadata":{"name":"d"}})");
  EXPECT_TRUE(foreign && foreign->foreign);
  foreign = decode(R"({"apiVersion":"route.openshift.io/v1","kind":"Route","metadata":{"name":"d"}})");
  EXPECT_TRUE(foreign && foreign->foreign);
  for (const char* version : {"extensions/v1beta1", "networking.k8s.io/v1beta1"}) {
    const auto old =
        decode(std::string(R"({"apiVersion":")") + version + R"(","kind":"Ingress","metadata":{"name":"d"}})");
    ASSERT_TRUE(old);
    EXPECT_FALSE(old->foreign || old->object);
    ASSERT_EQ(old->problems.size(), 1u);
    EXPECT_THAT(old->problems[0].text, HasSubstr("use networking.k8s.io/v1"));
  }
}

TEST(Decode, NotAnObject) {
  for (const char* text :
       {"", " ", "[]", "1", "null", "{", "{}", R"({"kind":"Service"})", R"({"kind":7,"apiVersion":"v1"})",
        R"({"apiVersion":"v1","kind":"Service"} x)", "\xff", R"({"apiVersion":"v1","kind":"Service","metadata":)"}) {
    EXPECT_FALSE(decode(text).has_value()) << text;
  }
  EXPECT_FALSE(decode(std::string(100'000, '[')).has_value());
  EXPECT_FALSE(decode(R"({"a":")" + std::string(5 << 20, 'x') + "\"}").has_value());
}

TEST(Decode, ListsAreBounded) {
  std::string rules;
  for (int i = 0; i < 5000; ++i) rules += i == 0 ? "{}" : ",{}";
  EXPECT_EQ(problem_fields(
                R"({"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"w"},"spec":{"rules":[)" +
                rules + "]}}"),
            std::vector<std::string>{"spec.rules"});
}

TEST(DecodeList, ItemsAreViews) {
  const std::string text =
      R"({"kind":"IngressList","apiVersion":"networking.k8s.io/v1","metadata":{"resourceVersion":"12","continue":"tok","remainingItemCount":3},
    "items":[{"metadata":{"name":"a"}}, {"metadata":{"name":"b","x":"}]"}} ]})";
  const auto page = decode_list(text);
  ASSERT_TRUE(page.has_value()) << page.error().message;
  EXPECT_EQ(page->resource_version, "12");
  EXPECT_EQ(page->continue_token, "tok");
  ASSERT_EQ(page->items.size(), 2u);
  EXPECT_EQ(page->items[0], R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(page->items[1], R"({"metadata":{"name":"b","x":"}]"}})");
  EXPECT_GE(page->items[0].data(), text.data());
  EXPECT_LT(page->items[0].data(), text.data() + text.size());
  EXPECT_TRUE(decode_as(store::Kind::ingress, page->items[0])->object.has_value());
}

TEST(DecodeList, EmptyAndBroken) {
  for (const char* text : {R"({"kind":"IngressList","items":null})", R"({"items":[],"kind":"IngressList"})",
                           R"({"kind":"IngressList"})"}) {
    const auto page = decode_list(text);
    ASSERT_TRUE(page.has_value()) << text << page.error().message;
    EXPECT_TRUE(page->items.empty());
  }
  for (const char* text :
       {"", "{}", "[]", R"({"kind":"Ingress"})", R"({"kind":"IngressList","items":{}})",
        R"({"kind":"IngressList","items":[1]})", R"({"kind":"IngressList","items":[{"a":1})",
        R"({"kind":"IngressList","metadata":{"resourceVersion":1}})", R"({"kind":"IngressList","items":[]} {})"}) {
    EXPECT_FALSE(decode_list(text).has_value()) << text;
  }
}

TEST(Scalars, Durations) {
  EXPECT_EQ(parse_duration_ms("0s"), 0u);
  EXPECT_EQ(parse_duration_ms("1h2m3s4ms"), 3'723'004u);
  EXPECT_EQ(parse_duration_ms("99999h"), 359'996'400'000u > UINT32_MAX ? std::nullopt : std::optional<uint32_t>(0));
  for (const char* bad : {"", "1", "s", "1.5s", "-1s", "1s ", "100000s", "1s1s1s1s1s", "1d"})
    EXPECT_FALSE(parse_duration_ms(bad)) << bad;
}

TEST(Scalars, Times) {
  EXPECT_EQ(parse_rfc3339("1970-01-01T00:00:00Z"), 0);
  EXPECT_EQ(parse_rfc3339("2024-02-29T12:00:00.123456Z"), 1709208000);
  EXPECT_EQ(parse_rfc3339("2024-02-29T12:00:00+02:00"), 1709200800);
  for (const char* bad : {"", "2024-02-29", "2024-13-01T00:00:00Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00Zx",
                          "2024-01-01T00:00:00.Z", "aaaa-01-01T00:00:00Z"}) {
    EXPECT_FALSE(parse_rfc3339(bad)) << bad;
  }
}

TEST(Scalars, Base64) {
  EXPECT_EQ(parse_base64(""), "");
  EXPECT_EQ(parse_base64("Zg=="), "f");
  EXPECT_EQ(parse_base64("Zm8="), "fo");
  EXPECT_EQ(parse_base64("Zm9v\nYmFy"), "foobar");
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "=", "Zm8=Zm8=", "Zm 8", "Zm8-"})
    EXPECT_FALSE(parse_base64(bad)) << bad;
}

}  // namespace
}  // namespace sluice::kube
