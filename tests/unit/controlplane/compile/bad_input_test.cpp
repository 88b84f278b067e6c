// One bad object among a thousand costs only itself: what the others compile to is the same to the byte.
#include <array>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "controlplane/kube/decode/decode.h"
#include "controlplane/store/store.h"

namespace sluice {
namespace {

constexpr int kIngresses = 1000;
constexpr int kBad = 500;

std::string ingress(int number, std::string_view paths) {
  return fmt::format(
      R"({{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"i{0}"}},"spec":{{"ingressClassName":"sluice","rules":[
        {{"host":"h{0}.example.com","http":{{"paths":[{1}]}}}}]}}}})",
      number, paths);
}

constexpr std::string_view kGood =
    R"({"path":"/","pathType":"Prefix","backend":{"service":{"name":"web","port":{"number":80}}}})";

// As a source does it: what decodes goes into the store, what does not is told.
void put(store::Store& store, const std::string& json) {
  auto decoded = kube::decode(json);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  ASSERT_TRUE(decoded->object || decoded->ref);
  if (decoded->object) store.apply(store::Upsert{std::move(*decoded->object)});
  else store.apply(store::Undecodable{*decoded->ref, decoded->problems});
}

struct Served {
  std::map<std::string, std::vector<uint8_t>> hosts;  // the bytes of each
  size_t problems = 0, undecodable = 0;
};

// `bad`: the text of Ingress kBad; empty = it does not exist.
Served serve(const std::string& bad) {
  store::Store store;
  put(store,
      R"({"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","metadata":{"name":"sluice"},"spec":{"controller":"sluice.dev/ingress-controller"}})");
  put(store, R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"ports":[{"port":80}]}})");
  for (int i = 0; i < kIngresses; ++i) {
    if (i != kBad) put(store, ingress(i, kGood));
    else if (!bad.empty()) put(store, bad);
  }
  translate::Translator translator;
  compile::Compiler compiler;
  config::Options options;
  options.http_port = 80;
  const auto translation = translator.translate(store.snapshot(), options);
  const auto compiled = compiler.compile(translation);
  Served out;
  EXPECT_FALSE(compiled.shards.empty());
  for (const compile::Part& shard : compiled.shards) {
    for (const ir::VirtualHostRef* host : *ir::GetRouteTable(shard.bytes->data())->hosts())
      out.hosts[host->host()->str()].assign(host->data()->begin(), host->data()->end());
  }
  out.problems = translation.problems.size();
  out.undecodable = store.problems().size();
  return out;
}

TEST(BadInput, OneBadIngressAmongAThousand) {
  const Served without = serve("");
  ASSERT_EQ(without.hosts.size(), kIngresses - 1u);
  EXPECT_EQ(without.problems, 0u);
  const auto others_of = [](Served served) {
    served.hosts.erase(fmt::format("h{}.example.com", kBad));
    return served.hosts;
  };
  // Undecodable as a whole.
  const Served whole = serve(fmt::format(
      R"({{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{{"name":"i{}"}},"spec":[]}})", kBad));
  EXPECT_EQ(whole.hosts, without.hosts);
  EXPECT_EQ(whole.undecodable, 1u);
  // A bad element of each sort; the good path beside it is served.
  const std::array<std::string_view, 5> kBadPaths = {
      R"({"path":7,"pathType":"Prefix"})",
      R"({"path":"/x","pathType":"Regex","backend":{"service":{"name":"web","port":{"number":80}}}})",
      R"({"path":"/x","pathType":"Exact","backend":{"service":{"name":"web","port":{"number":99999}}}})",
      R"({"path":"x","pathType":"Exact","backend":{"service":{"name":"none","port":{"number":80}}}})",
      R"(null)",
  };
  for (const std::string_view bad : kBadPaths) {
    const Served served = serve(ingress(kBad, fmt::format("{},{}", bad, kGood)));
    EXPECT_EQ(served.hosts.size(), static_cast<size_t>(kIngresses)) << bad;
    EXPECT_EQ(others_of(served), without.hosts) << bad;
    EXPECT_GE(served.problems, 1u) << bad;
    EXPECT_EQ(served.undecodable, 0u) << bad;
  }
}

}  // namespace
}  // namespace sluice
