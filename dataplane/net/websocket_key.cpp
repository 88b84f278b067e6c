#include "dataplane/net/websocket_key.h"

#include <array>
#include <cstring>

#include <openssl/evp.h>

namespace sluice::net {

void websocket_accept(std::string_view key, std::span<char, kWebSocketAccept> out) {
  constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<char, 64 + kGuid.size()> text{};
  key = key.substr(0, 64);
  std::memcpy(text.data(), key.data(), key.size());
  std::memcpy(text.data() + key.size(), kGuid.data(), kGuid.size());
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  EVP_Digest(text.data(), key.size() + kGuid.size(), digest.data(), nullptr, EVP_sha1(), nullptr);
  std::array<unsigned char, kWebSocketAccept + 1> encoded{};  // with a zero at its end
  EVP_EncodeBlock(encoded.data(), digest.data(), 20);
  std::memcpy(out.data(), encoded.data(), kWebSocketAccept);
}

}  // namespace sluice::net
