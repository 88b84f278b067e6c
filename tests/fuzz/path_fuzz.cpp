// Paths, queries and authorities: any bytes are refused or come out in the one normal form, which is its own normal
// form and holds nothing that a server behind could take for something else.
#include <cstdint>

#include "dataplane/http/authority.h"
#include "dataplane/http/chars.h"
#include "dataplane/http/path.h"
#include "tests/fuzz/h1_properties.h"

namespace {
using namespace sluice;
using namespace sluice::http;
using h1::fuzz::require;

// Each '%' begins an upper-case escape of a byte that needs one.
void require_escapes(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') continue;
    require(i + 2 < text.size(), "an escape is whole");
    const int high = chars::hex_value(text[i + 1]), low = chars::hex_value(text[i + 2]);
    require(high >= 0 && low >= 0, "an escape is two digits");
    require((text[i + 1] < 'a') && (text[i + 2] < 'a'), "escapes are upper case");
    const auto value = static_cast<unsigned char>(high << 4 | low);
    require(value != 0 && value != '\\' && !chars::is(static_cast<char>(value), chars::kUnreserved),
            "only what needs it is escaped");
  }
}

void require_no_dots(std::string_view path) {
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    std::string_view segment = path.substr(at, end - at);
    at = end + 1;
    // Also for a server that decodes %2F or cuts parameters.
    while (true) {
      const size_t slash = segment.find("%2F");
      const std::string_view part = segment.substr(0, slash);
      const std::string_view name = part.substr(0, part.find(';'));
      require(name != "." && name != "..", "no dot segment is left");
      if (slash == std::string_view::npos) break;
      segment.remove_prefix(slash + 3);
    }
  }
}

void path(std::string_view raw) {
  ChunkPool pool;
  Arena arena(pool);
  const NormalPath once = normalize_path(raw, arena);
  if (once.reason != Reason::none) return;
  require(once.path.starts_with('/'), "a path begins with a slash");
  for (const char c : once.path) require(c == '%' || chars::is(c, chars::kPath), "only path bytes are left");
  require_escapes(once.path);
  require_no_dots(once.path);
  require(once.encoded_slash == (once.path.find("%2F") != std::string_view::npos), "encoded slashes are told");
  const NormalPath twice = normalize_path(once.path, arena);
  require(twice.reason == Reason::none && twice.path == once.path, "the normal form is its own");
}

void query(std::string_view raw) {
  ChunkPool pool;
  Arena arena(pool);
  const NormalQuery once = normalize_query(raw, arena);
  if (once.reason != Reason::none) return;
  for (const char c : once.query) require(c == '%' || chars::is(c, chars::kQuery), "only query bytes are left");
  const NormalQuery twice = normalize_query(once.query, arena);
  require(twice.reason == Reason::none && twice.query == once.query, "the normal form of a query is its own");
}

void authority(std::string_view raw) {
  ChunkPool pool;
  Arena arena(pool);
  const Authority once = parse_authority(raw, arena);
  if (once.reason != Reason::none) return;
  require(!once.host.empty() && once.host.size() <= 255, "a host has a size");
  const bool literal = once.host.front() == '[';
  require(literal == (once.host.back() == ']'), "brackets come in pairs");
  for (const char c : literal ? once.host.substr(1, once.host.size() - 2) : once.host) {
    require(c < 'A' || c > 'Z', "hosts are lower case");
    require(chars::is(c, chars::kHost) || (literal && c == ':'), "only host bytes are left");
  }
  std::string text(once.host);
  if (once.port != 0) text += ":" + std::to_string(once.port);
  const Authority twice = parse_authority(text, arena);
  require(twice.reason == Reason::none && twice.host == once.host && twice.port == once.port,
          "the normal form of an authority is its own");
}
}  // namespace

// First byte: which of them.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  // Memory of exactly that size: a sanitizer sees each byte too far.
  const std::unique_ptr<char[]> exact(new char[size - 1]);
  if (size > 1) std::memcpy(exact.get(), data + 1, size - 1);
  const std::string_view input(exact.get(), size - 1);
  switch (data[0] % 4) {
    case 0:
    case 1:
      path(input);
      break;
    case 2:
      query(input);
      break;
    default:
      authority(input);
      break;
  }
  return 0;
}
