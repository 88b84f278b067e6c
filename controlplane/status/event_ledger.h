// Which Events are to be written now: a problem is told at once, told again (count + 1) every ten minutes while it
// lasts (that also keeps the Event from expiring), sooner only if its text changes. Pure; the clock is passed in.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "controlplane/status/wanted.h"

namespace sluice::status {

class EventLedger {
 public:
  static constexpr uint64_t kRepeatMs = 600'000;
  static constexpr uint64_t kTextChangeMs = 30'000;

  using Identity = std::tuple<store::ObjectRef, std::string, std::string>;  // object, field, reason
  [[nodiscard]] static Identity identity(const WantedEvent& event) {
    return {event.problem.object, event.problem.field, event.problem.reason};
  }

  // Replaces what is wanted. Problems that are gone are remembered for kRepeatMs, so that a flapping one is not told
  // each time.
  void want(std::vector<WantedEvent> events, uint64_t now_ms);
  struct Due {
    WantedEvent event;
    std::string name;
    uint32_t count = 1;
    int64_t first_s = 0;
  };
  // At most `limit` that are due. Each is then in flight until done().
  [[nodiscard]] std::vector<Due> due(uint64_t now_ms, int64_t now_s, size_t limit);
  // `count`: what the API server has now. retry_ms: 0 = written; else failed, to be tried again after so long.
  void done(const Identity& identity, uint64_t now_ms, uint32_t count, uint64_t retry_ms);
  [[nodiscard]] size_t wanted() const;

 private:
  struct Entry {
    WantedEvent event;
    bool wanted = false, in_flight = false, told = false;
    std::string told_text;
    uint64_t told_ms = 0, not_before_ms = 0;
    int64_t first_s = 0;
    uint32_t count = 0;
  };
  std::map<Identity, Entry> entries_;
};

// The same for the same problem, also after a restart, so no second Event appears: "<object>.<hash of uid, kind, field,
// reason>".
[[nodiscard]] std::string event_name(const WantedEvent& event);

// A core/v1 Event. `host`: the reporting instance.
[[nodiscard]] std::string event_json(const EventLedger::Due& due, const std::string& controller_name,
                                     const std::string& host, int64_t now_s);
// A merge patch of count, time and text for an Event that exists.
[[nodiscard]] std::string event_patch(const EventLedger::Due& due, uint32_t count, int64_t now_s);
// Events of cluster-scoped objects live in "default".
[[nodiscard]] std::string event_namespace(const WantedEvent& event);

}  // namespace sluice::status
