#include "common/base/unix_listener.h"

#include <cstring>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace sluice {
namespace {

class UnixListener : public testing::Test {
 protected:
  UnixListener() {
    std::string name = testing::TempDir() + "listener.XXXXXX";
    folder = mkdtemp(name.data());
    umask_ = umask(0);
  }
  ~UnixListener() override { umask(umask_); }
  static bool connects(const std::string& path) {
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    return connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  std::string folder;
  mode_t umask_;
};

TEST_F(UnixListener, OwnerAndGroupAndNobodyElse) {
  const std::string path = folder + "/own/admin.sock";
  const auto fd = listen_unix(path);
  ASSERT_TRUE(fd.has_value()) << fd.error().message;
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0660u);
  ASSERT_EQ(stat((folder + "/own").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
  EXPECT_TRUE(connects(path));
}

TEST_F(UnixListener, ReplacesASocketAndNothingElse) {
  const std::string path = folder + "/admin.sock";
  const auto first = listen_unix(path);
  const auto second = listen_unix(path);
  ASSERT_TRUE(first && second);
  EXPECT_TRUE(connects(path));
  const std::string file = folder + "/file";
  std::ofstream(file) << "kept";
  EXPECT_FALSE(listen_unix(file).has_value());
  EXPECT_EQ(access(file.c_str(), F_OK), 0);
}

TEST_F(UnixListener, PathsThatAreNone) {
  EXPECT_FALSE(listen_unix("").has_value());
  EXPECT_FALSE(listen_unix(folder + "/" + std::string(200, 'x')).has_value());
  EXPECT_FALSE(listen_unix(folder + "/not/there/admin.sock").has_value());
}

}  // namespace
}  // namespace sluice
