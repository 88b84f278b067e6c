#include "dataplane/filters/rate_limit/limit.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/filters/header_edits.h"
#include "dataplane/http/chars.h"

namespace sluice::filters::rate_limit {
namespace {

// In the place of a value that a request lacks; no text has this length.
constexpr uint64_t kMissing = ~uint64_t{0};

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_named(const http::Field& field, std::string_view name, http::Token token) {
  return token != http::Token::none
             ? field.token == token
             : field.token == http::Token::none && http::chars::equal_without_case(field.name, name);
}

// Lines of one name are one value, joined by ", " (RFC 9110 section 5.3): who repeats a field gets no other bucket than
// who joins it.
std::optional<std::string_view> header(const http::Fields& fields, std::string_view name, http::Token token) {
  const http::Field* first = nullptr;
  size_t lines = 0, size = 0;
  for (const http::Field& field : fields.all()) {
    if (!is_named(field, name, token)) continue;
    if (lines++ == 0) first = &field;
    size += field.value.size() + 2;
  }
  if (lines == 0) return std::nullopt;
  if (lines == 1) return first->value;
  char* const begin = static_cast<char*>(fields.arena().allocate(size, 1));
  char* at = begin;
  for (const http::Field& field : fields.all()) {
    if (!is_named(field, name, token)) continue;
    at = std::copy(field.value.begin(), field.value.end(), at);
    *at++ = ',';
    *at++ = ' ';
  }
  return std::string_view(begin, static_cast<size_t>(at - begin) - 2);
}

uint64_t seconds_of_a_bucket(const ir::Limit& config) {
  const uint64_t thousandths = uint64_t{config.requests()} * 1000;
  return std::max<uint64_t>((uint64_t{config.burst()} * config.per_ms() + thousandths - 1) / thousandths, 1);
}

}  // namespace

Address Address::of(const std::array<uint8_t, 16>& bytes) {
  Address address;
  for (size_t i = 0; i < 8; ++i) {
    address.high = address.high << 8 | bytes[i];
    address.low = address.low << 8 | bytes[8 + i];
  }
  return address;
}

Address Address::mask(unsigned bits) {
  auto ones = [](unsigned count) { return count == 0 ? 0 : ~uint64_t{0} << (64 - std::min(count, 64u)); };
  return {ones(bits), ones(bits > 64 ? bits - 64 : 0)};
}

std::optional<std::string_view> cookie(const http::Fields& fields, std::string_view name) {
  for (const http::Field& field : fields.all()) {
    if (field.token != http::Token::cookie) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const size_t end = rest.find(';');
      const std::string_view pair = rest.substr(0, end);
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
      const size_t equals = pair.find('=');
      if (equals != std::string_view::npos && trim(pair.substr(0, equals)) == name)
        return trim(pair.substr(equals + 1));
    }
  }
  return std::nullopt;
}

std::optional<Limit::Key> Limit::prepare_key(const ir::LimitKey& config, shared::SipHash& hash) {
  Key key;
  key.kind = config.kind();
  key.name = view_of(config.name());
  switch (key.kind) {
    case ir::LimitKeyKind::ClientIp:
      if (config.ipv4_bits() > 32 || config.ipv6_bits() > 128) return std::nullopt;
      key.mask_v4 = Address::mask(96u + config.ipv4_bits());
      key.mask_v6 = Address::mask(config.ipv6_bits());
      hash.word(uint64_t{config.ipv4_bits()} << 8 | config.ipv6_bits());
      break;
    case ir::LimitKeyKind::Header:
      if (key.name.empty()) return std::nullopt;
      key.token = http::token_of(key.name);
      // Host is no field here (message.h).
      if (key.token == http::Token::host) key.kind = ir::LimitKeyKind::Host;
      break;
    case ir::LimitKeyKind::Cookie:
      if (key.name.empty()) return std::nullopt;
      break;
    case ir::LimitKeyKind::Method:
    case ir::LimitKeyKind::Path:
    case ir::LimitKeyKind::Host:
      break;
    default:
      return std::nullopt;
  }
  hash.word(static_cast<uint64_t>(key.kind));
  hash.text(key.name);
  return key;
}

std::optional<Limit> Limit::prepare(const ir::Limit& config, const shared::Buckets& buckets,
                                    shared::CounterPage& counters) {
  if (config.requests() == 0 || config.per_ms() == 0 || config.burst() == 0) return std::nullopt;
  Limit limit;
  limit.id_ = view_of(config.id());
  limit.rate_ = shared::BucketRate::of(config.requests(), config.per_ms(), config.burst());
  limit.burst_ = config.burst();
  limit.skip_missing_ = config.skip_missing();
  limit.shadow_ = config.shadow();
  limit.counters_ = &shared::limit_slot(counters, limit.id_);
  limit.policy_ = fmt::format("\"{}\";q={};w={}", view_of(config.name()), config.burst(), seconds_of_a_bucket(config));
  limit.left_prefix_ = fmt::format("\"{}\";r=", view_of(config.name()));
  // A limit that counts by something else from now on begins with new buckets; one with another rate keeps them.
  limit.hash_ = buckets.hash();
  limit.hash_.text(limit.id_);
  if (config.keys() != nullptr) {
    for (const ir::LimitKey* from : *config.keys()) {
      const std::optional<Key> key = prepare_key(*from, limit.hash_);
      if (!key) return std::nullopt;
      limit.keys_.push_back(*key);
    }
  }
  if (config.exempt() != nullptr) {
    for (const ir::Cidr* from : *config.exempt()) {
      if (from->address() == nullptr) return std::nullopt;
      const Address mask = Address::mask(from->bits());
      limit.exempt_.push_back({Address{from->address()->high(), from->address()->low()} & mask, mask});
    }
  }
  return limit;
}

std::optional<uint64_t> Limit::bucket_of(const http::RequestHead& head, const Address& client) const {
  for (const Network& network : exempt_) {
    if ((client & network.mask) == network.address) return std::nullopt;
  }
  shared::SipHash hash = hash_;
  for (const Key& key : keys_) {
    std::optional<std::string_view> value;
    switch (key.kind) {
      case ir::LimitKeyKind::ClientIp: {
        const Address shown = client & (client.is_v4() ? key.mask_v4 : key.mask_v6);
        hash.word(shown.high);
        hash.word(shown.low);
        continue;
      }
      case ir::LimitKeyKind::Header:
        value = header(head.fields, key.name, key.token);
        break;
      case ir::LimitKeyKind::Cookie:
        value = cookie(head.fields, key.name);
        break;
      case ir::LimitKeyKind::Method:
        value = head.method_name;
        break;
      case ir::LimitKeyKind::Path:
        value = head.path;
        break;
      case ir::LimitKeyKind::Host:
        value = head.host;
        break;
    }
    if (value) hash.text(*value);
    else if (skip_missing_) return std::nullopt;
    else hash.word(kMissing);
  }
  return hash.finish();
}

}  // namespace sluice::filters::rate_limit
