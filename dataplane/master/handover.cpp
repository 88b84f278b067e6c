// SIGUSR2: a new binary in the same process. The file at upgrade_path is first asked whether it understands our
// handover (--check-handover); then the master executes it in place, so the pid stays and every child stays its child.
// Descriptors survive the exec by number; a memfd says what they are. The new master starts an agent and workers on the
// same sockets; the old workers go on until those are ready, then they drain.
#include <cerrno>
#include <csignal>
#include <cstring>

#include <algorithm>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/master/child.h"
#include "dataplane/master/supervisor.h"

namespace sluice::master {
namespace {
constexpr uint64_t kProbeMs = 5000;

struct HandoverHeader {
  uint64_t magic = 0x534c554345484f56;  // "SLUCEHOV"
  uint32_t version = kHandoverVersion;
  uint32_t pages = 0, groups = 0, workers = 0;
  uint32_t next_socket_id = 0, restarts = 0, has_state = 0, log_level = 0;
  int32_t admin_fd = -1, ticket_fd = -1, buckets_fd = -1;
  uint64_t ticket_rotation_ms = 0;
};
struct HandoverState {
  ir::StateId id;
  std::array<int32_t, sync::kMaxFds> fds{};
  std::array<uint64_t, ir::kParts> sizes{};
  std::array<ir::ContentHash, ir::kParts> hashes{};
  uint32_t fd_count = 0, workers = 0, drain_ms = 0, listener_count = 0;
  std::array<sync::ListenerSpec, sync::kMaxListeners> listeners{};
};
struct HandoverPage {
  int32_t fd = -1;
  uint32_t used = 0;
};
struct HandoverGroup {
  sync::ListenerSpec spec;
  uint32_t port = 0, sockets = 0;
};
struct HandoverSocket {
  uint32_t id = 0, owner = 0;
  int32_t fd = -1;
};
struct HandoverWorker {
  uint32_t index = 0, page = 0;
  int32_t pid = 0, channel = -1;
  uint64_t spawned_ms = 0, kill_at_ms = 0;
  uint32_t listening = 0;  // ids follow
};

// Appends records, and remembers which descriptors must survive.
class Writer {
 public:
  template <class T>
  void put(const T& record) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const char*>(&record);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof record);
  }
  int32_t keep(const UniqueFd& fd) {
    if (fd) kept_.push_back(fd.get());
    return fd.get();
  }
  void set_inherited(bool inherited) const {
    for (const int fd : kept_) fcntl(fd, F_SETFD, inherited ? 0 : FD_CLOEXEC);
  }
  [[nodiscard]] UniqueFd to_memfd() const {
    UniqueFd fd(memfd_create("sluice-handover", MFD_CLOEXEC));
    if (!fd || ::pwrite(fd.get(), bytes_.data(), bytes_.size(), 0) != static_cast<ssize_t>(bytes_.size())) fd.reset();
    return fd;
  }

 private:
  std::vector<char> bytes_;
  std::vector<int> kept_;
};

class Reader {
 public:
  explicit Reader(int fd) {
    struct stat info {};
    if (fstat(fd, &info) != 0 || info.st_size > (16 << 20)) return;
    bytes_.resize(static_cast<size_t>(info.st_size));
    if (::pread(fd, bytes_.data(), bytes_.size(), 0) != info.st_size) bytes_.clear();
  }
  template <class T>
  T get() {
    T record{};
    if (bytes_.size() - at_ < sizeof record) failed_ = true;
    else std::memcpy(static_cast<void*>(&record), bytes_.data() + at_, sizeof record), at_ += sizeof record;
    return record;
  }
  // A descriptor that came through the exec: ours from here on, and closed at the next one.
  UniqueFd take(int32_t fd) {
    if (fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0) return UniqueFd(fd);
    failed_ = true;
    return {};
  }
  [[nodiscard]] bool ok() const { return !failed_; }

 private:
  std::vector<char> bytes_;
  size_t at_ = 0;
  bool failed_ = false;
};

void write_state(Writer& out, const HeldState& state) {
  HandoverState record;
  record.id = state.id;
  record.sizes = state.sizes;
  record.hashes = state.hashes;
  record.workers = state.workers;
  record.drain_ms = state.drain_ms;
  record.listener_count = static_cast<uint32_t>(state.listeners.size());
  std::ranges::copy(state.listeners, record.listeners.begin());
  record.fd_count = static_cast<uint32_t>(std::min(state.fds.size(), record.fds.size()));
  for (size_t i = 0; i < record.fd_count; ++i) record.fds[i] = out.keep(state.fds[i]);
  out.put(record);
}

std::shared_ptr<HeldState> read_state(Reader& in) {
  const auto record = in.get<HandoverState>();
  auto state = std::make_shared<HeldState>();
  if (record.listener_count > record.listeners.size() || record.workers > sync::kMaxWorkers ||
      record.fd_count > record.fds.size())
    return state;
  state->id = record.id;
  state->sizes = record.sizes;
  state->hashes = record.hashes;
  state->workers = record.workers;
  state->drain_ms = record.drain_ms;
  state->listeners.assign(record.listeners.begin(), record.listeners.begin() + record.listener_count);
  for (size_t i = 0; i < record.fd_count; ++i) state->fds.push_back(in.take(record.fds[i]));
  return state;
}

void write_worker(Writer& out, const Worker& worker) {
  HandoverWorker record;
  record.index = worker.index;
  record.page = worker.page;
  record.pid = worker.pid;
  record.channel = out.keep(worker.channel);
  record.spawned_ms = worker.spawned_ms;
  record.kill_at_ms = worker.kill_at_ms;
  record.listening = static_cast<uint32_t>(worker.listening.size());
  out.put(record);
  for (const uint32_t id : worker.listening) out.put(id);
}

Worker read_worker(Reader& in) {
  const auto record = in.get<HandoverWorker>();
  Worker worker;
  worker.index = record.index;
  worker.page = record.page;
  worker.pid = record.pid;
  if (record.channel >= 0) worker.channel = in.take(record.channel);
  worker.spawned_ms = record.spawned_ms;
  worker.kill_at_ms = record.kill_at_ms;
  for (uint32_t i = 0; i < record.listening && in.ok(); ++i) worker.listening.insert(in.get<uint32_t>());
  return worker;
}
}  // namespace

void Supervisor::start_upgrade() {
  if (options_.upgrade_path.empty() || probe_ != 0 || stopping_) return;
  log::info("new binary asked for", {{"path", options_.upgrade_path}});
  auto pid = spawn(options_.upgrade_path, {fmt::format("--check-handover={}", kHandoverVersion)}, {});
  if (!pid) {
    log::error("new binary not started", {{"error", pid.error().message}});
    return;
  }
  probe_ = *pid;
  probe_kill_ms_ = monotonic_ms() + kProbeMs;
}

void Supervisor::on_probe_exit(int status) {
  probe_ = 0;
  upgrade_due_ = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!upgrade_due_) log::error("new binary cannot take over", {{"path", options_.upgrade_path}, {"status", status}});
}

void Supervisor::execute_upgrade() {
  upgrade_due_ = false;
  Writer out;
  HandoverHeader header;
  std::vector<const Worker*> workers;
  for (const Slot& slot : slots_) {
    if (slot.worker.pid != 0) workers.push_back(&slot.worker);
  }
  for (const Worker& worker : retired_) workers.push_back(&worker);
  header.pages = static_cast<uint32_t>(pages_.count());
  header.groups = static_cast<uint32_t>(sockets_.groups().size());
  header.workers = static_cast<uint32_t>(workers.size());
  header.next_socket_id = sockets_.next_id();
  header.restarts = restarts_;
  header.has_state = current_ ? 1 : 0;
  header.log_level = static_cast<uint32_t>(log::level());
  header.admin_fd = out.keep(admin_);
  header.ticket_fd = out.keep(ticket_keys_);
  header.buckets_fd = out.keep(buckets_);
  header.ticket_rotation_ms = ticket_rotation_ms_;
  out.put(header);
  if (current_) write_state(out, *current_);
  for (unsigned page = 0; page < pages_.count(); ++page)
    out.put(HandoverPage{out.keep(pages_.handle(page)), pages_.used(page) ? 1u : 0u});
  for (const ListenGroup& group : sockets_.groups()) {
    out.put(HandoverGroup{group.spec, group.port, static_cast<uint32_t>(group.sockets.size())});
    for (const ListenSocket& socket : group.sockets)
      out.put(HandoverSocket{socket.id, socket.owner, out.keep(socket.fd)});
  }
  for (const Worker* worker : workers) write_worker(out, *worker);
  const UniqueFd description = out.to_memfd();
  if (!description) {
    log::error("new binary not started", {{"error", std::strerror(errno)}});
    return;
  }
  std::string name = "sluice-dataplane", handover = fmt::format("--handover={}", description.get());
  std::vector<char*> argv{name.data(), handover.data()};
  for (const std::string& argument : options_.arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  out.set_inherited(true);
  fcntl(description.get(), F_SETFD, 0);
  log::info("the new binary takes over", {{"path", options_.upgrade_path}});
  execve(options_.upgrade_path.c_str(), argv.data(), environ);
  log::error("new binary not started", {{"error", std::strerror(errno)}});
  out.set_inherited(false);
}

bool Supervisor::read_handover() {
  const UniqueFd description(options_.handover_fd);
  Reader in(description.get());
  const auto header = in.get<HandoverHeader>();
  if (!in.ok() || header.magic != HandoverHeader{}.magic || header.version != kHandoverVersion) {
    log::error("handover is not readable");
    return false;
  }
  if (header.log_level <= static_cast<uint32_t>(log::Level::off))
    log::set_level(static_cast<log::Level>(header.log_level));
  if (header.admin_fd >= 0) admin_ = in.take(header.admin_fd);
  ticket_keys_ = in.take(header.ticket_fd);
  ticket_rotation_ms_ = header.ticket_rotation_ms;
  // As many as they are: another --rate-limit-keys holds from the next start on.
  buckets_ = in.take(header.buckets_fd);
  restarts_ = header.restarts;
  if (header.has_state != 0) current_ = read_state(in);
  for (uint32_t i = 0; i < header.pages && in.ok(); ++i) {
    const auto page = in.get<HandoverPage>();
    if (Status adopted = pages_.adopt(in.take(page.fd), page.used != 0); !adopted) {
      log::error("handover: counter page", {{"error", adopted.error().message}});
      return false;
    }
  }
  std::vector<ListenGroup> groups;
  for (uint32_t i = 0; i < header.groups && in.ok(); ++i) {
    const auto group = in.get<HandoverGroup>();
    ListenGroup& into = groups.emplace_back();
    into.spec = group.spec;
    into.port = static_cast<uint16_t>(group.port);
    for (uint32_t k = 0; k < group.sockets && in.ok(); ++k) {
      const auto socket = in.get<HandoverSocket>();
      into.sockets.push_back({socket.id, socket.owner, in.take(socket.fd)});
    }
  }
  sockets_.adopt(std::move(groups), header.next_socket_id);
  for (uint32_t i = 0; i < header.workers && in.ok(); ++i) retired_.push_back(read_worker(in));
  if (!in.ok()) {
    log::error("handover is cut");
    return false;
  }
  taking_over_ = !retired_.empty();
  if (current_) {
    for (unsigned index = 0; index < current_->workers; ++index) {
      slots_.emplace_back().page = ~0u;
      start_worker(index, current_);
    }
    share_sockets();
  }
  log::info("took over", {{"workers", header.workers}});
  return true;
}

// The workers of the binary before have done their part when each of ours runs the state.
void Supervisor::finish_takeover() {
  const bool all = std::ranges::all_of(
      slots_, [&](const Slot& slot) { return slot.worker.pid != 0 && slot.worker.running.boot != 0; });
  if (!all && !stopping_) return;
  taking_over_ = false;
  for (Worker& worker : retired_) {
    if (worker.kill_at_ms == 0) retire(worker, current_ ? current_->drain_ms : 0);
  }
  report_due_ = true;
}

}  // namespace sluice::master
