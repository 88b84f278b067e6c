// The router against a matcher that is slow and plain: random tables from a small alphabet (so that things collide),
// random requests.
#include <random>

#include <gtest/gtest.h>

#include "dataplane/route/router.h"
#include "tests/unit/dataplane/route/table_builder.h"

namespace sluice::route {
namespace {

using ir::PathKind;
using ir::ValueKind;
using testing::HostSpec;
using testing::RouteSpec;
using testing::Table;

struct Random {
  explicit Random(uint32_t seed) : engine(seed) {}
  size_t below(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(engine); }
  template <class T, size_t N>
  const T& pick(const T (&from)[N]) {
    return from[below(N)];
  }
  std::mt19937 engine;
};

std::string random_path(Random& random, bool as_prefix) {
  static const char* const kElements[] = {"a", "b", "a-b", "ab", "a.b", "", "a%2Fb"};
  std::string path;
  for (size_t i = random.below(4); i > 0; --i) path += std::string("/") + random.pick(kElements);
  if (!as_prefix && path.empty()) path = "/";
  while (as_prefix && path.ends_with('/')) path.pop_back();
  return path;
}

// The regexes of the tables, and what each means, said without a regex.
struct PathRegex {
  const char* pattern;
  bool (*matches)(const std::string&);
};
const PathRegex kRegexes[] = {
    {"/a.*", [](const std::string& path) { return path.starts_with("/a"); }},
    {"/[ab]", [](const std::string& path) { return path == "/a" || path == "/b"; }},
    {".*b", [](const std::string& path) { return path.ends_with("b"); }},
    {"/a/(a|b)", [](const std::string& path) { return path == "/a/a" || path == "/a/b"; }},
    {"/", [](const std::string& path) { return path == "/"; }},
};

std::string random_host(Random& random) {
  static const char* const kHosts[] = {"a.test", "b.test", "x.a.test", "test", "*.test", "*.a.test", "*", "y.x.a.test"};
  return random.pick(kHosts);
}

RouteSpec random_route(Random& random, int id) {
  static const char* const kValues[] = {"1", "2", "12", ""};
  static const ValueKind kKinds[] = {ValueKind::Exact, ValueKind::Regex, ValueKind::Present, ValueKind::Prefix};
  RouteSpec route;
  route.id = std::to_string(id);
  switch (random.below(4)) {
    case 0:
      route.kind = PathKind::Exact;
      route.path = random_path(random, false);
      break;
    case 1:
      route.kind = PathKind::Regex;
      route.path = random.pick(kRegexes).pattern;
      break;
    default:
      route.kind = PathKind::Prefix;
      route.path = random_path(random, true);
  }
  if (random.below(3) == 0) route.methods = {"GET"};
  if (random.below(3) == 0)
    route.headers.push_back({random.below(2) != 0 ? "x-a" : "x-b", random.pick(kKinds), random.pick(kValues)});
  if (random.below(3) == 0)
    route.query.push_back({random.below(2) != 0 ? "q" : "r", random.pick(kKinds), random.pick(kValues)});
  return route;
}

struct PlainRequest {
  std::string host, path, method, query;
  std::vector<std::pair<std::string, std::string>> headers;
  std::vector<std::pair<std::string, std::string>> parameters;
};

PlainRequest random_request(Random& random) {
  static const char* const kValues[] = {"1", "2", "12", ""};
  PlainRequest request;
  do request.host = random_host(random);
  while (request.host.starts_with('*'));
  request.path = random_path(random, false);
  request.method = random.below(2) != 0 ? "GET" : "POST";
  for (size_t i = random.below(3); i > 0; --i)
    request.headers.emplace_back(random.below(2) != 0 ? "X-A" : "x-B", random.pick(kValues));
  for (size_t i = random.below(3); i > 0; --i) {
    request.parameters.emplace_back(random.below(2) != 0 ? "q" : "r", random.pick(kValues));
    request.query +=
        (request.query.empty() ? "" : "&") + request.parameters.back().first + "=" + request.parameters.back().second;
  }
  return request;
}

bool value_matches(const RouteSpec::Value& wanted, const std::string& value) {
  switch (wanted.kind) {
    case ValueKind::Exact:
    case ValueKind::Regex:  // the values of the tables have no special characters
      return value == wanted.value;
    case ValueKind::Present:
      return true;
    case ValueKind::Prefix:
      return value.substr(0, wanted.value.size()) == wanted.value;
  }
  return false;
}

bool holds(const RouteSpec& route, const PlainRequest& request) {
  if (!route.methods.empty() &&
      std::find(route.methods.begin(), route.methods.end(), request.method) == route.methods.end())
    return false;
  for (const auto& wanted : route.headers) {
    std::string joined;
    bool found = false;
    for (auto [name, value] : request.headers) {
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      if (name != wanted.name) continue;
      joined += (found ? ", " : "") + value;
      found = true;
    }
    if (!found || !value_matches(wanted, joined)) return false;
  }
  for (const auto& wanted : route.query) {
    const auto first = std::find_if(request.parameters.begin(), request.parameters.end(),
                                    [&](const auto& one) { return one.first == wanted.name; });
    if (first == request.parameters.end() || !value_matches(wanted, first->second)) return false;
  }
  return true;
}

std::vector<std::string> elements(const std::string& path) {
  std::vector<std::string> out;
  for (size_t at = 0; at < path.size();) {
    const size_t end = path.find('/', at + 1);
    out.push_back(path.substr(at, end - at));
    at = end == std::string::npos ? path.size() : end;
  }
  return out;
}

bool path_fits(const RouteSpec& route, const std::string& path) {
  if (route.kind == PathKind::Exact) return route.path == path;
  if (route.kind == PathKind::Regex) {
    const auto* const known = std::find_if(std::begin(kRegexes), std::end(kRegexes),
                                           [&](const PathRegex& one) { return one.pattern == route.path; });
    return known->matches(path);
  }
  const auto want = elements(route.path), have = elements(path);
  return want.size() <= have.size() && std::equal(want.begin(), want.end(), have.begin());
}

// Every route of the host, ranked: exact before regex before longer prefix before shorter, then list order.
std::string reference(const std::vector<HostSpec>& hosts, const PlainRequest& request) {
  const auto dot = request.host.find('.');
  const std::string names[] = {request.host, dot == std::string::npos ? "?" : "*" + request.host.substr(dot), "*"};
  for (const std::string& name : names) {
    const auto host = std::find_if(hosts.begin(), hosts.end(), [&](const HostSpec& one) { return one.host == name; });
    if (host == hosts.end()) continue;
    const RouteSpec* best = nullptr;
    const auto rank = [](const RouteSpec& route) {
      return route.kind == PathKind::Exact   ? size_t{100000}
             : route.kind == PathKind::Regex ? size_t{90000}
                                             : route.path.size();
    };
    for (const RouteSpec& route : host->routes) {
      if (path_fits(route, request.path) && holds(route, request) && (best == nullptr || rank(route) > rank(*best)))
        best = &route;
    }
    return best == nullptr ? "none" : best->id;
  }
  return "no host";
}

std::vector<HostSpec> random_hosts(Random& random) {
  std::vector<HostSpec> hosts;
  for (size_t i = 1 + random.below(6); i > 0; --i) {
    const std::string name = random_host(random);
    if (std::any_of(hosts.begin(), hosts.end(), [&](const HostSpec& one) { return one.host == name; })) continue;
    HostSpec host{name, {}};
    for (size_t j = random.below(12); j > 0; --j) host.routes.push_back(random_route(random, static_cast<int>(j)));
    hosts.push_back(std::move(host));
  }
  return hosts;
}

TEST(RouterProperty, AgreesWithThePlainMatcherAcrossChanges) {
  Router router;  // one for all tables: what it kept from the last one must not show
  std::unique_ptr<Table> current;
  int matched = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    const std::vector<HostSpec> hosts = random_hosts(random);
    auto next = std::make_unique<Table>(hosts);
    router.apply(next->get());
    current = std::move(next);  // the previous table's bytes are gone
    for (int i = 0; i < 60; ++i) {
      const PlainRequest request = random_request(random);
      ChunkPool pool{1};
      Arena arena{pool};
      http::RequestHead head{arena};
      head.host = request.host;
      head.path = request.path;
      head.method_name = request.method;
      head.query = request.query;
      for (const auto& [name, value] : request.headers) head.fields.add({name, value, http::Token::none});
      std::vector<Candidate> candidates;
      const Match match = router.match(head, i % 4 == 0 ? &candidates : nullptr);
      const std::string got = !match.host ? "no host" : match.route == nullptr ? "none" : match.route->metric()->str();
      ASSERT_EQ(got, reference(hosts, request))
          << "seed " << seed << " " << request.method << " " << request.host << request.path << "?" << request.query;
      if (match.route != nullptr) ++matched;
      const auto won = std::count_if(candidates.begin(), candidates.end(),
                                     [](const Candidate& one) { return one.lost == Lost::won; });
      if (i % 4 == 0) {
        ASSERT_EQ(won, match.route != nullptr ? 1 : 0);
      }
    }
  }
  EXPECT_GT(matched, 2000) << "the tables and requests hardly meet";
}

}  // namespace
}  // namespace sluice::route
