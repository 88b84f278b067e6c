// tests/golden/FEATURE/NAME.in.yaml -> NAME.writes.json: what the API server is told about those objects, the patches
// of the statuses of Routes and policies, and the Events, as status_writer.h would send them. Only for inputs that have
// such a file already: an empty one and hack/update-golden make another (SLUICE_UPDATE_GOLDEN=1 writes them).
#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "controlplane/source/yaml_json.h"
#include "controlplane/status/event_ledger.h"
#include "controlplane/status/object_status.h"
#include "controlplane/status/wanted.h"
#include "tests/unit/controlplane/compile/yaml_objects.h"

namespace sluice::status {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kGolden = fs::path(SLUICE_SOURCE_DIR) / "tests" / "golden";
constexpr const char* kEnd = ".writes.json";
constexpr int64_t kNow = 1'800'000'000;  // where an input says nothing: 2027-01-15T08:00:00Z
constexpr const char* kController = config::kControllerName;

// Every reason that an object can be told, beside FetchFailed and Undecodable, which only an API server's answers cause
// (status_test.cpp, cluster_source tests).
constexpr std::array kReasons = {"AddressRefused",
                                 "BackendNotFound",
                                 "CertificateExpired",
                                 "CertificateHostMismatch",
                                 "CertificateNotYetValid",
                                 "ConfigMapNotFound",
                                 "DefaultBackendConflict",
                                 "DuplicateFilter",
                                 "DuplicateMatch",
                                 "ExternalNameNotAllowed",
                                 "HostConflict",
                                 "IncompatibleFilters",
                                 "Invalid",
                                 "InvalidAnnotation",
                                 "InvalidCertificate",
                                 "InvalidHeader",
                                 "InvalidHost",
                                 "InvalidKind",
                                 "InvalidLimits",
                                 "InvalidMatch",
                                 "InvalidPath",
                                 "InvalidRegex",
                                 "InvalidTicketKey",
                                 "InvalidTimeout",
                                 "InvalidValue",
                                 "NameNotResolved",
                                 "NoBackends",
                                 "NoHosts",
                                 "NoPaths",
                                 "NoRules",
                                 "NoTicketKeys",
                                 "NotARegex",
                                 "NotAllowed",
                                 "PathConflict",
                                 "PolicyInvalid",
                                 "PortNotFound",
                                 "PortRequired",
                                 "RefNotPermitted",
                                 "SecretNotFound",
                                 "TargetNotFound",
                                 "TargetNotOurs",
                                 "TlsConflict",
                                 "TooManyLimits",
                                 "UnknownAnnotation",
                                 "UnsupportedBackend",
                                 "UnsupportedValue",
                                 "UnsupportedVersion",
                                 "UpstreamNotVerified"};

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::vector<std::string> stems() {
  std::vector<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(kGolden)) {
    std::string path = fs::relative(entry.path(), kGolden).string();
    if (!path.ends_with(kEnd)) continue;
    path.resize(path.size() - std::string_view(kEnd).size());
    out.push_back(std::move(path));
  }
  std::ranges::sort(out);
  return out;
}

// The objects of the input that have a status, as the API server would give them.
std::map<store::ObjectRef, std::string> texts_of(const std::string& yaml) {
  std::map<store::ObjectRef, std::string> out;
  const auto documents = source::yaml_to_json(yaml);
  if (!documents) throw std::runtime_error(documents.error().message);
  for (const auto& document : *documents) {
    const json object = json::parse(document.json);
    const bool policy = object["kind"] == "RateLimitPolicy";
    if (!policy && object["kind"] != "Route") continue;
    const json& meta = object["metadata"];
    out[{policy ? store::Kind::rate_limit_policy : store::Kind::route,
         {meta.value("namespace", "default"), meta["name"].get<std::string>()}}] = document.json;
  }
  return out;
}

std::string writes(const std::string& yaml) {
  const test::Objects objects = test::read_objects(yaml, kGolden.string());
  const int64_t now = objects.now != 0 ? objects.now : kNow;
  translate::Translator translator;
  const auto& translation = translator.translate(objects.snapshot, objects.options, objects.now);
  const Wanted wanted = wanted_of(translation, objects.undecodable, objects.snapshot);
  const auto texts = texts_of(yaml);
  json routes = json::object(), policies = json::object(), events = json::array();
  for (const WantedStatus& status : wanted.statuses) {
    const store::ObjectRef& ref = status.object;
    const Programmed programmed = !status.accepted     ? Programmed::no
                                  : objects.programmed ? Programmed::yes
                                                       : Programmed::pending;
    const auto patch = status_patch(texts.at(ref), status, programmed, kController, now);
    if (!patch) throw std::runtime_error(patch.error().message);
    (ref.kind == store::Kind::route ? routes : policies)[ref.key.ns + "/" + ref.key.name] =
        *patch ? json::parse(**patch) : json();
  }
  EventLedger ledger;
  ledger.want(wanted.events, 0);
  for (const auto& due : ledger.due(0, now, 1000))
    events.push_back(json::parse(event_json(due, kController, "sluice-0", now)));
  json out = {{"routes", routes}, {"events", events}};
  if (!policies.empty()) out["policies"] = policies;
  return out.dump(2) + "\n";
}

class GoldenWrites : public testing::TestWithParam<std::string> {};

TEST_P(GoldenWrites, AreTheseAndNoOthers) {
  const std::string actual = writes(slurp(kGolden / (GetParam() + ".in.yaml")));
  const fs::path file = kGolden / (GetParam() + kEnd);
  if (std::getenv("SLUICE_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(file, std::ios::binary) << actual;
    return;
  }
  EXPECT_EQ(slurp(file), actual) << file << ": if this is meant, hack/update-golden";
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string out;
  for (const char c : info.param) out += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  return out;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenWrites, testing::ValuesIn(stems()), test_name);

TEST(GoldenWritesSet, CoversEveryReasonAndCondition) {
  EXPECT_GE(stems().size(), 25u);
  std::set<std::string> reasons, conditions;
  for (const std::string& stem : stems()) {
    const json file = json::parse(slurp(kGolden / (stem + kEnd)), nullptr, false);
    ASSERT_FALSE(file.is_discarded()) << stem << ": hack/update-golden writes it";
    for (const json& event : file["events"]) reasons.insert(event["reason"]);
    for (const auto& [list, before] : {std::pair("routes", ""), std::pair("policies", "policy ")}) {
      if (!file.contains(list)) continue;
      for (const json& patch : file[list]) {
        if (patch.is_null()) continue;
        for (const json& condition : patch["status"]["conditions"])
          conditions.insert(before + condition["type"].get<std::string>() + "=" +
                            condition["status"].get<std::string>());
      }
    }
  }
  for (const std::string& reason : reasons)
    EXPECT_TRUE(std::ranges::find(kReasons, reason) != kReasons.end()) << reason << " is not in this test's list";
  for (const char* reason : kReasons) EXPECT_TRUE(reasons.contains(reason)) << reason << " is in no golden";
  // docs/reference/problems.md has a row for each, and for nothing else.
  std::set<std::string> documented, known{kReasons.begin(), kReasons.end()};
  known.insert({"FetchFailed", "Undecodable"});
  std::istringstream page(slurp(fs::path(SLUICE_SOURCE_DIR) / "docs" / "reference" / "problems.md"));
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("| `")) documented.insert(line.substr(3, line.find('`', 3) - 3));
  }
  EXPECT_EQ(documented, known);
  for (const char* condition :
       {"Accepted=True", "Accepted=False", "ResolvedRefs=True", "ResolvedRefs=False", "Programmed=True",
        "Programmed=False", "PartiallyInvalid=True", "policy Accepted=True", "policy Accepted=False",
        "policy Programmed=True", "policy Programmed=False", "policy PartiallyInvalid=True"})
    EXPECT_TRUE(conditions.contains(condition)) << condition << " is in no golden";
}

}  // namespace
}  // namespace sluice::status
