#include "dataplane/net/websocket_key.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

namespace sluice::net {
namespace {

TEST(WebSocketKey, TheExampleOfTheRfc) {
  std::array<char, kWebSocketAccept> out{};
  websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", out);  // RFC 6455 1.3
  EXPECT_EQ(std::string(out.data(), out.size()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketKey, AnyLengthIsBounded) {
  std::array<char, kWebSocketAccept> out{};
  websocket_accept(std::string(100'000, 'k'), out);
  EXPECT_EQ(out.back(), '=');
}

}  // namespace
}  // namespace sluice::net
