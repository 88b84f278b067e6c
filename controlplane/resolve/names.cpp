#include "controlplane/resolve/names.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "common/base/clock.h"

namespace sluice::resolve {

Names::Names(boost::asio::io_context& io, Lookup lookup, Timings timings)
    : lookup_(std::move(lookup)), timings_(timings), timer_(io), alive_(std::make_shared<bool>(true)) {}

Names::~Names() { stop(); }

void Names::start(Changed changed, std::function<void()> settled) {
  changed_ = std::move(changed);
  on_settled_ = std::move(settled);
}

void Names::stop() {
  *alive_ = false;
  timer_.cancel();
}

void Names::want(const std::vector<std::string>& names) {
  const std::set<std::string> all(names.begin(), names.end());
  std::set<std::string> taken, refused;
  for (const std::string& name : all) (taken.size() < kMaxNames ? taken : refused).insert(name);
  const uint64_t now = monotonic_ms();
  for (auto at = entries_.begin(); at != entries_.end();) {
    if (taken.contains(at->first)) {
      ++at;
      continue;
    }
    // An answer that is still under way finds no entry, or a newer one.
    if (at->second.told && !refused.contains(at->first)) changed_(at->first, nullptr);
    at = entries_.erase(at);
  }
  for (const std::string& name : taken) {
    const auto [entry, fresh] = entries_.try_emplace(name);
    if (fresh) entry->second.due_ms = entry->second.wanted_ms = now;
  }
  for (const std::string& name : refused_) {
    if (!refused.contains(name) && !taken.contains(name)) changed_(name, nullptr);
  }
  for (const std::string& name : refused) {
    if (!refused_.contains(name))
      changed_(name, std::make_shared<const store::ResolvedName>(
                         store::ResolvedName{{}, fmt::format("is one of more than {} names", kMaxNames)}));
  }
  refused_ = std::move(refused);
  was_settled_ = settled();
  ask();
}

bool Names::settled() const {
  const uint64_t now = monotonic_ms();
  return std::ranges::all_of(entries_, [&](const auto& entry) {
    return entry.second.answered || now >= entry.second.wanted_ms + timings_.settle_ms;
  });
}

// The ones that are due longest first, so that no name waits behind others that come again and again.
void Names::ask() {
  const uint64_t now = monotonic_ms();
  while (in_flight_ < kMaxInFlight) {
    std::pair<const std::string, Entry>* next = nullptr;
    for (auto& entry : entries_) {
      if (entry.second.in_flight || entry.second.due_ms > now) continue;
      if (next == nullptr || entry.second.due_ms < next->second.due_ms) next = &entry;
    }
    if (next == nullptr) break;
    next->second.in_flight = true;
    ++in_flight_;
    const uint64_t serial = next->second.wanted_ms;
    lookup_(next->first, [this, alive = alive_, name = next->first, serial](Answer answer) {
      if (*alive) on_answer(name, serial, std::move(answer));
    });
  }
  arm();
}

void Names::arm() {
  const uint64_t now = monotonic_ms();
  uint64_t due = std::numeric_limits<uint64_t>::max();
  for (const auto& [name, entry] : entries_) {
    if (!entry.in_flight && in_flight_ < kMaxInFlight) due = std::min(due, entry.due_ms);
    if (!entry.answered && !was_settled_) due = std::min(due, entry.wanted_ms + timings_.settle_ms);
  }
  if (due == std::numeric_limits<uint64_t>::max()) return;
  timer_.expires_after(std::chrono::milliseconds(due > now ? due - now : 0));
  timer_.async_wait([this, alive = alive_](const boost::system::error_code& error) {
    if (error || !*alive) return;
    if (!std::exchange(was_settled_, settled()) && was_settled_) on_settled_();
    ask();
  });
}

void Names::on_answer(const std::string& name, uint64_t serial, Answer answer) {
  --in_flight_;
  const auto found = entries_.find(name);
  if (found != entries_.end() && found->second.wanted_ms == serial && found->second.in_flight) {
    Entry& entry = found->second;
    entry.in_flight = false;
    entry.answered = true;
    store::ResolvedName now;
    if (answer && !answer->empty()) {
      entry.failures = 0;
      now.addresses = std::move(*answer);
      std::ranges::sort(now.addresses);
      const auto same = std::ranges::unique(now.addresses);
      now.addresses.erase(same.begin(), same.end());
      if (now.addresses.size() > kMaxAddresses) now.addresses.resize(kMaxAddresses);
    } else {
      ++entry.failures;
      if (entry.told) now.addresses = entry.told->addresses;  // the last good ones
      now.error = answer ? std::string("has no address") : answer.error().message;
    }
    const uint64_t doubled = timings_.retry_ms << std::min<uint64_t>(entry.failures - (entry.failures > 0 ? 1 : 0), 10);
    entry.due_ms =
        monotonic_ms() + (entry.failures == 0 ? timings_.refresh_ms : std::min(doubled, timings_.retry_cap_ms));
    tell(name, entry, std::move(now));
  }
  if (!std::exchange(was_settled_, settled()) && was_settled_) on_settled_();
  ask();
}

void Names::tell(const std::string& name, Entry& entry, store::ResolvedName now) {
  if (entry.told && *entry.told == now) return;
  entry.told = std::make_shared<const store::ResolvedName>(std::move(now));
  changed_(name, entry.told);
}

}  // namespace sluice::resolve
