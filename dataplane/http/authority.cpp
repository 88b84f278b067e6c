#include "dataplane/http/authority.h"

#include <arpa/inet.h>

#include <cstring>

#include "dataplane/http/chars.h"

namespace sluice::http {
namespace {

constexpr Authority kBad{Reason::bad_host, {}, 0};

// 1..65535 without leading zeros; 0 = bad.
uint16_t parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text.front() == '0') return 0;
  uint32_t value = 0;
  for (const char c : text) {
    if (!chars::is_digit(static_cast<unsigned char>(c))) return 0;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value <= 65535 ? static_cast<uint16_t>(value) : 0;
}

bool is_ipv4(std::string_view text) {
  int parts = 0;
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (part.empty() || part.size() > 3 || (part.size() > 1 && part.front() == '0')) return false;
    int value = 0;
    for (const char c : part) {
      if (!chars::is_digit(static_cast<unsigned char>(c))) return false;
      value = value * 10 + (c - '0');
    }
    if (value > 255) return false;
    ++parts;
    if (dot == std::string_view::npos) return parts == 4;
    if (parts == 4) return false;
    text.remove_prefix(dot + 1);
  }
}

// Resolvers and browsers read a name whose last label is a number as IPv4, in forms like 127.1 or 0x7f.1: only the
// dotted quad is taken.
bool is_number(std::string_view label) {
  if (label.size() >= 2 && label[0] == '0' && (label[1] | 0x20) == 'x') {
    for (const char c : label.substr(2)) {
      if (chars::hex_value(c) < 0) return false;
    }
    return true;
  }
  for (const char c : label) {
    if (!chars::is_digit(static_cast<unsigned char>(c))) return false;
  }
  return true;
}

// "[...]" canonical, or empty.
std::string_view parse_ipv6(std::string_view inside, Arena& arena) {
  char text[INET6_ADDRSTRLEN] = {};
  if (inside.empty() || inside.size() >= sizeof text) return {};
  for (const char c : inside) {
    if (chars::hex_value(c) < 0 && c != ':' && c != '.') return {};
  }
  std::memcpy(text, inside.data(), inside.size());
  in6_addr address{};
  if (inet_pton(AF_INET6, text, &address) != 1) return {};
  char canonical[INET6_ADDRSTRLEN + 2] = "[";
  if (inet_ntop(AF_INET6, &address, canonical + 1, INET6_ADDRSTRLEN) == nullptr) return {};
  const size_t size = std::strlen(canonical);
  canonical[size] = ']';
  return arena.copy({canonical, size + 1});
}

}  // namespace

Authority parse_authority(std::string_view raw, Arena& arena) {
  if (raw.empty()) return kBad;
  Authority out;
  std::string_view rest;
  if (raw.front() == '[') {
    const size_t close = raw.find(']');
    if (close == std::string_view::npos) return kBad;
    out.host = parse_ipv6(raw.substr(1, close - 1), arena);
    if (out.host.empty()) return kBad;
    rest = raw.substr(close + 1);
  } else {
    size_t label = 0;  // where the last label starts
    size_t i = 0;
    bool upper = false;
    for (; i < raw.size() && chars::is(raw[i], chars::kHost); ++i) {
      const char c = raw[i];
      upper |= c >= 'A' && c <= 'Z';
      if (c != '.') continue;
      if (i == label || i - label > 63) return kBad;
      if (i + 1 < raw.size() && raw[i + 1] != ':') label = i + 1;
    }
    rest = raw.substr(i);
    std::string_view host = raw.substr(0, i);
    if (!host.empty() && host.back() == '.') host.remove_suffix(1);
    if (host.size() <= label || host.size() > 253 || host.size() - label > 63) return kBad;
    if (is_number(host.substr(label)) && !is_ipv4(host)) return kBad;
    if (upper) {
      auto* copy = static_cast<char*>(arena.allocate(host.size(), 1));
      for (size_t k = 0; k < host.size(); ++k) copy[k] = chars::lower(host[k]);
      host = {copy, host.size()};
    }
    out.host = host;
  }
  if (!rest.empty()) {
    if (rest.front() != ':') return kBad;
    out.port = parse_port(rest.substr(1));
    if (out.port == 0) return kBad;
  }
  return out;
}

}  // namespace sluice::http
