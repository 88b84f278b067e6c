// Certificates that a state names but lacks are taken over from the state before, and so are ticket keys.
#include "dataplane/agent/last_good.h"

#include "tests/integration/planes_fixture.h"

namespace sluice::test {
namespace {

constexpr int64_t kNow = 1'800'000'000;

std::shared_ptr<const agent::State> make(const std::vector<std::string>& hosts, const std::vector<std::string>& secrets,
                                         int64_t not_after = kNow + 1000, const std::string& fallback = "",
                                         const std::string& keys_secret = "", bool has_keys = true) {
  ir::RouteTableT table;
  table.schema_version = ir::kSchemaVersion;
  for (const std::string& id : hosts) {
    auto host = std::make_unique<ir::TlsHostT>();
    host->host = id.substr(id.find('/') + 1) + ".example";
    host->certificate = id;
    table.tls_hosts.push_back(std::move(host));
  }
  table.default_certificate = fallback;
  ir::SecretSetT set;
  set.schema_version = ir::kSchemaVersion;
  for (const std::string& id : secrets) {
    auto certificate = std::make_unique<ir::CertificateT>();
    certificate->id = id;
    certificate->hash = std::hash<std::string>()(id) | 1;
    certificate->chain_pem = "chain of " + id;
    certificate->key_pem = "key of " + id;
    certificate->not_after = not_after;
    set.certificates.push_back(std::move(certificate));
  }
  auto key = std::make_unique<ir::TicketKeyT>();
  key->slot = 7;
  key->key.assign(80, 3);
  if (has_keys) set.ticket_keys.push_back(std::move(key));
  set.ticket_keys_secret = keys_secret;
  ir::EndpointSetT endpoints;
  endpoints.schema_version = ir::kSchemaVersion;
  auto state = std::make_shared<agent::State>();
  state->id = {1, 1};
  auto put = [&](ir::PartKind kind, flatbuffers::FlatBufferBuilder& builder) {
    auto part = agent::make_part(kind, std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())));
    EXPECT_TRUE(part) << part.error().text;
    if (part) state->parts[static_cast<size_t>(kind)] = *part;
  };
  flatbuffers::FlatBufferBuilder first, second, third;
  first.Finish(ir::RouteTable::Pack(first, &table));
  put(ir::PartKind::table, first);
  second.Finish(ir::EndpointSet::Pack(second, &endpoints));
  put(ir::PartKind::endpoints, second);
  third.Finish(ir::SecretSet::Pack(third, &set));
  put(ir::PartKind::secrets, third);
  return state;
}

// "id" or "id (kept)" of each certificate of the state.
std::vector<std::string> certificates(const agent::State& state) {
  std::vector<std::string> out;
  for (const ir::Certificate* one : *state.secrets().certificates())
    out.push_back(one->id()->str() + (one->last_good() ? " (kept)" : ""));
  return out;
}

struct LastGoodTest : ::testing::Test {
  agent::Kept kept;
  std::shared_ptr<const agent::State> keep(const std::shared_ptr<const agent::State>& state,
                                           const std::shared_ptr<const agent::State>& before) {
    kept = {};
    return agent::keep_last_good(state, before.get(), kNow, kept);
  }
};

TEST_F(LastGoodTest, WhatIsNamedAndMissingIsKept) {
  const auto before = make({"ns/a", "ns/b"}, {"ns/a", "ns/b"}), now = make({"ns/a", "ns/b"}, {"ns/b"});
  const auto merged = keep(now, before);
  EXPECT_EQ(certificates(*merged), (std::vector<std::string>{"ns/a (kept)", "ns/b"}));
  EXPECT_EQ(kept, (agent::Kept{{"ns/a"}, ""}));
  EXPECT_EQ(merged->id, now->id);
  EXPECT_EQ(merged->parts[0], now->parts[0]);
  const ir::Certificate* a = merged->secrets().certificates()->LookupByKey("ns/a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->key_pem()->str(), "key of ns/a");
  EXPECT_EQ(a->hash(), before->secrets().certificates()->LookupByKey("ns/a")->hash());
  ASSERT_EQ(merged->secrets().ticket_keys()->size(), 1u);
  EXPECT_EQ(merged->secrets().ticket_keys()->Get(0)->slot(), 7);
  // And from that to the next.
  EXPECT_EQ(certificates(*keep(now, merged)), (std::vector<std::string>{"ns/a (kept)", "ns/b"}));
  // A good Secret wins at once.
  EXPECT_EQ(certificates(*keep(before, merged)), (std::vector<std::string>{"ns/a", "ns/b"}));
}

TEST_F(LastGoodTest, TheDefaultCertificateToo) {
  const auto merged = keep(make({}, {}, kNow, "ns/d"), make({}, {"ns/d"}, kNow + 1, "ns/d"));
  EXPECT_EQ(certificates(*merged), std::vector<std::string>{"ns/d (kept)"});
}

TEST_F(LastGoodTest, NothingElseIs) {
  const auto now = make({"ns/a"}, {});
  EXPECT_EQ(keep(now, nullptr), now) << "nothing to keep from";
  EXPECT_EQ(keep(now, make({"ns/a"}, {"ns/a"}, kNow)), now) << "expired";
  EXPECT_EQ(keep(now, make({"ns/b"}, {"ns/b"})), now) << "another one";
  const auto other = make({"ns/b"}, {"ns/b"});
  EXPECT_EQ(keep(other, make({"ns/a"}, {"ns/a"})), other) << "nobody names it any more";
  EXPECT_EQ(kept, agent::Kept());
}

size_t ticket_keys(const agent::State& state) {
  return state.secrets().ticket_keys() == nullptr ? 0 : state.secrets().ticket_keys()->size();
}

TEST_F(LastGoodTest, TicketKeysOfTheSameSecretAreKept) {
  const auto with = [](const std::string& secret, bool keys) { return make({}, {"ns/a"}, kNow + 1, "", secret, keys); };
  const auto merged = keep(with("ns/t", false), with("ns/t", true));
  EXPECT_EQ(kept, (agent::Kept{{}, "ns/t"}));
  ASSERT_EQ(ticket_keys(*merged), 1u);
  EXPECT_EQ(merged->secrets().ticket_keys()->Get(0)->slot(), 7);
  EXPECT_EQ(merged->secrets().ticket_keys_secret()->str(), "ns/t");
  EXPECT_EQ(certificates(*merged), std::vector<std::string>{"ns/a"});
  // And from that to the next, beside a certificate that is kept.
  const auto next = keep(make({"ns/a"}, {}, kNow + 1, "", "ns/t", false), merged);
  EXPECT_EQ(kept, (agent::Kept{{"ns/a"}, "ns/t"}));
  EXPECT_EQ(ticket_keys(*next), 1u);
  for (const auto& [now, before] :
       {std::pair(with("ns/u", false), with("ns/t", true)), std::pair(with("", false), with("ns/t", true)),
        std::pair(with("ns/t", true), with("ns/t", true)), std::pair(with("ns/t", false), with("ns/t", false))}) {
    EXPECT_EQ(keep(now, before), now);
    EXPECT_EQ(kept, agent::Kept());
  }
}

}  // namespace
}  // namespace sluice::test
