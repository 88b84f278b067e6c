#include <algorithm>
#include <array>

#include "common/ir/verify_util.h"

namespace sluice::ir::check {
namespace {

Status header_edits(const HeaderEdits* edits) {
  if (edits == nullptr) return fail("header edits are missing");
  for (const auto* list : {edits->set(), edits->add()}) {
    for (size_t i = 0; i < count(list); ++i) {
      const HeaderValue& header = *list->Get(static_cast<flatbuffers::uoffset_t>(i));
      if (!is_token(view(header.name()))) return fail("header name '{}' is no token", view(header.name()));
      if (Status ok = text("header value", header.value(), kMaxValueBytes); !ok) return ok;
    }
  }
  for (size_t i = 0; i < count(edits->remove()); ++i) {
    const std::string_view name = view(edits->remove()->Get(static_cast<flatbuffers::uoffset_t>(i)));
    if (!is_token(name)) return fail("header name '{}' is no token", name);
  }
  return {};
}

Status rewrite(const Rewrite& rewrite) {
  if (rewrite.path_kind() > RewriteKind::MAX) return fail("rewrite kind {}", static_cast<int>(rewrite.path_kind()));
  if (Status ok = text("rewrite host", rewrite.host(), kMaxHostBytes); !ok) return ok;
  if (Status ok = text("rewrite path", rewrite.path(), kMaxPathBytes); !ok) return ok;
  return text("rewrite pattern", rewrite.pattern(), kMaxRegexBytes, rewrite.path_kind() == RewriteKind::RegexPath);
}

bool is_lower(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

Status limit_key(const LimitKey& key) {
  if (key.kind() > LimitKeyKind::MAX) return fail("kind {}", static_cast<int>(key.kind()));
  const std::string_view name = view(key.name());
  if (Status ok = text("name", name, kMaxNameBytes); !ok) return ok;
  if (key.kind() == LimitKeyKind::Header) {
    if (!is_token(name) || !is_lower(name)) return fail("header '{}' is no token in lower case", name);
  } else if (key.kind() == LimitKeyKind::Cookie) {
    if (!is_token(name)) return fail("cookie '{}' is no token", name);
  } else if (!name.empty()) {
    return fail("name '{}' of a kind that has none", name);
  }
  if (key.ipv4_bits() < 1 || key.ipv4_bits() > 32) return fail("{} bits of IPv4", key.ipv4_bits());
  if (key.ipv6_bits() < 1 || key.ipv6_bits() > 128) return fail("{} bits of IPv6", key.ipv6_bits());
  return {};
}

Status limit(const Limit& limit) {
  if (view(limit.id()).empty()) return fail("id is missing");
  if (Status ok = text("name", limit.name(), kMaxNameBytes, true); !ok) return ok;
  // It stands in a String of a structured field (RFC 9651 section 3.3.3).
  if (std::ranges::any_of(view(limit.name()), [](char c) { return c < 0x20 || c > 0x7E || c == '"' || c == '\\'; }))
    return fail("name '{}' cannot stand in a field", view(limit.name()));
  if (Status ok = origin(limit.origin()); !ok) return ok;
  if (limit.requests() < 1 || limit.requests() > kMaxLimitRequests) return fail("{} requests", limit.requests());
  if (limit.burst() < 1 || limit.burst() > kMaxLimitRequests) return fail("a burst of {}", limit.burst());
  if (limit.per_ms() < kMinLimitMs || limit.per_ms() > kMaxLimitMs) return fail("per {} ms", limit.per_ms());
  if (count(limit.keys()) > kMaxLimitKeys) return fail("{} keys, more than {}", count(limit.keys()), kMaxLimitKeys);
  for (size_t i = 0; i < count(limit.keys()); ++i) {
    if (Status ok = limit_key(*limit.keys()->Get(static_cast<flatbuffers::uoffset_t>(i))); !ok)
      return at(fmt::format("key {}", i), ok);
  }
  return cidrs("exempt network", limit.exempt());
}

Status rate_limit(const RateLimit& config) {
  const auto* list = config.limits();
  if (Status ok = sorted("limit", list, kMaxNameBytes, [](const Limit& limit) { return limit.id(); }); !ok) return ok;
  for (size_t i = 0; i < count(list); ++i) {
    const Limit& here = *list->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (Status ok = limit(here); !ok) return at(fmt::format("limit {}", view(here.id())), ok);
  }
  return {};
}

Status filter(const Filter& filter) {
  if (filter.config_type() == FilterConfig::NONE || filter.config_type() > FilterConfig::MAX ||
      filter.config() == nullptr) {
    return fail("unknown filter {}", static_cast<int>(filter.config_type()));
  }
  switch (filter.config_type()) {
    case FilterConfig::RequestHeaders:
      return header_edits(filter.config_as_RequestHeaders()->edits());
    case FilterConfig::ResponseHeaders:
      return header_edits(filter.config_as_ResponseHeaders()->edits());
    case FilterConfig::Rewrite:
      return rewrite(*filter.config_as_Rewrite());
    case FilterConfig::TestProbe:
      return text("test probe mode", filter.config_as_TestProbe()->mode(), kMaxNameBytes);
    case FilterConfig::RateLimit:
      return rate_limit(*filter.config_as_RateLimit());
    case FilterConfig::NONE:
      break;
  }
  return {};
}

Status redirect(const Redirect& redirect) {
  static constexpr std::array<uint16_t, 5> kStatuses = {301, 302, 303, 307, 308};
  if (std::ranges::find(kStatuses, redirect.status()) == kStatuses.end())
    return fail("redirect status {}", redirect.status());
  if (redirect.path_kind() > RewriteKind::MAX)
    return fail("redirect path kind {}", static_cast<int>(redirect.path_kind()));
  if (Status ok = text("redirect scheme", redirect.scheme(), 16); !ok) return ok;
  if (Status ok = text("redirect host", redirect.host(), kMaxHostBytes); !ok) return ok;
  return text("redirect path", redirect.path(), kMaxPathBytes);
}

Status forward(const Forward& forward) {
  if (count(forward.backends()) == 0) return fail("no backends");
  for (size_t i = 0; i < count(forward.backends()); ++i) {
    const Backend& backend = *forward.backends()->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (backend.weight() > 1'000'000) return fail("backend {}: weight {}", i, backend.weight());
    const std::string_view cluster = view(backend.cluster());
    if (cluster.empty()) {
      if (backend.error() == nullptr) return fail("backend {} has neither cluster nor error", i);
    }
    if (backend.error() == nullptr) continue;
    if (Status ok = direct_response(*backend.error()); !ok) return ok;
  }
  return {};
}

Status action(const Route& route) {
  if (route.action() == nullptr) return fail("no action");
  switch (route.action_type()) {
    case Action::Forward:
      return forward(*route.action_as_Forward());
    case Action::Redirect:
      return redirect(*route.action_as_Redirect());
    case Action::DirectResponse:
      return direct_response(*route.action_as_DirectResponse());
    case Action::NONE:
      break;
  }
  return fail("unknown action {}", static_cast<int>(route.action_type()));
}

template <class Match>
Status value_matches(std::string_view what, const flatbuffers::Vector<flatbuffers::Offset<Match>>* list) {
  for (size_t i = 0; i < count(list); ++i) {
    const Match& match = *list->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (match.kind() > ValueKind::MAX) return fail("{} match {}: kind {}", what, i, static_cast<int>(match.kind()));
    if (Status ok = text(what, match.name(), kMaxNameBytes, true); !ok) return ok;
    if (Status ok = text(what, match.value(), match.kind() == ValueKind::Regex ? kMaxRegexBytes : kMaxValueBytes); !ok)
      return ok;
  }
  return {};
}

Status predicates(const Route& route) {
  if (Status ok = value_matches("header", route.headers()); !ok) return ok;
  for (size_t i = 0; i < count(route.headers()); ++i) {
    const std::string_view name = view(route.headers()->Get(static_cast<flatbuffers::uoffset_t>(i))->name());
    if (!is_token(name) || !is_lower(name)) {
      return fail("header match '{}' is no token in lower case", name);
    }
  }
  if (Status ok = value_matches("query", route.query()); !ok) return ok;
  std::string_view before;
  for (size_t i = 0; i < count(route.methods()); ++i) {
    const std::string_view method = view(route.methods()->Get(static_cast<flatbuffers::uoffset_t>(i)));
    if (!is_token(method) || method.size() > 64) return fail("method '{}'", method);
    if (i > 0 && !(before < method)) return fail("methods are not sorted at '{}'", method);
    before = method;
  }
  return {};
}

Status route(const Route& route) {
  if (Status ok = origin(route.origin()); !ok) return ok;
  if (Status ok = text("metric label", route.metric(), kMaxNameBytes); !ok) return ok;
  if (route.path_kind() > PathKind::MAX) return fail("path kind {}", static_cast<int>(route.path_kind()));
  if (Status ok = text("path", route.path(), route.path_kind() == PathKind::Regex ? kMaxRegexBytes : kMaxPathBytes);
      !ok)
    return ok;
  if (Status ok = predicates(route); !ok) return ok;
  for (size_t i = 0; i < count(route.filters()); ++i) {
    if (Status ok = filter(*route.filters()->Get(static_cast<flatbuffers::uoffset_t>(i))); !ok)
      return at(fmt::format("filter {}", i), ok);
  }
  if (Status ok = action(route); !ok) return ok;
  if (route.retry() != nullptr) {
    if (route.retry()->attempts() > 16) return fail("{} retries", route.retry()->attempts());
    for (size_t i = 0; i < count(route.retry()->statuses()); ++i) {
      const uint16_t status = route.retry()->statuses()->Get(static_cast<flatbuffers::uoffset_t>(i));
      if (status < 400 || status > 599) return fail("retry on status {}", status);
    }
  }
  if (route.encoded_slash() > 1) return fail("encoded_slash {}", route.encoded_slash());
  if (route.priority() > Priority::MAX) return fail("priority {}", static_cast<int>(route.priority()));
  if (count(route.upgrades()) > kMaxUpgrades)
    return fail("{} upgrades, more than {}", count(route.upgrades()), kMaxUpgrades);
  for (size_t i = 0; i < count(route.upgrades()); ++i) {
    const std::string_view name = view(route.upgrades()->Get(static_cast<flatbuffers::uoffset_t>(i)));
    if (!is_token(name) || !is_lower(name)) return fail("upgrade '{}' is no token in lower case", name);
  }
  return text("class", route.class_(), kMaxNameBytes);
}

Status indexes(std::string_view what, const flatbuffers::Vector<uint32_t>* list, size_t routes) {
  for (size_t i = 0; i < count(list); ++i) {
    const uint32_t index = list->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (index >= routes) return fail("{}: route {} of {}", what, index, routes);
  }
  return {};
}

Status path_entries(std::string_view what, const flatbuffers::Vector<flatbuffers::Offset<PathEntry>>* list,
                    size_t routes) {
  if (Status ok = sorted(what, list, kMaxPathBytes, [](const PathEntry& entry) { return entry.path(); }); !ok)
    return ok;
  for (size_t i = 0; i < count(list); ++i) {
    if (Status ok = indexes(what, list->Get(static_cast<flatbuffers::uoffset_t>(i))->routes(), routes); !ok) return ok;
  }
  return {};
}
}  // namespace

Status cidrs(std::string_view what, const flatbuffers::Vector<flatbuffers::Offset<Cidr>>* list) {
  for (size_t i = 0; i < count(list); ++i) {
    const Cidr& cidr = *list->Get(static_cast<flatbuffers::uoffset_t>(i));
    if (cidr.address() == nullptr || cidr.bits() > 128)
      return fail("{} {}: address missing or {} bits", what, i, cidr.bits());
  }
  return {};
}

Status origin(const Origin* origin) {
  if (origin == nullptr) return {};
  for (const auto* part : {origin->kind(), origin->namespace_(), origin->name(), origin->rule()}) {
    if (Status ok = text("origin", part, kMaxNameBytes); !ok) return ok;
  }
  return {};
}

Status direct_response(const DirectResponse& response) {
  // A final status: 1xx would leave the client waiting (RFC 9110 section 15.2).
  if (response.status() < 200 || response.status() > 599) return fail("direct response status {}", response.status());
  if (Status ok = text("content type", response.content_type(), kMaxNameBytes); !ok) return ok;
  if (Status ok = text("reason", response.reason(), kMaxNameBytes); !ok) return ok;
  if (view(response.body()).size() > kMaxBodyBytes)
    return fail("direct response body of {} bytes", view(response.body()).size());
  return {};
}

Status virtual_host(const VirtualHost& host) {
  const size_t routes = count(host.routes());
  for (size_t i = 0; i < routes; ++i) {
    if (Status ok = route(*host.routes()->Get(static_cast<flatbuffers::uoffset_t>(i))); !ok)
      return at(fmt::format("route {}", i), ok);
  }
  if (Status ok = path_entries("exact path", host.exact(), routes); !ok) return ok;
  if (Status ok = path_entries("prefix path", host.prefix(), routes); !ok) return ok;
  return indexes("regex path", host.regex(), routes);
}

Status clusters_exist(const VirtualHost& host, const TableView& table) {
  for (size_t i = 0; i < count(host.routes()); ++i) {
    const Forward* const forward = host.routes()->Get(static_cast<flatbuffers::uoffset_t>(i))->action_as_Forward();
    if (forward == nullptr) continue;
    for (size_t k = 0; k < count(forward->backends()); ++k) {
      const std::string_view cluster =
          view(forward->backends()->Get(static_cast<flatbuffers::uoffset_t>(k))->cluster());
      if (!cluster.empty() && table.cluster(cluster) == nullptr)
        return fail("route {}: backend {}: no cluster '{}' in the table", i, k, cluster);
    }
  }
  return {};
}

}  // namespace sluice::ir::check
