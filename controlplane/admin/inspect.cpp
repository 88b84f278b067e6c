#include "controlplane/admin/inspect.h"

#include <fstream>

#include <nlohmann/json.hpp>

#include "common/base/log.h"

namespace sluice::admin {
namespace {
using json = nlohmann::ordered_json;
constexpr size_t kMaxConfig = 64 * 1024;

// Bytes of objects may be anything; JSON is UTF-8.
std::string written(const json& value) { return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

json problems_of(const std::vector<store::Problem>& problems) {
  json out = json::array();
  for (const store::Problem& problem : problems) {
    if (out.size() == kMaxProblems) break;
    out.push_back({{"object", fmt::format("{} {}/{}", store::kind_name(problem.object.kind), problem.object.key.ns,
                                          problem.object.key.name)},
                   {"field", problem.field},
                   {"reason", problem.reason},
                   {"severity", problem.severity == store::Severity::error ? "error" : "warning"},
                   {"text", problem.text}});
  }
  return out;
}

json status_of(const Condition& condition, const Inspected& inspected) {
  json out;
  out["plane"] = "control";
  out["version"] = inspected.version;
  const std::vector<std::string> waiting = missing(condition);
  out["ready"] = waiting.empty();
  if (!waiting.empty()) out["missing"] = waiting;
  out["generation"] = condition.newest.sequence;
  out["acknowledged"] = condition.acknowledged.sequence;
  if (condition.in_cluster) out["api_server_connected"] = condition.api_connected;
  if (condition.in_cluster) out["writes_status"] = condition.leads;
  if (!condition.leader.empty()) out["leader"] = condition.leader;
  out["options_refused"] = condition.options_refused;
  out["data_plane"] = {{"connected", condition.dataplane_connected},
                       {"workers_ready", condition.workers_ready},
                       {"workers_wanted", condition.workers_total}};
  for (size_t i = 0; i < store::kKinds; ++i)
    out["objects"][std::string(store::kind_name(static_cast<store::Kind>(i)))] = condition.objects[i];
  out["state"] = {
      {"hosts", condition.hosts}, {"clusters", condition.clusters}, {"certificates", condition.certificates}};
  out["log_level"] = log::level_name(log::level());
  out["problems"] = inspected.problems == nullptr ? json::array() : problems_of(*inspected.problems);
  if (inspected.problems != nullptr && inspected.problems->size() > kMaxProblems)
    out["problems_left_out"] = inspected.problems->size() - kMaxProblems;
  return out;
}
}  // namespace

std::string status_json(const Condition& condition, const Inspected& inspected) {
  return written(status_of(condition, inspected));
}

std::string dump_json(const Condition& condition, const Inspected& inspected, const std::string& metrics) {
  json out{{"status", status_of(condition, inspected)}, {"arguments", inspected.arguments}};
  if (!inspected.config_file.empty()) {
    std::ifstream file(inspected.config_file);
    std::string text(kMaxConfig, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    out["options"] = text;
  }
  for (const Watched& watched : condition.watched)
    out["watched"].push_back({{"kind", watched.kind},
                              {"namespace", watched.ns},
                              {"listed", watched.listed},
                              {"lists", watched.lists},
                              {"watches", watched.watches},
                              {"events", watched.events},
                              {"failures", watched.failures}});
  out["metrics"] = metrics;
  return written(out);
}

Answer answer_log_level(const Request& request) {
  if (request.put) {
    log::Level level;
    const std::string_view name = request.parameter("level");
    if (!log::parse_level(name, level)) return {400, "level is one of debug, info, warning, error, off\n"};
    log::set_level(level);
    log::warning("log level changed", {{"to", name}});
  }
  return {200, written({{"plane", "control"}, {"log_level", log::level_name(log::level())}}), "application/json"};
}

}  // namespace sluice::admin
