#include "dataplane/agent/metrics.h"

#include <algorithm>

#include <gtest/gtest.h>
#include <prometheus/metric_family.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataplane/shared/counters.h"

namespace sluice::agent {
namespace {

TEST(Metrics, OfTooManyCertificatesThoseThatEndFirstAreShown) {
  constexpr size_t kMore = 5;
  ir::SecretSetT secrets;
  for (size_t i = 0; i < Metrics::kMaxCertificates + kMore; ++i) {
    auto certificate = std::make_unique<ir::CertificateT>();
    // By id, those that end last come first.
    certificate->id = fmt::format("ns/{:06}", i);
    certificate->not_after = static_cast<int64_t>(2'000'000'000 - i);
    secrets.certificates.push_back(std::move(certificate));
  }
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::SecretSet::Pack(builder, &secrets));
  auto part = std::make_shared<Part>();
  const auto fd = ir::make_sealed("test", std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())));
  ASSERT_TRUE(fd.has_value());
  part->mapping = std::move(*ir::Mapping::map(fd->get(), ir::kMaxPartBytes));
  auto state = std::make_shared<State>();
  state->parts[static_cast<size_t>(ir::PartKind::secrets)] = std::move(part);
  Condition condition;
  condition.running = std::move(state);
  const auto families = Metrics(condition).Collect();
  const auto found =
      std::ranges::find(families, "sluice_certificate_not_after_seconds", &prometheus::MetricFamily::name);
  ASSERT_NE(found, families.end());
  EXPECT_EQ(found->metric.size(), Metrics::kMaxCertificates);
  for (const auto& metric : found->metric) EXPECT_LE(metric.gauge.value, 2'000'000'000.0 - kMore);
}

// Slots lie where their label's hash says, with holes between that cost nothing, however often somebody looks.
TEST(Metrics, AScrapeFillsNoHole) {
  UniqueFd fd(memfd_create("counters", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), sizeof(shared::CounterPage)), 0);
  auto* page = static_cast<shared::CounterPage*>(
      mmap(nullptr, sizeof(shared::CounterPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(page, MAP_FAILED);
  page->magic = shared::CounterPage::kMagic;
  for (int i = 0; i < 50; ++i) {
    shared::cluster_slot(*page, fmt::format("default/svc-{}/80", i)).attempts.add();
    shared::limit_slot(*page, fmt::format("default/limit-{}/all", i)).admitted.add();
  }
  Condition condition;
  condition.counters.emplace_back(UniqueFd(dup(fd.get())));
  const auto blocks = [&] {
    struct stat status {};
    EXPECT_EQ(fstat(fd.get(), &status), 0);
    return status.st_blocks;
  };
  const Metrics metrics(condition);
  const auto clusters = [&] {
    size_t found = 0;
    for (const auto& family : metrics.Collect())
      if (family.name == "sluice_upstream_attempts_total") found = family.metric.size();
    return found;
  };
  EXPECT_EQ(clusters(), 50u);
  const auto before = blocks();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(clusters(), 50u);
  EXPECT_EQ(blocks(), before);
  munmap(page, sizeof(shared::CounterPage));
}

}  // namespace
}  // namespace sluice::agent
