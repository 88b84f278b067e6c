#include "dataplane/agent/listener_plan.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "dataplane/net/address.h"

namespace sluice::agent {
namespace {
using sync::ListenerSpec;

bool is_wildcard(const net::Address& address) {
  const auto rest = address.is_v4() ? 12 : 0;
  return std::all_of(address.bytes.begin() + rest, address.bytes.end(), [](uint8_t byte) { return byte == 0; });
}

// [::] takes IPv6 only, so the two families never meet.
bool overlap(const net::Address& a, const net::Address& b) {
  return a.is_v4() == b.is_v4() && (a.bytes == b.bytes || is_wildcard(a) || is_wildcard(b));
}

net::Address address_of(const ListenerSpec& spec) {
  net::Address address;
  std::memcpy(address.bytes.data(), spec.address, address.bytes.size());
  return address;
}
}  // namespace

Result<std::vector<ListenerSpec>> plan_listeners(const ir::RouteTable& table) {
  std::vector<ListenerSpec> specs;
  if (table.listeners() == nullptr) return specs;
  for (const ir::Listener* listener : *table.listeners()) {
    std::vector<net::Address> addresses;
    auto add = [&](const char* literal) -> Status {
      const auto address = net::Address::parse(literal);
      if (!address) return fail("listener {}: '{}' is no address", listener->name()->c_str(), literal);
      if (std::ranges::find(addresses, *address) == addresses.end()) addresses.push_back(*address);
      return {};
    };
    if (listener->addresses() == nullptr || listener->addresses()->size() == 0) {
      for (const char* literal : {"::", "0.0.0.0"}) {
        if (Status added = add(literal); !added) return std::unexpected(added.error());
      }
    } else {
      for (const flatbuffers::String* literal : *listener->addresses()) {
        if (Status added = add(literal->c_str()); !added) return std::unexpected(added.error());
      }
    }
    for (const net::Address& address : addresses) {
      ListenerSpec spec;
      std::strncpy(spec.name, listener->name()->c_str(), sizeof spec.name - 1);
      spec.protocol = static_cast<uint8_t>(listener->protocol());
      spec.port = listener->port();
      std::memcpy(spec.address, address.bytes.data(), sizeof spec.address);
      for (const ListenerSpec& other : specs) {
        if (spec.port != 0 && other.port == spec.port && overlap(address, address_of(other))) {
          return fail("listeners {} and {} both want port {} of {}", other.name, spec.name, spec.port, address.text());
        }
      }
      specs.push_back(spec);
    }
  }
  if (specs.size() > sync::kMaxListeners)
    return fail("{} listening addresses, the limit is {}", specs.size(), sync::kMaxListeners);
  return specs;
}

}  // namespace sluice::agent
