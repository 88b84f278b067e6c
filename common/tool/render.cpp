#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "common/tool/operator.h"

namespace sluice::tool {
namespace {
using json = nlohmann::ordered_json;

// A terminal shows what is printed: nothing of an object's text may steer it.
std::string clean(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return text;
}

std::string scalar(const json& value) {
  return clean(value.is_string() ? value.get<std::string>()
                                 : value.dump(-1, ' ', false, json::error_handler_t::replace));
}

bool is_flat(const json& value) {
  if (!value.is_structured()) return true;
  for (const json& one : value) {
    if (one.is_structured()) return false;
  }
  return value.is_array();
}

std::string flat(const json& value) {
  if (!value.is_array()) return scalar(value);
  std::string out;
  for (const json& one : value) out += (out.empty() ? "" : ", ") + scalar(one);
  return out.empty() ? "-" : out;
}

// `first`: what stands before the first line of an element.
void write(const json& value, size_t indent, std::string first, std::string& out) {
  const std::string margin(indent, ' ');
  if (value.is_object()) {
    for (const auto& [key, one] : value.items()) {
      out += first.empty() ? margin : first;
      first.clear();
      out += clean(key) + ":";
      if (is_flat(one)) {
        out += " " + flat(one) + "\n";
      } else {
        out += "\n";
        write(one, indent + 2, "", out);
      }
    }
  } else if (value.is_array()) {
    for (const json& one : value) write(one, indent + 2, margin + "- ", out);
  } else {
    out += (first.empty() ? margin : first) + scalar(value) + "\n";
  }
}

std::string text_at(const json& from, const char* key) {
  const auto found = from.find(key);
  return found == from.end() ? std::string() : scalar(*found);
}

// "Ingress shop/web", with its rule.
std::string object_text(const json& from) {
  const auto found = from.find("object");
  if (found == from.end() || !found->is_object()) return "-";
  std::string out = text_at(*found, "kind");
  const std::string ns = text_at(*found, "namespace"), name = text_at(*found, "name"), rule = text_at(*found, "rule");
  if (!name.empty()) out += " " + (ns.empty() ? name : ns + "/" + name);
  if (!rule.empty()) out += ", rule " + rule;
  return out;
}

void write_cluster(const json& cluster, std::string& out) {
  const std::string name = text_at(cluster, "name");
  out += fmt::format("      -> {}  weight {}", name.empty() ? "nothing" : name, text_at(cluster, "weight"));
  if (!name.empty()) out += "  (" + object_text(cluster) + ")";
  if (text_at(cluster, "protocol") == "h2") out += "  h2";
  if (text_at(cluster, "tls") == "true") out += "  tls";
  if (const auto answer = cluster.find("answer"); answer != cluster.end())
    out += fmt::format("  answers {} {}", text_at(*answer, "status"), text_at(*answer, "reason"));
  if (const std::string why = text_at(cluster, "empty_reason"); !why.empty()) out += "  no endpoints: " + why;
  out += "\n";
  const auto endpoints = cluster.find("endpoints");
  if (endpoints == cluster.end()) return;
  for (const json& endpoint : *endpoints)
    out += "           " + text_at(endpoint, "address") +
           (text_at(endpoint, "draining") == "true" ? "  draining\n" : "\n");
}

void write_route(const json& route, std::string& out) {
  out += fmt::format("  {:<6} {}", text_at(route, "match"), text_at(route, "path"));
  if (const auto methods = route.find("methods"); methods != route.end()) out += "  " + flat(*methods);
  for (const char* kind : {"headers", "query"}) {
    const auto list = route.find(kind);
    if (list == route.end()) continue;
    for (const json& one : *list)
      out += fmt::format("  {} {} {} {}", kind, text_at(one, "name"), text_at(one, "kind"), text_at(one, "value"));
  }
  out += "  (" + object_text(route) + ")";
  if (const auto filters = route.find("filters"); filters != route.end()) out += "  filters " + flat(*filters);
  if (text_at(route, "https_only") == "true") out += "  https only";
  // What nearly all routes allow is not told of each.
  if (const auto upgrades = route.find("upgrades"); upgrades != route.end() && *upgrades != json::array({"websocket"}))
    out += "  upgrades " + (upgrades->empty() ? "none" : flat(*upgrades));
  if (const std::string priority = text_at(route, "priority"); !priority.empty()) out += "  " + priority;
  out += "\n";
  const auto action = route.find("action");
  if (action == route.end()) return;
  if (const auto clusters = action->find("clusters"); clusters != action->end()) {
    for (const json& cluster : *clusters) write_cluster(cluster, out);
  } else {
    out += fmt::format("      {} {} {}\n", text_at(*action, "type"), text_at(*action, "status"),
                       text_at(*action, "reason"));
  }
}
}  // namespace

Result<std::string> render(const std::string& text) {
  try {
    std::string out;
    write(json::parse(text), 0, "", out);
    return out;
  } catch (const std::exception& error) {
    return fail("{}", error.what());
  }
}

Result<std::string> render_table(const std::string& text) {
  try {
    const json table = json::parse(text);
    std::string out = "generation " + text_at(table, "generation") + "\n";
    for (const json& host : table.at("hosts")) {
      out += text_at(host, "host") + "\n";
      for (const json& route : host.at("routes")) write_route(route, out);
    }
    if (const std::string left = text_at(table, "hosts_left_out"); !left.empty())
      out += left + " more hosts: ask for one\n";
    return out;
  } catch (const std::exception& error) {
    return fail("{}", error.what());
  }
}

}  // namespace sluice::tool
