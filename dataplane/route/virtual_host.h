// One virtual host at run time: a copy of its bytes, its compiled regexes, and what other rooms keep for each route.
// Shared by the Router and by streams through VirtualHostPtr; lives until the last of them lets go. Immutable but for
// the route states. Never points into the mapped table.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/message.h"
#include "dataplane/route/predicates.h"
#include "dataplane/route/regex.h"
#include "dataplane/route/router.h"

namespace sluice::route {

// What another room (the worker) keeps for a route: its counter slot, resolved clusters... Made on first use, destroyed
// with the virtual host.
class RouteState {
 public:
  virtual ~RouteState() = default;
};

class VirtualHost {
 public:
  // Copies ref's bytes. Null if they are not a valid VirtualHost.
  [[nodiscard]] static VirtualHostPtr load(const ir::VirtualHostRef& ref);
  ~VirtualHost();

  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] uint64_t hash() const { return hash_; }
  [[nodiscard]] const ir::VirtualHost& table() const { return *table_; }
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(routes_.size()); }
  [[nodiscard]] const ir::Route* route(uint32_t index) const { return routes_[index].route; }
  // The slot of one route (Match.index); null until the caller fills it.
  [[nodiscard]] std::unique_ptr<RouteState>& state(uint32_t index) { return routes_[index].state; }

  // The first route in decision order whose predicates hold; false if there is none.
  [[nodiscard]] bool match(const http::RequestHead& request, Scratch& scratch, uint32_t& index, uint32_t& prefix) const;
  void explain(const http::RequestHead& request, Scratch& scratch, std::vector<Candidate>& out) const;

  uint64_t epoch = 0;         // the Router's: the apply at which it was last found in the table
  uint32_t loaded_index = 0;  // the Router's

 private:
  friend class VirtualHostPtr;
  struct RouteEntry {
    const ir::Route* route = nullptr;
    bool plain = true;  // no predicates beside the path
    std::unique_ptr<Regex> path;
    Predicates predicates;
    std::unique_ptr<RouteState> state;
  };
  struct PathEntry {
    std::string_view path;
    const flatbuffers::Vector<uint32_t>* routes = nullptr;
    uint32_t parent = kNone;  // prefixes: the longest other entry whose bytes begin this one's
  };
  static constexpr uint32_t kNone = ~0u;

  VirtualHost() = default;
  static void read_paths(const flatbuffers::Vector<flatbuffers::Offset<ir::PathEntry>>* from, uint32_t route_count,
                         std::vector<PathEntry>& to);
  void read_routes();
  // Calls visit(route index, matched prefix) for each route whose path fits, in decision order, until it returns true.
  template <class Visit>
  bool each_candidate(std::string_view path, Visit&& visit) const;

  uint32_t references_ = 0;
  uint64_t hash_ = 0;
  std::string_view name_;
  std::unique_ptr<char[]> bytes_;
  const ir::VirtualHost* table_ = nullptr;
  std::vector<RouteEntry> routes_;
  std::vector<PathEntry> exact_, prefix_;  // sorted by path
  std::vector<uint32_t> regex_;
};

}  // namespace sluice::route
