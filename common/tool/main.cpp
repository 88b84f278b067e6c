// sluice: the tool. `sluice run` is a whole gateway without a cluster: it starts both planes as they are, on a folder
// of manifests, and goes with them. The other commands ask a gateway that runs (common/tool/operator.h).
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/result.h"
#include "common/base/unique_fd.h"
#include "common/tool/operator.h"

namespace sluice {
namespace {

struct RunFlags {
  std::string manifests, state, config_file, bind = "", default_backend, default_certificate, log_level = "warning";
  std::optional<uint16_t> http_port, https_port, admin_port, controlplane_admin_port;
  std::optional<uint32_t> workers, rate_limit_keys, metric_routes;
  bool allow_test_filters = false;
};

void declare(CLI::App& app, RunFlags& flags) {
  app.add_option("--manifests", flags.manifests, "folder of Kubernetes objects, YAML or JSON; watched")->required();
  app.add_option("--http-port", flags.http_port, "plain listener; 0 = any free port; absent = none");
  app.add_option("--https-port", flags.https_port, "TLS listener; 0 = any free port; absent = none");
  app.add_option("--admin-port", flags.admin_port, "/healthz, /readyz, /metrics; 0 = any free port; absent = none");
  app.add_option("--controlplane-admin-port", flags.controlplane_admin_port,
                 "the same of the control plane, which has metrics of its own; absent = none");
  app.add_option("--bind", flags.bind, "address of all of them; absent = all, IPv4 and IPv6 (admin: loopback)");
  app.add_option("--workers", flags.workers, "worker processes; absent = the options file, else the CPUs");
  app.add_option("--rate-limit-keys", flags.rate_limit_keys,
                 "rate limit buckets kept at once; absent = as the data plane has it");
  app.add_option("--metric-routes", flags.metric_routes,
                 "routes with metrics of their own; absent = as the data plane has it");
  app.add_option("--state", flags.state, "folder for the last good state; absent = a temporary one");
  app.add_option("--config", flags.config_file, "options file");
  app.add_option("--default-backend-service", flags.default_backend,
                 "NS/NAME[:PORT] that answers what no rule matches");
  app.add_option("--default-ssl-certificate", flags.default_certificate,
                 "NS/NAME of a Secret for names without a certificate");
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")->capture_default_str();
  app.add_flag("--allow-test-filters", flags.allow_test_filters)->group("");
}

std::string own_folder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

// A child in our process group that ends with us. `out`: where its stdout goes.
Result<pid_t> spawn(const std::vector<std::string>& args, int out) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return fail("fork: {}", std::strerror(errno));
  if (pid > 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);  // it ended before prctl took hold
  dup2(out, STDOUT_FILENO);
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  log::error("cannot execute", {{"program", args[0]}, {"error", std::strerror(errno)}});
  _exit(127);
}

class Runner {
 public:
  explicit Runner(const RunFlags& flags) : flags_(flags) {}
  ~Runner() {
    std::error_code ignored;
    if (temporary_) std::filesystem::remove_all(state_, ignored);
  }

  Result<int> run() {
    if (auto status = prepare(); !status) return std::unexpected(status.error());
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGINT, SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (auto status = start_control(); !status) return std::unexpected(status.error());
    auto data = spawn(data_args(), STDERR_FILENO);
    if (!data) return std::unexpected(data.error());
    data_ = *data;
    while (data_ > 0 || control_ > 0) {
      pollfd watched[] = {{signals.get(), POLLIN, 0}, {ports_.get(), POLLIN, 0}};
      const int n = poll(watched, 2, restart_wait());
      if (n < 0 && errno != EINTR) return fail("poll: {}", std::strerror(errno));
      if ((watched[1].revents & (POLLIN | POLLHUP)) != 0) forward_ports();
      if ((watched[0].revents & POLLIN) != 0) on_signals(signals.get());
      if (restart_at_ != 0 && monotonic_ms() >= restart_at_) {
        restart_at_ = 0;
        if (auto status = start_control(); !status) return std::unexpected(status.error());
      }
    }
    return exit_code_;
  }

 private:
  Status prepare() {
    std::error_code error;
    if (!std::filesystem::is_directory(flags_.manifests, error))
      return fail("--manifests {}: is no folder", flags_.manifests);
    if (!flags_.http_port && !flags_.https_port)
      log::warning("neither --http-port nor --https-port is given: nothing is listened on");
    if (flags_.state.empty()) {
      std::string name = (std::filesystem::temp_directory_path(error) / "sluice.XXXXXX").string();
      if (mkdtemp(name.data()) == nullptr) return fail("temporary folder: {}", std::strerror(errno));
      state_ = name;
      temporary_ = true;
    } else {
      state_ = flags_.state;
      std::filesystem::create_directories(state_, error);
      if (error) return fail("--state {}: {}", state_, error.message());
      std::filesystem::permissions(state_, std::filesystem::perms::owner_all, error);
    }
    state_ = std::filesystem::absolute(state_, error).string();
    socket_ = state_ + "/push.sock";
    if (socket_.size() > 100) return fail("--state {}: the path is too long for a socket in it", state_);
    return {};
  }

  Status start_control() {
    std::vector<std::string> args = {own_folder() + "/sluice-controlplane",
                                     "--manifests",
                                     flags_.manifests,
                                     "--socket",
                                     socket_,
                                     "--print-ports",
                                     "--admin-socket",
                                     state_ + "/control.sock",
                                     "--log-level",
                                     flags_.log_level};
    const auto add = [&](const char* name, const std::string& value) {
      if (!value.empty()) args.insert(args.end(), {name, value});
    };
    if (flags_.http_port) add("--http-port", std::to_string(*flags_.http_port));
    if (flags_.https_port) add("--https-port", std::to_string(*flags_.https_port));
    if (flags_.controlplane_admin_port) {
      add("--admin-port", std::to_string(*flags_.controlplane_admin_port));
      add("--admin-bind", flags_.bind);
    }
    if (flags_.workers) add("--workers", std::to_string(*flags_.workers));
    add("--bind", flags_.bind);
    add("--config", flags_.config_file);
    add("--default-backend-service", flags_.default_backend);
    add("--default-ssl-certificate", flags_.default_certificate);
    if (flags_.allow_test_filters) args.emplace_back("--allow-test-filters");
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return fail("pipe: {}", std::strerror(errno));
    ports_.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    auto pid = spawn(args, theirs.get());
    if (!pid) return std::unexpected(pid.error());
    control_ = *pid;
    control_started_ = monotonic_ms();
    return {};
  }

  std::vector<std::string> data_args() const {
    std::vector<std::string> args = {own_folder() + "/sluice-dataplane",
                                     "--socket",
                                     socket_,
                                     "--state",
                                     state_ + "/last-good",
                                     "--admin-socket",
                                     state_ + "/data.sock",
                                     "--log-level",
                                     flags_.log_level,
                                     "--foreground"};
    if (flags_.rate_limit_keys) args.insert(args.end(), {"--rate-limit-keys", std::to_string(*flags_.rate_limit_keys)});
    if (flags_.metric_routes) args.insert(args.end(), {"--metric-routes", std::to_string(*flags_.metric_routes)});
    if (flags_.admin_port) args.insert(args.end(), {"--admin-port", std::to_string(*flags_.admin_port)});
    if (flags_.admin_port && !flags_.bind.empty()) args.insert(args.end(), {"--admin-bind", flags_.bind});
    return args;
  }

  int restart_wait() const {
    if (restart_at_ == 0) return -1;
    const uint64_t now = monotonic_ms();
    return now >= restart_at_ ? 0 : static_cast<int>(restart_at_ - now);
  }

  // The first line only: a control plane that was restarted says the same again.
  void forward_ports() {
    char buffer[512];
    const ssize_t n = read(ports_.get(), buffer, sizeof buffer);
    if (n <= 0) return ports_.reset();
    if (!printed_) {
      std::fwrite(buffer, 1, static_cast<size_t>(n), stdout);
      std::fflush(stdout);
      printed_ = true;
    }
  }

  void on_signals(int fd) {
    signalfd_siginfo info{};
    while (read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD) {
        reap();
      } else if (signal == SIGTERM || signal == SIGINT) {
        stopping_ = true;
        restart_at_ = 0;
        // The data plane drains; the control plane stays until it is done, so that nothing is logged as lost.
        if (data_ > 0) kill(data_, SIGTERM);
        else if (control_ > 0) kill(control_, SIGTERM);
      } else if (data_ > 0) {
        kill(data_, signal);
      }
    }
  }

  void reap() {
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
      if (pid == data_) {
        data_ = 0;
        if (!stopping_) exit_code_ = WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1;
        stopping_ = true;
        restart_at_ = 0;
        if (control_ > 0) kill(control_, SIGTERM);
      } else if (pid == control_) {
        control_ = 0;
        if (stopping_) continue;
        const bool at_once = monotonic_ms() - control_started_ < 1000;
        if (at_once && WIFEXITED(status) && !printed_) {
          // It refused its flags or files and has said why; there is nothing to serve.
          exit_code_ = WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : 1;
          stopping_ = true;
          if (data_ > 0) kill(data_, SIGTERM);
          continue;
        }
        log::warning("the control plane ended; traffic goes on, it is started again");
        restart_at_ = monotonic_ms() + (at_once ? 1000 : 100);
      }
    }
  }

  const RunFlags& flags_;
  std::string state_, socket_;
  bool temporary_ = false, printed_ = false, stopping_ = false;
  pid_t control_ = 0, data_ = 0;
  uint64_t control_started_ = 0, restart_at_ = 0;
  UniqueFd ports_;
  int exit_code_ = 0;
};

int run(const RunFlags& flags) {
  log::set_component("run");
  log::Level level{};
  if (!log::parse_level(flags.log_level, level)) {
    log::error("cannot start", {{"error", "--log-level: " + flags.log_level + " is unknown"}});
    return 1;
  }
  log::set_level(level);
  const auto result = Runner(flags).run();
  if (result) return *result;
  log::error("cannot start", {{"error", result.error().message}});
  return 1;
}

}  // namespace
}  // namespace sluice

namespace {
void declare_operator(CLI::App& app, sluice::tool::OperatorFlags& flags) {
  const auto command = [&](const char* name, const char* text) {
    CLI::App* sub = app.add_subcommand(name, text);
    sub->add_option("--socket", flags.sockets,
                    "admin socket of a plane, may be repeated; absent = that of the container");
    sub->add_option("--state", flags.state, "state folder of `sluice run`, instead: both planes");
    sub->add_flag("--json", flags.json, "JSON, as the plane says it");
    sub->callback([&flags, name] { flags.what = name; });
    return sub;
  };
  command("status", "generation, workers, listeners, certificates (data plane); problems, objects (control plane)");
  command("table", "hosts, routes in order, clusters and endpoints, each with the object it comes from (data plane)")
      ->add_option("HOST[/PATH]", flags.argument, "only what a request of it may meet");
  command("dump", "all of it with command line, options and metrics, for a ticket; no secrets");
  command("log-level", "the level of the log, or a new one for all processes of the plane")
      ->add_option("LEVEL", flags.argument, "debug, info, warning, error or off")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "off"}));
}
}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Sluice: a Kubernetes ingress controller and API gateway");
  app.require_subcommand(1);
  sluice::RunFlags flags;
  CLI::App* run = app.add_subcommand("run", "a whole gateway on a folder of manifests, without a cluster");
  sluice::declare(*run, flags);
  CLI::App* version = app.add_subcommand("version", "what this is");
  sluice::tool::OperatorFlags asked;
  declare_operator(app, asked);
  CLI11_PARSE(app, argc, argv);
  if (!asked.what.empty()) return sluice::tool::run_operator(asked);
  if (version->parsed()) {
    std::printf("sluice %s\n", SLUICE_VERSION);
    return 0;
  }
  return sluice::run(flags);
}
