#include "dataplane/worker/overload_monitor.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <malloc.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/net/pending_bytes.h"
#include "dataplane/worker/client_link.h"

namespace sluice::worker {
namespace {
constexpr uint64_t kPeriodNs = OverloadMonitor::kPeriodMs * 1'000'000;
constexpr uint64_t kLeastReset = uint64_t{1} << 20;
// So much more, of a limit, and the timer is not waited for.
constexpr uint64_t kLeastGrowth = uint64_t{1} << 20;
constexpr uint64_t kGrowthPart = 256;
constexpr uint32_t kLooksPerTrim = 4;
// About what a client and a request are beside what is held for them, TLS included.
constexpr size_t kClientBytes = 16 * 1024, kRequestBytes = 8 * 1024;
}  // namespace

OverloadMonitor::OverloadMonitor(Context& context, MemoryGauge gauge)
    : context_(context), gauge_(std::move(gauge)), probe_(context.reactor, context.overload) {
  // A predecessor on this page left its levels behind.
  for (shared::Cell& cell : context_.counters.overload_level) cell.set(0);
}

OverloadMonitor::~OverloadMonitor() {
  if (timer_) context_.reactor.remove(timer_.get(), *this);
}

bool OverloadMonitor::start() {
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  due_ns_ = monotonic_ns() + kPeriodNs;
  const timespec period{.tv_sec = 0, .tv_nsec = static_cast<long>(kPeriodNs)};
  const timespec first{.tv_sec = static_cast<time_t>(due_ns_ / 1'000'000'000),
                       .tv_nsec = static_cast<long>(due_ns_ % 1'000'000'000)};
  const itimerspec when{.it_interval = period, .it_value = first};
  if (timer_ && timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) == 0 &&
      context_.reactor.add(timer_.get(), *this, net::kReadable) && probe_.open())
    return true;
  log::error("overload is not watched", {{"errno", errno}});
  if (timer_) context_.reactor.remove(timer_.get(), *this);
  timer_.reset();
  return false;
}

void OverloadMonitor::on_event(uint32_t) {
  uint64_t expired = 0;
  if (::read(timer_.get(), &expired, sizeof expired) != sizeof expired || expired == 0) return;
  const uint64_t now = monotonic_ns();
  const uint64_t late = now > due_ns_ ? now - due_ns_ : 0;
  due_ns_ += expired * kPeriodNs;
  if (late > kLateNs) probe_.send();
  look();
  // What was freed stays the process's, and counts, until it is given back: the level would outlive its reason.
  if (context_.overload.level(Resource::memory) == Level::normal) looks_short_ = 0;
  else if (looks_short_++ % kLooksPerTrim == 0) ::malloc_trim(0);
}

// Of what is there because of clients: only how it grows matters.
size_t OverloadMonitor::occupied() const {
  return net::pending_bytes() + context_.connection_count * kClientBytes +
         context_.counters.streams_active.get() * kRequestBytes;
}

void OverloadMonitor::look_if_grown() {
  if (occupied() >= next_look_) look();
}

void OverloadMonitor::look() {
  Load load;
  load.now_ms = context_.reactor.now_ms();
  load.memory = gauge_.read(workers_);
  load.connections = context_.connection_count;
  load.connections_limit = context_.settings.connections;
  load.descriptors = context_.descriptors();
  load.descriptors_limit = context_.descriptors_to_serve();
  judge(load);
  const uint64_t growth = std::max(kLeastGrowth, load.memory.limit / kGrowthPart / workers_);
  next_look_ = load.memory.limit == 0 ? SIZE_MAX : occupied() + growth;
}

void OverloadMonitor::judge(const Load& load) {
  Overload& overload = context_.overload;
  std::array<Level, static_cast<size_t>(Resource::kCount)> before{};
  for (size_t i = 0; i < before.size(); ++i) before[i] = overload.level(static_cast<Resource>(i));
  const bool kept_alive = !overload.ends_keep_alive();
  if (overload.update(load)) {
    for (size_t i = 0; i < before.size(); ++i) {
      const auto resource = static_cast<Resource>(i);
      const Level level = overload.level(resource);
      if (level == before[i]) continue;
      context_.counters.overload_level[i].set(static_cast<uint64_t>(level));
      log::warning("overload", {{"resource", name_of(resource)},
                                {"level", name_of(level)},
                                {"before", name_of(before[i])},
                                {"memory_used", load.memory.used},
                                {"memory_limit", load.memory.limit},
                                {"connections", load.connections},
                                {"descriptors", load.descriptors},
                                {"delay_ms", overload.delay_ms()}});
    }
    if (kept_alive && overload.ends_keep_alive()) end_idle();
  }
  if (overload.excess() != 0) reset_largest(std::max(overload.excess() / workers_, kLeastReset));
}

// Who is in the middle of something ends with its answer.
void OverloadMonitor::end_idle() {
  for (ClientLink* at = context_.connections; at != nullptr;) {
    ClientLink* const next = at->next();
    at->drain();
    at = next;
  }
}

void OverloadMonitor::reset_largest(uint64_t wanted) {
  HeldSizes sizes;
  for (const ClientLink* at = context_.connections; at != nullptr; at = at->next()) at->note_held(sizes);
  const size_t at_least = sizes.at_least(wanted);
  if (at_least == 0) return;
  for (ClientLink* at = context_.connections; at != nullptr && wanted != 0;) {
    ClientLink* const next = at->next();
    wanted -= std::min(wanted, at->reset_held(at_least, wanted));
    at = next;
  }
  ::malloc_trim(0);
}

}  // namespace sluice::worker
