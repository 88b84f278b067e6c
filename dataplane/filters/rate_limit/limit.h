// One limit of a route, prepared: which requests it counts, by which bucket, at which rate. Made once a route; holds
// views into the virtual host's bytes, which live as long. Takes no tokens itself.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/message.h"
#include "dataplane/shared/buckets.h"
#include "dataplane/shared/counters.h"

namespace sluice::filters::rate_limit {

// An address or a mask as two numbers, in network byte order read as big-endian.
struct Address {
  uint64_t high = 0, low = 0;
  [[nodiscard]] static Address of(const std::array<uint8_t, 16>& bytes);
  [[nodiscard]] static Address mask(unsigned bits);  // of 128
  [[nodiscard]] bool is_v4() const { return high == 0 && low >> 32 == 0xffff; }
  [[nodiscard]] Address operator&(const Address& other) const { return {high & other.high, low & other.low}; }
  bool operator==(const Address&) const = default;
};

class Limit {
 public:
  // Nothing if it is not as the schema says.
  [[nodiscard]] static std::optional<Limit> prepare(const ir::Limit& config, const shared::Buckets& buckets,
                                                    shared::CounterPage& counters);

  // The bucket that counts this request; nothing if the limit does not count it.
  [[nodiscard]] std::optional<uint64_t> bucket_of(const http::RequestHead& head, const Address& client) const;

  [[nodiscard]] const shared::BucketRate& rate() const { return rate_; }
  [[nodiscard]] std::string_view id() const { return id_; }
  [[nodiscard]] bool shadow() const { return shadow_; }
  [[nodiscard]] uint32_t burst() const { return burst_; }
  [[nodiscard]] shared::LimitSlot& counters() const { return *counters_; }
  // "NAME";q=BURST;w=SECONDS (draft-ietf-httpapi-ratelimit-headers-11 section 3.1)
  [[nodiscard]] std::string_view policy() const { return policy_; }
  // "NAME";r=
  [[nodiscard]] std::string_view left_prefix() const { return left_prefix_; }

 private:
  struct Key {
    ir::LimitKeyKind kind{};
    std::string_view name;
    http::Token token = http::Token::none;
    Address mask_v4, mask_v6;
  };
  struct Network {
    Address address, mask;
  };
  Limit() = default;
  [[nodiscard]] static std::optional<Key> prepare_key(const ir::LimitKey& config, shared::SipHash& hash);

  shared::BucketRate rate_;
  shared::SipHash hash_;  // of what all its buckets have in common
  std::vector<Key> keys_;
  std::vector<Network> exempt_;
  std::string_view id_;
  std::string policy_, left_prefix_;
  shared::LimitSlot* counters_ = nullptr;
  uint32_t burst_ = 0;
  bool skip_missing_ = false, shadow_ = false;
};

// The first cookie of that name in any Cookie field (RFC 6265 section 4.2.1), without spaces around it; nothing if
// there is none. Case-sensitive.
[[nodiscard]] std::optional<std::string_view> cookie(const http::Fields& fields, std::string_view name);

}  // namespace sluice::filters::rate_limit
