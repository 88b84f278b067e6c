#include "controlplane/status/election.h"

#include <fmt/format.h>

#include "controlplane/status/json_text.h"
#include "controlplane/status/object_status.h"

namespace sluice::status {
namespace {
using nlohmann::json;
}  // namespace

std::string micro_time(int64_t wall_us) {
  std::string seconds = rfc3339(wall_us / 1'000'000);
  seconds.pop_back();
  return fmt::format("{}.{:06}Z", seconds, wall_us % 1'000'000);
}

bool Election::due(uint64_t now_ms) {
  if (asking_ || now_ms < next_ms_) return false;
  asking_ = true;
  asked_ms_ = now_ms;
  return true;
}

std::optional<Election::Write> Election::read(uint64_t now_ms, int64_t wall_us, int status, const std::string& body) {
  const auto rest = [&](uint64_t ms) -> std::optional<Write> {
    asking_ = false;
    next_ms_ = now_ms + ms;
    return std::nullopt;
  };
  const std::string now = micro_time(wall_us);
  json spec{{"holderIdentity", identity_},
            {"leaseDurationSeconds", kLeaseMs / 1000},
            {"acquireTime", now},
            {"renewTime", now},
            {"leaseTransitions", 0}};
  if (status == 404) {
    holder_.clear();
    held_ = false;
    return Write{true, dumped({{"apiVersion", "coordination.k8s.io/v1"},
                               {"kind", "Lease"},
                               {"metadata", {{"name", name_}, {"namespace", ns_}}},
                               {"spec", spec}})};
  }
  json lease = json::parse(body, nullptr, false);
  if (status != 200 || !lease.is_object()) return rest(kRetryMs);
  holder_ = text(part(lease, "spec"), "holderIdentity");
  std::string seen =
      holder_ + "\n" + text(part(lease, "spec"), "renewTime") + "\n" + text(part(lease, "metadata"), "resourceVersion");
  if (seen != seen_) {
    seen_ = std::move(seen);
    seen_ms_ = now_ms;
  }
  const bool mine = holder_ == identity_;
  if (!mine) held_ = false;
  if (!mine && !holder_.empty() && now_ms - seen_ms_ < kLeaseMs) return rest(kRetryMs);
  const json old = part(lease, "spec");
  const auto before = old.find("leaseTransitions");
  int64_t transitions = before != old.end() && before->is_number_integer() ? before->get<int64_t>() : 0;
  if (mine) spec["acquireTime"] = old.value("acquireTime", json(now));
  else if (transitions < INT32_MAX) ++transitions;
  spec["leaseTransitions"] = transitions;
  lease["spec"] = spec;
  return Write{false, dumped(lease)};
}

void Election::written(uint64_t now_ms, int status, const std::string& body) {
  asking_ = false;
  if (status == 200 || status == 201) {
    if (!held_) holder_ = identity_;
    held_ = true;
    renewed_ms_ = asked_ms_;  // the earliest moment at which others may have seen the renewal
    last_ = body;
    next_ms_ = now_ms + kRenewEveryMs;
    return;
  }
  // Somebody was quicker: it is theirs.
  if (status == 409) held_ = false;
  next_ms_ = now_ms + kRetryMs;
}

std::optional<std::string> Election::release(int64_t wall_us) {
  if (!held_) return std::nullopt;
  held_ = false;
  json lease = json::parse(last_, nullptr, false);
  if (!lease.is_object() || !lease.contains("spec") || !lease["spec"].is_object()) return std::nullopt;
  lease["spec"]["holderIdentity"] = "";
  lease["spec"]["renewTime"] = micro_time(wall_us);
  return dumped(lease);
}

}  // namespace sluice::status
