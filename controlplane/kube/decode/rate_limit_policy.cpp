// sluice.dev/v1alpha1 RateLimitPolicy. Bounds and defaults are those of crds/sluice.dev_ratelimitpolicies.yaml (a test
// compares them). Whatever of the limits cannot be read makes the policy `invalid`: it still says whom it guards, and
// translation closes that.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

constexpr int64_t kMaxTokens = 1'000'000;
constexpr uint32_t kMinPeriodMs = 1000, kMaxPeriodMs = 86'400'000;

void decode_target(const JsonNode& node, store::PolicyTarget& out) {
  if (!node.has("group")) node.error("group", "is required");
  out.group = node.string("group", kMaxName);
  out.kind = node.string("kind", 63, Need::required);
  out.name = node.string("name", kMaxName, Need::required);
  out.section_name = node.string("sectionName", kMaxName);
}

void decode_targets(const JsonNode& spec, std::vector<store::PolicyTarget>& out) {
  spec.each(
      "targetRefs", 16, [&](const JsonNode& node) { decode_target(node, out.emplace_back()); },
      [&](bool was_read) {
        if (was_read) out.pop_back();
        out.emplace_back();
      },
      Need::required);
  // It guards nothing that anybody knows.
  const auto readable = [](const store::PolicyTarget& target) { return !target.name.empty(); };
  if (!out.empty() && std::ranges::none_of(out, readable)) spec.context().failed = true;
}

void decode_key(const JsonNode& node, store::LimitKey& out) {
  constexpr std::array<std::string_view, 6> kTypes = {"ClientIP", "Header", "Cookie", "Method", "Path", "Host"};
  const int type =
      node.choice("type", {kTypes[0], kTypes[1], kTypes[2], kTypes[3], kTypes[4], kTypes[5]}, 0, Need::required);
  if (type < 0) return;
  out.type = static_cast<store::LimitKeyType>(type);
  const bool named = out.type == store::LimitKeyType::header || out.type == store::LimitKeyType::cookie;
  out.name = node.string("name", 256, named ? Need::required : Need::optional);
  if (!named && node.has("name"))
    node.error("name", fmt::format("does not belong to type {}", kTypes[static_cast<size_t>(type)]));
  const auto prefix = [&](std::string_view key, int64_t longest, uint8_t& to) {
    if (out.type != store::LimitKeyType::client_ip && node.has(key)) node.error(key, "belongs to type ClientIP only");
    to = static_cast<uint8_t>(node.integer(key, 1, longest, to));
  };
  prefix("ipv4PrefixLength", 32, out.ipv4_prefix_length);
  prefix("ipv6PrefixLength", 128, out.ipv6_prefix_length);
}

void decode_limit(const JsonNode& node, store::RateLimit& out) {
  out.name = node.string("name", 63, Need::required);
  if (!out.name.empty() && !is_dns_label(out.name))
    node.error("name", "must be a DNS label: lower case letters, digits and '-'");
  out.requests = static_cast<uint32_t>(node.integer("requests", 1, kMaxTokens, 1, Need::required));
  out.burst = static_cast<uint32_t>(node.integer("burst", 1, kMaxTokens, out.requests));
  if (const auto per = node.duration_ms("per")) {
    out.per_ms = *per;
    if (*per < kMinPeriodMs || *per > kMaxPeriodMs) node.error("per", "must be between 1s and 24h");
  }
  if (!node.has("keys")) out.keys.emplace_back();  // an empty list: one bucket for all
  node.each(
      "keys", 4, [&](const JsonNode& key) { decode_key(key, out.keys.emplace_back()); },
      [&](bool) { node.context().failed = true; });
  out.skip_missing = node.choice("whenMissing", {"Count", "Skip"}, 0) == 1;
}

// Their names are what buckets are found again by.
void decode_limits(const JsonNode& spec, store::RateLimitPolicy& out) {
  spec.each(
      "limits", 8,
      [&](const JsonNode& node) {
        store::RateLimit limit;
        decode_limit(node, limit);
        const auto same = [&](const store::RateLimit& other) { return other.name == limit.name; };
        if (!limit.name.empty() && std::ranges::any_of(out.limits, same))
          node.error("name", fmt::format("\"{}\" is the name of another limit", limit.name));
        out.limits.push_back(std::move(limit));
      },
      [&](bool) { spec.context().failed = true; }, Need::required);
}

}  // namespace

void decode_kind(const JsonNode& object, store::RateLimitPolicy& out) {
  object.object(
      "spec",
      [&](const JsonNode& spec) {
        decode_targets(spec, out.target_refs);
        out.invalid = !spec.alone([&] {
          decode_limits(spec, out);
          out.shadow = spec.choice("mode", {"Enforce", "Shadow"}, 0) == 1;
        });
        // An exemption that cannot be read exempts nobody, and fields are only told: neither opens anything.
        (void)spec.alone([&] {
          spec.object("exempt",
                      [&](const JsonNode& exempt) { out.exempt_cidrs = exempt.strings_each("cidrs", 64, 64); });
        });
        (void)spec.alone([&] {
          const int fields = spec.choice("responseFields", {"Standard", "Legacy", "Both", "None"}, 0);
          if (fields >= 0) out.response_fields = static_cast<store::ResponseFields>(fields);
        });
      },
      Need::required);
}

}  // namespace sluice::kube
