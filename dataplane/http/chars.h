// Character classes and byte scans shared by the codecs: RFC 9110 5.6.2 (token), 5.5 (field values), RFC 3986
// (targets). Tables are built at compile time; scans use SSE2 where the CPU is x86-64 (its baseline) and give the same
// answers without. Never reads outside [p, end).
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sluice::http::chars {

enum : uint8_t {
  kToken = 1,   // tchar
  kPath = 2,    // pchar without '%', and '/'
  kQuery = 4,   // the same and '?'
  kEscape = 8,  // printable, outside RFC 3986, sent raw by browsers (WHATWG URL): percent-encoded in targets
  kUnreserved = 16,
  kHost = 32,    // letters, digits, '-', '_', '.'
  kAbsent = 64,  // never in a target: controls, SP, DEL, bytes above 0x7F, '"', '#', '<', '>'
};

constexpr bool is_alpha(unsigned char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }
constexpr bool is_digit(unsigned char c) { return c >= '0' && c <= '9'; }
constexpr bool in(std::string_view set, unsigned char c) {
  return set.find(static_cast<char>(c)) != std::string_view::npos;
}

inline constexpr std::array<uint8_t, 256> kClass = [] {
  std::array<uint8_t, 256> table{};
  for (int i = 0; i < 256; ++i) {
    const auto c = static_cast<unsigned char>(i);
    const bool alnum = is_alpha(c) || is_digit(c);
    uint8_t bits = 0;
    if (c != 0 && (alnum || in("!#$%&'*+-.^_`|~", c))) bits |= kToken;
    if (alnum || (c != 0 && in("-._~", c))) bits |= kUnreserved;
    if (c != 0 && ((bits & kUnreserved) != 0 || in("!$&'()*+,;=:@/", c))) bits |= kPath | kQuery;
    if (c == '?') bits |= kQuery;
    if (c != 0 && in("[]^`{|}", c)) bits |= kEscape;
    if (c != 0 && (alnum || in("-_.", c))) bits |= kHost;
    if (c <= 0x20 || c >= 0x7F || in("\"#<>", c)) bits |= kAbsent;
    table[c] = bits;
  }
  return table;
}();

inline constexpr std::array<int8_t, 256> kHexValue = [] {
  std::array<int8_t, 256> table{};
  for (int i = 0; i < 256; ++i) {
    table[i] = static_cast<int8_t>(i >= '0' && i <= '9'                                 ? i - '0'
                                   : (i | 0x20) >= 'a' && (i | 0x20) <= 'f' && i < 0x80 ? (i | 0x20) - 'a' + 10
                                                                                        : -1);
  }
  return table;
}();

inline bool is(char c, uint8_t classes) { return (kClass[static_cast<unsigned char>(c)] & classes) != 0; }
inline int hex_value(char c) { return kHexValue[static_cast<unsigned char>(c)]; }
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }
inline bool equal_without_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (lower(a[i]) != lower(b[i])) return false;
  }
  return true;
}

// A byte that no field value may hold: a control other than HTAB, or DEL (RFC 9110 5.5; obs-text passes).
inline bool is_stop(char c) {
  const auto u = static_cast<unsigned char>(c);
  return (u < 0x20 && u != '\t') || u == 0x7F;
}

#if defined(__SSE2__)
// Bit i set where bytes[i] is a stop byte.
inline unsigned stop_mask(__m128i bytes) {
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
  const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
  const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del)));
}
// Bit i set where bytes[i] is a letter, digit, '-' or '_': what nearly all names are made of.
inline unsigned common_token_mask(__m128i bytes) {
  const __m128i letter = _mm_sub_epi8(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
  const __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)), letter);
  const __m128i digit = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
  const __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
  const __m128i dash =
      _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('-')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('_')));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(is_letter, is_digit), dash)));
}
#endif

// First stop byte, or end.
inline const char* find_stop(const char* p, const char* end) {
#if defined(__SSE2__)
  while (end - p >= 16) {
    const unsigned mask = stop_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    if (mask != 0) return p + __builtin_ctz(mask);
    p += 16;
  }
#endif
  while (p != end && !is_stop(*p)) ++p;
  return p;
}

// First byte that is no tchar, or end.
inline const char* skip_token(const char* p, const char* end) {
#if defined(__SSE2__)
  while (end - p >= 16) {
    const unsigned other = ~common_token_mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) & 0xFFFFu;
    if (other == 0) {
      p += 16;
      continue;
    }
    p += __builtin_ctz(other);
    if (!is(*p, kToken)) return p;
    ++p;
  }
#endif
  while (p != end && is(*p, kToken)) ++p;
  return p;
}

// First space, control or DEL, or end.
inline const char* find_space_or_control(const char* p, const char* end) {
#if defined(__SSE2__)
  while (end - p >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x20)), bytes);
    const unsigned mask =
        static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(low, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7F)))));
    if (mask != 0) return p + __builtin_ctz(mask);
    p += 16;
  }
#endif
  while (p != end && static_cast<unsigned char>(*p) > 0x20 && *p != 0x7F) ++p;
  return p;
}

#if defined(__SSE2__)
// Whether mask(bytes) has the bit of every byte of the text set. Short texts are loaded as two overlapping halves, long
// ones end with an overlapping load: nothing is read outside.
template <class Mask>
inline bool every_byte(std::string_view text, Mask mask) {
  const char* p = text.data();
  const size_t size = text.size();
  if (size >= 16) {
    for (size_t at = 0; at + 16 < size; at += 16) {
      if (mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at))) != 0xFFFFu) return false;
    }
    return mask(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + size - 16))) == 0xFFFFu;
  }
  if (size >= 8) {
    const __m128i first = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    const __m128i last = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + size - 8));
    return mask(_mm_unpacklo_epi64(first, last)) == 0xFFFFu;
  }
  if (size >= 4) {
    int first = 0, last = 0;
    std::memcpy(&first, p, 4);
    std::memcpy(&last, p + size - 4, 4);
    return (mask(_mm_unpacklo_epi32(_mm_cvtsi32_si128(first), _mm_cvtsi32_si128(last))) & 0xFFu) == 0xFFu;
  }
  for (size_t i = 0; i < size; ++i) {
    if ((mask(_mm_set1_epi8(p[i])) & 1u) == 0) return false;
  }
  return true;
}
#endif

inline bool is_token(std::string_view text) {
  if (text.empty()) return false;
#if defined(__SSE2__)
  if (every_byte(text, common_token_mask)) return true;
#endif
  return skip_token(text.data(), text.data() + text.size()) == text.data() + text.size();
}
inline bool is_field_value(std::string_view text) {
#if defined(__SSE2__)
  return every_byte(text, [](__m128i bytes) { return ~stop_mask(bytes) & 0xFFFFu; });
#else
  return find_stop(text.data(), text.data() + text.size()) == text.data() + text.size();
#endif
}

// Without the SP and HTAB around it (OWS).
inline std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The elements of a comma-separated list (RFC 9110 5.6.1), empty ones skipped; `each(element)` returns false to stop.
// False if it was stopped. Not for lists with quoted strings.
template <class Each>
bool for_each_element(std::string_view list, Each each) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty() && !each(element)) return false;
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
  return true;
}

}  // namespace sluice::http::chars
