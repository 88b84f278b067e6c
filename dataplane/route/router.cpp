#include "dataplane/route/router.h"

#include <array>
#include <cstring>
#include <unordered_map>

#include <fmt/format.h>

#include "common/base/log.h"
#include "dataplane/route/virtual_host.h"

namespace sluice::route {
namespace {

constexpr size_t kMaxHost = 255;  // RFC 1035 2.3.4; longer names have no virtual host of their own
constexpr size_t kSweepAtApply = 256;
constexpr size_t kSweepAtMatch = 4;
constexpr size_t kMinSlots = 64, kMaxSlots = 32768;

// Spreads host names over cache slots. A client that makes them collide gains a binary search, nothing else.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0x9E3779B97F4A7C15u ^ text.size();
  const auto mix = [&hash](uint64_t word) {
    const auto product = static_cast<unsigned __int128>(hash ^ word) * 0xA0761D6478BD642Fu;
    hash = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  };
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    mix(word);
  }
  uint64_t word = 0;
  if (at < text.size()) std::memcpy(&word, text.data() + at, text.size() - at);
  mix(word);
  return hash;
}

struct HostHash {
  size_t operator()(std::string_view text) const { return hash_of(text); }
};

// Filled by exact hits: host name -> its virtual host, in one of two neighbouring slots. `epoch` empties it at each
// apply without a write; `tag` (the hash's upper half) spares a look at another host's memory.
struct ExactSlot {
  VirtualHost* host = nullptr;
  uint32_t epoch = 0;
  uint32_t tag = 0;
};
// Filled by all other answers (wildcard, "*", none): they need the asked name beside the answer.
struct OtherSlot {
  uint64_t epoch = 0;
  VirtualHost* host = nullptr;
  uint8_t size = 0;
  std::array<char, 63> name;
};

}  // namespace

struct Router::Impl {
  ir::TableView table;
  uint64_t epoch = 0;
  std::vector<ExactSlot> exact;
  std::array<OtherSlot, 128> other{};
  std::vector<VirtualHostPtr> loaded;                                    // at VirtualHost::loaded_index
  std::unordered_map<std::string_view, VirtualHost*, HostHash> by_name;  // keys point into the virtual hosts
  size_t sweep_left = 0, sweep_at = 0;
  Scratch scratch;

  void drop(VirtualHost* host) {
    by_name.erase(host->name());
    const uint32_t at = host->loaded_index;
    if (at + 1 != loaded.size()) {
      std::swap(loaded[at], loaded.back());
      loaded[at]->loaded_index = at;
    }
    loaded.pop_back();  // may destroy it
  }

  // The virtual host of exactly this name in the table: the one held if its bytes are the same, else loaded.
  VirtualHost* get(std::string_view name) {
    const ir::VirtualHostRef* const ref = table.host(name);
    if (ref == nullptr) return nullptr;
    if (const auto held = by_name.find(name); held != by_name.end()) {
      VirtualHost* const host = held->second;
      if (host->epoch == epoch || host->hash() == ref->hash()) {
        host->epoch = epoch;
        return host;
      }
      drop(host);
    }
    VirtualHostPtr fresh = VirtualHost::load(*ref);
    if (!fresh || fresh->name() != name) {
      log::error("virtual host cannot be used: its bytes are damaged", {{"host", name}});
      return nullptr;
    }
    fresh->epoch = epoch;
    fresh->loaded_index = static_cast<uint32_t>(loaded.size());
    by_name.emplace(fresh->name(), fresh.get());
    loaded.push_back(fresh);
    return fresh.get();
  }

  // "*.x" takes exactly one label before x.
  VirtualHost* get_wildcard(std::string_view host) {
    const size_t dot = host.find('.');
    if (dot == 0 || dot == std::string_view::npos || host.size() > kMaxHost || host.front() == '[') return nullptr;
    std::array<char, kMaxHost + 1> name;
    name[0] = '*';
    const std::string_view rest = host.substr(dot);
    std::memcpy(name.data() + 1, rest.data(), rest.size());
    return get({name.data(), rest.size() + 1});
  }

  VirtualHost* find(std::string_view host) {
    const uint64_t hash = hash_of(host);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    const auto round = static_cast<uint32_t>(epoch);
    ExactSlot* slot = nullptr;
    if (!exact.empty()) {
      slot = &exact[hash & (exact.size() - 1) & ~size_t{1}];
      for (ExactSlot* one = slot; one != slot + 2; ++one) {
        if (one->tag == tag && one->epoch == round && one->host->name() == host) return one->host;
      }
      if (slot->epoch == round) ++slot;
    }
    OtherSlot& other_slot = other[(hash >> 32) % other.size()];
    if (other_slot.epoch == epoch && std::string_view(other_slot.name.data(), other_slot.size) == host)
      return other_slot.host;
    // A client must not name a pattern: "*" in Host is refused by the codec, and here it would only find that pattern's
    // routes.
    if (!host.empty() && host.size() <= kMaxHost && host.front() != '*') {
      if (VirtualHost* found = get(host); found != nullptr) {
        if (slot != nullptr) *slot = {found, round, tag};
        return found;
      }
    }
    VirtualHost* found = get_wildcard(host);
    if (found == nullptr) found = get("*");
    if (host.size() <= other_slot.name.size()) {
      other_slot.epoch = epoch;
      other_slot.host = found;
      other_slot.size = static_cast<uint8_t>(host.size());
      if (!host.empty()) std::memcpy(other_slot.name.data(), host.data(), host.size());
    }
    return found;
  }

  // Looks again at up to `budget` virtual hosts held from earlier tables. Only those not found since the last apply can
  // go, and no cache slot names these.
  void sweep(size_t budget) {
    while (sweep_left > 0 && budget-- > 0) {
      --sweep_left;
      if (sweep_at >= loaded.size()) {
        sweep_left = 0;
        return;
      }
      VirtualHost* const host = loaded[sweep_at].get();
      if (host->epoch != epoch) {
        const ir::VirtualHostRef* const ref = table.host(host->name());
        if (ref == nullptr || ref->hash() != host->hash()) {
          drop(host);  // another took its place in the list: look at that one next
          continue;
        }
        host->epoch = epoch;
      }
      ++sweep_at;
    }
  }
};

Router::Router() : impl_(std::make_unique<Impl>()) {}
Router::~Router() = default;

void Router::apply(const ir::TableView& table) {
  Impl& self = *impl_;
  self.table = table;
  ++self.epoch;
  const size_t hosts = table.host_count();
  size_t slots = kMinSlots;
  while (slots < 2 * hosts && slots < kMaxSlots) slots *= 2;
  if (slots > self.exact.size()) self.exact.assign(slots, {});
  self.sweep_left = self.loaded.size();
  self.sweep_at = 0;
  self.sweep(kSweepAtApply);
}

uint64_t Router::epoch() const { return impl_->epoch; }
size_t Router::loaded() const { return impl_->loaded.size(); }

Match Router::match(const http::RequestHead& request, std::vector<Candidate>* explain) {
  Impl& self = *impl_;
  if (self.sweep_left > 0) self.sweep(kSweepAtMatch);
  Match out;
  VirtualHost* const host = self.find(request.host);
  if (host == nullptr) return out;
  out.host = VirtualHostPtr(host);
  if (host->match(request, self.scratch, out.index, out.matched_prefix)) out.route = host->route(out.index);
  if (explain != nullptr) {
    host->explain(request, self.scratch, *explain);
    const auto lost_by_host = [&](VirtualHost* general) {
      if (general == nullptr || general == host) return;
      for (uint32_t i = 0; i < general->size(); ++i) {
        explain->push_back({general->route(i), Lost::host,
                            fmt::format("host: '{}' is less specific than '{}'", general->name(), host->name())});
      }
    };
    if (host->name() != "*") {
      if (!host->name().starts_with("*.")) lost_by_host(self.get_wildcard(request.host));
      lost_by_host(self.get("*"));
    }
  }
  return out;
}

}  // namespace sluice::route
