#include "controlplane/status/route_status.h"

#include <time.h>

#include <nlohmann/json.hpp>

namespace sluice::status {
namespace {

using nlohmann::json;

const json* condition_of(const json& list, const std::string& type) {
  if (!list.is_array()) return nullptr;
  for (const json& entry : list) {
    if (entry.is_object() && entry.value("type", json()) == type) return &entry;
  }
  return nullptr;
}

json conditions_json(const std::vector<Condition>& conditions, const json& before, int64_t generation,
                     const std::string& now) {
  json out = json::array();
  for (const Condition& condition : conditions) {
    const char* status = condition.status ? "True" : "False";
    const json* old = condition_of(before, condition.type);
    const bool same = old != nullptr && old->value("status", json()) == status;
    const json since = same ? old->value("lastTransitionTime", json()) : json();
    out.push_back({{"type", condition.type},
                   {"status", status},
                   {"reason", condition.reason},
                   {"message", condition.message},
                   {"observedGeneration", generation},
                   {"lastTransitionTime", since.is_string() ? since : json(now)}});
  }
  return out;
}

json parent_json(const store::ParentRef& parent) {
  json out = {{"group", parent.group}, {"kind", parent.kind}, {"name", parent.name}};
  if (!parent.ns.empty()) out["namespace"] = parent.ns;
  if (!parent.section_name.empty()) out["sectionName"] = parent.section_name;
  if (parent.port != 0) out["port"] = parent.port;
  return out;
}

json programmed_parents(const WantedRoute& wanted, const std::vector<Condition>& conditions, const json& before,
                        const std::string& controller, const std::string& now) {
  json out = json::array();
  if (before.is_array()) {
    for (const json& entry : before) {
      if (entry.is_object() && entry.value("controllerName", json()) != controller) out.push_back(entry);
    }
  }
  for (const store::ParentRef& parent : wanted.parents) {
    const json ref = parent_json(parent);
    json old;
    if (before.is_array()) {
      for (const json& entry : before) {
        if (entry.is_object() && entry.value("controllerName", json()) == controller &&
            entry.value("parentRef", json()) == ref) {
          old = entry.value("conditions", json());
        }
      }
    }
    out.push_back({{"parentRef", ref},
                   {"controllerName", controller},
                   {"conditions", conditions_json(conditions, old, wanted.generation, now)}});
  }
  return out;
}

Condition programmed_condition(Programmed programmed) {
  switch (programmed) {
    case Programmed::yes:
      return {"Programmed", true, "Programmed", "every worker runs this generation"};
    case Programmed::pending:
      return {"Programmed", false, "Pending", "not yet acknowledged by every worker"};
    case Programmed::no:
      break;
  }
  return {"Programmed", false, "Invalid", "not accepted, so there is nothing to run"};
}

}  // namespace

std::string rfc3339(int64_t seconds) {
  const time_t at = seconds;
  tm utc{};
  gmtime_r(&at, &utc);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

Result<std::optional<std::string>> route_status_patch(const std::string& object, const WantedRoute& wanted,
                                                      Programmed programmed, const std::string& controller_name,
                                                      int64_t now_s) {
  const json route = json::parse(object, nullptr, false);
  if (!route.is_object() || !route.contains("metadata") || !route["metadata"].is_object())
    return fail("the Route is no object");
  const json& metadata = route["metadata"];
  if (!wanted.uid.empty() && metadata.value("uid", json()) != wanted.uid)
    return fail("the Route is another one of the same name");
  const json before = route.value("status", json::object());
  const json before_parents = before.is_object() ? before.value("parents", json()) : json();
  const json before_conditions = before.is_object() ? before.value("conditions", json()) : json();
  std::vector<Condition> conditions = wanted.conditions;
  conditions.push_back(programmed_condition(programmed));
  const std::string now = rfc3339(now_s);
  const json parents = programmed_parents(wanted, conditions, before_parents, controller_name, now);
  const json summary = conditions_json(conditions, before_conditions, wanted.generation, now);
  if (parents == before_parents && summary == before_conditions) return std::optional<std::string>();
  const json patch = {{"metadata", {{"resourceVersion", metadata.value("resourceVersion", json(""))}}},
                      {"status", {{"parents", parents}, {"conditions", summary}}}};
  // Texts of objects may hold anything; what is no UTF-8 is replaced, never thrown upon.
  return std::optional<std::string>(patch.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace sluice::status
