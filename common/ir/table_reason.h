// The reason words that a table may carry (DirectResponse.reason, ClusterEndpoints.empty_reason). The control plane
// writes no others, and the data plane has each of them in its own list (dataplane/http/reason.cpp; a test compares),
// so that logs, metrics and error bodies say what translation meant. A word never changes once released.
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace sluice::ir {

enum class TableReason : uint8_t {
  direct_response,  // the Route's own answer
  rule_invalid,     // a rule that cannot be honoured
  backend_invalid,  // a backend that is refused or cannot be read, or whose policy cannot be used
  service_not_found,
  port_not_found,
  no_endpoints,       // none that takes requests
  name_not_resolved,  // an ExternalName without an address
  kCount
};

inline constexpr std::array<const char*, static_cast<size_t>(TableReason::kCount)> kTableReasonWords = {
    "direct_response", "rule_invalid", "backend_invalid",  "service_not_found",
    "port_not_found",  "no_endpoints", "name_not_resolved"};

[[nodiscard]] constexpr const char* word(TableReason reason) { return kTableReasonWords[static_cast<size_t>(reason)]; }

}  // namespace sluice::ir
