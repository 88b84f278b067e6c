// The filters of one route, prepared once (regexes compiled, modes parsed) and instantiated for each stream in its
// arena. Held by the route's run-time state; views into the virtual host's bytes, which live as long. Never runs a
// filter: that is http::FilterChain's.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/filter.h"
#include "dataplane/shared/buckets.h"
#include "dataplane/shared/counters.h"

namespace sluice::filters {

// What filters share with the rest of their worker. Outlives them.
struct Environment {
  shared::Buckets* buckets = nullptr;
  shared::CounterPage* counters = nullptr;
};

// What a filter says about a stream beside its answer: for the access log. Views into the table's virtual host.
struct Notes {
  std::string_view rate_limit;  // the limit that refused the request, or would have in shadow mode
};

// What a filter may need to know about the stream and the match.
struct MatchFacts {
  uint32_t covered = 0;  // bytes of the path that the route's prefix covered; all of them for exact and regex routes
  std::array<uint8_t, 16> client{};  // by trusted proxies; IPv4 as ::ffff:a.b.c.d
  Notes* notes = nullptr;            // lives as long as the stream
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
  RouteFilters(const ir::Route& route, const Environment& environment);
  [[nodiscard]] bool empty() const { return factories_.empty(); }
  [[nodiscard]] std::span<http::Filter* const> make(Arena& arena, const MatchFacts& facts) const;

 private:
  std::vector<std::unique_ptr<Factory>> factories_;
};

}  // namespace sluice::filters
