// Header sections as lists, and what HeadReader makes of them.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/http/h2/head_reader.h"

namespace sluice::http::h2 {

using Section = std::vector<std::pair<std::string, std::string>>;

// A good request and what is added to it.
inline Section get(const Section& more = {}) {
  Section out{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.example"}, {":path", "/"}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}
inline Section answer(const Section& more = {}, std::string status = "200") {
  Section out{{":status", std::move(status)}};
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

// The memory of each field is gone after add(): what is kept must have been copied.
inline bool add_all(HeadReader& reader, const Section& section) {
  for (const auto& [name, value] : section) {
    std::string a = name, b = value;
    const bool good = reader.add(a, b);
    a.assign(a.size(), '#');
    b.assign(b.size(), '#');
    if (!good) return false;
  }
  return true;
}

inline std::string text_of(const Fields& fields) {
  std::string out;
  for (const Field& field : fields.all()) out.append(field.name).append(": ").append(field.value).append("\n");
  return out;
}

}  // namespace sluice::http::h2
