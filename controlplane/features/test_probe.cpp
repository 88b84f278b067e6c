// TestProbe: exercises every part of filter.h in tests. Exists only where the operator's options allow it.
#include <array>

#include <fmt/format.h>

#include "controlplane/features/feature.h"

namespace sluice::features {
namespace {

constexpr std::array<Row, 1> kRows = {
    {{kTestProbe, "string", "", "Tests only; refused unless the gateway was started for tests."}}};

}  // namespace

const std::span<const Row> kTestProbeRows = kRows;

void apply_test_probe(const Input& input, ir::RouteT& route, const Complain& complain) {
  if (input.annotations == nullptr) return;
  const auto found = input.annotations->find(kTestProbe);
  if (found == input.annotations->end()) return;
  if (!input.allow_test_filters) {
    complain({-1, fmt::format("metadata.annotations[{}]", kTestProbe), "NotAllowed",
              "test filters are not allowed here; the annotation has no effect"});
    return;
  }
  ir::TestProbeT config;
  config.mode = found->second;
  auto filter = std::make_unique<ir::FilterT>();
  filter->config.Set(std::move(config));
  route.filters.push_back(std::move(filter));
}

}  // namespace sluice::features
