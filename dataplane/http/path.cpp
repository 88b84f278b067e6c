#include "dataplane/http/path.h"

#include "dataplane/http/chars.h"

namespace sluice::http {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";

// "." or "..", also with a parameter behind it ("..;x"): servers that cut path parameters would climb.
bool is_dots(std::string_view segment) {
  const size_t parameter = segment.find(';');
  const std::string_view name = segment.substr(0, parameter);
  return name == "." || name == "..";
}

// The segment holds %2F: a server that decodes it must not see dot segments either.
bool hides_dots(std::string_view segment) {
  while (true) {
    const size_t slash = segment.find("%2F");
    if (is_dots(segment.substr(0, slash))) return true;
    if (slash == std::string_view::npos) return false;
    segment.remove_prefix(slash + 3);
  }
}

// Nothing to change: every byte plain, no segment that starts with '.'.
bool is_normal(std::string_view raw) {
  uint8_t all = chars::kPath;
  char before = 0;
  bool dot = false;
  for (const char c : raw) {
    all &= chars::kClass[static_cast<unsigned char>(c)];
    dot |= before == '/' && c == '.';
    before = c;
  }
  return (all & chars::kPath) != 0 && !dot;
}

class Normalizer {
 public:
  Normalizer(std::string_view raw, Arena& arena) : raw_(raw) {
    // An escaped byte takes three.
    out_ = static_cast<char*>(arena.allocate(raw.size() * 3, 1));
  }

  NormalPath run() {
    out_[size_++] = '/';
    for (size_t i = 1; i < raw_.size(); ++i) {
      const Reason reason = raw_[i] == '/' ? end_segment(true) : byte(i);
      if (reason != Reason::none) return {reason, {}, false};
    }
    if (const Reason reason = end_segment(false); reason != Reason::none) return {reason, {}, false};
    const std::string_view path(out_, size_);
    // The segment that held it may be gone.
    return {Reason::none, path, encoded_slash_ && path.find("%2F") != std::string_view::npos};
  }

 private:
  Reason byte(size_t& i) {
    const char c = raw_[i];
    if (c == '%') {
      const int high = i + 2 < raw_.size() ? chars::hex_value(raw_[i + 1]) : -1;
      const int low = i + 2 < raw_.size() ? chars::hex_value(raw_[i + 2]) : -1;
      if (high < 0 || low < 0) return Reason::bad_path_encoding;
      i += 2;
      return escaped(static_cast<unsigned char>(high << 4 | low));
    }
    if (chars::is(c, chars::kPath)) {
      out_[size_++] = c;
    } else if (chars::is(c, chars::kEscape)) {
      put_escape(static_cast<unsigned char>(c));
    } else {
      return Reason::bad_target;
    }
    return Reason::none;
  }
  Reason escaped(unsigned char value) {
    if (value == 0 || value == '\\') return Reason::rejected_path;
    if (chars::is(static_cast<char>(value), chars::kUnreserved)) {
      out_[size_++] = static_cast<char>(value);
    } else {
      put_escape(value);
      if (value == '/') encoded_slash_ = slash_in_segment_ = true;
    }
    return Reason::none;
  }
  void put_escape(unsigned char value) {
    out_[size_++] = '%';
    out_[size_++] = kHex[value >> 4];
    out_[size_++] = kHex[value & 15];
  }
  // RFC 3986 5.2.4, but climbing above the root is refused instead of ignored.
  Reason end_segment(bool separator) {
    const std::string_view segment(out_ + start_, size_ - start_);
    if (segment == ".") {
      size_ = start_;
    } else if (segment == "..") {
      if (start_ == 1) return Reason::rejected_path;
      size_ = start_ - 1;
      while (out_[size_ - 1] != '/') --size_;
    } else if (is_dots(segment) || (slash_in_segment_ && hides_dots(segment))) {
      return Reason::rejected_path;
    } else if (separator) {
      out_[size_++] = '/';
    }
    start_ = size_;
    slash_in_segment_ = false;
    return Reason::none;
  }

  std::string_view raw_;
  char* out_;
  size_t size_ = 0;
  size_t start_ = 1;  // of the current segment in out_
  bool slash_in_segment_ = false;
  bool encoded_slash_ = false;
};

}  // namespace

NormalPath normalize_path(std::string_view raw, Arena& arena) {
  if (raw.empty() || raw.front() != '/') return {Reason::bad_target, {}, false};
  if (is_normal(raw)) return {Reason::none, raw, false};
  return Normalizer(raw, arena).run();
}

NormalQuery normalize_query(std::string_view raw, Arena& arena) {
  uint8_t all = chars::kQuery;
  for (const char c : raw) all &= chars::kClass[static_cast<unsigned char>(c)];
  if (all != 0) return {Reason::none, raw};
  auto* out = static_cast<char*>(arena.allocate(raw.size() * 3, 1));
  size_t size = 0;
  for (size_t i = 0; i < raw.size(); ++i) {
    const char c = raw[i];
    if (chars::is(c, chars::kQuery)) {
      out[size++] = c;
      continue;
    }
    if (chars::is(c, chars::kAbsent)) return {Reason::bad_target, {}};
    if (c == '%' && i + 2 < raw.size() && chars::hex_value(raw[i + 1]) >= 0 && chars::hex_value(raw[i + 2]) >= 0) {
      out[size++] = c;
      continue;
    }
    const auto value = static_cast<unsigned char>(c);
    out[size++] = '%';
    out[size++] = kHex[value >> 4];
    out[size++] = kHex[value & 15];
  }
  return {Reason::none, {out, size}};
}

}  // namespace sluice::http
