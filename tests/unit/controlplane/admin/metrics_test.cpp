// The control plane's metrics as text.
#include <algorithm>
#include <regex>
#include <sstream>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/admin/metrics.h"

namespace sluice::admin {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Metrics, ReadsTheCondition) {
  Condition condition;
  condition.in_cluster = condition.api_connected = condition.listed = true;
  condition.objects[static_cast<size_t>(store::Kind::ingress)] = 12;
  condition.watched = {{"Ingress", "a", true, 2, 3, 40, 1}, {"Ingress", "b", false, 1, 1, 2, 0}};
  condition.problems[{"BackendNotFound", store::Severity::error}] = 5;
  condition.newest = {1, 9};
  condition.acknowledged = {1, 8};
  condition.part_bytes = {100, 200, 300};
  condition.workers_total = 4;
  const std::string text = Metrics().render(condition);
  for (const char* line :
       {"sluice_controlplane_objects{kind=\"Ingress\"} 12\n", "sluice_controlplane_objects{kind=\"Secret\"} 0\n",
        "sluice_controlplane_lists_total{kind=\"Ingress\"} 3\n",
        "sluice_controlplane_watches_total{kind=\"Ingress\"} 4\n",
        "sluice_controlplane_watch_events_total{kind=\"Ingress\"} 42\n",
        "sluice_controlplane_api_failures_total{kind=\"Ingress\"} 1\n",
        "sluice_controlplane_kind_listed{kind=\"Ingress\"} 0\n",  // b's is not there yet
        "sluice_controlplane_problems{reason=\"BackendNotFound\",severity=\"error\"} 5\n",
        "sluice_controlplane_generation 9\n", "sluice_controlplane_acknowledged_generation 8\n",
        "sluice_controlplane_part_bytes{part=\"endpoints\"} 200\n", "sluice_controlplane_dataplane_workers 4\n",
        "sluice_controlplane_api_connected 1\n", "sluice_controlplane_ready 1\n",
        "sluice_controlplane_nacks_total{reason=\"bad_hash\"} 0\n",
        "sluice_controlplane_last_push_timestamp_seconds 0\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Metrics, CountsWhatHappens) {
  Metrics metrics;
  metrics.translated();
  metrics.took(Stage::translate, 0.002);
  metrics.took(Stage::translate, 0.3);
  metrics.refused(ir::NackReason::worker_refused);
  metrics.refused(static_cast<ir::NackReason>(999));
  const std::string text = metrics.render({});
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_translations_total 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_stage_duration_seconds_count{stage=\"translate\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("sluice_controlplane_stage_duration_seconds_bucket{stage=\"translate\",le=\"0.005\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_stage_duration_seconds_count{stage=\"compile\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_nacks_total{reason=\"worker_refused\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_nacks_total{reason=\"internal\"} 1\n"));
}

// A state that a newer one overtook is never acknowledged itself; a report may tell the same one many times.
TEST(Metrics, AnAcknowledgementCountsOnce) {
  Metrics metrics;
  for (uint64_t sequence = 1; sequence <= 3; ++sequence) metrics.published(sequence, sequence * 1'000'000'000);
  metrics.acknowledged(2, 4'000'000'000, 1000);
  metrics.acknowledged(2, 5'000'000'000, 2000);
  metrics.acknowledged(1, 5'000'000'000, 2000);
  metrics.acknowledged(99, 5'000'000'000, 2000);  // not one of ours
  std::string text = metrics.render({});
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_states_published_total 3\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_acks_total 1\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_stage_duration_seconds_sum{stage=\"acknowledge\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("sluice_controlplane_last_push_timestamp_seconds 1000\n"));
  for (uint64_t sequence = 100; sequence < 1000; ++sequence) metrics.published(sequence, 0);
  metrics.acknowledged(999, 0, 3000);
  EXPECT_THAT(metrics.render({}), HasSubstr("sluice_controlplane_acks_total 2\n"));
}

TEST(Metrics, ReasonsOfProblemsAreBounded) {
  Condition condition;
  for (int i = 0; i < 500; ++i) condition.problems[{fmt::format("Reason{:03}", i), store::Severity::warning}] = 2;
  const std::string text = Metrics().render(condition);
  const std::regex row("sluice_controlplane_problems\\{");
  EXPECT_EQ(std::distance(std::sregex_iterator(text.begin(), text.end(), row), {}),
            static_cast<ptrdiff_t>(Metrics::kMaxReasons + 1));
  EXPECT_THAT(text, HasSubstr("reason=\"other\",severity=\"warning\"} 872\n"));
}

TEST(Metrics, EveryNameHasThePrefixAndAHelp) {
  std::istringstream text(Metrics().render({}));
  std::string line, help;
  size_t families = 0;
  while (std::getline(text, line)) {
    if (line.starts_with("# HELP ")) help = line.substr(7, line.find(' ', 7) - 7);
    if (line.starts_with("# TYPE ")) {
      ++families;
      EXPECT_EQ(line.substr(7, line.find(' ', 7) - 7), help);
    }
    if (!line.starts_with('#')) {
      EXPECT_THAT(line, testing::StartsWith("sluice_controlplane_"));
    }
  }
  EXPECT_GT(families, 20u);
}

}  // namespace
}  // namespace sluice::admin
