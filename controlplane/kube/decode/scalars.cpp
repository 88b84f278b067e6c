// Text forms inside Kubernetes objects: durations, times, base64, DNS names. Each accepts the whole text or nothing.
#include <array>
#include <limits>

#include "controlplane/kube/decode/json_node.h"

namespace sluice::kube {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// Days since 1970-01-01 of a proleptic Gregorian date.
int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2 ? 1 : 0;
  const int64_t era = year / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

// Reads exactly `count` digits at `at`.
std::optional<int64_t> digits(std::string_view text, size_t at, size_t count) {
  if (at + count > text.size()) return std::nullopt;
  int64_t out = 0;
  for (size_t i = at; i < at + count; ++i) {
    if (!digit(text[i])) return std::nullopt;
    out = out * 10 + (text[i] - '0');
  }
  return out;
}

}  // namespace

std::optional<uint32_t> parse_duration_ms(std::string_view text) {
  uint64_t total = 0;
  size_t at = 0;
  int groups = 0;
  if (text.empty()) return std::nullopt;
  while (at < text.size()) {
    uint64_t value = 0;
    size_t count = 0;
    while (at < text.size() && digit(text[at])) {
      value = value * 10 + static_cast<uint64_t>(text[at++] - '0');
      if (++count > 5) return std::nullopt;
    }
    if (count == 0 || ++groups > 4) return std::nullopt;
    const std::string_view rest = text.substr(at);
    if (rest.starts_with("ms")) {
      at += 2;
    } else if (rest.starts_with('h')) {
      value *= 3'600'000, at += 1;
    } else if (rest.starts_with('m')) {
      value *= 60'000, at += 1;
    } else if (rest.starts_with('s')) {
      value *= 1'000, at += 1;
    } else {
      return std::nullopt;
    }
    total += value;
  }
  if (total > std::numeric_limits<uint32_t>::max()) return std::nullopt;
  return static_cast<uint32_t>(total);
}

std::optional<int64_t> parse_rfc3339(std::string_view text) {
  if (text.size() < 20 || text.size() > 40) return std::nullopt;
  const auto year = digits(text, 0, 4), month = digits(text, 5, 2), day = digits(text, 8, 2);
  const auto hour = digits(text, 11, 2), minute = digits(text, 14, 2), second = digits(text, 17, 2);
  if (!year || !month || !day || !hour || !minute || !second) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != 'T' && text[10] != 't') || text[13] != ':' || text[16] != ':')
    return std::nullopt;
  if (*month < 1 || *month > 12 || *day < 1 || *day > 31 || *hour > 23 || *minute > 59 || *second > 60)
    return std::nullopt;
  size_t at = 19;
  if (text[at] == '.') {
    const size_t first = ++at;
    while (at < text.size() && digit(text[at])) ++at;
    if (at == first) return std::nullopt;
  }
  if (at >= text.size()) return std::nullopt;
  int64_t offset = 0;
  if (text[at] == 'Z' || text[at] == 'z') {
    if (at + 1 != text.size()) return std::nullopt;
  } else if (text[at] == '+' || text[at] == '-') {
    const auto hours = digits(text, at + 1, 2), minutes = digits(text, at + 4, 2);
    if (!hours || !minutes || at + 6 != text.size() || text[at + 3] != ':') return std::nullopt;
    offset = (*hours * 60 + *minutes) * 60 * (text[at] == '+' ? 1 : -1);
  } else {
    return std::nullopt;
  }
  return days_from_civil(*year, *month, *day) * 86400 + *hour * 3600 + *minute * 60 + *second - offset;
}

std::optional<std::string> parse_base64(std::string_view text) {
  static constexpr auto kValues = [] {
    std::array<int8_t, 256> table{};
    table.fill(-1);
    const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < alphabet.size(); ++i)
      table[static_cast<unsigned char>(alphabet[i])] = static_cast<int8_t>(i);
    return table;
  }();
  std::string out;
  out.reserve(text.size() / 4 * 3);
  uint32_t group = 0;
  int count = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r') continue;
    if (c == '=') {
      // Padding ends the text: "xx==" or "xxx=".
      if (count + padding < 2 || count + ++padding > 4) return std::nullopt;
      continue;
    }
    const int8_t value = kValues[static_cast<unsigned char>(c)];
    if (value < 0 || padding > 0) return std::nullopt;
    group = group << 6 | static_cast<uint32_t>(value);
    if (++count == 4) {
      out += {static_cast<char>(group >> 16), static_cast<char>(group >> 8), static_cast<char>(group)};
      group = 0, count = 0;
    }
  }
  if (count == 0) return padding == 0 ? std::optional(out) : std::nullopt;
  if (count + padding != 4) return std::nullopt;
  group <<= 6 * padding;
  out += static_cast<char>(group >> 16);
  if (padding == 1) out += static_cast<char>(group >> 8);
  return out;
}

bool is_dns_label(std::string_view text) {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  for (const char c : text) {
    if (!(c >= 'a' && c <= 'z') && !digit(c) && c != '-') return false;
  }
  return true;
}

bool is_dns_subdomain(std::string_view text, size_t max) {
  if (text.empty() || text.size() > max) return false;
  for (size_t begin = 0;;) {
    const size_t dot = text.find('.', begin);
    const std::string_view label = text.substr(begin, dot == std::string_view::npos ? dot : dot - begin);
    // Unlike a host name's, a subdomain's label has no limit of 63 in Kubernetes.
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    for (const char c : label) {
      if (!(c >= 'a' && c <= 'z') && !digit(c) && c != '-') return false;
    }
    if (dot == std::string_view::npos) return true;
    begin = dot + 1;
  }
}

}  // namespace sluice::kube
