// The one normal form of a path (RFC 3986 6.2.2): made once, then routed, authorised, logged, rewritten and forwarded:
// the same bytes everywhere.
#pragma once
#include <string_view>

#include "common/base/arena.h"
#include "dataplane/http/error.h"

namespace sluice::http {

struct NormalPath {
  Reason reason = Reason::none;  // none = good; bad_target, bad_path_encoding, rejected_path
  std::string_view path;         // view of `raw` when nothing had to change, else in the arena
  bool encoded_slash = false;    // holds %2F (kept encoded; never separates)
};
// raw: the path of a request target, starting with '/', without query. Unreserved characters are decoded, other escapes
// upper-cased, dot segments (also encoded ones) removed. Refused: above the root (and dot segments with parameters or
// beside %2F), %00, %5C, raw backslash, raw control or non-ASCII bytes, '"', '#', '<', '>' and broken escapes. The rest
// that RFC 3986 does not allow but browsers send raw ([ ] ^ ` { | }) is escaped. Empty segments ("//") stay.
[[nodiscard]] NormalPath normalize_path(std::string_view raw, Arena& arena);

struct NormalQuery {
  Reason reason = Reason::none;  // none or bad_target
  std::string_view query;        // view of `raw` when nothing had to change, else in the arena
};
// raw: what follows '?'. Its escapes are the backend's business and stay as they are; what the grammar does not allow
// is refused or escaped as in paths, and a '%' that starts no escape becomes %25 (lenient decoders see the same bytes
// before and after).
[[nodiscard]] NormalQuery normalize_query(std::string_view raw, Arena& arena);

}  // namespace sluice::http
