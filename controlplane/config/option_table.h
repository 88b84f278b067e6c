// Every key of the config file, once: name, type, default as text, what it does, and how a value gets into Options. The
// loader, the "nearest name" of an unknown key and docs/reference/configuration.md are all made from this table.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "controlplane/config/options.h"

namespace sluice::config {

enum class ValueType : uint8_t { boolean, integer, duration, size, text, text_list };

// A value as read, already of the row's type. Durations are milliseconds, sizes bytes.
struct Value {
  uint64_t number = 0;
  std::string text;
  std::vector<std::string> list;
};

struct OptionRow {
  std::string_view key;  // "timeouts.requestHeader"
  ValueType type;
  std::string_view standard;  // the default, for people
  std::string_view doc;
  Status (*apply)(const Value&, Options&);
};

[[nodiscard]] std::span<const OptionRow> option_table();

// "10s", "500ms", "2m", "1h" or a bare 0; at most 24 h.
[[nodiscard]] Result<uint64_t> parse_duration(std::string_view text);
// "512", "64Ki", "1Mi", "2Gi".
[[nodiscard]] Result<uint64_t> parse_size(std::string_view text);
// "10.0.0.0/8", "2001:db8::/32", or a single address.
[[nodiscard]] Result<ir::CidrT> parse_cidr(std::string_view text);
// "NAMESPACE/NAME".
[[nodiscard]] Result<store::ObjectKey> parse_key(std::string_view text);
// An IP address or a DNS name (RFC 1123 subdomain), as a status may tell them.
[[nodiscard]] Result<PublishedAddress> parse_published(std::string_view text);
[[nodiscard]] std::string_view type_name(ValueType type);
// docs/reference/configuration.md, written by hack/gen-docs.
[[nodiscard]] std::string reference_markdown();

}  // namespace sluice::config
