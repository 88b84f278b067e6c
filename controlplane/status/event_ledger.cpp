#include "controlplane/status/event_ledger.h"

#include <fmt/format.h>

#include "common/ir/push_frame.h"
#include "controlplane/status/json_text.h"
#include "controlplane/status/object_status.h"

namespace sluice::status {
namespace {

using nlohmann::json;
constexpr size_t kMaxEventName = 253;

const char* api_version(store::Kind kind) {
  switch (kind) {
    case store::Kind::ingress:
    case store::Kind::ingress_class:
      return "networking.k8s.io/v1";
    case store::Kind::endpoint_slice:
      return "discovery.k8s.io/v1";
    case store::Kind::route:
    case store::Kind::rate_limit_policy:
      return "sluice.dev/v1alpha1";
    case store::Kind::service:
    case store::Kind::secret:
    case store::Kind::config_map:
    case store::Kind::namespace_:
      break;
  }
  return "v1";
}

}  // namespace

void EventLedger::want(std::vector<WantedEvent> events, uint64_t now_ms) {
  for (auto& [identity, entry] : entries_) entry.wanted = false;
  for (WantedEvent& event : events) {
    Entry& entry = entries_[identity(event)];
    // Another object of the same name: its problem is news.
    if (entry.told && entry.event.uid != event.uid) entry = Entry{};
    entry.wanted = true;
    entry.event = std::move(event);
  }
  std::erase_if(entries_, [&](const auto& item) {
    const Entry& entry = item.second;
    return !entry.wanted && !entry.in_flight && (!entry.told || now_ms - entry.told_ms >= kRepeatMs);
  });
}

std::vector<EventLedger::Due> EventLedger::due(uint64_t now_ms, int64_t now_s, size_t limit) {
  std::vector<Due> out;
  for (auto& [identity, entry] : entries_) {
    if (out.size() >= limit) break;
    if (!entry.wanted || entry.in_flight || now_ms < entry.not_before_ms) continue;
    const uint64_t since = now_ms - entry.told_ms;
    const bool is_due =
        !entry.told || since >= kRepeatMs || (entry.told_text != entry.event.problem.text && since >= kTextChangeMs);
    if (!is_due) continue;
    if (entry.first_s == 0) entry.first_s = now_s;
    entry.in_flight = true;
    out.push_back({entry.event, event_name(entry.event), entry.count + 1, entry.first_s});
  }
  return out;
}

void EventLedger::done(const Identity& identity, uint64_t now_ms, uint32_t count, uint64_t retry_ms) {
  const auto found = entries_.find(identity);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.in_flight = false;
  entry.not_before_ms = now_ms + retry_ms;
  if (retry_ms != 0) return;
  entry.told = true;
  entry.told_text = entry.event.problem.text;
  entry.told_ms = now_ms;
  entry.count = count;
}

size_t EventLedger::wanted() const {
  size_t count = 0;
  for (const auto& [identity, entry] : entries_) count += entry.wanted ? 1 : 0;
  return count;
}

std::string event_name(const WantedEvent& event) {
  const std::string text = fmt::format("{}\n{}\n{}\n{}", event.uid, store::kind_name(event.problem.object.kind),
                                       event.problem.field, event.problem.reason);
  const ir::ContentHash hash = ir::content_hash(std::as_bytes(std::span(text)));
  std::string name = event.problem.object.key.name.substr(0, kMaxEventName - 17);
  while (!name.empty() && (name.back() == '.' || name.back() == '-')) name.pop_back();
  return fmt::format("{}.{:016x}", name, hash.low);
}

std::string event_namespace(const WantedEvent& event) {
  return event.problem.object.key.ns.empty() ? "default" : event.problem.object.key.ns;
}

std::string event_json(const EventLedger::Due& due, const std::string& controller_name, const std::string& host,
                       int64_t now_s) {
  const store::Problem& problem = due.event.problem;
  json involved = {{"apiVersion", api_version(problem.object.kind)},
                   {"kind", store::kind_name(problem.object.kind)},
                   {"name", problem.object.key.name}};
  if (!problem.object.key.ns.empty()) involved["namespace"] = problem.object.key.ns;
  if (!due.event.uid.empty()) involved["uid"] = due.event.uid;
  if (!due.event.resource_version.empty()) involved["resourceVersion"] = due.event.resource_version;
  if (!problem.field.empty()) involved["fieldPath"] = problem.field;
  return dumped({{"apiVersion", "v1"},
                 {"kind", "Event"},
                 {"metadata", {{"name", due.name}, {"namespace", event_namespace(due.event)}}},
                 {"involvedObject", involved},
                 {"type", "Warning"},
                 {"reason", problem.reason},
                 {"message", problem.text},
                 {"source", {{"component", controller_name}, {"host", host}}},
                 {"count", due.count},
                 {"firstTimestamp", rfc3339(due.first_s)},
                 {"lastTimestamp", rfc3339(now_s)}});
}

std::string event_patch(const EventLedger::Due& due, uint32_t count, int64_t now_s) {
  return dumped({{"count", count}, {"lastTimestamp", rfc3339(now_s)}, {"message", due.event.problem.text}});
}

}  // namespace sluice::status
