#include "controlplane/status/addresses.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/config/option_table.h"

namespace sluice::status {
namespace {

using From = store::ServiceAddress::From;

// `text` must be an IP address if `ip`, otherwise a name; "" = refused, or absent.
std::string checked(const std::string& text, bool ip, PublishedBy& out) {
  if (text.empty()) return {};
  auto parsed = config::parse_published(text);
  std::string good = parsed ? std::move(ip ? parsed->ip : parsed->hostname) : std::string();
  if (good.empty() && out.refused.size() < config::kMaxPublished)
    out.refused.push_back(parsed ? fmt::format("'{}' is no {}", text, ip ? "IP address" : "DNS name")
                                 : parsed.error().message);
  return good;
}

void add(config::PublishedAddress address, PublishedBy& out) {
  if (address == config::PublishedAddress() || std::ranges::find(out.addresses, address) != out.addresses.end()) return;
  if (out.addresses.size() < config::kMaxPublished) out.addresses.push_back(std::move(address));
  else if (out.refused.size() < config::kMaxPublished)
    out.refused.push_back(
        fmt::format("'{}' is one more than {}", address.ip + address.hostname, config::kMaxPublished));
}

void add_all(const store::Service& service, From from, PublishedBy& out) {
  for (const store::ServiceAddress& address : service.addresses) {
    // A headless Service has no address of its own.
    if (address.from != from || address.ip == "None") continue;
    std::string ip = checked(address.ip, true, out);
    add({std::move(ip), checked(address.hostname, false, out)}, out);
  }
}

}  // namespace

PublishedBy addresses_of(const store::Service& service) {
  PublishedBy out;
  if (service.type == "ExternalName") {
    std::string name = service.external_name;
    if (name.ends_with('.')) name.pop_back();
    add({{}, checked(name, false, out)}, out);
    return out;
  }
  if (service.type == "LoadBalancer") {
    add_all(service, From::load_balancer, out);
    // Providers tell them in whatever order: no reason to write every status anew.
    std::ranges::sort(out.addresses);
  }
  add_all(service, From::external_ips, out);
  if (service.type != "LoadBalancer" && out.addresses.empty()) add_all(service, From::cluster_ips, out);
  return out;
}

}  // namespace sluice::status
