#include "dataplane/route/virtual_host.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace sluice::route {

VirtualHostPtr::VirtualHostPtr(VirtualHost* host) : host_(host) {
  if (host_ != nullptr) ++host_->references_;
}
void VirtualHostPtr::release(VirtualHost* host) {
  if (--host->references_ == 0) delete host;
}

VirtualHost::~VirtualHost() = default;

VirtualHostPtr VirtualHost::load(const ir::VirtualHostRef& ref) {
  const auto* data = ref.data();
  if (data == nullptr) return {};
  VirtualHostPtr host(new VirtualHost);
  host->bytes_ = std::make_unique<char[]>(data->size());  // aligned for every scalar of the buffer
  std::memcpy(host->bytes_.get(), data->data(), data->size());
  // The agent verified the table; a nested buffer costs next to nothing to verify where it is first used, and then
  // nothing here depends on that.
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(host->bytes_.get()), data->size());
  if (!verifier.VerifyBuffer<ir::VirtualHost>(nullptr)) return {};
  host->table_ = flatbuffers::GetRoot<ir::VirtualHost>(host->bytes_.get());
  host->hash_ = ref.hash();
  host->name_ = view(host->table_->host());
  host->read_routes();
  read_paths(host->table_->exact(), host->size(), host->exact_);
  read_paths(host->table_->prefix(), host->size(), host->prefix_);
  // Byte prefixes nest: an entry's parent is the nearest entry before it that begins it.
  std::vector<uint32_t> open;
  for (uint32_t i = 0; i < host->prefix_.size(); ++i) {
    PathEntry& entry = host->prefix_[i];
    while (!open.empty() && !entry.path.starts_with(host->prefix_[open.back()].path)) open.pop_back();
    if (!open.empty()) entry.parent = open.back();
    open.push_back(i);
  }
  if (const auto* regex = host->table_->regex(); regex != nullptr) {
    for (const uint32_t index : *regex) {
      if (index < host->size() && host->routes_[index].path != nullptr) host->regex_.push_back(index);
    }
  }
  return host;
}

void VirtualHost::read_routes() {
  if (table_->routes() == nullptr) return;
  routes_.resize(table_->routes()->size());
  for (uint32_t i = 0; i < size(); ++i) {
    RouteEntry& entry = routes_[i];
    entry.route = table_->routes()->Get(i);
    const auto holds_any = [](const auto* list) { return list != nullptr && list->size() > 0; };
    entry.plain =
        !holds_any(entry.route->methods()) && !holds_any(entry.route->headers()) && !holds_any(entry.route->query());
    entry.predicates.compile(*entry.route);
    if (entry.route->path_kind() == ir::PathKind::Regex) entry.path = Regex::compile(view(entry.route->path()));
  }
}

void VirtualHost::read_paths(const flatbuffers::Vector<flatbuffers::Offset<ir::PathEntry>>* from, uint32_t route_count,
                             std::vector<PathEntry>& to) {
  if (from == nullptr) return;
  to.reserve(from->size());
  for (const ir::PathEntry* entry : *from) {
    const auto* routes = entry->routes();
    const bool usable =
        routes != nullptr && std::all_of(routes->begin(), routes->end(), [&](uint32_t i) { return i < route_count; });
    if (usable) to.push_back({view(entry->path()), routes});
  }
  const auto by_path = [](const PathEntry& a, const PathEntry& b) { return a.path < b.path; };
  if (!std::is_sorted(to.begin(), to.end(), by_path)) std::stable_sort(to.begin(), to.end(), by_path);
}

template <class Visit>
bool VirtualHost::each_candidate(std::string_view path, Visit&& visit) const {
  const auto all = [&](const PathEntry& entry, size_t prefix) {
    for (const uint32_t index : *entry.routes) {
      if (visit(index, static_cast<uint32_t>(prefix))) return true;
    }
    return false;
  };
  const auto before = [](const PathEntry& entry, std::string_view value) { return entry.path < value; };
  const auto exact = std::lower_bound(exact_.begin(), exact_.end(), path, before);
  if (exact != exact_.end() && exact->path == path && all(*exact, 0)) return true;
  for (const uint32_t index : regex_) {
    if (routes_[index].path->full_match(path) && visit(index, 0)) return true;
  }
  // Every entry that begins `path` begins also the last entry that is not after `path`: walk up from there, longest
  // first.
  const auto after = [](std::string_view value, const PathEntry& entry) { return value < entry.path; };
  const auto next = std::upper_bound(prefix_.begin(), prefix_.end(), path, after);
  uint32_t at = next == prefix_.begin() ? kNone : static_cast<uint32_t>(next - prefix_.begin() - 1);
  for (; at != kNone; at = prefix_[at].parent) {
    const PathEntry& entry = prefix_[at];
    const size_t length = entry.path.size();
    if (!path.starts_with(entry.path)) continue;
    // Element-wise: "/foo" is a prefix of "/foo" and "/foo/bar", not of "/foobar".
    if (length != 0 && length != path.size() && path[length] != '/') continue;
    if (all(entry, length)) return true;
  }
  return false;
}

bool VirtualHost::match(const http::RequestHead& request, Scratch& scratch, uint32_t& index, uint32_t& prefix) const {
  return each_candidate(request.path, [&](uint32_t candidate, uint32_t covered) {
    const RouteEntry& entry = routes_[candidate];
    if (!entry.plain && entry.predicates.check(*entry.route, request, scratch, nullptr) != Lost::won) return false;
    index = candidate;
    prefix = covered;
    return true;
  });
}

void VirtualHost::explain(const http::RequestHead& request, Scratch& scratch, std::vector<Candidate>& out) const {
  std::vector<bool> seen(size());
  bool won = false;
  each_candidate(request.path, [&](uint32_t candidate, uint32_t) {
    const RouteEntry& entry = routes_[candidate];
    if (seen[candidate]) return false;
    seen[candidate] = true;
    std::string detail;
    Lost lost = entry.predicates.check(*entry.route, request, scratch, &detail);
    if (lost == Lost::won && won) {
      lost = Lost::shadowed;
      detail = "an earlier route was chosen";
    }
    won = won || lost == Lost::won;
    out.push_back({entry.route, lost, std::move(detail)});
    return false;
  });
  for (uint32_t i = 0; i < size(); ++i) {
    if (seen[i]) continue;
    const ir::Route* const one = routes_[i].route;
    const std::string_view path = view(one->path());
    std::string detail = fmt::format("path: expected {} '{}', got '{}'",
                                     one->path_kind() == ir::PathKind::Exact   ? "exact"
                                     : one->path_kind() == ir::PathKind::Regex ? "regex"
                                                                               : "prefix",
                                     path.empty() ? std::string_view("/") : path, request.path);
    out.push_back({one, Lost::path, std::move(detail)});
  }
}

}  // namespace sluice::route
