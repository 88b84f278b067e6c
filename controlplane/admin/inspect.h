// What the unix socket tells of the control plane, as JSON: status, dump, the log level. Plain values in, text out.
// Never says contents of Secrets: a problem names object, field and reason, and its text is that of the condition.
#pragma once
#include <string>
#include <vector>

#include "controlplane/admin/admin_server.h"
#include "controlplane/admin/condition.h"
#include "controlplane/store/problem.h"

namespace sluice::admin {

struct Inspected {
  std::string version;
  std::vector<std::string> arguments;  // our command line
  std::string config_file;             // path of the options file; empty = none
  const std::vector<store::Problem>* problems = nullptr;
};

inline constexpr size_t kMaxProblems = 1000;  // in one answer

[[nodiscard]] std::string status_json(const Condition& condition, const Inspected& inspected);
// `metrics`: a scrape.
[[nodiscard]] std::string dump_json(const Condition& condition, const Inspected& inspected, const std::string& metrics);
// GET tells the level, PUT with ?level= changes it.
[[nodiscard]] Answer answer_log_level(const Request& request);

}  // namespace sluice::admin
