// Session ticket keys from the options' Secret to the secret set: the last good ones, what is said, and that nothing
// else is touched.
#include <span>

#include <gtest/gtest.h>

#include "controlplane/compile/compile.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice {
namespace {

const std::string kObjects =
    std::string("{kind: Options, base: true, ticketKeysSecret: infra/tickets}") + test::kTlsIngress;

std::string bytes(char name) { return std::string(16, name) + std::string(64, 'k'); }

struct TicketKeysTest : testing::Test {
  TicketKeysTest() : objects(test::read_objects(kObjects, std::string(SLUICE_SOURCE_DIR) + "/tests/golden")) {}
  void put(const std::map<std::string, std::string>& entries, const store::ObjectKey& key = {"infra", "tickets"}) {
    store::Secret secret;
    secret.meta.ns = key.ns;
    secret.meta.name = key.name;
    secret.loaded = true;
    for (const auto& [name, value] : entries) secret.data[name] = SecretBytes(value);
    test::put(objects.snapshot, secret);
  }
  void erase() {
    objects.snapshot.kind_versions = {};  // not counted: maps are compared
    objects.snapshot.secrets.erase({"infra", "tickets"});
  }
  // "SECRET: slot name, slot name" as the data plane reads it.
  std::string run() {
    translation = translator.translate(objects.snapshot, objects.options);
    compiled = compiler.compile(translation);
    const auto* set = flatbuffers::GetRoot<ir::SecretSet>(compiled.parts[2].bytes->data());
    std::string out = set->ticket_keys_secret() == nullptr ? "none" : set->ticket_keys_secret()->str();
    for (uint32_t i = 0; set->ticket_keys() != nullptr && i < set->ticket_keys()->size(); ++i) {
      const ir::TicketKey* key = set->ticket_keys()->Get(i);
      out += fmt::format("{} {} {}", i == 0 ? ":" : ",", key->slot(), static_cast<char>(key->key()->Get(0)));
    }
    return out;
  }
  std::vector<std::string> said() const {
    std::vector<std::string> out;
    for (const auto& problem : translation.problems) {
      EXPECT_EQ(problem.object, (store::ObjectRef{store::Kind::secret, {"infra", "tickets"}}));
      out.push_back(problem.field + " " + problem.reason + ": " + problem.text);
    }
    return out;
  }
  test::Objects objects;
  translate::Translator translator;
  compile::Compiler compiler;
  translate::Translation translation;
  compile::Compiled compiled;
};
using Texts = std::vector<std::string>;

TEST_F(TicketKeysTest, AChangeTouchesOnlyTheSecretSet) {
  put({{"0", bytes('a')}});
  EXPECT_EQ(run(), "infra/tickets: 0 a");
  EXPECT_EQ(said(), Texts{});
  EXPECT_EQ(translation.wanted_secrets, (std::vector<store::ObjectKey>{{"default", "cert"}, {"infra", "tickets"}}));
  const compile::Compiled before = compiled;
  put({{"0", bytes('a')}, {"9", bytes('b')}});
  EXPECT_EQ(run(), "infra/tickets: 0 a, 9 b");
  EXPECT_EQ(compiled.parts[0].hash, before.parts[0].hash);
  EXPECT_EQ(compiled.parts[1].hash, before.parts[1].hash);
  EXPECT_NE(compiled.parts[2].hash, before.parts[2].hash);
  // One bit of a key that keeps its name and second.
  const auto both = compiled.parts[2].hash;
  put({{"0", bytes('a')}, {"9", bytes('b').replace(79, 1, "j")}});
  run();
  EXPECT_NE(compiled.parts[2].hash, both);
  // Back again: the bytes of before.
  put({{"0", bytes('a')}});
  run();
  EXPECT_EQ(compiled.parts[2].hash, before.parts[2].hash);
  EXPECT_EQ(*compiled.parts[2].bytes, *before.parts[2].bytes);
}

// Another spelling, another label: equal keys are no change.
TEST_F(TicketKeysTest, EqualKeysAreTheSameObjects) {
  put({{"5", bytes('a')}});
  run();
  const auto* key = translation.ticket_keys.at(0).get();
  const auto part = compiled.parts[2].bytes;
  put({{"05", bytes('a')}});
  run();
  EXPECT_EQ(translation.ticket_keys.at(0).get(), key);
  EXPECT_EQ(compiled.parts[2].bytes, part);
}

TEST_F(TicketKeysTest, ABrokenSecretKeepsTheLastGoodOnes) {
  put({{"0", bytes('a')}, {"9", bytes('b')}});
  run();
  const auto good = compiled.parts[2].hash;
  put({{"0", "short"}});
  EXPECT_EQ(run(), "infra/tickets: 0 a, 9 b");
  EXPECT_EQ(compiled.parts[2].hash, good) << "nothing is pushed";
  EXPECT_EQ(said(),
            (Texts{"data.0 InvalidTicketKey: Secret infra/tickets: entry \"0\" is left out: it holds 5 bytes, not 80",
                   "tls.ticketKeysSecret NoTicketKeys: Secret infra/tickets holds no ticket key (80 bytes, named "
                   "by the Unix second from which it is used); its last good ticket keys stay in use"}));
  // Also over a change of options that everything is translated anew for.
  objects.options.ssl_redirect = false;
  EXPECT_EQ(run(), "infra/tickets: 0 a, 9 b");
  EXPECT_EQ(said().size(), 2u);
  erase();
  EXPECT_EQ(run(), "infra/tickets: 0 a, 9 b");
  EXPECT_EQ(said(), Texts{"tls.ticketKeysSecret SecretNotFound: Secret infra/tickets does not exist; its last good "
                          "ticket keys stay in use"});
  // A good one among bad ones counts at once.
  put({{"0", "short"}, {"12", bytes('c')}});
  EXPECT_EQ(run(), "infra/tickets: 12 c");
  EXPECT_EQ(said(),
            Texts{"data.0 InvalidTicketKey: Secret infra/tickets: entry \"0\" is left out: it holds 5 bytes, not 80"});
  put({{"12", bytes('c')}});
  run();
  EXPECT_EQ(said(), Texts{});
}

TEST_F(TicketKeysTest, NeverAGoodOneIsLeftToTheDataPlane) {
  EXPECT_EQ(run(), "infra/tickets");
  EXPECT_EQ(said(), Texts{"tls.ticketKeysSecret SecretNotFound: Secret infra/tickets does not exist; its last good "
                          "ticket keys are used if the data plane has them, else each instance's own"});
  put({});
  EXPECT_EQ(run(), "infra/tickets");
  EXPECT_EQ(said(),
            Texts{"tls.ticketKeysSecret NoTicketKeys: Secret infra/tickets holds no ticket key (80 bytes, named by "
                  "the Unix second from which it is used); its last good ticket keys are used if the data "
                  "plane has them, else each instance's own"});
  put({{"0", bytes('a')}});
  EXPECT_EQ(run(), "infra/tickets: 0 a");
}

TEST_F(TicketKeysTest, NotLoadedIsWaitedForAndKeepsWhatThereWas) {
  store::Secret metadata;
  metadata.meta.ns = "infra";
  metadata.meta.name = "tickets";
  test::put(objects.snapshot, metadata);
  EXPECT_EQ(run(), "infra/tickets");
  EXPECT_EQ(translation.secrets_pending, 1u);
  EXPECT_EQ(said(), Texts{});
  put({{"0", bytes('a')}});
  EXPECT_EQ(run(), "infra/tickets: 0 a");
  EXPECT_EQ(translation.secrets_pending, 0u);
  test::put(objects.snapshot, metadata);
  EXPECT_EQ(run(), "infra/tickets: 0 a");
  EXPECT_EQ(translation.secrets_pending, 1u);
  EXPECT_EQ(said(), Texts{});
}

TEST_F(TicketKeysTest, TheOptionMayComeChangeAndGo) {
  put({{"0", bytes('a')}});
  put({{"0", bytes('b')}}, {"infra", "others"});
  objects.options.ticket_keys_secret.reset();
  EXPECT_EQ(run(), "none");
  const auto without = compiled.parts[2].hash;
  EXPECT_EQ(translation.wanted_secrets, (std::vector<store::ObjectKey>{{"default", "cert"}}));
  const uint64_t version = translation.wanted_version;
  objects.options.ticket_keys_secret = store::ObjectKey{"infra", "tickets"};
  EXPECT_EQ(run(), "infra/tickets: 0 a");
  EXPECT_NE(translation.wanted_version, version) << "the source has to fetch it";
  objects.options.ticket_keys_secret = store::ObjectKey{"infra", "others"};
  EXPECT_EQ(run(), "infra/others: 0 b");
  EXPECT_EQ(translation.wanted_secrets, (std::vector<store::ObjectKey>{{"default", "cert"}, {"infra", "others"}}));
  // Keys of another Secret are not the last good ones of this one.
  objects.options.ticket_keys_secret = store::ObjectKey{"infra", "absent"};
  EXPECT_EQ(run(), "infra/absent");
  objects.options.ticket_keys_secret.reset();
  EXPECT_EQ(run(), "none");
  EXPECT_EQ(said(), Texts{});
  EXPECT_EQ(compiled.parts[2].hash, without);
}

}  // namespace
}  // namespace sluice
