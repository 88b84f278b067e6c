// The two values by which a WebSocket handshake over HTTP/1.1 is recognised (RFC 6455 4.1, 4.2.2).
#pragma once
#include <cstddef>
#include <span>
#include <string_view>

namespace sluice::net {

inline constexpr size_t kWebSocketAccept = 28;

// Sec-WebSocket-Accept for a Sec-WebSocket-Key: base64 of the SHA-1 of key and GUID.
void websocket_accept(std::string_view key, std::span<char, kWebSocketAccept> out);

}  // namespace sluice::net
