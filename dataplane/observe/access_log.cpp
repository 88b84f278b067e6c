#include "dataplane/observe/access_log.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/unique_fd.h"
#include "dataplane/observe/log_line.h"

namespace sluice::observe {
namespace {
constexpr size_t kBuffer = 256 * 1024;
constexpr size_t kBatch = 64 * 1024;
constexpr uint64_t kFlushMs = 250;
constexpr uint64_t kReopenMs = 5000;

enum class Kind : uint8_t {
  file,    // appends of several workers do not mix; a full disk may cut one
  stream,  // pipe, FIFO, terminal: only writes up to PIPE_BUF are whole
  socket,
};

std::string_view inherited(std::string_view path) {
  if (path == "/dev/stdout") return "/proc/self/fd/1";
  if (path == "/dev/stderr") return "/proc/self/fd/2";
  return {};
}
}  // namespace

// Lines lie one after the other in [begin, end) of the buffer.
struct AccessLog::Impl final : net::TimerNode {
  Impl(net::Reactor& reactor_, shared::CounterPage& counters_)
      : reactor(reactor_), counters(counters_), buffer(std::make_unique_for_overwrite<char[]>(kBuffer)) {
    // A reader that went away is an error to count, not an end of the process.
    struct sigaction current {};
    if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) std::signal(SIGPIPE, SIG_IGN);
  }

  void open() {
    const std::string_view number = inherited(path);
    const std::string real(number.empty() ? path : number);
    // An inherited pipe is opened anew, so that O_NONBLOCK is not set for everybody who shares it.
    fd.reset(::open(real.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0640));
    if (!fd && !number.empty()) {
      // Sockets cannot be opened by path, and pipes of another user may not be.
      const int reason = errno;
      fd.reset(::fcntl(number.back() - '0', F_DUPFD_CLOEXEC, 3));
      struct stat info {};
      if (fd && fstat(fd.get(), &info) == 0 && !S_ISSOCK(info.st_mode))
        ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
      if (!fd) errno = reason;
    }
    opened_at = reactor.now_ms();
    struct stat info {};
    if (fd && fstat(fd.get(), &info) != 0) fd.reset();
    if (!fd) {
      if (!std::exchange(complained, true))
        log::error("access log cannot be opened: lines are dropped",
                   {{"path", path}, {"reason", std::strerror(errno)}});
      return;
    }
    kind = S_ISREG(info.st_mode) ? Kind::file : S_ISSOCK(info.st_mode) ? Kind::socket : Kind::stream;
    if (std::exchange(complained, false)) log::info("access log is written again", {{"path", path}});
    // What was there may end in half a line of somebody else.
    mid_line = false;
    resync = false;
  }

  // Gives up what cannot be written to the present target as a whole line.
  void drop_partial() {
    if (!mid_line) return;
    mid_line = false;
    drop_first_line();
  }
  void drop_first_line() {
    const void* feed = std::memchr(buffer.get() + begin, '\n', end - begin);
    begin = feed == nullptr ? end : static_cast<size_t>(static_cast<const char*>(feed) - buffer.get()) + 1;
    counters.log_dropped.add();
  }
  void drop_all() {
    while (begin != end) drop_first_line();
    begin = end = 0;
    mid_line = false;
  }

  // Room for one line of any length; false = none.
  bool make_room() {
    if (kBuffer - end >= LineFormat::kMaxLine) return true;
    // Moving is worth it only if it frees a good part: each byte is moved a bounded number of times.
    if (begin < kBuffer / 4) return false;
    std::memmove(buffer.get(), buffer.get() + begin, end - begin);
    end -= begin;
    begin = 0;
    return kBuffer - end >= LineFormat::kMaxLine;
  }

  // Bytes of the next write: whole lines, as many as stay together.
  [[nodiscard]] size_t chunk() const {
    const size_t have = end - begin;
    if (kind == Kind::file || have <= LineFormat::kAtomicLine) return have;
    const char* from = buffer.get() + begin;
    const void* feed = memrchr(from, '\n', LineFormat::kAtomicLine);
    if (feed == nullptr) feed = std::memchr(from, '\n', have);  // built for a file before the target changed
    return feed == nullptr ? have : static_cast<size_t>(static_cast<const char*>(feed) - from) + 1;
  }

  ssize_t write_some(const char* from, size_t size) const {
    ssize_t n;
    do
      n = kind == Kind::socket ? ::send(fd.get(), from, size, MSG_NOSIGNAL | MSG_DONTWAIT)
                               : ::write(fd.get(), from, size);
    while (n < 0 && errno == EINTR);
    return n;
  }

  // Writes what the target takes now; the rest stays.
  void drain() {
    if (!fd) {
      if (reactor.now_ms() - opened_at >= kReopenMs) open();
      if (!fd) return drop_all();
    }
    while (begin != end) {
      if (resync) {
        // Our last write was cut within a line and its rest was given up: begin on a new one.
        if (write_some("\n", 1) != 1) return;
        resync = false;
      }
      const size_t size = chunk();
      const ssize_t n = write_some(buffer.get() + begin, size);
      if (n < 0) {
        if (errno == EPIPE || errno == ENXIO || errno == EBADF) {
          fd.reset();  // nobody reads: tried again later
          opened_at = reactor.now_ms();
          return drop_all();
        }
        return;  // EAGAIN, ENOSPC, EDQUOT, EIO: again at the next tick; a full buffer drops
      }
      const auto written = static_cast<size_t>(n);
      begin += written;
      mid_line = written != 0 && buffer[begin - 1] != '\n';
      if (written == size) continue;
      if (mid_line && kind == Kind::file) cut_back();
      break;
    }
    if (begin == end) begin = end = 0;
  }

  // A disk that became full in the middle of a line: take the half line back if it still is the end of the file, else
  // give the rest of it up.
  void cut_back() {
    size_t half = 0;
    // The buffer begins with a whole line, and all of it up to `begin` was written.
    while (half < begin && buffer[begin - half - 1] != '\n') ++half;
    const off_t at = ::lseek(fd.get(), 0, SEEK_CUR);
    struct stat info {};
    if (at >= static_cast<off_t>(half) && fstat(fd.get(), &info) == 0 && info.st_size == at &&
        ::ftruncate(fd.get(), at - static_cast<off_t>(half)) == 0) {
      begin -= half;
      mid_line = false;
      return;
    }
    drop_partial();
    resync = true;
  }

  void arm() {
    if (!armed()) reactor.timers().arm(*this, reactor.now_ms() + kFlushMs);
  }
  void on_timer() override {
    drain();
    if (begin != end) arm();
  }

  net::Reactor& reactor;
  shared::CounterPage& counters;
  std::unique_ptr<char[]> buffer;
  size_t begin = 0, end = 0;
  LineFormat format;
  std::string path = "off";
  UniqueFd fd;
  Kind kind = Kind::file;
  uint64_t opened_at = 0;
  bool complained = false;
  bool mid_line = false;  // the byte before `begin` was written and is no line feed
  bool resync = false;
};

AccessLog::AccessLog(net::Reactor& reactor, shared::CounterPage& counters)
    : impl_(std::make_unique<Impl>(reactor, counters)) {}
AccessLog::~AccessLog() { flush(); }

void AccessLog::configure(std::string_view path, std::string_view format) {
  Impl& self = *impl_;
  if (std::string problem = self.format.configure(format.empty() ? "json" : format); !problem.empty()) {
    log::error("access log format is unusable: the one before stays", {{"reason", problem}});
  }
  if (path.empty()) path = "off";
  if (path == self.path) return;
  flush();
  self.path = path;
  self.complained = false;
  enabled_ = path != "off";
  self.fd.reset();
  if (enabled_) self.open();
}

void AccessLog::write(const StreamRecord& record) {
  if (!enabled_) return;
  Impl& self = *impl_;
  self.counters.log_lines.add();
  if (!self.make_room()) {
    self.drain();
    if (!self.make_room()) return self.counters.log_dropped.add();
  }
  const size_t bound = self.kind == Kind::file ? LineFormat::kMaxLine : LineFormat::kAtomicLine;
  const size_t before = self.end - self.begin;
  self.end += self.format.build(record, self.buffer.get() + self.end, bound);
  // Once per batch, not per line: a target that takes nothing is asked again after another batch or at the next tick.
  if (before / kBatch != (self.end - self.begin) / kBatch) self.drain();
  if (self.begin != self.end) self.arm();
}

void AccessLog::reopen() {
  Impl& self = *impl_;
  if (!enabled_) return;
  self.drain();
  self.drop_partial();
  self.open();
}

void AccessLog::flush() {
  Impl& self = *impl_;
  if (self.begin != self.end) self.drain();
  self.drop_all();
}

}  // namespace sluice::observe
