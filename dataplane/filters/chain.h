// The filters of one route, prepared once (regexes compiled, modes parsed) and instantiated for each stream in its
// arena. Held by the route's run-time state; views into the virtual host's bytes, which live as long. Never runs a
// filter: that is http::FilterChain's.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/filter.h"

namespace sluice::filters {

// What a filter may need to know about the match.
struct MatchFacts {
  uint32_t covered = 0;  // bytes of the path that the route's prefix covered; all of them for exact and regex routes
};

// One configured filter of one route.
class Factory {
 public:
  virtual ~Factory() = default;
  // In the arena; the stream destroys it.
  [[nodiscard]] virtual http::Filter* make(Arena& arena, const MatchFacts& facts) const = 0;
};

class RouteFilters {
 public:
  // In the registry's order. A configuration that cannot be used (a regex over its bounds) makes a filter that denies:
  // nothing gets past it.
  explicit RouteFilters(const ir::Route& route);
  [[nodiscard]] bool empty() const { return factories_.empty(); }
  [[nodiscard]] std::span<http::Filter* const> make(Arena& arena, const MatchFacts& facts) const;

 private:
  std::vector<std::unique_ptr<Factory>> factories_;
};

}  // namespace sluice::filters
