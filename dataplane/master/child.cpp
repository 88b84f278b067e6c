#include "dataplane/master/child.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace sluice::master {
namespace {
constexpr int kChannelBuffer = 4 << 20;
char* g_title_begin = nullptr;
size_t g_title_size = 0;
}  // namespace

Result<pid_t> spawn(const std::string& binary, const std::vector<std::string>& arguments, std::span<const int> fds) {
  // Copies above the target numbers, so that no dup2 of the child overwrites one that is still to be moved.
  std::vector<UniqueFd> copies;
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  if (posix_spawn_file_actions_init(&actions) != 0) return fail("posix_spawn: out of memory");
  if (posix_spawnattr_init(&attributes) != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return fail("posix_spawn: out of memory");
  }
  int error = 0;
  for (size_t i = 0; i < fds.size() && error == 0; ++i) {
    copies.emplace_back(fcntl(fds[i], F_DUPFD_CLOEXEC, kFirstChildFd + static_cast<int>(fds.size())));
    error = copies.back()
                ? posix_spawn_file_actions_adddup2(&actions, copies.back().get(), kFirstChildFd + static_cast<int>(i))
                : errno;
  }
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = "sluice-dataplane";
  std::vector<char*> argv{name.data()};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  if (error == 0) error = posix_spawn(&pid, binary.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fail("start {}: {}", binary, std::strerror(error));
  return pid;
}

Result<Channel> make_channel() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
    return fail("socketpair: {}", std::strerror(errno));
  Channel channel{UniqueFd(pair[0]), UniqueFd(pair[1])};
  for (int fd : pair) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kChannelBuffer, sizeof kChannelBuffer);
  return channel;
}

bool enter_child(pid_t master) {
  for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE}) std::signal(signal, SIG_IGN);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  return getppid() == master;  // it may have died before the line above
}

void init_title(int argc, char** argv) {
  if (argc < 1) return;
  // The kernel lays arguments and environment out one after the other; the title may use both once the environment has
  // been copied away.
  char* end = argv[0] + std::strlen(argv[0]) + 1;
  for (int i = 1; i < argc; ++i) {
    if (argv[i] == end) end += std::strlen(argv[i]) + 1;
  }
  static std::vector<std::string> environment;
  static std::vector<char*> pointers;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (*variable == end) end += std::strlen(*variable) + 1;
    environment.emplace_back(*variable);
  }
  for (std::string& variable : environment) pointers.push_back(variable.data());
  pointers.push_back(nullptr);
  environ = pointers.data();
  g_title_begin = argv[0];
  g_title_size = static_cast<size_t>(end - argv[0]);
}

void set_title(const std::string& role) {
  if (g_title_begin != nullptr) {
    const std::string title = "sluice-dataplane: " + role;
    const size_t used = std::min(title.size(), g_title_size - 1);
    std::memset(g_title_begin, 0, g_title_size);
    title.copy(g_title_begin, used);
  }
  prctl(PR_SET_NAME, ("sluice: " + role).c_str());  // cut to 15 bytes by the kernel
}

}  // namespace sluice::master
