// resourceVersions as numbers of any length (KEP-5504: comparable within one kind of one API server). What is no number
// is not comparable, and older than everything. Pure.
#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <string_view>

namespace sluice::store {

[[nodiscard]] inline bool is_version(std::string_view text) {
  return !text.empty() && text.size() <= 64 && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// a is at least b.
[[nodiscard]] inline bool at_least(std::string_view a, std::string_view b) {
  if (!is_version(a)) return false;
  if (!is_version(b)) return true;
  const auto digits = [](std::string_view text) {
    return text.substr(std::min(text.find_first_not_of('0'), text.size()));
  };
  a = digits(a);
  b = digits(b);
  return a.size() != b.size() ? a.size() > b.size() : a >= b;
}

// The newest versions seen of one kind. A watch tells its objects' changes in the order of their versions, so whoever
// has seen version N of a watch has seen everything in it up to N: of the watch of all namespaces, or of each one's.
struct Newest {
  std::string everywhere;
  std::map<std::string, std::string, std::less<>> by_namespace;
  void note(const std::string& ns, const std::string& version) {
    for (std::string* slot : {&everywhere, &by_namespace[ns]}) {
      if (!at_least(*slot, version)) *slot = version;
    }
  }
};

}  // namespace sluice::store
