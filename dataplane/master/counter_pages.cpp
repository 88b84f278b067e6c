#include "dataplane/master/counter_pages.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sluice::master {
using shared::CounterPage;

CounterPages::~CounterPages() {
  for (const Page& page : pages_) munmap(page.memory, sizeof(CounterPage));
}

Status CounterPages::adopt(UniqueFd fd, bool used) {
  void* memory = mmap(nullptr, sizeof(CounterPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) return fail("mmap of a counter page: {}", std::strerror(errno));
  pages_.push_back({std::move(fd), static_cast<CounterPage*>(memory), used});
  return {};
}

Result<unsigned> CounterPages::take(unsigned preferred) {
  unsigned page = preferred;
  if (page >= pages_.size() || pages_[page].used) {
    for (page = 0; page < pages_.size() && pages_[page].used; ++page) {
    }
  }
  if (page == pages_.size()) {
    if (page == kMaxPages) return fail("more than {} worker processes", kMaxPages);
    UniqueFd fd(memfd_create("sluice-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    // Sparse: a slot that nobody counts in costs nothing.
    if (!fd || ftruncate(fd.get(), sizeof(CounterPage)) != 0) return fail("counter page: {}", std::strerror(errno));
    // A worker cannot pull the page from under the master and the agent (SIGBUS).
    if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
      return fail("seal counter page: {}", std::strerror(errno));
    if (Status adopted = adopt(std::move(fd), false); !adopted) return std::unexpected(adopted.error());
    pages_[page].memory->magic = CounterPage::kMagic;
  }
  pages_[page].used = true;
  return page;
}

void CounterPages::give_back(unsigned page) {
  CounterPage& memory = *pages_[page].memory;
  pages_[page].used = false;
  memory.heartbeat_ms.set(0);
  memory.pid.set(0);
  memory.connections_active.set(0);
  memory.streams_active.set(0);
  memory.tables_mapped.set(0);
  for (shared::Cell& level : memory.overload_level) level.set(0);
  // Only what exists is touched: reading a hole of a mapped memfd would fill it.
  const auto begin = static_cast<off_t>(offsetof(CounterPage, clusters));
  const auto end = static_cast<off_t>(sizeof(CounterPage));
  for (off_t at = lseek(pages_[page].fd.get(), begin, SEEK_DATA); at >= 0 && at < end;
       at = lseek(pages_[page].fd.get(), at, SEEK_DATA)) {
    off_t hole = lseek(pages_[page].fd.get(), at, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    const auto first = static_cast<size_t>(at - begin) / sizeof(shared::ClusterSlot);
    const auto last = static_cast<size_t>(hole - begin + static_cast<off_t>(sizeof(shared::ClusterSlot)) - 1) /
                      sizeof(shared::ClusterSlot);
    for (size_t i = first; i < last && i < memory.clusters.size(); ++i) {
      if (memory.clusters[i].active_connections.get() != 0) memory.clusters[i].active_connections.set(0);
      if (memory.clusters[i].idle_connections.get() != 0) memory.clusters[i].idle_connections.set(0);
    }
    at = hole;
  }
}

}  // namespace sluice::master
