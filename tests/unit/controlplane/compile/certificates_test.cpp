// The one thing translation remembers: a certificate's last good form, within its validity.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice {
namespace {

const std::string kObjects = std::string("{kind: Options, base: true}") + test::kTlsIngress;

struct CertificateTest : testing::Test {
  CertificateTest() : objects(test::read_objects(kObjects, std::string(SLUICE_SOURCE_DIR) + "/tests/golden")) {}
  translate::Translation run(int64_t now = 0) { return translator.translate(objects.snapshot, objects.options, now); }
  void change_secret(const std::function<void(store::Secret&)>& edit) {
    store::Secret secret = *objects.snapshot.secrets.at(key);
    edit(secret);
    test::put(objects.snapshot, secret);
  }
  test::Objects objects;
  translate::Translator translator;
  const store::ObjectKey key{"default", "cert"};
};

TEST_F(CertificateTest, BrokenSecretKeepsTheLastGoodOne) {
  const auto good = run();
  ASSERT_EQ(good.certificates.size(), 1u);
  EXPECT_TRUE(good.problems.empty());
  change_secret([](store::Secret& secret) { secret.data["tls.crt"] = SecretBytes("nonsense"); });
  const auto broken = run();
  ASSERT_EQ(broken.certificates.size(), 1u);
  EXPECT_EQ(broken.certificates[0]->chain_pem, good.certificates[0]->chain_pem);
  EXPECT_EQ(broken.certificates[0]->hash, good.certificates[0]->hash);
  EXPECT_FALSE(good.certificates[0]->last_good);
  EXPECT_TRUE(broken.certificates[0]->last_good);
  EXPECT_EQ(broken.tls_hosts.size(), 1u);
  ASSERT_EQ(broken.problems.size(), 1u);
  EXPECT_EQ(broken.problems[0].reason, "InvalidCertificate");
  EXPECT_NE(broken.problems[0].text.find("the last good one"), std::string::npos);
  EXPECT_FALSE(broken.statuses[0].resolved_refs);
  // Beyond its validity it is not served either.
  const auto late = run(good.certificates[0]->not_after + 1);
  EXPECT_TRUE(late.certificates.empty());
  // It is named all the same: the default certificate answers, unless a data plane has one that is valid.
  EXPECT_EQ(late.tls_hosts.size(), 1u);
}

TEST_F(CertificateTest, DeletedSecretKeepsTheLastGoodOne) {
  run();
  objects.snapshot.kind_versions = {};  // not counted: maps are compared
  objects.snapshot.secrets.clear();
  const auto gone = run();
  EXPECT_EQ(gone.certificates.size(), 1u);
  ASSERT_EQ(gone.problems.size(), 1u);
  EXPECT_EQ(gone.problems[0].reason, "SecretNotFound");
}

TEST_F(CertificateTest, NotLoadedAgainAfterARelistIsNoProblem) {
  run();
  change_secret([](store::Secret& secret) { secret.loaded = false, secret.data.clear(); });
  const auto pending = run();
  EXPECT_EQ(pending.certificates.size(), 1u);
  EXPECT_EQ(pending.secrets_pending, 1u);
  EXPECT_TRUE(pending.problems.empty());
}

TEST_F(CertificateTest, ForgottenWhenNobodyNamesItAnyMore) {
  run();
  const auto ingress = objects.snapshot.ingresses;
  objects.snapshot.kind_versions = {};  // not counted: maps are compared
  objects.snapshot.ingresses.clear();
  EXPECT_TRUE(run().certificates.empty());
  objects.snapshot.ingresses = ingress;
  objects.snapshot.secrets.clear();
  EXPECT_TRUE(run().certificates.empty());
}

TEST_F(CertificateTest, RotationTouchesOnlyTheSecretSet) {
  compile::Compiler compiler;
  const auto before = compiler.compile(run());
  change_secret([&](store::Secret& secret) {
    secret.data["tls.crt"] =
        SecretBytes(std::string(secret.data["tls.crt"].reveal()) + "\n" + std::string(secret.data["tls.crt"].reveal()));
  });
  const auto after = compiler.compile(run());
  EXPECT_EQ(before.parts[0].hash, after.parts[0].hash);
  EXPECT_EQ(before.parts[1].hash, after.parts[1].hash);
  EXPECT_NE(before.parts[2].hash, after.parts[2].hash);
}

TEST_F(CertificateTest, RolloutTouchesOnlyTheEndpointSet) {
  compile::Compiler compiler;
  const auto before = compiler.compile(run());
  store::EndpointSlice slice = *objects.snapshot.endpoint_slices.at({"default", "web-1"});
  slice.endpoints.pop_back();
  test::put(objects.snapshot, slice);
  const auto after = compiler.compile(run());
  EXPECT_EQ(before.parts[0].hash, after.parts[0].hash);
  EXPECT_NE(before.parts[1].hash, after.parts[1].hash);
  EXPECT_EQ(before.parts[2].hash, after.parts[2].hash);
}

}  // namespace
}  // namespace sluice
