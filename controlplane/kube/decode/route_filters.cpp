// Filters of a Route rule: a union told apart by `type`, whose member of the same name (in lower camel case) must be
// there and no other.
#include <array>

#include <fmt/format.h>

#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

constexpr std::array<std::string_view, 5> kMembers = {"requestHeaderModifier", "responseHeaderModifier",
                                                      "requestRedirect", "urlRewrite", "directResponse"};

void decode_headers(const JsonNode& node, std::string_view key, std::vector<store::HttpHeader>& out) {
  node.each(
      key, 16,
      [&](const JsonNode& header) {
        store::HttpHeader& to = out.emplace_back();
        to.name = header.string("name", 256, Need::required);
        to.value = header.string("value", 4096);
        if (!header.has("value")) header.error("value", "is required");
      },
      [&](bool) { node.context().failed = true; });
}

store::HeaderFilter decode_edits(const JsonNode& node) {
  store::HeaderFilter out;
  decode_headers(node, "set", out.set);
  decode_headers(node, "add", out.add);
  out.remove = node.strings("remove", 16, 256);
  return out;
}

void decode_path_modifier(const JsonNode& filter, std::optional<store::PathModifier>& out) {
  filter.object("path", [&](const JsonNode& node) {
    store::PathModifier& to = out.emplace();
    const int type =
        node.choice("type", {"ReplaceFullPath", "ReplacePrefixMatch", "ReplaceRegexMatch"}, 0, Need::required);
    if (type < 0) return;
    to.type = static_cast<store::PathModifierType>(type);
    constexpr std::array<std::string_view, 3> kKeys = {"replaceFullPath", "replacePrefixMatch", "replaceRegexMatch"};
    for (size_t i = 0; i < kKeys.size(); ++i) {
      if (static_cast<int>(i) != type && node.has(kKeys[i])) node.error(kKeys[i], "does not belong to this type");
    }
    const std::string_view key = kKeys[static_cast<size_t>(type)];
    if (!node.has(key)) return node.error(key, "is required by this type");
    if (to.type != store::PathModifierType::replace_regex_match) {
      to.value = node.string(key, 1024);
      return;
    }
    node.object(key, [&](const JsonNode& regex) {
      to.pattern = regex.string("pattern", 1024, Need::required);
      to.value = regex.string("substitution", 1024);
    });
  });
}

store::RouteFilter decode_redirect(const JsonNode& node) {
  store::RedirectFilter out;
  constexpr std::array<std::string_view, 2> kSchemes = {"http", "https"};
  const int scheme = node.has("scheme") ? node.choice("scheme", {"http", "https"}, -1) : -1;
  if (scheme >= 0) out.scheme = kSchemes[static_cast<size_t>(scheme)];
  out.hostname = node.string("hostname", kMaxHost);
  decode_path_modifier(node, out.path);
  out.port = static_cast<uint16_t>(node.integer("port", 1, 65535, 0));
  out.status_code = static_cast<uint16_t>(node.integer("statusCode", 301, 308, 302));
  if (out.status_code > 303 && out.status_code < 307)
    node.error("statusCode", "must be one of 301, 302, 303, 307, 308");
  return out;
}

store::RouteFilter decode_member(const JsonNode& node, int type) {
  switch (type) {
    case 0:
      return store::RequestHeaderModifier{decode_edits(node)};
    case 1:
      return store::ResponseHeaderModifier{decode_edits(node)};
    case 2:
      return decode_redirect(node);
    case 3: {
      store::RewriteFilter out;
      out.hostname = node.string("hostname", kMaxHost);
      decode_path_modifier(node, out.path);
      return out;
    }
    default: {
      store::DirectResponseFilter out;
      out.status_code = static_cast<uint16_t>(node.integer("statusCode", 200, 599, 200));
      out.content_type = node.string("contentType", 256, Need::optional, "text/plain");
      out.body = node.text("body", 16384);
      return out;
    }
  }
}

}  // namespace

void decode_route_filters(const JsonNode& rule, std::vector<store::RouteFilter>& out) {
  const auto read = [&](const JsonNode& node) {
    const int type = node.choice(
        "type", {"RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite", "DirectResponse"},
        0, Need::required);
    if (type < 0) return;
    for (size_t i = 0; i < kMembers.size(); ++i) {
      if (static_cast<int>(i) != type && node.has(kMembers[i]))
        node.error(kMembers[i], "does not belong to this type of filter");
    }
    const std::string_view key = kMembers[static_cast<size_t>(type)];
    if (!node.object(
            key, [&](const JsonNode& member) { out.push_back(decode_member(member, type)); }, Need::required))
      return;
  };
  // A rule with a part missing is another rule: one bad filter spoils it.
  rule.each("filters", 16, read, [&](bool) { rule.context().failed = true; });
}

}  // namespace sluice::kube
