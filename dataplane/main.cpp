// The data plane's binary: one file, three roles. It starts as the master; the master starts it again as agent and
// workers (--role), and at SIGUSR2 executes the file anew in its own place (--handover). Those flags are not for people
// and not in the help.
#include <algorithm>
#include <bit>
#include <charconv>
#include <climits>
#include <cstdio>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "common/base/log.h"
#include "common/ir/table_reason.h"
#include "dataplane/agent/agent.h"
#include "dataplane/http/error.h"
#include "dataplane/http/grpc.h"
#include "dataplane/master/child.h"
#include "dataplane/master/master.h"
#include "dataplane/worker/worker.h"

namespace {
using namespace sluice;

struct Flags {
  std::string socket = "/run/sluice/push.sock", state, admin_bind = "127.0.0.1", admin_socket, log_level = "info", role;
  std::string print_reference;
  std::optional<uint16_t> admin_port;
  std::optional<uint32_t> control_uid;
  unsigned workers = 0, index = 0;
  uint32_t rate_limit_keys = shared::Buckets::kDefaultKeys, metric_routes = shared::kDefaultRoutes;
  bool foreground = false, background = false, no_persist_secrets = false;
  int parent = 0, admin_fd = -1, handover = -1, check_handover = -1;
};

// What is wrong with a number of rate limit keys; empty if nothing.
std::string check_keys(const std::string& text) {
  uint32_t keys = 0;
  const char* const end = text.data() + text.size();
  const bool number = std::from_chars(text.data(), end, keys).ptr == end;
  const bool good = number && keys >= shared::Buckets::kMinKeys && keys <= shared::Buckets::kMaxKeys;
  return good && std::has_single_bit(keys) ? std::string() : text + " is no power of two from 1024 to 16777216";
}

int run_child(const Flags& flags, const std::vector<std::string>& arguments) {
  if (!master::enter_child(flags.parent)) return 1;
  if (flags.role == "agent") {
    master::set_title("agent");
    agent::Options options;
    options.channel_fd = master::kFirstChildFd;
    options.admin_fd = flags.admin_fd;
    options.socket = flags.socket;
    options.admin_socket = flags.admin_socket;
    options.version = SLUICE_VERSION;
    options.arguments = arguments;
    options.state_dir = flags.state;
    options.control_uid = flags.control_uid;
    options.workers = flags.workers;
    options.persist_secrets = !flags.no_persist_secrets;
    return agent::run(options);
  }
  const std::string name = fmt::format("worker {}", flags.index + 1);
  master::set_title(name);
  log::set_component(name);
  return worker::run(master::kFirstChildFd, master::kFirstChildFd + 1, master::kFirstChildFd + 2,
                     master::kFirstChildFd + 3, master::kFirstChildFd + 4, flags.index);
}

// The file to execute at SIGUSR2: where we were started from, whatever lies there by then.
std::string own_path() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : std::string();
}

// docs/reference/reasons.md, for hack/gen-docs.
void print_reasons() {
  std::fputs(
      "# Reasons\n\n"
      "<!-- Written by hack/gen-docs from dataplane/http/reason.cpp: change them there. -->\n\n"
      "Why the gateway answered itself, or why a stream ended early: the same word in the access log (`reason`), in\n"
      "`sluice_local_replies_total{reason}` and in the error body. A word never changes its meaning. *set by objects*: "
      "what\n"
      "translation puts into the table for a rule, backend or Service that cannot be honoured; the object's condition "
      "and\n"
      "Event say why. Status: what is answered if nothing was sent yet and the object does not say otherwise (an "
      "Ingress\n"
      "answers 503 where a Route answers 500); 0: no answer, the connection is closed. gRPC: `grpc-status` instead, "
      "to\n"
      "requests that were understood to be gRPC ([streaming.md](../streaming.md#grpc)). What to do about each: "
      "[operations.md](../operations.md#reasons).\n\n"
      "| reason | status | gRPC | meaning | set by objects |\n|---|---|---|---|---|\n",
      stdout);
  for (size_t i = 1; i < static_cast<size_t>(http::Reason::kCount); ++i) {
    const auto reason = static_cast<http::Reason>(i);
    const http::ReasonInfo& info = http::describe(reason);
    const bool table = std::ranges::find(ir::kTableReasonWords, info.word) != ir::kTableReasonWords.end();
    const bool told = info.status != 0 && http::grpc::is_told_as_status(reason, info.status);
    fmt::print("| `{}` | {} | {} | {} | {} |\n", info.word, info.status,
               told ? http::grpc::digits(http::grpc::status_of(reason, info.status)) : "-",
               info.sentence.empty() ? "-" : info.sentence, table ? "yes" : "");
  }
}

int run_master(const Flags& flags, int argc, char** argv) {
  master::Options options;
  options.upgrade_path = own_path();
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (!argument.starts_with("--handover=")) options.arguments.push_back(argument);
  }
  options.admin_port = flags.admin_port;
  options.admin_bind = flags.admin_bind;
  options.rate_limit_keys = flags.rate_limit_keys;
  options.metric_routes = flags.metric_routes;
  options.handover_fd = flags.handover;
  if (flags.background && flags.handover < 0 && daemon(1, 1) != 0) {
    log::error("cannot go to the background");
    return 1;
  }
  log::set_component("master");
  master::set_title("master");
  return master::run(options);
}
}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Sluice data plane: takes its state from the control plane over a unix socket and serves it.",
               "sluice-dataplane"};
  app.set_version_flag("--version", "sluice-dataplane " SLUICE_VERSION);
  app.add_option("--socket", flags.socket, "push socket of the control plane")->capture_default_str();
  app.add_option("--state", flags.state, "folder for the last good state; absent = nothing is kept");
  app.add_option("--admin-port", flags.admin_port, "port of /healthz, /readyz, /metrics; 0 = any; absent = none");
  app.add_option("--admin-bind", flags.admin_bind, "its address")->capture_default_str();
  app.add_option("--admin-socket", flags.admin_socket,
                 "unix socket for operators (sluice status, table, dump, log-level); absent = none");
  app.add_option("--control-uid", flags.control_uid, "uid the control plane runs as; absent = our own");
  app.add_option("--workers", flags.workers,
                 "worker processes where the configuration does not say; 0 = by the CPU quota")
      ->check(CLI::Range(0u, 128u))
      ->capture_default_str();
  app.add_option("--rate-limit-keys", flags.rate_limit_keys,
                 "rate limit buckets kept at once, 16 bytes each; a power of two from 1024 to 16777216")
      ->check(check_keys)
      ->capture_default_str();
  app.add_option("--metric-routes", flags.metric_routes,
                 "routes with metrics of their own, those that came first; the others are counted together")
      ->check(CLI::Range(uint32_t{0}, static_cast<uint32_t>(shared::kRouteSlots)))
      ->capture_default_str();
  CLI::Option* foreground = app.add_flag("--foreground", flags.foreground, "stay in the foreground (the default)");
  app.add_flag("--background", flags.background, "go to the background")->excludes(foreground);
  app.add_flag("--no-persist-secrets", flags.no_persist_secrets, "keep private keys out of the state folder");
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")->capture_default_str();
  app.add_option("--role", flags.role)->group("")->check(CLI::IsMember({"agent", "worker"}));
  app.add_option("--index", flags.index)->group("");
  app.add_option("--parent", flags.parent)->group("");
  app.add_option("--admin-fd", flags.admin_fd)->group("");
  app.add_option("--handover", flags.handover)->group("");
  app.add_option("--check-handover", flags.check_handover)->group("");
  app.add_option("--print-reference", flags.print_reference)->group("")->check(CLI::IsMember({"reasons"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  if (!flags.print_reference.empty()) {
    print_reasons();
    return 0;
  }
  if (flags.check_handover >= 0) return flags.check_handover == static_cast<int>(master::kHandoverVersion) ? 0 : 1;
  log::Level level;
  if (!log::parse_level(flags.log_level, level)) {
    std::fprintf(stderr, "--log-level: '%s' is not one of debug, info, warning, error, off\n", flags.log_level.c_str());
    return 2;
  }
  log::set_level(level);
  if (!flags.role.empty()) {
    // set_title writes over the arguments.
    std::vector<std::string> kept(argv, argv + argc);
    master::init_title(argc, argv);
    return run_child(flags, kept);
  }
  std::vector<std::string> copies(argv, argv + argc);
  std::vector<char*> pointers;
  for (std::string& copy : copies) pointers.push_back(copy.data());
  master::init_title(argc, argv);
  return run_master(flags, argc, pointers.data());
}
