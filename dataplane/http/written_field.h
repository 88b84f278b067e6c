// What a codec writes of a message's fields: not what it makes itself, and nothing that a filter made unwritable.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "dataplane/http/chars.h"
#include "dataplane/http/message.h"

namespace sluice::http {

enum class Written : uint8_t { request, response, trailers };

// Whether codecs make this field themselves, or it means something for one connection only (RFC 9110 7.6.1).
inline bool is_made_by_codec(Token token, Written kind) {
  switch (token) {
    case Token::connection:
    case Token::content_length:
    case Token::transfer_encoding:
    case Token::keep_alive:
    case Token::proxy_connection:
    case Token::upgrade:
    case Token::http2_settings:
    case Token::te:
      return true;
    case Token::host:
      return kind != Written::response;
    default:
      return false;
  }
}

// `token`: of the field's name.
inline bool is_written(const Field& field, Token token, Written kind) {
  return !is_made_by_codec(token, kind) && chars::is_token(field.name) && chars::is_field_value(field.value);
}

// Whether a host may be written as it is; a filter may have put anything there.
inline bool is_written_host(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return chars::is(c, chars::kHost) || c == '[' || c == ']' || c == ':'; });
}

// A path (chars::kPath) or query (chars::kQuery) that needs no escaping.
inline bool is_written_target(std::string_view text, uint8_t allowed) {
  uint8_t all = allowed;
  for (const char c : text) all &= chars::kClass[static_cast<unsigned char>(c)] | (c == '%' ? allowed : 0);
  return all != 0;
}

// `put(piece)` for each byte of it: what no target may hold is percent-encoded.
template <class Put>
void write_escaped(std::string_view text, uint8_t allowed, Put&& put) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    const char escape[3] = {'%', kHex[u >> 4], kHex[u & 15]};
    put(chars::is(c, allowed) || c == '%' ? std::string_view(&c, 1) : std::string_view(escape, 3));
  }
}

}  // namespace sluice::http
