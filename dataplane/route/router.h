// host -> path -> predicates over the table in place. One Router a worker; apply() at each new state.
// A virtual host is loaded on first use: its nested bytes are copied into a VirtualHost object, found again by content hash after a table change. So
// streams hold a virtual host (a few KiB), never the mapped table, and a swap unpins the old mapping at once.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/message.h"

namespace sluice::route {

class VirtualHost;   // virtual_host.h: ir::VirtualHost bytes + compiled regexes + per-route run-time slots

// Intrusively counted; copying is an increment (one thread, no atomics).
class VirtualHostPtr {
 public:
  VirtualHostPtr() = default;
  explicit VirtualHostPtr(VirtualHost* host);
  VirtualHostPtr(const VirtualHostPtr& other);
  VirtualHostPtr(VirtualHostPtr&& other) noexcept;
  VirtualHostPtr& operator=(VirtualHostPtr other) noexcept;
  ~VirtualHostPtr();
  VirtualHost* operator->() const { return host_; }
  VirtualHost* get() const { return host_; }
  explicit operator bool() const { return host_ != nullptr; }

 private:
  VirtualHost* host_ = nullptr;
};

// Why a candidate lost; recorded only when asked for (explain).
enum class Lost : uint8_t { won, host, path, method, header, query, shadowed };
struct Candidate {
  const ir::Route* route;
  Lost lost;
  std::string detail;   // "header x-env: expected exact 'blue'"
};

struct Match {
  VirtualHostPtr host;              // null: no virtual host
  const ir::Route* route = nullptr; // null: no route
  uint32_t index = 0;               // of route in host
  uint32_t matched_prefix = 0;      // bytes of the path that the prefix covered
};

class Router {
 public:
  Router();
  ~Router();
  // The table stays mapped until the next apply.
  void apply(const ir::RouteTable& table);
  // Exact host, then one-label wildcard, then "*". `explain`: null in steady state.
  [[nodiscard]] Match match(const http::RequestHead& request, std::vector<Candidate>* explain = nullptr);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::route
