#include <fmt/format.h>

#include "controlplane/features/feature.h"

namespace sluice::features {
namespace {

void add(std::string& out, std::span<const Row> rows) {
  for (const Row& row : rows) {
    if (row.name == kTestProbe) continue;  // refused outside of tests
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.name, row.type,
                       row.default_value.empty() ? "-" : row.default_value, row.doc);
  }
}

}  // namespace

std::string reference_markdown() {
  static constexpr const char* kHead = "| field | type | default | meaning |\n|---|---|---|---|\n";
  std::string out =
      "# Annotations and filters\n\n"
      "<!-- Written by hack/gen-docs from the rows in controlplane/features: change them there. -->\n\n"
      "What cannot be honoured becomes a condition and an Event on the object, with this field in it.\n\n"
      "## Annotations\n\n";
  out += kHead;
  add(out, object_annotations());
  out += "\n## Fields of a Route's rule that HTTPRoute does not have\n\n";
  out += kHead;
  add(out, rule_fields());
  out += "\n## Filters of a Route's rule, in the order in which they work\n\n";
  out += kHead;
  for (const Feature& feature : registry()) {
    if (feature.config != ir::FilterConfig::RateLimit) add(out, feature.rows);
  }
  out +=
      "\n## RateLimitPolicy\n\n"
      "Fields of `spec`, but where `status` stands before them. All policies that hit a route apply together; they are "
      "looked at before any other filter.\n"
      "A bucket belongs to its limit: everything that the policy targets shares it.\n"
      "A policy whose limits cannot be honoured closes what it targets (500, `rule_invalid`); a target that is missing "
      "or "
      "not allowed is told and left out.\n\n";
  out += kHead;
  add(out, kRateLimitRows);
  return out;
}

}  // namespace sluice::features
