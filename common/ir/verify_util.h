// Checks shared by verify.cpp and verify_route.cpp. Internal to the room.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "common/ir/route_table_generated.h"
#include "common/ir/table_view.h"
#include "common/ir/verify.h"

namespace sluice::ir::check {

// An absent string is an empty one: flatbuffers' object API writes it so.
inline std::string_view view(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view{} : std::string_view(text->data(), text->size());
}

template <class T>
size_t count(const flatbuffers::Vector<T>* list) {
  return list == nullptr ? 0 : list->size();
}

// Bytes that would end a line of HTTP or a C string.
inline bool has_control(std::string_view text) {
  for (const char c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F) return true;
  }
  return false;
}

// RFC 9110 section 5.6.2.
inline bool is_token(std::string_view text) {
  static constexpr std::string_view kOther = "!#$%&'*+-.^_`|~";
  if (text.empty()) return false;
  for (const char c : text) {
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (!alnum && kOther.find(c) == std::string_view::npos) return false;
  }
  return true;
}

inline Status text(std::string_view name, std::string_view value, size_t max, bool required = false) {
  if (required && value.empty()) return fail("{} is missing", name);
  if (value.size() > max) return fail("{} has {} bytes, more than {}", name, value.size(), max);
  if (has_control(value)) return fail("{} has a control character", name);
  return {};
}
inline Status text(std::string_view name, const flatbuffers::String* value, size_t max, bool required = false) {
  return text(name, view(value), max, required);
}

// Binary search needs it: keys in byte order, each once, none absent, none with a NUL (lookups compare as C strings).
template <class Table, class Key>
Status sorted(std::string_view what, const flatbuffers::Vector<flatbuffers::Offset<Table>>* list, size_t max_bytes,
              Key key) {
  std::string_view before;
  for (size_t i = 0; i < count(list); ++i) {
    const std::string_view here = view(key(*list->Get(static_cast<flatbuffers::uoffset_t>(i))));
    if (Status ok = text(what, here, max_bytes); !ok) return ok;
    if (i > 0 && !(before < here)) return fail("{} '{}' after '{}': not sorted, or twice", what, here, before);
    before = here;
  }
  return {};
}

[[nodiscard]] inline Status at(const std::string& where, const Status& status) {
  return fail("{}: {}", where, status.error().message);
}

// verify_route.cpp
[[nodiscard]] Status cidrs(std::string_view what, const flatbuffers::Vector<flatbuffers::Offset<Cidr>>* list);
[[nodiscard]] Status direct_response(const DirectResponse& response);
[[nodiscard]] Status origin(const Origin* origin);
[[nodiscard]] Status virtual_host(const VirtualHost& host);
[[nodiscard]] Status clusters_exist(const VirtualHost& host, const TableView& table);

}  // namespace sluice::ir::check
