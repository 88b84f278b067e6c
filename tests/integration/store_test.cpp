// The last good state on disk: cold start without a control plane, damage, secrets kept or not.
#include <filesystem>
#include <fstream>

#include <sys/stat.h>

#include "dataplane/agent/state_store.h"
#include "tests/integration/planes_fixture.h"

namespace sluice::test {
namespace {
namespace fs = std::filesystem;

agent::State make_state(const TestState& from, uint64_t sequence) {
  const publish::StateParts parts = build(from);
  agent::State state;
  state.id = {77, sequence};
  for (size_t i = 0; i < ir::kParts; ++i) {
    auto part = agent::make_part(static_cast<ir::PartKind>(i), *parts.bytes[i]);
    EXPECT_TRUE(part) << part.error().text;
    if (part) state.parts[i] = *part;
  }
  for (const auto& shard : parts.shards) {
    auto part = agent::make_part(ir::PartKind::shard, *shard.bytes);
    EXPECT_TRUE(part) << part.error().text;
    if (part) state.shards.push_back(*part);
  }
  return state;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sluice-store-XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    base_ = pattern;
    folder_ = base_ + "/state";
  }
  void TearDown() override { fs::remove_all(base_); }
  void write(uint64_t sequence, bool secrets = true, size_t shards = 0) {
    const agent::State state = make_state({.marker = fmt::format("m{}", sequence),
                                           .certificates = {"ns/c"},
                                           .shards = shards,
                                           .shard_marker = fmt::format("s{}", sequence)},
                                          sequence);
    const Status written = agent::write_state(folder_, state, secrets);
    ASSERT_TRUE(written) << written.error().message;
  }
  // Sequence of what is read; 0 = nothing.
  uint64_t read(bool secrets = true) {
    problems_.clear();
    state_ = agent::read_state(folder_, secrets, problems_);
    return state_ ? state_->id.sequence : 0;
  }
  // Flips a bit of a file.
  void damage(const std::string& name, size_t at) {
    std::fstream file(folder_ + "/" + name, std::ios::in | std::ios::out | std::ios::binary);
    ASSERT_TRUE(file) << name;
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  std::string base_, folder_;
  std::shared_ptr<const agent::State> state_;
  std::vector<std::string> problems_;
};

TEST_F(StoreTest, ReadsTheNewestAndKeepsThePrevious) {
  EXPECT_EQ(read(), 0u);
  for (uint64_t i = 1; i <= 4; ++i) write(i);
  EXPECT_EQ(read(), 4u);
  EXPECT_EQ(state_->head().default_certificate()->str(), "m4");
  size_t parts = 0;
  for (const auto& entry : fs::directory_iterator(folder_))
    parts += entry.path().filename().string().starts_with("state.");
  EXPECT_EQ(parts, 6u) << "two generations";
}

TEST_F(StoreTest, AnyDamagedFileMeansThePreviousGeneration) {
  for (const char* name : {"manifest", "state.table.2", "state.endpoints.2", "state.secrets.2"}) {
    fs::remove_all(folder_);
    write(1);
    write(2);
    damage(name, 12);
    EXPECT_EQ(read(), 1u) << name;
    EXPECT_EQ(state_->head().default_certificate()->str(), "m1");
    EXPECT_EQ(problems_.size(), 1u);
    // Cut and missing files too.
    fs::resize_file(folder_ + "/" + name, 10);
    EXPECT_EQ(read(), 1u) << name;
    fs::remove(folder_ + "/" + name);
    EXPECT_EQ(read(), 1u) << name;
  }
}

TEST_F(StoreTest, ShardsOfALargeTableAreKept) {
  write(1, true, 4);
  write(2, true, 8);
  ASSERT_EQ(read(), 2u);
  EXPECT_EQ(state_->shards.size(), 8u);
  EXPECT_EQ(state_->table().cluster("marker")->origin()->name()->str(), "s2");
  // A bit anywhere in them, a byte too few or too many: the one before, whole.
  const std::string name = "state.shards.2";
  const size_t size = fs::file_size(folder_ + "/" + name);
  for (size_t at = 0; at < size; at += 7) {
    damage(name, at);
    EXPECT_EQ(read(), 1u) << at;
    damage(name, at);
  }
  EXPECT_EQ(state_->table().cluster("marker")->origin()->name()->str(), "s1");
  for (const size_t other : {size - 8, size + 8}) {
    fs::resize_file(folder_ + "/" + name, other);
    EXPECT_EQ(read(), 1u) << other;
  }
  // The files of a table without shards: those of the generations before go with them.
  write(3);
  write(4);
  EXPECT_EQ(read(), 4u);
  EXPECT_FALSE(fs::exists(folder_ + "/state.shards.1"));
  EXPECT_FALSE(fs::exists(folder_ + "/state.shards.2"));
}

TEST_F(StoreTest, EveryBitOfTheManifestCounts) {
  write(1);
  write(2);
  const size_t size = fs::file_size(folder_ + "/manifest");
  for (size_t at = 0; at < size; ++at) {
    damage("manifest", at);
    EXPECT_EQ(read(), 1u) << at;
    damage("manifest", at);
  }
  EXPECT_EQ(read(), 2u);
}

TEST_F(StoreTest, BothDamagedMeansNothing) {
  write(1);
  write(2);
  damage("state.table.1", 30);
  damage("state.table.2", 30);
  EXPECT_EQ(read(), 0u);
  EXPECT_EQ(problems_.size(), 2u);
  write(3);
  EXPECT_EQ(read(), 3u) << "and the next write repairs";
}

TEST_F(StoreTest, SymbolicLinksAreNotFollowed) {
  write(1);
  fs::rename(folder_ + "/state.table.1", base_ + "/elsewhere");
  fs::create_symlink(base_ + "/elsewhere", folder_ + "/state.table.1");
  EXPECT_EQ(read(), 0u);
}

TEST_F(StoreTest, SecretsAreInAFileOfTheirOwn) {
  write(1);
  struct stat info {};
  ASSERT_EQ(stat((folder_ + "/state.secrets.1").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(folder_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  EXPECT_EQ(read(), 1u);
  EXPECT_EQ(state_->secrets().certificates()->size(), 1u);
  for (const char* name : {"state.table.1", "state.endpoints.1"}) {
    std::ifstream file(folder_ + "/" + name, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    EXPECT_EQ(bytes.find("key of"), std::string::npos);
  }
}

TEST_F(StoreTest, WithoutSecretsNoneIsWrittenAndOldOnesGo) {
  write(1);
  write(2, false);
  EXPECT_FALSE(fs::exists(folder_ + "/state.secrets.1"));
  EXPECT_FALSE(fs::exists(folder_ + "/state.secrets.2"));
  EXPECT_EQ(read(false), 2u);
  EXPECT_EQ(state_->secrets().certificates(), nullptr);
  EXPECT_EQ(state_->head().default_certificate()->str(), "m2");
}

TEST_F(PlanesTest, ColdStartFromDiskWithoutControlPlane) {
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish({.marker = "kept", .port = 0})));
  EXPECT_EQ(stop_data(), 0);
  stop_control();
  // Port 0 is any port; nobody tells which but the admin port. So a second life with a fixed port, from the disk alone.
  const TestState fixed{.marker = "cold", .workers = 1, .port = 0};
  start_control();
  start_data();
  ASSERT_TRUE(wait_ack(publish(fixed)));
  const uint16_t http = port("http");
  ASSERT_TRUE(wait_ack(publish({.marker = "cold", .workers = 1, .port = http})));
  EXPECT_EQ(stop_data(), 0);
  stop_control();
  start_data();
  EXPECT_TRUE(eventually([&] { return ask(http).find("marker cold") != std::string::npos; }));
  // The control plane comes back with the same content: nothing has to be sent, and it is acknowledged.
  start_control();
  EXPECT_TRUE(wait_ack(publish({.marker = "cold", .workers = 1, .port = http})));
}

}  // namespace
}  // namespace sluice::test
