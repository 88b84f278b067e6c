#include "dataplane/worker/delay_probe.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/clock.h"

namespace sluice::worker {

DelayProbe::~DelayProbe() {
  if (fd_) reactor_.remove(fd_.get(), *this);
}

bool DelayProbe::open() {
  fd_.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (fd_ && reactor_.add(fd_.get(), *this, net::kReadable)) return true;
  fd_.reset();
  return false;
}

void DelayProbe::send() {
  const uint64_t one = 1;
  if (overload_.short_delay_us() == UINT64_MAX) return;
  if (!under_way() && fd_ && ::write(fd_.get(), &one, sizeof one) == sizeof one) sent_ns_ = monotonic_ns();
}

void DelayProbe::on_event(uint32_t) {
  uint64_t count = 0;
  if (::read(fd_.get(), &count, sizeof count) != sizeof count) return;
  const uint64_t now = monotonic_ns();
  const uint64_t waited_us = (now - sent_ns_) / 1000;
  sent_ns_ = 0;
  overload_.waited(now / 1'000'000, waited_us);
  // While it is long the next reading follows at once.
  if (waited_us > overload_.short_delay_us()) send();
}

}  // namespace sluice::worker
