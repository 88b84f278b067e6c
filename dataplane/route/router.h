// host -> path -> predicates over the table in place. One Router a worker; apply() at each new state.
// A virtual host is loaded on first use: its nested bytes are copied into a VirtualHost object, found again by content
// hash after a table change. So streams hold a virtual host (a few KiB), never the mapped table, and a swap unpins the
// old mapping at once.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/ir/table_view.h"
#include "dataplane/http/message.h"

namespace sluice::route {

class VirtualHost;  // virtual_host.h: ir::VirtualHost bytes + compiled regexes + per-route run-time slots

// Intrusively counted; copying is an increment (one thread, no atomics). May outlive the Router.
class VirtualHostPtr {
 public:
  VirtualHostPtr() = default;
  explicit VirtualHostPtr(VirtualHost* host);
  VirtualHostPtr(const VirtualHostPtr& other) : VirtualHostPtr(other.host_) {}
  VirtualHostPtr(VirtualHostPtr&& other) noexcept : host_(std::exchange(other.host_, nullptr)) {}
  VirtualHostPtr& operator=(VirtualHostPtr other) noexcept {
    std::swap(host_, other.host_);
    return *this;
  }
  ~VirtualHostPtr() {
    if (host_ != nullptr) release(host_);
  }
  VirtualHost* operator->() const { return host_; }
  VirtualHost* get() const { return host_; }
  explicit operator bool() const { return host_ != nullptr; }

 private:
  static void release(VirtualHost* host);
  VirtualHost* host_ = nullptr;
};

// Why a candidate lost; recorded only when asked for (explain). `won`: the one chosen. `shadowed`: it would match, an
// earlier one was chosen. `host`: its virtual host would take the request, a more specific one has it.
enum class Lost : uint8_t { won, host, path, method, header, query, shadowed };
struct Candidate {
  const ir::Route* route;  // valid as long as Match.host is held (Lost::host: until the next apply)
  Lost lost;
  std::string detail;  // "header x-env: expected exact 'blue'"
};

struct Match {
  VirtualHostPtr host;               // null: no virtual host
  const ir::Route* route = nullptr;  // null: no route
  uint32_t index = 0;                // of route in host
  uint32_t matched_prefix = 0;       // bytes of the path that the prefix covered
};

class Router {
 public:
  Router();
  ~Router();
  // The table stays mapped until the next apply. Costs the same for 10 hosts and 10,000: virtual hosts are looked at
  // again when they are next asked for, and those that are gone or changed are dropped a few at a time by later calls.
  void apply(const ir::TableView& table);
  // Counts apply calls: what was derived from a state is stale when this differs.
  [[nodiscard]] uint64_t epoch() const;
  // Virtual hosts held (not counting those that only streams still hold).
  [[nodiscard]] size_t loaded() const;
  // Exact host, then one-label wildcard, then "*"; the most specific host that exists decides alone. `explain`: null in
  // steady state; else gets every route of the host in decision order (those whose path does not fit last), then the
  // routes of less specific hosts.
  [[nodiscard]] Match match(const http::RequestHead& request, std::vector<Candidate>* explain = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::route
