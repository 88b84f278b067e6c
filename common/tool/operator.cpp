#include "common/tool/operator.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/unique_fd.h"

namespace sluice::tool {
namespace {
constexpr size_t kMaxAnswer = size_t{256} << 20;
constexpr time_t kSeconds = 15;
constexpr int kTries = 20, kPauseUs = 50'000;  // to connect: a second

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/*").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string target_of(const OperatorFlags& flags) {
  if (flags.what == "table" && !flags.argument.empty()) {
    const size_t slash = flags.argument.find('/');
    std::string target = "/table?host=" + escaped(flags.argument.substr(0, slash));
    if (slash != std::string::npos) target += "&path=" + escaped(flags.argument.substr(slash));
    return target;
  }
  if (flags.what == "log-level" && !flags.argument.empty()) return "/log-level?level=" + escaped(flags.argument);
  return "/" + flags.what;
}

std::vector<std::string> sockets_of(const OperatorFlags& flags) {
  if (!flags.sockets.empty()) return flags.sockets;
  if (!flags.state.empty()) return {flags.state + "/control.sock", flags.state + "/data.sock"};
  return {kDefaultSocket};
}

// Of one plane: true if it had an answer.
bool tell(const OperatorFlags& flags, const std::string& socket, bool several) {
  const bool change = flags.what == "log-level" && !flags.argument.empty();
  const auto answer = ask(socket, change ? "PUT" : "GET", target_of(flags));
  if (!answer) {
    std::fprintf(stderr, "%s: %s\n", socket.c_str(), answer.error().message.c_str());
    return false;
  }
  // The control plane has no table; the data plane beside it answers.
  if (answer->status == 404 && several) return true;
  if (answer->status != 200) {
    std::fprintf(stderr, "%s: %d %s", socket.c_str(), answer->status, answer->body.c_str());
    return false;
  }
  if (flags.json || flags.what == "dump") {
    std::fputs(answer->body.c_str(), stdout);
    return true;
  }
  const auto text = flags.what == "table" ? render_table(answer->body) : render(answer->body);
  if (!text) {
    std::fprintf(stderr, "%s: %s\n", socket.c_str(), text.error().message.c_str());
    return false;
  }
  std::fputs(text->c_str(), stdout);
  return true;
}
}  // namespace

Result<HttpAnswer> ask(const std::string& socket, const std::string& method, const std::string& target) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) return fail("the path is too long for a socket");
  std::memcpy(address.sun_path, socket.c_str(), socket.size());
  const timeval patience{kSeconds, 0};
  UniqueFd fd;
  for (int left = kTries; !fd; --left) {
    fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd && setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
        connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
      break;
    // An agent that is just being replaced is back at once.
    if (left == 0 || (errno != ECONNREFUSED && errno != ENOENT)) return fail("{}", std::strerror(errno));
    fd.reset();
    usleep(kPauseUs);
  }
  const std::string request =
      fmt::format("{} {} HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n", method, target);
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size()))
    return fail("{}", std::strerror(errno));
  std::string text;
  char buffer[65536];
  for (;;) {
    const ssize_t n = recv(fd.get(), buffer, sizeof buffer, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail("{}", errno == EAGAIN ? "no answer in time" : std::strerror(errno));
    if (n == 0) break;
    text.append(buffer, static_cast<size_t>(n));
    if (text.size() > kMaxAnswer) return fail("the answer is too large");
  }
  HttpAnswer answer;
  const size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos || !text.starts_with("HTTP/1.1 ") ||
      std::from_chars(text.data() + 9, text.data() + 12, answer.status).ptr != text.data() + 12)
    return fail("no answer of HTTP");
  answer.body = text.substr(end + 4);
  return answer;
}

int run_operator(const OperatorFlags& flags) {
  const std::vector<std::string> sockets = sockets_of(flags);
  bool good = true;
  for (const std::string& socket : sockets) good &= tell(flags, socket, sockets.size() > 1);
  return good ? 0 : 1;
}

}  // namespace sluice::tool
