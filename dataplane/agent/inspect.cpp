#include "dataplane/agent/inspect.h"

#include <algorithm>
#include <ctime>
#include <map>

#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "dataplane/agent/metrics.h"
#include "dataplane/net/address.h"

namespace sluice::agent {
namespace {
using json = nlohmann::ordered_json;

std::string text_of(const flatbuffers::String* text) { return text == nullptr ? std::string() : text->str(); }

// Bytes of objects may be anything; JSON is UTF-8.
std::string written(const json& value) { return value.dump(1, ' ', false, json::error_handler_t::replace) + "\n"; }

json object_of(const ir::Origin* origin) {
  json out = json::object();
  if (origin == nullptr) return out;
  out["kind"] = text_of(origin->kind());
  out["namespace"] = text_of(origin->namespace_());
  out["name"] = text_of(origin->name());
  if (origin->rule() != nullptr && origin->rule()->size() != 0) out["rule"] = text_of(origin->rule());
  if (origin->generation() != 0) out["generation"] = origin->generation();
  return out;
}

json workers_of(const Condition& condition) {
  json list = json::array();
  const uint64_t now = monotonic_ms();
  for (const CounterView& view : condition.counters) {
    const shared::CounterPage& page = *view.page();
    if (page.pid.get() == 0) continue;
    const uint64_t beat = page.heartbeat_ms.get();
    list.push_back({{"pid", page.pid.get()},
                    {"generation", page.sequence.get()},
                    {"heartbeat_age_ms", now > beat ? now - beat : 0},
                    {"connections", page.connections_active.get()},
                    {"requests", page.streams_active.get()},
                    {"overload",
                     {{"memory", page.overload_level[0].get()},
                      {"connections", page.overload_level[1].get()},
                      {"delay", page.overload_level[2].get()}}}});
  }
  return list;
}

std::string date_of(int64_t seconds) {
  const time_t at = seconds;
  tm utc{};
  char text[40];
  if (gmtime_r(&at, &utc) == nullptr) return {};
  return {text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

json certificates_of(const State& state) {
  std::map<std::string, json> hosts;
  const ir::TableView table = state.table();
  for (const ir::RouteTable* part : table.lists()) {
    if (part->tls_hosts() == nullptr) continue;
    for (const ir::TlsHost* host : *part->tls_hosts()) {
      json& list = hosts[text_of(host->certificate())];
      if (list.size() < 100) list.push_back(text_of(host->host()));
    }
  }
  std::vector<const ir::Certificate*> order;
  const auto* certificates = state.secrets().certificates();
  if (certificates == nullptr) return json::array();
  order.assign(certificates->begin(), certificates->end());
  std::ranges::stable_sort(order, {}, &ir::Certificate::not_after);  // those that end first
  json out = json::array();
  const int64_t now = wall_us() / 1'000'000;
  for (const ir::Certificate* certificate : order) {
    if (out.size() == Metrics::kMaxCertificates) break;
    const std::string id = text_of(certificate->id());
    const auto found = hosts.find(id);
    out.push_back({{"secret", id},
                   {"hosts", found == hosts.end() ? json::array() : found->second},
                   {"not_after", date_of(certificate->not_after())},
                   {"days_left", (certificate->not_after() - now) / 86400},
                   {"last_good", certificate->last_good()}});
  }
  return out;
}

json status_of(const Inspected& inspected) {
  const Condition& condition = inspected.condition;
  json out;
  out["plane"] = "data";
  out["version"] = inspected.version;
  const std::string waiting = condition.not_ready_because();
  out["ready"] = waiting.empty();
  if (!waiting.empty()) out["not_ready_because"] = waiting;
  out["generation"] = condition.running == nullptr ? 0 : condition.running->id.sequence;
  out["control_plane_connected"] = condition.connected;
  out["states"] = {{"applied", condition.states_applied},
                   {"refused", condition.states_refused},
                   {"not_written", condition.persist_failures}};
  out["workers"] = {{"ready", condition.workers_ready},
                    {"wanted", condition.workers_total},
                    {"restarted", condition.worker_restarts},
                    {"processes", workers_of(condition)}};
  out["listeners"] = json::array();
  for (const auto& [name, port] : condition.bound) out["listeners"].push_back({{"name", name}, {"port", port}});
  out["log_level"] = log::level_name(log::level());
  out["certificates"] = condition.running == nullptr ? json::array() : certificates_of(*condition.running);
  return out;
}

// ---- the table

struct Lookup {
  const ir::TableView table;
  const ir::EndpointSet& endpoints;
};

json cluster_of(const Lookup& lookup, const std::string& name) {
  json out{{"name", name}};
  if (const ir::Cluster* cluster = lookup.table.cluster(name); cluster != nullptr) {
    out["object"] = object_of(cluster->origin());
    out["protocol"] = cluster->protocol() == ir::UpstreamProtocol::H2 ? "h2" : "http1";
    out["tls"] = cluster->tls() != nullptr;
  }
  out["endpoints"] = json::array();
  const auto* sets = lookup.endpoints.clusters();
  const ir::ClusterEndpoints* set = sets == nullptr ? nullptr : sets->LookupByKey(name.c_str());
  if (set == nullptr) return out;
  if (set->endpoints() != nullptr) {
    for (const ir::Endpoint* endpoint : *set->endpoints()) {
      net::Address address;
      for (size_t i = 0; endpoint->address() != nullptr && i < 8; ++i) {
        address.bytes[i] = static_cast<uint8_t>(endpoint->address()->high() >> (56 - 8 * i));
        address.bytes[8 + i] = static_cast<uint8_t>(endpoint->address()->low() >> (56 - 8 * i));
      }
      address.port = endpoint->port();
      out["endpoints"].push_back(
          {{"address", address.text()}, {"draining", endpoint->state() == ir::EndpointState::Draining}});
    }
  }
  if (set->empty_reason() != nullptr) out["empty_reason"] = text_of(set->empty_reason());
  return out;
}

json action_of(const Lookup& lookup, const ir::Route& route) {
  if (const ir::Redirect* redirect = route.action_as_Redirect(); redirect != nullptr)
    return {{"type", "redirect"}, {"status", redirect->status()}};
  if (const ir::DirectResponse* answer = route.action_as_DirectResponse(); answer != nullptr)
    return {{"type", "answer"}, {"status", answer->status()}, {"reason", text_of(answer->reason())}};
  json out{{"type", "forward"}, {"clusters", json::array()}};
  const ir::Forward* forward = route.action_as_Forward();
  if (forward == nullptr || forward->backends() == nullptr) return out;
  for (const ir::Backend* backend : *forward->backends()) {
    json one = backend->cluster() != nullptr ? cluster_of(lookup, text_of(backend->cluster())) : json::object();
    one["weight"] = backend->weight();
    if (backend->cluster() == nullptr && backend->error() != nullptr)
      one["answer"] = {{"status", backend->error()->status()}, {"reason", text_of(backend->error()->reason())}};
    out["clusters"].push_back(std::move(one));
  }
  return out;
}

template <class Matches>
json predicates_of(const Matches* matches) {
  static constexpr const char* kKinds[] = {"exact", "regex", "present", "prefix"};
  json out = json::array();
  if (matches == nullptr) return out;
  for (const auto* match : *matches)
    out.push_back({{"name", text_of(match->name())},
                   {"kind", kKinds[std::min<size_t>(static_cast<size_t>(match->kind()), 3)]},
                   {"value", text_of(match->value())}});
  return out;
}

json route_of(const Lookup& lookup, const ir::Route& route) {
  static constexpr const char* kPaths[] = {"exact", "prefix", "regex"};
  const std::string path = text_of(route.path());
  json out{{"path", path.empty() ? "/" : path},
           {"match", kPaths[std::min<size_t>(static_cast<size_t>(route.path_kind()), 2)]},
           {"object", object_of(route.origin())}};
  if (route.methods() != nullptr && route.methods()->size() != 0) {
    for (const auto* method : *route.methods()) out["methods"].push_back(text_of(method));
  }
  if (json headers = predicates_of(route.headers()); !headers.empty()) out["headers"] = std::move(headers);
  if (json query = predicates_of(route.query()); !query.empty()) out["query"] = std::move(query);
  if (route.https_only()) out["https_only"] = true;
  out["upgrades"] = json::array();
  if (route.upgrades() != nullptr) {
    for (const auto* upgrade : *route.upgrades()) out["upgrades"].push_back(text_of(upgrade));
  }
  // What nearly all routes are is not told of each.
  if (route.priority() != ir::Priority::Standard)
    out["priority"] = route.priority() == ir::Priority::Critical ? "critical" : "sheddable";
  if (route.filters() != nullptr) {
    for (const ir::Filter* filter : *route.filters())
      out["filters"].push_back(ir::EnumNameFilterConfig(filter->config_type()));
  }
  out["action"] = action_of(lookup, route);
  return out;
}

// Whether a route of `prefix` (no slash at its end, "" = everything) can be meant by a request of `path`.
bool covers(std::string_view prefix, std::string_view path) {
  return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/' || prefix.empty());
}

// In the order in which a request meets them: exact, regexes, prefixes from the longest. With a path: those it may
// mean; regexes are not tried here.
json routes_of(const Lookup& lookup, const ir::VirtualHost& host, const std::string& path) {
  json out = json::array();
  const auto put = [&](uint32_t index) {
    if (host.routes() != nullptr && index < host.routes()->size())
      out.push_back(route_of(lookup, *host.routes()->Get(index)));
  };
  const auto put_entry = [&](const ir::PathEntry* entry) {
    if (entry->routes() == nullptr) return;
    for (const uint32_t index : *entry->routes()) put(index);
  };
  if (host.exact() != nullptr) {
    for (const ir::PathEntry* entry : *host.exact()) {
      if (path.empty() || text_of(entry->path()) == path) put_entry(entry);
    }
  }
  if (host.regex() != nullptr) {
    for (const uint32_t index : *host.regex()) put(index);
  }
  std::vector<const ir::PathEntry*> prefixes;
  if (host.prefix() != nullptr) {
    for (const ir::PathEntry* entry : *host.prefix()) {
      if (path.empty() || covers(text_of(entry->path()), path)) prefixes.push_back(entry);
    }
  }
  std::ranges::stable_sort(prefixes, std::greater<>(),
                           [](const ir::PathEntry* entry) { return text_of(entry->path()).size(); });
  for (const ir::PathEntry* entry : prefixes) put_entry(entry);
  return out;
}

// By name, over all shards.
std::vector<const ir::VirtualHostRef*> first_hosts(const ir::TableView& table) {
  std::vector<const ir::VirtualHostRef*> all;
  for (const ir::RouteTable* part : table.lists()) {
    if (part->hosts() != nullptr) all.insert(all.end(), part->hosts()->begin(), part->hosts()->end());
  }
  const auto name = [](const ir::VirtualHostRef* ref) { return ref->host()->string_view(); };
  const auto end = all.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(all.size(), kMaxTableHosts));
  std::ranges::partial_sort(all, end, {}, name);
  all.erase(end, all.end());
  return all;
}

json table_of(const Condition& condition, const std::string& host, const std::string& path) {
  json out{{"generation", 0}, {"hosts", json::array()}};
  if (condition.running == nullptr) return out;
  out["generation"] = condition.running->id.sequence;
  const auto& part = *condition.running->parts[static_cast<size_t>(ir::PartKind::endpoints)];
  const Lookup lookup{condition.running->table(), *flatbuffers::GetRoot<ir::EndpointSet>(part.bytes().data())};
  const auto put = [&](const ir::VirtualHostRef* ref) {
    if (ref == nullptr || ref->data() == nullptr) return;
    const auto* one = flatbuffers::GetRoot<ir::VirtualHost>(ref->data()->data());
    out["hosts"].push_back({{"host", text_of(ref->host())}, {"routes", routes_of(lookup, *one, path)}});
  };
  if (!host.empty()) {
    // As the router looks: the name, one label as a wildcard, any.
    put(lookup.table.host(host));
    if (const size_t dot = host.find('.'); dot != std::string::npos && host[0] != '*')
      put(lookup.table.host("*" + host.substr(dot)));
    if (host != "*") put(lookup.table.host("*"));
    return out;
  }
  const std::vector<const ir::VirtualHostRef*> hosts = first_hosts(lookup.table);
  for (const ir::VirtualHostRef* ref : hosts) put(ref);
  if (const size_t all = lookup.table.host_count(); all > hosts.size()) out["hosts_left_out"] = all - hosts.size();
  return out;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return text;
}

std::string answer_json(const AdminRequest& request, const Inspected& inspected) {
  if (request.path == "/status") return written(status_of(inspected));
  if (request.path == "/table")
    return written(table_of(inspected.condition, lower(request.parameter("host")), request.parameter("path")));
  if (request.path == "/dump")
    return written({{"status", status_of(inspected)},
                    {"arguments", inspected.arguments},
                    {"table", table_of(inspected.condition, "", "")},
                    {"metrics", render_metrics(inspected.condition)}});
  return written({{"plane", "data"}, {"log_level", log::level_name(log::level())}});
}
}  // namespace

AdminAnswer answer_operator(std::string_view head, const Inspected& inspected) {
  AdminAnswer answer;
  AdminRequest request;
  if (!parse_request(head, request)) return answer_admin(head, inspected.condition);
  static constexpr std::string_view kPaths[] = {"/status", "/table", "/dump", "/log-level"};
  if (std::ranges::find(kPaths, request.path) == std::end(kPaths)) return answer_admin(head, inspected.condition);
  const bool put = request.method == "PUT" && request.path == "/log-level";
  answer.head_only = request.method == "HEAD";
  if (request.method != "GET" && request.method != "HEAD" && !put) {
    answer.status = 405;
    answer.body = "GET, HEAD, and PUT of /log-level\n";
    return answer;
  }
  if (put) {
    const std::string name = request.parameter("level");
    log::Level level;
    if (!log::parse_level(name, level)) {
      answer.body = "level is one of debug, info, warning, error, off\n";
      return answer;
    }
    inspected.set_level(name);
  }
  try {
    answer.body = answer_json(request, inspected);
    answer.status = 200;
    answer.content_type = "application/json";
  } catch (const std::exception& error) {
    answer.status = 500;
    answer.body = fmt::format("{}\n", error.what());
  }
  return answer;
}

}  // namespace sluice::agent
