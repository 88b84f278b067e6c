#include "dataplane/filters/chain.h"

#include "dataplane/filters/registry.h"

namespace sluice::filters {
namespace {

// In the place of a filter that could not be made.
class Deny final : public http::Filter {
 public:
  Status on_request_head(http::FilterContext& context, bool) override {
    context.reply({.reason = http::Reason::filter_failed});
    return Status::proceed;
  }
};

class DenyFactory final : public Factory {
 public:
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts&) const override { return arena.make<Deny>(); }
};

}  // namespace

RouteFilters::RouteFilters(const ir::Route& route, const Environment& environment) {
  if (route.filters() == nullptr) return;
  for (const RegistryEntry& entry : registry()) {
    for (const ir::Filter* filter : *route.filters()) {
      if (filter->config_type() != entry.type) continue;
      std::unique_ptr<Factory> factory = entry.prepare(*filter, environment);
      if (factory == nullptr) factory = std::make_unique<DenyFactory>();
      factories_.push_back(std::move(factory));
    }
  }
  // A filter this program does not know may guard something.
  for (const ir::Filter* filter : *route.filters()) {
    if (!is_registered(filter->config_type())) factories_.push_back(std::make_unique<DenyFactory>());
  }
}

std::span<http::Filter* const> RouteFilters::make(Arena& arena, const MatchFacts& facts) const {
  if (factories_.empty()) return {};
  const std::span<http::Filter*> filters = arena.array<http::Filter*>(factories_.size());
  for (size_t i = 0; i < factories_.size(); ++i) filters[i] = factories_[i]->make(arena, facts);
  return filters;
}

}  // namespace sluice::filters
