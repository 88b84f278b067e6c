#include "dataplane/shared/worker_loads.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice::shared {
namespace {
constexpr int kAttempts = 4;  // somebody else may be faster
}

struct WorkerLoads::Memory {
  std::array<Line, kMaxWorkers> lines;
};

Result<UniqueFd> WorkerLoads::make() {
  UniqueFd fd(memfd_create("sluice-loads", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), sizeof(Memory)) != 0) return fail("worker loads: {}", std::strerror(errno));
  // No worker can pull it from under the others (SIGBUS).
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail("seal worker loads: {}", std::strerror(errno));
  return fd;
}

Result<WorkerLoads> WorkerLoads::map(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return fail("worker loads: {}", std::strerror(errno));
  if (info.st_size != sizeof(Memory)) return fail("worker loads: memory of {} bytes", info.st_size);
  void* const memory = mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return fail("mmap of worker loads: {}", std::strerror(errno));
  static_assert(std::atomic<int64_t>::is_always_lock_free && sizeof(Memory) == kMaxWorkers * 64);
  return WorkerLoads(static_cast<Memory*>(memory));
}

WorkerLoads::WorkerLoads(WorkerLoads&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)) {}

WorkerLoads::~WorkerLoads() {
  if (memory_ != nullptr) munmap(memory_, sizeof(Memory));
}

WorkerLoads::Line& WorkerLoads::line(unsigned index) const { return memory_->lines[std::min(index, kMaxWorkers - 1)]; }

void WorkerLoads::publish(unsigned index, size_t connections, bool takes, uint64_t now_ms) {
  line(index).connections.set(connections);
  line(index).takes_ms.set(takes ? now_ms : 0);
}

void WorkerLoads::clear(unsigned index) { publish(index, 0, false, 0); }

uint64_t WorkerLoads::load(unsigned index) const {
  const auto sum = static_cast<int64_t>(line(index).connections.get()) + coming(index);
  return static_cast<uint64_t>(std::max<int64_t>(0, sum));
}

int64_t WorkerLoads::coming(unsigned index) const { return line(index).coming.load(std::memory_order_relaxed); }

unsigned WorkerLoads::claim(unsigned own, unsigned count, uint64_t now_ms) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    unsigned best = own;
    uint64_t least = load(own);
    // Each begins at another place: of equals not all take the first.
    for (unsigned step = 1; step < count; ++step) {
      const unsigned at = (own + step) % count;
      if (line(at).takes_ms.get() + kFreshMs <= now_ms) continue;
      if (const uint64_t there = load(at); there < least) {
        best = at;
        least = there;
      }
    }
    if (best == own) return own;
    line(best).coming.fetch_add(1, std::memory_order_relaxed);
    if (load(best) <= least + 1) return best;
    release(best);
  }
  return own;
}

void WorkerLoads::release(unsigned index) { line(index).coming.fetch_sub(1, std::memory_order_relaxed); }

void WorkerLoads::settle(unsigned index) { line(index).coming.store(0, std::memory_order_relaxed); }

}  // namespace sluice::shared
