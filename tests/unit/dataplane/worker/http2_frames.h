// A client's HTTP/2 (RFC 9113) by hand, for what a session would not say: frames to send, frames as they came.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::worker::testing {

enum class FrameType : uint8_t { data, headers, priority, rst_stream, settings, push, ping, goaway, window_update };

inline std::string frame(FrameType type, uint8_t flags, uint32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out.push_back(static_cast<char>(payload.size() >> shift));
  out.push_back(static_cast<char>(type));
  out.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(stream >> shift));
  return out.append(payload);
}

// A SETTINGS entry.
inline std::string setting(uint16_t id, uint32_t value) {
  std::string out;
  for (const int shift : {8, 0}) out.push_back(static_cast<char>(id >> shift));
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<char>(value >> shift));
  return out;
}

inline std::string preface(std::string_view settings = {}) {
  return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(FrameType::settings, 0, 0, settings);
}

// :method, :scheme http, :path /, :authority; nothing indexed.
inline std::string request(uint32_t stream, std::string_view host, bool post = false) {
  std::string head = post ? "\x83\x86\x84" : "\x82\x86\x84";
  head.push_back(0x01);
  head.push_back(static_cast<char>(host.size()));
  head.append(host);
  return frame(FrameType::headers, post ? 0x04 : 0x05, stream, head);
}

inline std::string ping() { return frame(FrameType::ping, 0, 0, "12345678"); }

struct Frame {
  FrameType type;
  uint8_t flags;
  uint32_t stream;
  std::string payload;
};
// The whole ones.
inline std::vector<Frame> frames(std::string_view bytes) {
  std::vector<Frame> out;
  auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  while (bytes.size() >= 9) {
    const size_t size = at(0) << 16 | at(1) << 8 | at(2);
    if (bytes.size() < 9 + size) break;
    out.push_back({static_cast<FrameType>(at(3)), static_cast<uint8_t>(at(4)),
                   at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8), std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return out;
}
// The last of a type on a stream; null if there is none. Of a vector that lives on.
inline const Frame* last_of(const std::vector<Frame>& list, FrameType type, uint32_t stream) {
  const Frame* found = nullptr;
  for (const Frame& one : list) {
    if (one.type == type && one.stream == stream) found = &one;
  }
  return found;
}
inline bool has(std::string_view bytes, FrameType type, uint32_t stream) {
  const std::vector<Frame> list = frames(bytes);
  return last_of(list, type, stream) != nullptr;
}

}  // namespace sluice::worker::testing
