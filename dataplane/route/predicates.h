// What a route asks of a request beside its path: method, header fields, query parameters. All must hold. Owned by the
// route's entry in a VirtualHost. Never allocates while matching, but for the scratch strings, which keep their
// capacity.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/http/message.h"
#include "dataplane/route/regex.h"
#include "dataplane/route/router.h"

namespace sluice::route {

// Reused by every match of one Router.
struct Scratch {
  std::string joined;   // several field lines as one value
  std::string decoded;  // a query value without percent-encoding
};

class Predicates {
 public:
  void compile(const ir::Route& route);
  // Lost::won if all hold, else the first that does not, and why if `detail` is given.
  [[nodiscard]] Lost check(const ir::Route& route, const http::RequestHead& request, Scratch& scratch,
                           std::string* detail) const;

 private:
  // Of the ValueKind::Regex matches, headers first, then query, in their order; null: did not compile, never holds.
  std::vector<std::unique_ptr<Regex>> regexes_;
};

[[nodiscard]] inline std::string_view view(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view{} : std::string_view{text->c_str(), text->size()};
}

// The first value of a query parameter, still encoded. Names are compared decoded; "a" and "a=" both have the empty
// value. '+' is a plus.
[[nodiscard]] bool find_query(std::string_view query, std::string_view name, std::string_view& value);

}  // namespace sluice::route
