#include <algorithm>
#include <cstring>
#include <memory>

#include "dataplane/http/chars.h"
#include "dataplane/http/message.h"

namespace sluice::http {
namespace {

constexpr size_t kTokens = static_cast<size_t>(Token::kCount);

// In the order of Token; lower case.
constexpr std::string_view kNames[kTokens] = {
    "",
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "expect",
    "cookie",
    "set-cookie",
    "user-agent",
    "referer",
    "accept",
    "accept-encoding",
    "content-type",
    "content-encoding",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "date",
    "server",
    "via",
    "location",
    "etag",
    "vary",
    "cache-control",
    "range",
    "origin",
    "traceparent",
    "tracestate",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-request-id",
    "forwarded",
    "retry-after",
    "max-forwards",
    "http2-settings",
};
constexpr size_t kMaxName = 19;

// A perfect hash of length and three characters, its multiplier found at compile time: one probe, one comparison.
constexpr size_t kSlots = 256;
constexpr uint32_t key_of(size_t size, unsigned char first, unsigned char before_last, unsigned char last) {
  return static_cast<uint32_t>(size) | static_cast<uint32_t>((first | 0x20) << 8) |
         static_cast<uint32_t>((before_last | 0x20) << 16) | static_cast<uint32_t>(last | 0x20) << 24;
}
constexpr uint32_t key_of(std::string_view name) {
  return key_of(name.size(), static_cast<unsigned char>(name[0]), static_cast<unsigned char>(name[name.size() - 2]),
                static_cast<unsigned char>(name[name.size() - 1]));
}
constexpr size_t slot_of(uint32_t key, uint32_t multiplier) { return (key * multiplier) >> 24; }

constexpr uint32_t find_multiplier() {
  for (uint32_t candidate = 0x9E3779B1u, tries = 0; tries < 20000;
       candidate = candidate * 1664525u + 1013904223u, ++tries) {
    bool used[kSlots] = {};
    bool good = true;
    for (size_t i = 1; i < kTokens && good; ++i) {
      bool& slot = used[slot_of(key_of(kNames[i]), candidate | 1)];
      good = !slot;
      slot = true;
    }
    if (good) return candidate | 1;
  }
  return 0;
}
constexpr uint32_t kMultiplier = find_multiplier();
static_assert(kMultiplier != 0, "no perfect hash found: raise kSlots");

struct Entry {
  uint8_t size = 0;
  Token token = Token::none;
  char name[kMaxName + 5] = {};  // padded with zeros to 24
  char fold[kMaxName + 5] = {};  // 0x20 where the name has a letter: only letters compare without case
};
constexpr std::array<Entry, kSlots> kTable = [] {
  std::array<Entry, kSlots> table{};
  for (size_t i = 1; i < kTokens; ++i) {
    Entry& entry = table[slot_of(key_of(kNames[i]), kMultiplier)];
    entry.size = static_cast<uint8_t>(kNames[i].size());
    entry.token = static_cast<Token>(i);
    for (size_t k = 0; k < kNames[i].size(); ++k) {
      entry.name[k] = kNames[i][k];
      entry.fold[k] = chars::is_alpha(static_cast<unsigned char>(kNames[i][k])) ? 0x20 : 0;
    }
  }
  return table;
}();

template <class Word>
bool same_at(const Entry& entry, const char* name, size_t at) {
  Word have, want, fold;
  std::memcpy(&have, name + at, sizeof have);
  std::memcpy(&want, entry.name + at, sizeof want);
  std::memcpy(&fold, entry.fold + at, sizeof fold);
  return (have | fold) == want;
}

bool same(const Entry& entry, const char* name, size_t size) {
  if (size >= 8) {
    for (size_t at = 0; at + 8 < size; at += 8) {
      if (!same_at<uint64_t>(entry, name, at)) return false;
    }
    return same_at<uint64_t>(entry, name, size - 8);
  }
  if (size >= 4) return same_at<uint32_t>(entry, name, 0) && same_at<uint32_t>(entry, name, size - 4);
  return same_at<uint16_t>(entry, name, 0) && same_at<uint8_t>(entry, name, size - 1);  // 2 or 3
}

bool same_spelling(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    const char x = a[i] == '_' ? '-' : chars::lower(a[i]);
    const char y = b[i] == '_' ? '-' : chars::lower(b[i]);
    if (x != y) return false;
  }
  return true;
}

// Keeps order; returns the new size.
template <class Matches>
uint32_t compact(Field* data, uint32_t size, Matches matches) {
  uint32_t kept = 0;
  for (uint32_t i = 0; i < size; ++i) {
    if (matches(data[i])) continue;
    if (kept != i) data[kept] = data[i];
    ++kept;
  }
  return kept;
}

}  // namespace

Token token_of(std::string_view name) {
  if (name.size() < 2 || name.size() > kMaxName) return Token::none;
  const Entry& entry = kTable[slot_of(key_of(name), kMultiplier)];
  if (entry.size != name.size() || !same(entry, name.data(), name.size())) return Token::none;
  return entry.token;
}

const Field* Fields::find(Token token) const {
  for (const Field& field : all()) {
    if (field.token == token) return &field;
  }
  return nullptr;
}

const Field* Fields::find(std::string_view name) const {
  for (const Field& field : all()) {
    if (chars::equal_without_case(field.name, name)) return &field;
  }
  return nullptr;
}

size_t Fields::remove(Token token) {
  const uint32_t before = size_;
  size_ = compact(data_, size_, [&](const Field& field) { return field.token == token; });
  return before - size_;
}

size_t Fields::remove(std::string_view name) {
  const uint32_t before = size_;
  size_ = compact(data_, size_, [&](const Field& field) { return chars::equal_without_case(field.name, name); });
  return before - size_;
}

size_t Fields::remove_every_spelling(std::string_view name) {
  const uint32_t before = size_;
  size_ = compact(data_, size_, [&](const Field& field) { return same_spelling(field.name, name); });
  return before - size_;
}

void Fields::grow() {
  const uint32_t capacity = capacity_ == 0 ? 16 : capacity_ * 2;
  // Not array(): that would write every slot once for nothing.
  auto* bigger = static_cast<Field*>(arena_->allocate(sizeof(Field) * capacity, alignof(Field)));
  std::uninitialized_copy(data_, data_ + size_, bigger);
  data_ = bigger;
  capacity_ = capacity;
}

}  // namespace sluice::http
