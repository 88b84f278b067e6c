// YAML text -> JSON texts, one a document, typed as Kubernetes does (YAML 1.2 core: null, booleans, integers, floats;
// quoted stays text). One pass over the parser's events, no tree. Anchors are copied in place; the output is bounded,
// so aliases cannot multiply without end. Duplicate keys, merge keys, and keys that are no scalars are errors. JSON is
// YAML, so a .json file may come through here too.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace sluice::source {

struct JsonDocument {
  std::string json;  // empty documents are left out
  size_t line = 1;   // where it begins
};

// The error names the line: "line 12: ...". `max_bytes` bounds each document's JSON; `first_line` is the number of the
// text's first line.
[[nodiscard]] Result<std::vector<JsonDocument>> yaml_to_json(std::string_view text, size_t max_bytes = size_t{64} << 20,
                                                             size_t first_line = 1);

// The parts of a file between its document markers ("---" at the start of a line, which YAML allows nowhere else), each
// with the line it begins at. Joined they are the whole text. A marker belongs to what follows.
struct Piece {
  size_t line = 0;
  std::string_view text;
};
[[nodiscard]] std::vector<Piece> split_documents(std::string_view text);

}  // namespace sluice::source
