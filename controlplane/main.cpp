// sluice-controlplane: watches the API server or a folder, compiles what it finds, and pushes it to the data plane.
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include <CLI/CLI.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/asio.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/ir/verify.h"
#include "controlplane/admin/admin_server.h"
#include "controlplane/admin/condition.h"
#include "controlplane/admin/inspect.h"
#include "controlplane/admin/metrics.h"
#include "controlplane/config/option_table.h"
#include "controlplane/config/options.h"
#include "controlplane/features/feature.h"
#include "controlplane/kube/cluster_source.h"
#include "controlplane/loop/loop.h"
#include "controlplane/publish/publisher.h"
#include "controlplane/resolve/own_addresses.h"
#include "controlplane/resolve/system_lookup.h"
#include "controlplane/source/folder_source.h"
#include "controlplane/status/address_source.h"
#include "controlplane/status/leases.h"
#include "controlplane/status/status_writer.h"

namespace sluice {
namespace {

struct Flags {
  std::string manifests, kubeconfig, context, socket = "/run/sluice/push.sock", config_file, log_level = "info";
  std::optional<uint16_t> http_port, https_port;
  std::vector<std::string> bind;
  std::optional<uint32_t> workers;
  std::string default_backend, default_certificate, controller_name = config::kControllerName;
  uint32_t dataplane_uid = 0;
  // The leader's Lease, and what the replicas' Leases have in common; empty = there is no other replica.
  std::string replicas_of;
  std::optional<uint16_t> admin_port;
  std::string admin_bind = "127.0.0.1", admin_socket;
  std::vector<std::string> arguments;  // our command line
  std::string print_reference;
  std::vector<config::AddressRange> own_addresses;  // found at the start
  std::string own_namespace;                        // the same
  bool print_ports = false, allow_test_filters = false;
};

void declare(CLI::App& app, Flags& flags) {
  app.add_option("--manifests", flags.manifests, "a folder of YAML or JSON instead of an API server");
  app.add_option(
      "--kubeconfig", flags.kubeconfig,
      "file that says where the API server is; without it and without --manifests: the Pod's service account");
  app.add_option("--context", flags.context, "context of the kubeconfig; absent = its current one");
  app.add_option("--socket", flags.socket, "where the data plane connects")->capture_default_str();
  app.add_option("--config", flags.config_file,
                 "options file (docs/reference/configuration.md); read again when it changes");
  app.add_option("--http-port", flags.http_port, "plain listener; 0 = any free port; absent = none");
  app.add_option("--https-port", flags.https_port, "TLS listener; 0 = any free port; absent = none");
  app.add_option("--bind", flags.bind, "address of the listeners, may be repeated; absent = all, IPv4 and IPv6");
  app.add_option("--workers", flags.workers, "overrides the options file");
  app.add_option("--default-backend-service", flags.default_backend,
                 "NS/NAME[:PORT] that answers what no rule matches");
  app.add_option("--default-ssl-certificate", flags.default_certificate,
                 "NS/NAME of a Secret for names without a certificate");
  app.add_option("--controller-name", flags.controller_name, "IngressClasses with this controller are ours")
      ->capture_default_str();
  app.add_option("--dataplane-uid", flags.dataplane_uid, "uid that may connect to the socket; 0 = our own");
  app.add_option(
      "--replicas-of", flags.replicas_of,
      "several replicas, of which one writes status: name of its Lease, in the namespace POD_NAMESPACE; each "
      "replica has a Lease named POD_NAME (both, and POD_UID, from the environment); absent = one replica");
  app.add_option("--admin-port", flags.admin_port,
                 "/healthz, /readyz, /metrics of the control plane; 0 = any free port; absent = none");
  app.add_option("--admin-bind", flags.admin_bind,
                 "address of the admin port; in a Pod: its IP, for probes and scrapes")
      ->capture_default_str();
  app.add_option("--admin-socket", flags.admin_socket,
                 "unix socket for operators (sluice status, dump, log-level); absent = none");
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")->capture_default_str();
  app.add_flag("--print-ports", flags.print_ports, "one line of JSON on stdout with the ports, once it serves");
  app.add_flag("--allow-test-filters", flags.allow_test_filters)->group("");
  app.add_option("--print-reference", flags.print_reference)
      ->group("")
      ->check(CLI::IsMember({"configuration", "objects"}));  // for hack/gen-docs
}

Result<store::ObjectKey> parse_key(std::string_view flag, std::string_view text) {
  auto key = config::parse_key(text);
  return key ? std::move(key) : fail("{}: {}", flag, key.error().message);
}

Result<config::ServiceTarget> parse_target(std::string_view text) {
  config::ServiceTarget target;
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    const std::string port(text.substr(colon + 1));
    if (port.empty() || port.size() > 5 || port.find_first_not_of("0123456789") != std::string::npos ||
        std::stoul(port) == 0 || std::stoul(port) > 65535) {
      return fail("--default-backend-service: '{}' has a bad port", text);
    }
    target.port = static_cast<uint16_t>(std::stoul(port));
  }
  auto key = parse_key("--default-backend-service", text.substr(0, colon));
  if (!key) return std::unexpected(key.error());
  target.service = std::move(*key);
  return target;
}

Result<config::Options> make_options(const Flags& flags) {
  config::Options options;
  if (!flags.config_file.empty()) {
    if (auto status = config::load_file(flags.config_file, options); !status) return std::unexpected(status.error());
  }
  if (flags.http_port) options.http_port = flags.http_port;
  if (flags.https_port) options.https_port = flags.https_port;
  if (flags.bind.size() > ir::kMaxListenerAddresses / 2)
    return fail("--bind: more than {} addresses", ir::kMaxListenerAddresses / 2);
  for (const std::string& address : flags.bind) {
    if (address.find('/') != std::string::npos || !config::parse_cidr(address))
      return fail("--bind: '{}' is no IP address", address);
  }
  if (!flags.bind.empty()) options.bind = flags.bind;
  options.controller_name = flags.controller_name;
  options.allow_loopback_endpoints = !flags.manifests.empty();
  options.own_addresses = flags.own_addresses;
  options.own_namespace = flags.own_namespace;
  options.class_policies_anywhere = !flags.manifests.empty();
  options.allow_test_filters = flags.allow_test_filters;
  if (flags.workers) {
    if (*flags.workers > 128) return fail("--workers: at most 128");
    options.settings.workers = *flags.workers;
  }
  if (!flags.default_backend.empty()) {
    auto target = parse_target(flags.default_backend);
    if (!target) return std::unexpected(target.error());
    options.default_backend = std::move(*target);
  }
  if (!flags.default_certificate.empty()) {
    auto key = parse_key("--default-ssl-certificate", flags.default_certificate);
    if (!key) return std::unexpected(key.error());
    options.default_certificate = std::move(*key);
  }
  return options;
}

// Options that are allowed and rarely meant.
void warn_of(const config::Options& options) {
  for (const auto& proxy : options.settings.trusted_proxies) {
    const bool all_v4 =
        proxy->bits == 96 && proxy->address->high() == 0 && proxy->address->low() == 0x0000ffff00000000u;
    if (proxy->bits == 0 || all_v4)
      log::warning("trustedProxies holds every address: whatever a client says about itself is believed", {});
  }
}

// The options file is looked at twice a second: a rename, an editor's write and a mounted ConfigMap all look the same
// that way.
class ConfigWatch {
 public:
  // `addresses` may be null. `taken` hears of each file, whether its options are in force.
  ConfigWatch(boost::asio::io_context& io, const Flags& flags, loop::Loop& loop, status::AddressSource* addresses,
              std::function<void(bool)> taken)
      : timer_(io), flags_(flags), loop_(loop), addresses_(addresses), taken_(std::move(taken)), seen_(stamp()) {
    wait();
  }

 private:
  struct Stamp {
    ino_t inode = 0;
    off_t size = 0;
    time_t seconds = 0;
    long nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const {
    struct stat info {};
    if (::stat(flags_.config_file.c_str(), &info) != 0) return {};
    return {info.st_ino, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
  }
  void wait() {
    timer_.expires_after(std::chrono::milliseconds(500));
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      look();
      wait();
    });
  }
  void look() {
    const Stamp now = stamp();
    if (now == seen_) return;
    seen_ = now;
    auto options = make_options(flags_);
    taken_(options.has_value());
    if (!options) {
      log::error("options file refused; the old options stay", {{"error", options.error().message}});
      return;
    }
    log::info("options file taken", {{"file", flags_.config_file}});
    warn_of(*options);
    if (addresses_ != nullptr) addresses_->set(*options);
    loop_.set_options(std::move(*options));
  }
  boost::asio::steady_timer timer_;
  const Flags& flags_;
  loop::Loop& loop_;
  status::AddressSource* addresses_;
  std::function<void(bool)> taken_;
  Stamp seen_;
};

// {"http":P,"https":P,"admin":P}: what is really listened on, once every worker serves.
class PortPrinter {
 public:
  // Our own admin port, beside those that the data plane reports; 0 = none.
  void own_admin(uint16_t port) { own_admin_ = port; }
  void report(const publish::DataplaneReport& report) {
    if (printed_ || report.workers_total == 0 || report.workers_ready < report.workers_total ||
        report.acknowledged.sequence == 0)
      return;
    std::map<std::string, uint16_t> ports(report.bound.begin(), report.bound.end());
    std::string line;
    for (const char* name : {"http", "https", "admin"}) {
      if (const auto found = ports.find(name); found != ports.end())
        line += fmt::format("{}\"{}\":{}", line.empty() ? "" : ",", name, found->second);
    }
    if (own_admin_ != 0) line += fmt::format("{}\"controlplane_admin\":{}", line.empty() ? "" : ",", own_admin_);
    std::printf("{%s}\n", line.c_str());
    std::fflush(stdout);
    printed_ = true;
  }

 private:
  bool printed_ = false;
  uint16_t own_admin_ = 0;
};

// /healthz, /readyz and /metrics: what the parts know, put together when somebody asks.
class Admin {
 public:
  explicit Admin(const loop::Loop& loop) : loop_(loop) {}
  void options_taken(bool taken) { options_refused_ = !taken; }
  // `cluster` null: the source is a folder.
  void source(const kube::ClusterSource* cluster) { cluster_ = cluster; }
  // Null: there is no other replica.
  void leases(const status::Leases* leases) { leases_ = leases; }
  Status listen(boost::asio::io_context& io, const Flags& flags) {
    auto server = admin::AdminServer::listen(io, flags.admin_bind, *flags.admin_port,
                                             [this](const admin::Request& request) { return answer(request.path); });
    if (!server) return std::unexpected(server.error());
    server_ = std::move(*server);
    log::info("admin port", {{"address", flags.admin_bind}, {"port", server_->port()}});
    return {};
  }
  Status listen_operators(boost::asio::io_context& io, const Flags& flags) {
    inspected_ = {SLUICE_VERSION, flags.arguments, flags.config_file, &loop_.problems()};
    auto server = admin::AdminServer::listen(
        io, flags.admin_socket, [this](const admin::Request& request) { return answer_operator(request); });
    if (!server) return std::unexpected(server.error());
    operator_ = std::move(*server);
    return {};
  }
  [[nodiscard]] uint16_t port() const { return server_ ? server_->port() : 0; }

  void report(const publish::DataplaneReport& report) {
    connected_ = true;
    report_ = report;
  }
  void acknowledged(ir::StateId id) {
    metrics_.acknowledged(id.sequence, monotonic_ns(), static_cast<double>(wall_us()) / 1e6);
  }
  void refused(ir::NackReason reason) { metrics_.refused(reason); }
  void disconnected() {
    connected_ = false;
    report_ = {};
  }
  void measured(const loop::Round& round) {
    metrics_.translated();
    const auto took = [this](admin::Stage stage, uint64_t ns) { metrics_.took(stage, static_cast<double>(ns) / 1e9); };
    took(admin::Stage::wait, round.wait_ns);
    took(admin::Stage::translate, round.translate_ns);
    took(admin::Stage::compile, round.compile_ns);
    took(admin::Stage::publish, round.publish_ns);
    if (round.published) metrics_.published(loop_.figures().newest.sequence, monotonic_ns());
  }

 private:
  admin::Answer answer(std::string_view path) const {
    if (path == "/healthz") return {200, "ok\n"};
    if (path == "/metrics") return {200, metrics_.render(condition()), "text/plain; version=0.0.4; charset=utf-8"};
    if (path != "/readyz") return {404, "there are /healthz, /readyz and /metrics\n"};
    const std::vector<std::string> missing = admin::missing(condition());
    if (missing.empty()) return {200, "ready\n"};
    std::string body = "not ready; still missing:\n";
    for (const std::string& line : missing) body += "- " + line + "\n";
    return {503, std::move(body)};
  }
  admin::Answer answer_operator(const admin::Request& request) const {
    const char* const type = "application/json";
    if (request.path == "/log-level") return admin::answer_log_level(request);
    if (request.put) return {405, "PUT is for /log-level\n"};
    if (request.path == "/status") return {200, admin::status_json(condition(), inspected_), type};
    if (request.path == "/dump") {
      const admin::Condition now = condition();
      return {200, admin::dump_json(now, inspected_, metrics_.render(now)), type};
    }
    return answer(request.path);
  }
  admin::Condition condition() const {
    admin::Condition out;
    if (cluster_ != nullptr) {
      const kube::ClusterSourceStatus status = cluster_->status();
      out.in_cluster = true;
      out.api_connected = status.connected;
      out.contents_wanted = status.wanted;
      out.contents_loaded = status.loaded;
      for (const auto& kind : status.kinds)
        out.watched.push_back({kind.name, kind.ns, kind.synced, kind.counts.lists, kind.counts.watches,
                               kind.counts.events, kind.counts.failures});
    }
    const loop::Figures& figures = loop_.figures();
    out.listed = loop_.synced();
    for (size_t i = 0; i < store::kKinds; ++i) out.objects[i] = loop_.store().size(static_cast<store::Kind>(i));
    for (const store::Problem& problem : loop_.problems()) ++out.problems[{problem.reason, problem.severity}];
    out.leads = leases_ != nullptr ? leases_->leading() : out.in_cluster;
    if (leases_ != nullptr) {
      out.leader = leases_->leader();
      out.lease_failures = leases_->counts().failures;
    }
    out.newest = figures.newest;
    out.acknowledged = figures.acknowledged;
    out.part_bytes = figures.part_bytes;
    out.hosts = figures.hosts;
    out.clusters = figures.clusters;
    out.certificates = figures.certificates;
    out.options_refused = options_refused_;
    out.dataplane_connected = connected_;
    out.workers_ready = report_.workers_ready;
    out.workers_total = report_.workers_total;
    return out;
  }

  const loop::Loop& loop_;
  const kube::ClusterSource* cluster_ = nullptr;
  const status::Leases* leases_ = nullptr;
  admin::Metrics metrics_;
  admin::Inspected inspected_;
  std::unique_ptr<admin::AdminServer> server_, operator_;
  publish::DataplaneReport report_;
  bool connected_ = false, options_refused_ = false;
};

int fail_start(const Error& error) {
  log::error("cannot start", {{"error", error.message}});
  return 1;
}

struct Sources {
  std::unique_ptr<kube::Transport> transport;  // null: a folder
  std::unique_ptr<store::Source> source;
  const kube::ClusterSource* cluster = nullptr;
  std::vector<config::AddressRange> own_addresses;
  std::string own_namespace;
};

// In a cluster; a folder's owner may lead names wherever the machine itself is.
std::vector<config::AddressRange> own_addresses(const std::string& server) {
  std::vector<config::AddressRange> out;
  for (const std::string& text : resolve::own_addresses(server)) {
    if (const auto cidr = config::parse_cidr(text))
      out.push_back({cidr->address->high(), cidr->address->low(), cidr->bits});
  }
  return out;
}

Result<Sources> make_sources(boost::asio::io_context& io, const Flags& flags, const config::Options& options) {
  Sources out;
  if (!flags.manifests.empty()) {
    auto made = source::make_folder_source(io, flags.manifests);
    if (!made) return std::unexpected(made.error());
    out.source = std::move(*made);
    return out;
  }
  auto access =
      flags.kubeconfig.empty() ? kube::in_cluster_access() : kube::load_kubeconfig(flags.kubeconfig, flags.context);
  if (!access) return std::unexpected(access.error());
  out.own_addresses = own_addresses(access->server);
  // A kubeconfig's default namespace is where its user works, not where we run.
  const char* pod_namespace = std::getenv("POD_NAMESPACE");
  if (pod_namespace != nullptr) out.own_namespace = pod_namespace;
  else if (flags.kubeconfig.empty()) out.own_namespace = access->ns;
  auto made = kube::make_transport(io, std::move(*access));
  if (!made) return std::unexpected(made.error());
  out.transport = std::move(*made);
  kube::ClusterSourceOptions cluster;
  cluster.watch_namespaces = options.watch_namespaces;
  auto source = kube::make_cluster_source(io, *out.transport, std::move(cluster));
  out.cluster = source.get();
  out.source = std::move(source);
  return out;
}

// Conditions, addresses and Events exist only where there is an API server.
struct Statuses {
  std::unique_ptr<status::Leases> leases;  // null: there is one replica
  std::unique_ptr<status::StatusWriter> writer;
  std::unique_ptr<status::AddressSource> addresses;
};

// Null: there is one replica.
Result<std::unique_ptr<status::Leases>> make_leases(boost::asio::io_context& io, const Flags& flags,
                                                    const Sources& sources) {
  if (flags.replicas_of.empty()) return std::unique_ptr<status::Leases>();
  const auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  status::Identity self{sources.own_namespace, flags.replicas_of, environment("POD_NAME"), environment("POD_UID")};
  if (self.ns.empty() || self.pod.empty())
    return fail("--replicas-of needs POD_NAME and POD_NAMESPACE in the environment");
  if (self.group.size() > 63 || self.group == self.pod)
    return fail("--replicas-of: at most 63 bytes, and not the name of a Pod");
  return status::make_leases(io, *sources.transport, {.self = std::move(self)});
}

Result<Statuses> make_statuses(boost::asio::io_context& io, const Flags& flags, const Sources& sources,
                               const config::Options& options) {
  Statuses out;
  if (!sources.transport) return out;
  auto leases = make_leases(io, flags, sources);
  if (!leases) return std::unexpected(leases.error());
  out.leases = std::move(*leases);
  char host[256] = "sluice";
  gethostname(host, sizeof host - 1);
  out.writer = status::make_status_writer(
      io, *sources.transport, {.controller_name = options.controller_name, .host = host, .leases = out.leases.get()});
  out.addresses = std::make_unique<status::AddressSource>(
      io, *sources.transport, kube::ReflectorTimings(),
      [writer = out.writer.get()](std::optional<status::Addresses> now) { writer->set_addresses(std::move(now)); });
  out.addresses->set(options);
  return out;
}

// `statuses` must outlive the loop.
loop::Loop::Callbacks tell_statuses(const Statuses& statuses, bool by_namespace) {
  loop::Loop::Callbacks told;
  if (!statuses.writer) return told;
  told.translated = [&statuses, by_namespace](const store::Snapshot& snapshot,
                                              const translate::Translation& translation,
                                              const std::vector<store::Problem>& undecodable, ir::StateId id) {
    if (statuses.leases) statuses.leases->seen(id.sequence, status::versions_of(snapshot, by_namespace));
    statuses.writer->update(status::wanted_of(translation, undecodable, snapshot, statuses.addresses->wanted()),
                            id.sequence);
  };
  if (statuses.leases) {
    told.touched = [&statuses, by_namespace](const store::Snapshot& snapshot, ir::StateId id) {
      statuses.leases->seen(id.sequence, status::versions_of(snapshot, by_namespace));
    };
    statuses.leases->start([&statuses] { statuses.writer->replicas_changed(); });
  }
  return told;
}

int run(Flags& flags) {
  auto options = make_options(flags);
  if (!options) return fail_start(options.error());
  warn_of(*options);
  boost::asio::io_context io(1);
  auto sources = make_sources(io, flags, *options);
  if (!sources) return fail_start(sources.error());
  options->own_addresses = flags.own_addresses = sources->own_addresses;
  options->own_namespace = flags.own_namespace = sources->own_namespace;

  auto statuses = make_statuses(io, flags, *sources, *options);
  if (!statuses) return fail_start(statuses.error());
  const std::unique_ptr<status::StatusWriter>& status_writer = statuses->writer;
  const std::unique_ptr<status::Leases>& leases = statuses->leases;
  PortPrinter printer;
  std::unique_ptr<loop::Loop> loop;
  std::unique_ptr<Admin> admin;
  publish::Publisher::Callbacks callbacks;
  callbacks.on_report = [&](const publish::DataplaneReport& report) {
    if (!loop) return;
    admin->report(report);
    // A data plane that still runs what an earlier control plane told it has acknowledged nothing of ours.
    if (report.acknowledged.boot != loop->figures().newest.boot) return;
    loop->acknowledged(report.acknowledged);
    admin->acknowledged(report.acknowledged);
    if (leases) leases->acknowledged(report.acknowledged.sequence);
    if (status_writer) status_writer->acknowledged(report.acknowledged.sequence);
    if (flags.print_ports) printer.report(report);
  };
  callbacks.on_nack = [&](ir::StateId id, ir::NackReason reason, const std::string& text) {
    log::error("the data plane refused a state; it keeps the one before",
               {{"sequence", id.sequence}, {"reason", static_cast<int>(reason)}, {"text", text}});
    if (admin) admin->refused(reason);
  };
  callbacks.on_disconnect = [&] {
    log::warning("the data plane is not connected");
    if (admin) admin->disconnected();
  };
  auto publisher = publish::Publisher::listen(io, flags.socket, flags.dataplane_uid, std::move(callbacks));
  if (!publisher) return fail_start(publisher.error());

  loop::Loop::Callbacks told = tell_statuses(*statuses, !options->watch_namespaces.empty());
  told.measured = [&](const loop::Round& round) { admin->measured(round); };
  resolve::Names names(io, resolve::make_system_lookup(io));
  loop = std::make_unique<loop::Loop>(io, std::move(*options), *sources->source, &names, **publisher, std::move(told));
  admin = std::make_unique<Admin>(*loop);
  admin->source(sources->cluster);
  admin->leases(leases.get());
  if (flags.admin_port) {
    if (auto status = admin->listen(io, flags); !status) return fail_start(status.error());
    printer.own_admin(admin->port());
  }
  // Traffic and changes do not need it.
  if (!flags.admin_socket.empty()) {
    if (auto status = admin->listen_operators(io, flags); !status)
      log::error("admin socket", {{"error", status.error().message}});
  }
  boost::asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const boost::system::error_code&, int) {
    if (!leases) return io.stop();
    status_writer->stop();
    leases->leave([&] { io.stop(); });
  });
  std::optional<ConfigWatch> watch;
  if (!flags.config_file.empty()) {
    watch.emplace(io, flags, *loop, statuses->addresses.get(), [&](bool taken) { admin->options_taken(taken); });
  }
  loop->start();
  io.run();
  sources->source->stop();
  names.stop();
  if (statuses->addresses) statuses->addresses->stop();
  if (status_writer) status_writer->stop();
  if (sources->transport) sources->transport->shutdown();
  ::unlink(flags.socket.c_str());
  // The REST library's threads are not joined by its destructors in a defined order; everything of ours is done.
  ::_exit(0);
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  sluice::Flags flags;
  flags.arguments.assign(argv, argv + argc);
  CLI::App app("Sluice control plane " SLUICE_VERSION);
  sluice::declare(app, flags);
  app.set_version_flag("--version", SLUICE_VERSION);
  CLI11_PARSE(app, argc, argv);
  if (!flags.print_reference.empty()) {
    const bool objects = flags.print_reference == "objects";
    std::fputs((objects ? sluice::features::reference_markdown() : sluice::config::reference_markdown()).c_str(),
               stdout);
    return 0;
  }
  ::signal(SIGPIPE, SIG_IGN);
  sluice::log::set_component("controlplane");
  sluice::log::Level level{};
  if (!sluice::log::parse_level(flags.log_level, level))
    return sluice::fail_start({"--log-level: " + flags.log_level + " is unknown"});
  sluice::log::set_level(level);
  return sluice::run(flags);
}
