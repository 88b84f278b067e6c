#include "dataplane/upstream/cluster.h"

#include <algorithm>
#include <utility>

namespace sluice::upstream {
namespace {

std::string text(const flatbuffers::String* from) { return from == nullptr ? std::string() : from->str(); }

bool before(const net::Address& a, const net::Address& b) {
  return a.bytes != b.bytes ? a.bytes < b.bytes : a.port < b.port;
}

}  // namespace

net::Address to_address(const ir::Endpoint& endpoint) {
  net::Address out;
  out.port = endpoint.port();
  if (endpoint.address() == nullptr) return out;
  for (size_t i = 0; i < 8; ++i) {
    out.bytes[i] = static_cast<uint8_t>(endpoint.address()->high() >> (56 - 8 * i));
    out.bytes[8 + i] = static_cast<uint8_t>(endpoint.address()->low() >> (56 - 8 * i));
  }
  return out;
}

Cluster::Cluster(const ir::Cluster& from, shared::ClusterSlot& counters)
    : name_(text(from.name())),
      hash_(from.hash()),
      lb_(from.lb()),
      protocol_(from.protocol()),
      connect_ms_(from.connect_ms()),
      counters_(&counters) {
  if (const ir::UpstreamTls* tls = from.tls(); tls != nullptr) {
    tls_ =
        std::make_unique<TlsPolicy>(TlsPolicy{tls->verify(), text(tls->sni()), text(tls->ca_pem()), text(tls->name())});
    if (tls_->name.empty()) tls_->name = tls_->sni;
  }
}

void Cluster::update(const ir::ClusterEndpoints* from, std::vector<Endpoint*>& closing) {
  if (from != nullptr && known_ && from->hash() == endpoints_hash_) return;
  known_ = from != nullptr;
  endpoints_hash_ = from == nullptr ? 0 : from->hash();
  const http::Reason said = from != nullptr && from->empty_reason() != nullptr
                                ? http::reason_of(from->empty_reason()->string_view())
                                : http::Reason::none;
  empty_reason_ = said != http::Reason::none ? said : http::Reason::no_endpoints;

  std::vector<std::pair<net::Address, bool>> wanted;
  if (from != nullptr && from->endpoints() != nullptr) {
    wanted.reserve(from->endpoints()->size());
    for (const ir::Endpoint* endpoint : *from->endpoints()) {
      const net::Address address = to_address(*endpoint);
      if (address.port != 0) wanted.emplace_back(address, endpoint->state() == ir::EndpointState::Ready);
    }
  }
  std::sort(wanted.begin(), wanted.end(), [](const auto& a, const auto& b) { return before(a.first, b.first); });

  std::vector<std::unique_ptr<Endpoint>> old = std::exchange(endpoints_, {});
  ready_.clear();
  auto next = old.begin();
  for (const auto& [address, ready] : wanted) {
    if (!endpoints_.empty() && endpoints_.back()->address == address) continue;  // named twice
    while (next != old.end() && before((*next)->address, address)) ++next;
    if (next != old.end() && (*next)->address == address) endpoints_.push_back(std::move(*next++));
    else endpoints_.push_back(std::make_unique<Endpoint>(address));
    Endpoint& endpoint = *endpoints_.back();
    endpoint.ready = ready;
    if (ready) ready_.push_back(&endpoint);
    else if (endpoint.idle != nullptr)
      closing.push_back(&endpoint);  // draining: no new streams, so nothing would reuse them
  }
  for (std::unique_ptr<Endpoint>& endpoint : old) {
    if (endpoint == nullptr) continue;
    endpoint->gone = true;
    endpoint->ready = false;
    if (endpoint->idle != nullptr) closing.push_back(endpoint.get());
    if (endpoint->connections > 0) departed_.push_back(std::move(endpoint));
  }
}

void Cluster::retire(std::vector<Endpoint*>& closing) {
  retired_ = true;
  for (const auto& endpoint : endpoints_) {
    if (endpoint->idle != nullptr) closing.push_back(endpoint.get());
  }
}

void Cluster::released(Endpoint& endpoint) {
  if (--endpoint.connections > 0 || !endpoint.gone) return;
  std::erase_if(departed_, [&](const std::unique_ptr<Endpoint>& one) { return one.get() == &endpoint; });
}

}  // namespace sluice::upstream
