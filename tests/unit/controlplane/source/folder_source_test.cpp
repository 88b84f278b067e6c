#include "controlplane/source/folder_source.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/asio.h"
#include "controlplane/store/store.h"

namespace sluice::source {
namespace {

namespace fs = std::filesystem;

std::string service(const std::string& name, int port = 80) {
  return fmt::format("apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec: {{ports: [{{port: {}}}]}}\n", name,
                     port);
}

class FolderSourceTest : public testing::Test {
 protected:
  FolderSourceTest() {
    std::string name = (fs::temp_directory_path() / "sluice-source.XXXXXX").string();
    work = ::mkdtemp(name.data());
    folder = work / "manifests";
    fs::create_directories(folder);
  }
  ~FolderSourceTest() override {
    if (source) source->stop();
    io.restart();
    io.poll();
    fs::remove_all(work);
  }
  void start() {
    auto made = make_folder_source(io, folder.string());
    ASSERT_TRUE(made) << made.error().message;
    source = std::move(*made);
    bool synced = false;
    source->start(
        {.change = [this](store::Change change) { store.apply(std::move(change)); }, .synced = [&] { synced = true; }});
    ASSERT_TRUE(synced);
  }
  static void write(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  // Names and first ports of the Services there are: "a:80 b:81".
  std::string services() const {
    std::string out;
    for (const auto& [key, object] : store.snapshot().services)
      out +=
          fmt::format("{}{}:{}", out.empty() ? "" : " ", key.name, object->ports.empty() ? 0 : object->ports[0].port);
    return out;
  }
  // Runs until the Services are these; a bound, not a measure.
  void expect(const std::string& wanted) {
    for (int i = 0; i < 24'000 && services() != wanted; ++i) io.restart(), io.run_for(std::chrono::milliseconds(5));
    EXPECT_EQ(services(), wanted);
  }
  void settle(int ms = 300) { io.restart(), io.run_for(std::chrono::milliseconds(ms)); }

  boost::asio::io_context io{1};
  fs::path work, folder;
  store::Store store;
  std::unique_ptr<store::Source> source;
};

TEST_F(FolderSourceTest, ReadsWhatIsThere) {
  fs::create_directories(folder / "sub" / "deeper");
  write(folder / "a.yaml", service("a"));
  write(folder / "sub" / "b.yml", service("b"));
  write(folder / "sub" / "deeper" / "c.json",
        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"c"},"spec":{"ports":[{"port":1}]}})");
  write(folder / "notes.txt", service("no"));
  write(folder / ".hidden.yaml", service("no"));
  write(folder / "old.yaml~", service("no"));
  ASSERT_EQ(::mkfifo((folder / "pipe.yaml").c_str(), 0600), 0);
  start();
  EXPECT_EQ(services(), "a:80 b:80 c:1");
}

TEST_F(FolderSourceTest, FollowsWritesRenamesAndRemovals) {
  start();
  write(folder / "a.yaml", service("a"));
  expect("a:80");
  write(folder / "a.yaml", service("a", 81) + "---\n" + service("b"));
  expect("a:81 b:80");
  write(folder / ".tmp", service("a", 82));
  fs::rename(folder / ".tmp", folder / "a.yaml");
  expect("a:82");
  fs::rename(folder / "a.yaml", folder / "c.yaml");
  expect("a:82");
  fs::remove(folder / "c.yaml");
  expect("");
}

TEST_F(FolderSourceTest, FollowsFolders) {
  start();
  fs::create_directories(folder / "x" / "y");
  write(folder / "x" / "y" / "a.yaml", service("a"));
  expect("a:80");
  write(folder / "x" / "y" / "a.yaml", service("a", 81));
  expect("a:81");
  fs::rename(folder / "x", folder / "z");
  settle();
  EXPECT_EQ(services(), "a:81");
  write(folder / "z" / "y" / "b.yaml", service("b"));
  expect("a:81 b:80");
  fs::remove_all(folder / "z");
  expect("");
}

TEST_F(FolderSourceTest, HalfWrittenFilesDoNoHarm) {
  write(folder / "a.yaml", service("a"));
  start();
  write(folder / "a.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a");
  write(folder / "b.yaml", service("b"));
  expect("a:80 b:80");
  {
    std::ofstream slow(folder / "a.yaml", std::ios::binary);  // truncated now, closed later
    slow.flush();
    write(folder / "b.yaml", service("b", 81));
    expect("a:80 b:81");
    slow << service("a", 82);
  }
  expect("a:82 b:81");
}

// An editor's way: away with the old file, or emptied and closed, then the new one.
TEST_F(FolderSourceTest, GapsInAnEditorsWriteAreNotSeen) {
  write(folder / "a.yaml", service("a"));
  start();
  // What has happened is seen, at once: the test must not take longer in the gap than the source doubts it.
  const auto look = [&] { io.restart(), io.poll(); };
  const auto no_gap_until = [&](const std::string& wanted) {
    for (int i = 0; i < 24'000 && services() != wanted && !services().empty(); ++i)
      io.restart(), io.run_for(std::chrono::milliseconds(5));
    EXPECT_NE(services(), "") << "a gap";
    settle(150);  // the doubt has been settled
    EXPECT_EQ(services(), wanted);
  };
  fs::rename(folder / "a.yaml", folder / "a.yaml~");
  look();
  write(folder / "a.yaml", service("a", 81));
  no_gap_until("a:81");
  write(folder / "a.yaml", "");
  look();
  write(folder / "a.yaml", service("a", 82));
  no_gap_until("a:82");
  write(folder / "a.yaml", "");  // meant so
  expect("");
}

TEST_F(FolderSourceTest, MountedConfigMapsAreSwappedAtOnce) {
  fs::create_directories(folder / "..1");
  write(folder / "..1" / "a.yaml", service("a"));
  write(folder / "..1" / "b.yaml", service("b"));
  fs::create_directory_symlink("..1", folder / "..data");
  fs::create_symlink("..data/a.yaml", folder / "a.yaml");
  fs::create_symlink("..data/b.yaml", folder / "b.yaml");
  start();
  EXPECT_EQ(services(), "a:80 b:80");
  fs::create_directories(folder / "..2");
  write(folder / "..2" / "a.yaml", service("a", 81));
  write(folder / "..2" / "b.yaml", service("b", 81));
  fs::create_directory_symlink("..2", folder / "..data_tmp");
  fs::rename(folder / "..data_tmp", folder / "..data");
  fs::remove_all(folder / "..1");
  expect("a:81 b:81");
}

TEST_F(FolderSourceTest, LinksAreFollowedAndLoopsEnd) {
  fs::create_directories(work / "elsewhere");
  write(work / "elsewhere" / "a.yaml", service("a"));
  fs::create_directory_symlink(work / "elsewhere", folder / "linked");
  fs::create_directory_symlink(folder, folder / "loop");
  write(work / "single.yaml", service("b"));
  fs::create_symlink(work / "single.yaml", folder / "b.yaml");
  start();
  EXPECT_EQ(services(), "a:80 b:80");
  write(work / "elsewhere" / "a.yaml", service("a", 81));
  expect("a:81 b:80");
  write(work / "single.yaml", service("b", 81));  // no event tells: the sweep sees it
  expect("a:81 b:81");
}

TEST_F(FolderSourceTest, AFolderThatIsGoneKeepsItsObjectsUntilItIsBack) {
  write(folder / "a.yaml", service("a"));
  start();
  fs::rename(folder, work / "away");
  settle();
  EXPECT_EQ(services(), "a:80");
  fs::create_directories(folder);
  write(folder / "a.yaml", service("a", 81));
  expect("a:81");
}

TEST_F(FolderSourceTest, NoFolderIsAnError) {
  EXPECT_EQ(make_folder_source(io, (work / "none").string()).error().message,
            (work / "none").string() + ": is no folder that can be read");
  write(work / "file", "");
  EXPECT_FALSE(make_folder_source(io, (work / "file").string()));
}

}  // namespace
}  // namespace sluice::source
