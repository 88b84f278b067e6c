#include "dataplane/worker/date.h"

#include <cstdio>
#include <ctime>

#include "common/base/clock.h"

namespace sluice::worker {

void Date::update(uint64_t now_ms) {
  static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const int64_t wall = wall_us();
  const auto seconds = static_cast<time_t>(wall / 1'000'000);
  next_ms_ = now_ms + 1000 - static_cast<uint64_t>(wall / 1000 % 1000);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday], parts.tm_mday,
                kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
  std::snprintf(text_, sizeof text_, "%.29s", text);
}

}  // namespace sluice::worker
