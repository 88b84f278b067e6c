// What the operator chose: flags and the config file, validated. One value for the whole control plane; read by
// translation. The config file's keys (the chart's values use the same): docs/reference/configuration.md. Unknown keys
// are errors with file, line and the nearest name.
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/ir/route_table_generated.h"
#include "controlplane/store/objects.h"

namespace sluice::config {

inline constexpr const char* kControllerName = "sluice.dev/ingress-controller";

struct ServiceTarget {
  store::ObjectKey service;
  uint16_t port = 0;  // 0 = the Service's first port
};

// As ir::Cidr, but a value.
struct AddressRange {
  uint64_t high = 0, low = 0;
  uint8_t bits = 128;
  auto operator<=>(const AddressRange&) const = default;
};

// One entry of status.loadBalancer.ingress: an IP address in its canonical form, a DNS name, or both.
struct PublishedAddress {
  std::string ip, hostname;
  auto operator<=>(const PublishedAddress&) const = default;
};
inline constexpr size_t kMaxPublished = 32;

struct Options {
  ir::SettingsT settings;  // workers, timeouts, limits, http2, accessLog, trustedProxies, proxyProtocol, tls
  std::string controller_name = kControllerName;
  enum class HostOwnership : uint8_t { per_namespace, shared } host_ownership = HostOwnership::per_namespace;
  std::vector<std::string> watch_namespaces;            // empty = all
  std::optional<ServiceTarget> default_backend;         // --default-backend-service NS/NAME[:PORT]
  std::optional<store::ObjectKey> default_certificate;  // --default-ssl-certificate NS/NAME
  std::optional<store::ObjectKey> ticket_keys_secret;   // tls.ticketKeysSecret
  std::optional<store::ObjectKey> publish_service;      // publishService: whose addresses go into statuses
  std::vector<PublishedAddress> publish_addresses;      // publishAddresses: these instead; at most kMaxPublished
  // classPolicyNamespaces: whose policies may target an IngressClass; empty = that of the control plane's own Pod, and
  // on a folder every one.
  std::vector<std::string> class_policy_namespaces;
  std::string own_namespace;             // not from the config file; empty = unknown
  bool class_policies_anywhere = false;  // standalone
  bool ssl_redirect = true;  // 308 to https where the host has TLS; annotation sluice.dev/ssl-redirect overrides
  bool allow_external_name = false;  // ExternalName Services
  // Where an ExternalName may lead although it would be refused (loopback, link-local, metadata, API server, own Pod).
  std::vector<AddressRange> external_name_ranges;
  std::vector<AddressRange> own_addresses;        // of the API server and of this Pod; not from the config file
  bool allow_loopback_endpoints = false;          // standalone: EndpointSlices with 127.0.0.0/8 and ::1
  bool allow_test_filters = false;                // tests only: annotation sluice.dev/test-probe
  std::optional<uint16_t> http_port, https_port;  // absent = not listened on; 0 = any free port
  std::vector<std::string> bind;                  // literal addresses; empty = all
};

// Reads a YAML config file into `options`. On error `options` is unchanged.
[[nodiscard]] Status load_file(const std::string& path, Options& options);
[[nodiscard]] Status load_text(const std::string& text, const std::string& file_name, Options& options);

}  // namespace sluice::config
