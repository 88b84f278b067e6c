// From a Service or the options to status.loadBalancer: what is read, what a patch says, what is written and when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/kube/decode/decode.h"
#include "controlplane/status/address_source.h"
#include "controlplane/status/object_status.h"
#include "controlplane/status/status_writer.h"
#include "tests/lib/fake_apiserver.h"
#include "tests/lib/run_until.h"

namespace sluice::status {
namespace {

using nlohmann::json;
using store::Kind;
using Address = config::PublishedAddress;

Address ip(const std::string& text) { return {text, {}}; }
Address host(const std::string& text) { return {{}, text}; }

PublishedBy published(const json& spec, const json& ingress = json::array()) {
  const json object = {{"metadata", {{"name", "gateway"}, {"namespace", "edge"}}},
                       {"spec", spec},
                       {"status", {{"loadBalancer", {{"ingress", ingress}}}}}};
  auto decoded = kube::decode_as(Kind::service, object.dump());
  EXPECT_TRUE(decoded && decoded->object);
  return addresses_of(std::get<store::Service>(*decoded->object));
}

TEST(Addresses, OfALoadBalancer) {
  const json spec = {{"type", "LoadBalancer"}, {"clusterIPs", {"10.96.0.7"}}, {"externalIPs", {"198.18.0.1"}}};
  const json ingress = {{{"ip", "198.18.0.9"}, {"ports", {{{"port", 80}, {"protocol", "TCP"}}}}},
                        {{"hostname", "lb.example"}},
                        {{"ip", "2001:DB8::1"}, {"hostname", "six.example"}, {"ipMode", "VIP"}}};
  const PublishedBy out = published(spec, ingress);
  EXPECT_EQ(out.addresses,
            (Addresses{host("lb.example"), ip("198.18.0.9"), {"2001:db8::1", "six.example"}, ip("198.18.0.1")}));
  EXPECT_TRUE(out.refused.empty());
  json turned = ingress;
  std::reverse(turned.begin(), turned.end());
  EXPECT_EQ(published(spec, turned).addresses, out.addresses) << "the order of a provider says nothing";
  EXPECT_TRUE(published({{"type", "LoadBalancer"}, {"clusterIPs", {"10.96.0.7"}}}).addresses.empty())
      << "not yet made: no address, and none inside the cluster";
}

TEST(Addresses, OfOtherTypes) {
  const json both = {"10.96.0.7", "fd00::7"};
  for (const char* type : {"ClusterIP", "NodePort"}) {
    EXPECT_EQ(published({{"type", type}, {"clusterIP", "10.96.0.7"}, {"clusterIPs", both}}).addresses,
              (Addresses{ip("10.96.0.7"), ip("fd00::7")}));
    EXPECT_EQ(published({{"type", type}, {"clusterIP", "10.96.0.7"}}).addresses, Addresses{ip("10.96.0.7")});
    EXPECT_EQ(published({{"type", type}, {"clusterIPs", both}, {"externalIPs", {"198.18.0.1"}}}).addresses,
              Addresses{ip("198.18.0.1")});
  }
  const PublishedBy headless = published({{"clusterIP", "None"}, {"clusterIPs", {"None"}}});
  EXPECT_TRUE(headless.addresses.empty() && headless.refused.empty());
  EXPECT_EQ(published({{"type", "ExternalName"}, {"externalName", "lb.example."}}).addresses,
            Addresses{host("lb.example")});
}

TEST(Addresses, WhatIsNoneIsLeftOutAndSaid) {
  const PublishedBy out = published({{"type", "LoadBalancer"}}, {{{"ip", "not.an.ip"}},
                                                                 {{"ip", "::ffff:10.0.0.1"}},
                                                                 {{"ip", "10.0.0.256"}},
                                                                 {{"hostname", "10.0.0.1"}},
                                                                 {{"hostname", "Upper.example"}},
                                                                 {{"hostname", "under_score.example"}},
                                                                 {{"hostname", std::string(64, 'a') + ".example"}},
                                                                 json::object(),
                                                                 {{"ip", "198.18.0.9"}, {"hostname", "-"}},
                                                                 {{"ip", "198.18.0.9"}}});
  EXPECT_EQ(out.addresses, Addresses{ip("198.18.0.9")});
  EXPECT_EQ(out.refused.size(), 8u);
  json many = json::array();
  for (int i = 0; i < 40; ++i) many.push_back({{"ip", "198.18.1." + std::to_string(i)}});
  EXPECT_EQ(published({{"type", "LoadBalancer"}}, many).addresses.size(), config::kMaxPublished);
  EXPECT_EQ(published({{"type", "LoadBalancer"}}, many).refused.size(), 8u);
}

WantedStatus wanted_ingress(bool accepted = true) {
  return {{Kind::ingress, {"shop", "cart"}}, "u", 0, accepted, {}, {}};
}

json patch_of(const WantedStatus& wanted, const json& status, const std::optional<Addresses>& addresses) {
  const json object = {{"metadata", {{"name", "cart"}, {"uid", "u"}, {"resourceVersion", "7"}}}, {"status", status}};
  auto patch = status_patch(object.dump(), wanted, Programmed::yes, "c", 0, addresses);
  EXPECT_TRUE(patch.has_value());
  return patch && *patch ? json::parse(**patch) : json();
}

json balancer(const json& ingress) { return {{"loadBalancer", {{"ingress", ingress}}}}; }

TEST(AddressPatch, OfAnIngressIsItsLoadBalancerAndNothingElse) {
  const Addresses two = {ip("198.18.0.9"), host("lb.example")};
  const json as_json = {{{"ip", "198.18.0.9"}}, {{"hostname", "lb.example"}}};
  EXPECT_EQ(patch_of(wanted_ingress(), json::object(), two),
            (json{{"metadata", {{"resourceVersion", "7"}}}, {"status", balancer(as_json)}}));
  EXPECT_TRUE(patch_of(wanted_ingress(), balancer(as_json), two).is_null());
  EXPECT_TRUE(patch_of(wanted_ingress(), balancer({{{"ip", "192.0.2.1"}}}), std::nullopt).is_null()) << "not known";
  const json ports = {{{"ip", "198.18.0.9"}, {"ports", {{{"port", 80}}}}}, {{"hostname", "lb.example"}}};
  EXPECT_EQ(patch_of(wanted_ingress(), balancer(ports), two)["status"], balancer(as_json));
  for (const json& status : {json::array(), json("x"), json{{"loadBalancer", 7}}, balancer("x"), balancer(nullptr)})
    EXPECT_EQ(patch_of(wanted_ingress(), status, two)["status"], balancer(as_json)) << status;
}

TEST(AddressPatch, NoneForWhatIsNotAcceptedAndForAServiceWithout) {
  const json old = balancer({{{"ip", "192.0.2.1"}}});
  EXPECT_EQ(patch_of(wanted_ingress(false), old, Addresses{ip("198.18.0.9")})["status"], balancer(nullptr));
  EXPECT_EQ(patch_of(wanted_ingress(), old, Addresses())["status"], balancer(nullptr));
  EXPECT_TRUE(patch_of(wanted_ingress(false), json::object(), Addresses{ip("198.18.0.9")}).is_null());
  EXPECT_TRUE(patch_of(wanted_ingress(), balancer(nullptr), Addresses()).is_null());
}

TEST(AddressPatch, OfARouteBesideItsConditionsAndNeverOfAPolicy) {
  WantedStatus route{{Kind::route, {"shop", "cart"}}, "u", 3, true, {}, {{"Accepted", true, "Accepted", "ok"}}};
  const json first = patch_of(route, json::object(), Addresses{ip("198.18.0.9")})["status"];
  EXPECT_EQ(first["loadBalancer"]["ingress"], (json{{{"ip", "198.18.0.9"}}}));
  EXPECT_EQ(first["conditions"].size(), 2u);
  const json moved = patch_of(route, first, Addresses{ip("198.18.0.10")})["status"];
  EXPECT_EQ(moved, balancer({{{"ip", "198.18.0.10"}}})) << "the rest stays as it is";
  EXPECT_TRUE(patch_of(route, first, Addresses{ip("198.18.0.9")}).is_null());
  route.object.kind = Kind::rate_limit_policy;
  EXPECT_FALSE(patch_of(route, json::object(), Addresses{ip("198.18.0.9")})["status"].contains("loadBalancer"));
}

TEST(WantedIngresses, OnlyWhereTheyAreAskedForAndOurs) {
  store::Ingress ingress;
  ingress.meta.ns = "shop";
  ingress.meta.name = "cart";
  ingress.meta.uid = "u";
  store::Snapshot snapshot;
  snapshot.ingresses[ingress.meta.key()] = std::make_shared<const store::Ingress>(ingress);
  translate::Translation translation;
  EXPECT_TRUE(wanted_of(translation, {}, snapshot, true).statuses.empty()) << "translation says which are ours";
  translation.statuses.push_back({{Kind::ingress, ingress.meta.key()}, 4, true, true, {}});
  EXPECT_TRUE(wanted_of(translation, {}, snapshot).statuses.empty());
  EXPECT_EQ(wanted_of(translation, {}, snapshot, true).statuses, std::vector{wanted_ingress()});
}

constexpr const char* kServices = "/api/v1/services";
constexpr const char* kIngresses = "/apis/networking.k8s.io/v1/ingresses";
constexpr const char* kRoutes = "/apis/sluice.dev/v1alpha1/routes";

// The Service's watch and the writer, together as in main.cpp, against the API server double.
class AddressWriterTest : public ::testing::Test {
 protected:
  AddressWriterTest() {
    log::set_level(log::Level::off);
    for (const char* name : {"cart", "other"}) put(kIngresses, name, {{"spec", json::object()}});
    put(kRoutes, "cart", {{"spec", json::object()}});
    service("198.18.0.9");
    kube::ClusterAccess access;
    access.server = server.url();
    access.ca_file = server.ca_file;
    transport = std::move(*kube::make_transport(io, access));
    StatusOptions with;
    with.controller_name = "c";
    with.pending_ms = 100;
    with.backoff_start_ms = 10;
    with.tick_ms = 20;
    writer = make_status_writer(io, *transport, with);
    kube::ReflectorTimings timings;
    timings.backoff_start_ms = 10;
    addresses = std::make_unique<AddressSource>(io, *transport, timings, [this](std::optional<Addresses> now) {
      ++told;
      writer->set_addresses(std::move(now));
    });
    options.publish_service = {"edge", "gateway"};
    Wanted wanted;
    wanted.statuses.push_back({{Kind::ingress, {"shop", "cart"}}, uid(kIngresses), 0, true, {}, {}});
    wanted.statuses.push_back(
        {{Kind::route, {"shop", "cart"}}, uid(kRoutes), 1, true, {}, {{"Accepted", true, "Accepted", "ok"}}});
    writer->update(wanted, 1);
    writer->acknowledged(1);
  }
  ~AddressWriterTest() override {
    addresses->stop();
    writer->stop();
    transport->shutdown();
  }
  void put(const char* path, const std::string& name, json object, const std::string& ns = "shop") {
    object["metadata"] = {{"name", name}, {"namespace", ns}};
    server.command({{"op", "put"}, {"path", path}, {"object", std::move(object)}});
  }
  void service(const std::string& address, const std::string& name = "gateway") {
    json object = balancer({{{"ip", address}}});
    put(kServices, name, {{"spec", {{"type", "LoadBalancer"}}}, {"status", std::move(object)}}, "edge");
  }
  json object(const char* path, const std::string& name = "cart") {
    return server.command({{"op", "get"}, {"path", path}, {"ns", "shop"}, {"name", name}})["object"];
  }
  std::string uid(const char* path) { return object(path)["metadata"]["uid"].get<std::string>(); }
  // "" = none.
  std::string address(const char* path, const std::string& name = "cart") {
    const json found = object(path, name);
    const json::json_pointer first("/status/loadBalancer/ingress/0/ip");
    return found.contains(first) ? found[first].get<std::string>() : "";
  }
  bool both_say(const std::string& text) { return address(kIngresses) == text && address(kRoutes) == text; }
  template <class Done>
  bool run_until(Done done, int turns = 12'000) {
    return testkit::run_until(io, done, turns * std::chrono::milliseconds(10));
  }
  bool settled() {
    return run_until([&] { return writer->counts().statuses_waiting == 0; });
  }

  sluice::testkit::TempFolder folder;
  sluice::testkit::FakeApiServer server{folder};
  boost::asio::io_context io;
  std::unique_ptr<kube::Transport> transport;
  std::unique_ptr<StatusWriter> writer;
  std::unique_ptr<AddressSource> addresses;
  config::Options options;
  int told = 0;
};

TEST_F(AddressWriterTest, AreThoseOfTheServiceAndFollowIt) {
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.9"); }));
  ASSERT_TRUE(settled());
  const uint64_t written = writer->counts().statuses_written;
  service("198.18.0.77", "another");
  service("198.18.0.9");  // another version, the same address
  ASSERT_TRUE(run_until([&] { return told >= 3; }));
  ASSERT_TRUE(settled());
  EXPECT_EQ(writer->counts().statuses_written, written);
  service("198.18.0.10");
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.10"); }));
  ASSERT_TRUE(settled());
  EXPECT_EQ(writer->counts().statuses_written, written + 2) << "one write each";
  EXPECT_EQ(object(kRoutes)["status"]["conditions"].size(), 2u);
  EXPECT_FALSE(object(kIngresses)["status"].contains("conditions"));
  EXPECT_FALSE(object(kIngresses, "other").contains("status")) << "is not ours";
  EXPECT_EQ(writer->counts().failures, 0u);
}

TEST_F(AddressWriterTest, StayWhenTheServiceGoesAndWhenNobodyAsks) {
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.9"); }));
  const int before = told;
  server.command({{"op", "delete"}, {"path", kServices}, {"ns", "edge"}, {"name", "gateway"}});
  ASSERT_TRUE(run_until([&] { return told > before; }));
  ASSERT_TRUE(settled());
  EXPECT_TRUE(both_say("198.18.0.9"));
  addresses->set({});
  EXPECT_FALSE(addresses->wanted());
  service("198.18.0.10");
  run_until([] { return false; }, 20);
  EXPECT_TRUE(both_say("198.18.0.9"));
}

TEST_F(AddressWriterTest, FixedOnesWinAndAnotherServiceMayBeNamed) {
  options.publish_addresses = {ip("198.18.0.20")};
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.20"); }));
  options.publish_addresses.clear();
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.9"); }));
  service("198.18.0.30", "another");
  options.publish_service = {"edge", "another"};
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.30"); }));
}

TEST_F(AddressWriterTest, ConflictsAreTriedAgainAndARouteIsNotUnprogrammed) {
  ASSERT_TRUE(settled());
  server.fault("call", "status", {{"path", "/cart/status"}, {"code", 409}, {"times", 3}});
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.9"); }));
  EXPECT_EQ(object(kRoutes)["status"]["conditions"][1]["status"], "True");
}

TEST_F(AddressWriterTest, AnIngressThatLostItsLastRuleHasNone) {
  addresses->set(options);
  ASSERT_TRUE(run_until([&] { return both_say("198.18.0.9"); }));
  Wanted wanted;
  wanted.statuses.push_back({{Kind::ingress, {"shop", "cart"}}, uid(kIngresses), 0, false, {}, {}});
  writer->update(wanted, 2);
  ASSERT_TRUE(run_until([&] { return address(kIngresses).empty(); }));
  writer->update({}, 3);  // of another class now: nothing more is ours to write
  service("198.18.0.10");
  run_until([] { return false; }, 20);
  EXPECT_TRUE(address(kIngresses).empty());
}

}  // namespace
}  // namespace sluice::status
