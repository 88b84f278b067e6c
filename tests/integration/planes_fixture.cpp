#include "tests/integration/planes_fixture.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/unique_fd.h"
#include "common/ir/table_view.h"
#include "dataplane/agent/agent.h"
#include "dataplane/master/child.h"
#include "dataplane/master/master.h"

namespace sluice::test {
namespace asio = boost::asio;
namespace {

std::optional<std::string> option(const std::vector<std::string>& arguments, const std::string& name) {
  for (const std::string& argument : arguments) {
    if (argument.starts_with("--" + name + "=")) return argument.substr(name.size() + 3);
  }
  return std::nullopt;
}

int run_master(const std::vector<std::string>& arguments) {
  master::Options options;
  options.upgrade_path = option(arguments, "upgrade").value_or("");
  for (const std::string& argument : arguments) {
    if (!argument.starts_with("--handover=") && argument != "--role=master") options.arguments.push_back(argument);
  }
  if (auto port = option(arguments, "admin-port")) options.admin_port = static_cast<uint16_t>(std::stoi(*port));
  if (auto fd = option(arguments, "handover")) options.handover_fd = std::stoi(*fd);
  log::set_component("master");
  master::set_title("master");
  return master::run(options);
}

// Roles of this program; nullopt: run the tests.
std::optional<int> run_role(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (option(arguments, "check-handover")) return 0;
  const auto role = option(arguments, "role");
  log::set_level(std::getenv("SLUICE_TEST_LOG") != nullptr ? log::Level::debug : log::Level::off);
  if (!role && !option(arguments, "handover")) return std::nullopt;
  master::init_title(argc, argv);
  if (!role || role == "master") return run_master(arguments);
  if (!master::enter_child(std::stoi(option(arguments, "parent").value_or("0")))) return 1;
  if (role == "agent") {
    master::set_title("agent");
    agent::Options options;
    options.channel_fd = master::kFirstChildFd;
    if (auto fd = option(arguments, "admin-fd")) options.admin_fd = std::stoi(*fd);
    options.socket = option(arguments, "socket").value_or("");
    options.state_dir = option(arguments, "state").value_or("");
    options.persist_secrets = !option(arguments, "no-secrets");
    if (auto uid = option(arguments, "control-uid")) options.control_uid = static_cast<uint32_t>(std::stoul(*uid));
    return agent::run(options);
  }
  const unsigned index = static_cast<unsigned>(std::stoul(option(arguments, "index").value_or("0")));
  const std::string name = fmt::format("worker {}", index + 1);
  master::set_title(name);
  return run_worker(index);
}

template <class Root>
void finish(publish::StateParts& into, ir::PartKind kind, const typename Root::NativeTableType& root) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(Root::Pack(builder, &root));
  const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  const auto i = static_cast<size_t>(kind);
  into.bytes[i] = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
  into.hashes[i] = ir::content_hash(bytes);
}
}  // namespace

namespace {
// A shard that has `marker`, where it belongs, or another cluster that belongs here.
ir::RouteTableT shard_of(const TestState& state, size_t index) {
  ir::RouteTableT shard;
  shard.schema_version = ir::kSchemaVersion;
  auto cluster = std::make_unique<ir::ClusterT>();
  cluster->name = "marker";
  for (int i = 0; ir::shard_of(cluster->name, state.shards) != index; ++i) cluster->name = fmt::format("c{}", i);
  cluster->origin = std::make_unique<ir::OriginT>();
  cluster->origin->name = cluster->name == "marker" ? state.shard_marker : "";
  shard.clusters.push_back(std::move(cluster));
  return shard;
}

void put_shards(const TestState& state, ir::RouteTableT& head, publish::StateParts& parts) {
  for (size_t i = 0; i < state.shards; ++i) {
    publish::StateParts one;
    finish<ir::RouteTable>(one, ir::PartKind::table, shard_of(state, i));
    parts.shards.push_back({one.bytes[0], one.hashes[0]});
    head.shards.emplace_back(one.hashes[0].high, one.hashes[0].low, one.bytes[0]->size());
  }
}
}  // namespace

publish::StateParts build(const TestState& state) {
  publish::StateParts parts;
  ir::RouteTableT table;
  table.schema_version = ir::kSchemaVersion;
  table.default_certificate = state.marker;
  table.settings = std::make_unique<ir::SettingsT>();
  table.settings->workers = state.workers;
  table.settings->drain_ms = state.drain_ms;
  for (const std::string& name : state.listeners) {
    auto listener = std::make_unique<ir::ListenerT>();
    listener->name = name;
    listener->port = state.port;
    listener->addresses = state.addresses;
    table.listeners.push_back(std::move(listener));
  }
  ir::EndpointSetT endpoints;
  endpoints.schema_version = ir::kSchemaVersion;
  ir::SecretSetT secrets;
  secrets.schema_version = ir::kSchemaVersion;
  for (const std::string& id : state.certificates) {
    auto certificate = std::make_unique<ir::CertificateT>();
    certificate->id = id;
    certificate->chain_pem = "chain of " + id;
    certificate->key_pem = "key of " + id;
    certificate->not_after = 1900000000;
    secrets.certificates.push_back(std::move(certificate));
  }
  put_shards(state, table, parts);
  finish<ir::RouteTable>(parts, ir::PartKind::table, table);
  finish<ir::EndpointSet>(parts, ir::PartKind::endpoints, endpoints);
  finish<ir::SecretSet>(parts, ir::PartKind::secrets, secrets);
  return parts;
}

void PlanesTest::SetUp() {
  char pattern[] = "/tmp/sluice-planes-XXXXXX";
  ASSERT_NE(mkdtemp(pattern), nullptr);
  folder_ = pattern;
  socket_ = folder_ + "/push.sock";
  state_dir_ = folder_ + "/state";
}

void PlanesTest::TearDown() {
  if (master_ != 0) stop_data(SIGKILL);
  stop_control();
  std::filesystem::remove_all(folder_);
}

void PlanesTest::start_control() {
  auto update = [this](auto change) {
    const std::lock_guard lock(mutex_);
    change(heard_);
    changed_.notify_all();
  };
  auto made = publish::Publisher::listen(
      io_, socket_, 0,
      {[=](const publish::DataplaneReport& report) { update([&](Heard& heard) { heard.report = report; }); },
       [=](ir::StateId id, ir::NackReason, std::string text) {
         update([&](Heard& heard) { heard.nacks.emplace_back(id, std::move(text)); });
       },
       [=] { update([&](Heard& heard) { ++heard.disconnects; }); }});
  ASSERT_TRUE(made) << made.error().message;
  publisher_ = std::move(*made);
  io_.restart();
  thread_ = std::thread([this] {
    const auto keep = asio::make_work_guard(io_);
    io_.run();
  });
}

void PlanesTest::stop_control() {
  if (!publisher_) return;
  asio::post(io_, [this] { publisher_.reset(); });
  asio::post(io_, [this] { io_.stop(); });
  thread_.join();
  publisher_.reset();
  const std::lock_guard lock(mutex_);
  heard_ = {};
}

ir::StateId PlanesTest::publish(publish::StateParts parts) {
  std::promise<ir::StateId> id;
  asio::post(io_, [&] { id.set_value(publisher_->publish(std::move(parts))); });
  return id.get_future().get();
}
ir::StateId PlanesTest::publish(const TestState& state) { return publish(build(state)); }

bool PlanesTest::wait_for(const std::function<bool(const Heard&)>& condition, int seconds) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::seconds(seconds), [&] { return condition(heard_); });
}

Heard PlanesTest::heard() {
  const std::lock_guard lock(mutex_);
  return heard_;
}

uint16_t PlanesTest::port(const std::string& listener) {
  for (const auto& [name, bound] : heard().report.bound) {
    if (name == listener) return bound;
  }
  return 0;
}

void PlanesTest::start_data(std::vector<std::string> more) {
  std::vector<std::string> arguments{"--role=master", "--socket=" + socket_, "--state=" + state_dir_, "--admin-port=0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  auto pid = master::spawn("/proc/self/exe", arguments, {});
  ASSERT_TRUE(pid) << pid.error().message;
  master_ = *pid;
}

int PlanesTest::stop_data(int signal) {
  kill(master_, signal);
  int status = 0;
  waitpid(std::exchange(master_, 0), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

pid_t PlanesTest::child(const std::string& role) const {
  const std::string title = "sluice-dataplane: " + role;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream stat_file(entry.path() / "stat"), title_file(entry.path() / "cmdline");
    std::stringstream stat, cmdline;
    stat << stat_file.rdbuf();
    cmdline << title_file.rdbuf();
    const std::string text = stat.str();
    const size_t after = text.rfind(')');
    if (after == std::string::npos || cmdline.str().c_str() != title) continue;
    char state = 0;
    pid_t parent = 0;
    std::istringstream(text.substr(after + 1)) >> state >> parent;
    if (parent == master_ && state != 'Z') return std::stoi(pid);
  }
  return 0;
}

void PlanesTest::await_child(const std::string& role, pid_t& found, pid_t other) const {
  ASSERT_TRUE(eventually([&] {
    const pid_t now = child(role);
    if (now == 0 || now == other) return false;
    found = now;
    return true;
  })) << role;
}

size_t PlanesTest::worker_count() const {
  size_t count = 0;
  for (unsigned i = 1; i <= 8; ++i) count += child(fmt::format("worker {}", i)) != 0 ? 1 : 0;
  return count;
}

namespace {
UniqueFd connect_to(uint16_t port, const char* address) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  const bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  inet_pton(AF_INET6, address, &v6.sin6_addr);
  UniqueFd fd(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{120, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const int done = is_v4 ? ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v4), sizeof v4)
                         : ::connect(fd.get(), reinterpret_cast<sockaddr*>(&v6), sizeof v6);
  if (done != 0) fd.reset();
  return fd;
}
std::string read_all(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) text.append(buffer, static_cast<size_t>(n));
  return text;
}
}  // namespace

std::string ask(uint16_t port, const char* address) {
  const UniqueFd fd = connect_to(port, address);
  return fd ? read_all(fd.get()) : "";
}

std::pair<int, std::string> get(uint16_t port, const std::string& path) {
  const UniqueFd fd = connect_to(port, "127.0.0.1");
  if (!fd) return {0, ""};
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n";
  if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return {0, ""};
  const std::string answer = read_all(fd.get());
  const size_t body = answer.find("\r\n\r\n");
  if (!answer.starts_with("HTTP/1.1 ") || body == std::string::npos) return {0, answer};
  return {std::stoi(answer.substr(9, 3)), answer.substr(body + 4)};
}

bool eventually(const std::function<bool()>& condition, int seconds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace sluice::test

int main(int argc, char** argv) {
  if (const auto code = sluice::test::run_role(argc, argv)) return *code;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
