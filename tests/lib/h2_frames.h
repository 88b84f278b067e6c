// HTTP/2 frames (RFC 9113 4.1) and header blocks without compression (RFC 7541 6.2.2), written and read by hand: for
// tests that say what no well-behaved peer would.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::tests::h2 {

enum Type : uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
  kPriorityUpdate = 16,
};
enum Flag : uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8 };

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string number(uint64_t value, int bytes = 4) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
  return out;
}
inline uint32_t number_at(std::string_view text, size_t at, size_t bytes = 4) {
  uint32_t value = 0;
  for (size_t i = at; i < at + bytes && i < text.size(); ++i) value = value << 8 | static_cast<uint8_t>(text[i]);
  return value;
}

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out = number(payload.size(), 3);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  return out.append(number(stream)).append(payload);
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

// Literals without indexing, with new names, without Huffman coding.
inline std::string block(const Pairs& fields) {
  auto text = [](std::string& out, const std::string& of) {
    size_t size = of.size();
    if (size < 127) {
      out += static_cast<char>(size);
    } else {
      out += '\x7F';
      for (size -= 127; size >= 128; size /= 128) out += static_cast<char>(size % 128 | 128);
      out += static_cast<char>(size);
    }
    out += of;
  };
  std::string out;
  for (const auto& [name, value] : fields) {
    out += '\0';
    text(out, name);
    text(out, value);
  }
  return out;
}
inline std::string headers(uint32_t stream, const Pairs& fields, bool end) {
  return frame(kHeaders, static_cast<uint8_t>(kEndHeaders | (end ? kEndStream : 0)), stream, block(fields));
}
inline std::string data(uint32_t stream, std::string_view bytes, bool end) {
  return frame(kData, end ? kEndStream : 0, stream, bytes);
}
inline std::string rst(uint32_t stream, uint32_t code) { return frame(kRstStream, 0, stream, number(code)); }
inline std::string window(uint32_t stream, uint32_t by) { return frame(kWindowUpdate, 0, stream, number(by)); }
// An entry of SETTINGS.
inline std::string setting(uint16_t id, uint32_t value) { return number(id, 2) + number(value); }
inline std::string settings(const std::vector<std::pair<uint16_t, uint32_t>>& entries = {}) {
  std::string payload;
  for (const auto& [id, value] : entries) payload += setting(id, value);
  return frame(kSettings, 0, 0, payload);
}
inline std::string goaway(uint32_t last, uint32_t code = 0) {
  return frame(kGoaway, 0, 0, number(last) + number(code));
}

struct Frame {
  uint8_t type = 0, flags = 0;
  uint32_t stream = 0;
  std::string payload;
};
// All whole frames; what is left over stays in `text`.
inline std::vector<Frame> take_frames(std::string& text) {
  std::vector<Frame> out;
  size_t at = 0;
  while (text.size() - at >= 9) {
    const size_t length = number_at(text, at, 3);
    if (text.size() - at - 9 < length) break;
    out.push_back({static_cast<uint8_t>(text[at + 3]), static_cast<uint8_t>(text[at + 4]),
                   number_at(text, at + 5) & 0x7FFFFFFFu, text.substr(at + 9, length)});
    at += 9 + length;
  }
  text.erase(0, at);
  return out;
}

}  // namespace sluice::tests::h2
