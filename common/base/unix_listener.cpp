#include "common/base/unix_listener.h"

#include <cerrno>
#include <cstring>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace sluice {

Result<UniqueFd> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path)
    return fail("socket '{}': a path has 1 to {} bytes", path, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  if (const size_t slash = path.rfind('/'); slash != std::string::npos && slash != 0) {
    if (mkdir(path.substr(0, slash).c_str(), 0750) != 0 && errno != EEXIST)
      return fail("directory of socket {}: {}", path, std::strerror(errno));
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) return fail("socket {}: something else lies there", path);
    ::unlink(path.c_str());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  // Before it has a name: nobody gets in while the mode is still another.
  if (!fd || fchmod(fd.get(), 0660) != 0) return fail("socket {}: {}", path, std::strerror(errno));
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || chmod(path.c_str(), 0660) != 0 ||
      listen(fd.get(), 64) != 0) {
    return fail("socket {}: {}", path, std::strerror(errno));
  }
  return fd;
}

}  // namespace sluice
