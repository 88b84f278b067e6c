// Small makers of table values, shared by the input languages.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/table_reason.h"
#include "controlplane/translate/plan.h"

namespace sluice::translate {

[[nodiscard]] std::unique_ptr<ir::OriginT> make_origin(const char* kind, const store::Meta& meta, std::string rule);

// An answer of our own with the standard error body.
[[nodiscard]] ir::DirectResponseT make_error(uint16_t status, ir::TableReason reason);

// Forward to one backend: a cluster, or the error that stands for it.
void set_single_backend(ir::RouteT& route, const std::optional<ClusterUse>& cluster, uint16_t status,
                        ir::TableReason reason);

inline constexpr const char* kWebSocket = "websocket";
// Adds a protocol that clients may upgrade to, in lower case and once. Otherwise says why it cannot be one.
[[nodiscard]] std::string add_upgrade(std::string_view name, std::vector<std::string>& to);
// Of an Ingress' routes: annotation "sluice.dev/upgrades", else websocket. A value that cannot be honoured allows none.
[[nodiscard]] std::vector<std::string> annotated_upgrades(const store::Meta& meta, Plan& plan);

// Of an Ingress' routes: annotation "sluice.dev/priority", else standard; so does a value that is none, with a problem.
[[nodiscard]] ir::Priority annotated_priority(const store::Meta& meta, Plan& plan);

// Annotation "sluice.dev/ssl-redirect" of the object, else of its class, else the option. A value other than true and
// false is a problem.
[[nodiscard]] bool https_redirect(const store::Meta& meta, const std::string& class_name, const PlanContext& context,
                                  Plan& plan);

}  // namespace sluice::translate
