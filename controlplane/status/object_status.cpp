#include "controlplane/status/object_status.h"

#include <time.h>

#include "controlplane/status/json_text.h"

namespace sluice::status {
namespace {

using nlohmann::json;

constexpr const char* kPending = "Pending";

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
    if (condition.reason == kPending && old != nullptr && old->value("status", json()) == "True" &&
        old->value("observedGeneration", json()) == generation) {
      out.push_back(*old);
      continue;
    }
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

// A Route has parents, a policy (Gateway API's PolicyStatus) ancestors: the same under other names.
struct Names {
  const char *list, *ref;
};
Names names_of(store::Kind kind) {
  return kind == store::Kind::route ? Names{"parents", "parentRef"} : Names{"ancestors", "ancestorRef"};
}

json entries_json(const WantedStatus& wanted, const std::vector<Condition>& conditions, const json& before,
                  const std::string& controller, const std::string& now) {
  const char* ref_name = names_of(wanted.object.kind).ref;
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
            entry.value(ref_name, json()) == ref) {
          old = entry.value("conditions", json());
        }
      }
    }
    out.push_back({{ref_name, ref},
                   {"controllerName", controller},
                   {"conditions", conditions_json(conditions, old, wanted.generation, now)}});
  }
  return out;
}

Condition programmed_condition(Programmed programmed, const std::string& waits_for) {
  switch (programmed) {
    case Programmed::yes:
      return {"Programmed", true, "Programmed", "every worker of every Ready replica runs this generation"};
    case Programmed::pending:
      return {"Programmed", false, kPending,
              waits_for.empty() ? "not yet acknowledged by every worker" : "not yet acknowledged by " + waits_for};
    case Programmed::no:
      break;
  }
  return {"Programmed", false, "Invalid", "not accepted, so there is nothing to run"};
}

// As in an Ingress, without ports: they are those of the Service, and not what a client of the host needs.
json addresses_json(const Addresses& addresses) {
  json out = json::array();
  for (const config::PublishedAddress& address : addresses) {
    json& entry = out.emplace_back(json::object());
    if (!address.ip.empty()) entry["ip"] = address.ip;
    if (!address.hostname.empty()) entry["hostname"] = address.hostname;
  }
  return out;
}

void patch_addresses(const json& before, const Addresses& addresses, json& patch) {
  const json wanted = addresses_json(addresses);
  const json balancer = before.is_object() ? before.value("loadBalancer", json()) : json();
  json there = balancer.is_object() ? balancer.value("ingress", json()) : json();
  if (there.is_null()) there = json::array();
  if (there != wanted) patch["loadBalancer"] = {{"ingress", wanted.empty() ? json() : wanted}};
}

void patch_conditions(const json& before, const WantedStatus& wanted, Condition programmed,
                      const std::string& controller, const std::string& now, json& patch) {
  const char* list = names_of(wanted.object.kind).list;
  const json before_entries = before.is_object() ? before.value(list, json()) : json();
  const json before_conditions = before.is_object() ? before.value("conditions", json()) : json();
  std::vector<Condition> conditions = wanted.conditions;
  conditions.push_back(std::move(programmed));
  json entries = entries_json(wanted, conditions, before_entries, controller, now);
  json summary = conditions_json(conditions, before_conditions, wanted.generation, now);
  if (entries == before_entries && summary == before_conditions) return;
  patch[list] = std::move(entries);
  patch["conditions"] = std::move(summary);
}

}  // namespace

std::string rfc3339(int64_t seconds) {
  const time_t at = seconds;
  tm utc{};
  gmtime_r(&at, &utc);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

Result<std::optional<std::string>> status_patch(const std::string& object, const WantedStatus& wanted,
                                                Programmed programmed, const std::string& controller_name,
                                                int64_t now_s, const std::optional<Addresses>& addresses,
                                                const std::string& waits_for) {
  const json current = json::parse(object, nullptr, false);
  const char* kind = store::kind_name(wanted.object.kind);
  if (!current.is_object() || !current.contains("metadata") || !current["metadata"].is_object())
    return fail("the {} is no object", kind);
  const json& metadata = current["metadata"];
  if (!wanted.uid.empty() && metadata.value("uid", json()) != wanted.uid)
    return fail("the {} is another one of the same name", kind);
  const json before = current.value("status", json::object());
  json status = json::object();
  if (wanted.object.kind != store::Kind::ingress)
    patch_conditions(before, wanted, programmed_condition(programmed, waits_for), controller_name, rfc3339(now_s),
                     status);
  if (wanted.object.kind != store::Kind::rate_limit_policy && addresses)
    patch_addresses(before, wanted.accepted ? *addresses : Addresses(), status);
  if (status.empty()) return std::optional<std::string>();
  const json patch = {{"metadata", {{"resourceVersion", metadata.value("resourceVersion", json(""))}}},
                      {"status", std::move(status)}};
  return std::optional<std::string>(dumped(patch));
}

}  // namespace sluice::status
