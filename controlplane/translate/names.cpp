#include "controlplane/translate/names.h"

namespace sluice::translate {
namespace {

constexpr size_t kMaxPath = 4096;

bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986 2.3.
bool unreserved(unsigned char c) {
  return (c >= 'A' && c <= 'Z') || (c < 0x80 && alnum(static_cast<char>(c))) || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

void append_escaped(std::string& out, unsigned char c) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  out += '%';
  out += kHex[c >> 4];
  out += kHex[c & 15];
}

bool has_dot_segment(std::string_view path) {
  for (size_t begin = 1; begin <= path.size();) {
    size_t end = path.find('/', begin);
    if (end == std::string_view::npos) end = path.size();
    const std::string_view segment = path.substr(begin, end - begin);
    if (segment == "." || segment == "..") return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

Status check_host(std::string_view host) {
  if (host.size() > 253) return fail("must have at most 253 characters");
  std::string_view rest = host;
  if (rest.starts_with("*.")) rest.remove_prefix(2);
  bool letters = false;
  for (size_t begin = 0;;) {
    const size_t dot = rest.find('.', begin);
    const std::string_view label = rest.substr(begin, dot == std::string_view::npos ? dot : dot - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return fail(
          "must be a DNS name: labels of 1 to 63 lower case letters, digits and '-', or such a name behind \"*.\"");
    }
    for (const char c : label) {
      if (!alnum(c) && c != '-')
        return fail("must be a DNS name of lower case letters, digits, '-' and '.', or such a name behind \"*.\"");
      letters = letters || !(c >= '0' && c <= '9');
    }
    if (dot == std::string_view::npos) break;
    begin = dot + 1;
  }
  if (!letters) return fail("must be a DNS name, not an address");
  return {};
}

Result<std::string> normalize_path(std::string_view path) {
  if (!path.starts_with('/')) return fail("must begin with '/'");
  std::string out;
  out.reserve(path.size());
  for (size_t i = 0; i < path.size(); ++i) {
    const auto c = static_cast<unsigned char>(path[i]);
    if (c == '%') {
      const int high = i + 2 < path.size() ? hex(path[i + 1]) : -1;
      const int low = i + 2 < path.size() ? hex(path[i + 2]) : -1;
      if (high < 0 || low < 0) return fail("holds a broken escape: '%' must be followed by two hexadecimal digits");
      const auto byte = static_cast<unsigned char>(high * 16 + low);
      if (byte == 0 || byte == '\\') return fail("holds %00 or %5C, which no request may");
      if (unreserved(byte)) out += static_cast<char>(byte);
      else append_escaped(out, byte);
      i += 2;
    } else if (c == '?' || c == '#') {
      return fail("holds '{}', which ends a path", path[i]);
    } else if (c == '\\' || c == 0) {
      return fail("holds a backslash or NUL, which no request may");
    } else if (c <= 0x20 || c >= 0x7f) {
      append_escaped(out, c);
    } else {
      out += static_cast<char>(c);
    }
  }
  if (out.size() > kMaxPath) return fail("has more than {} bytes in its normal form", kMaxPath);
  if (has_dot_segment(out)) return fail("holds a \".\" or \"..\" segment; requests are matched without them");
  return out;
}

Result<std::string> normalize_prefix(std::string_view path) {
  auto out = normalize_path(path);
  while (out && out->ends_with('/')) out->pop_back();
  return out;
}

}  // namespace sluice::translate
