#include "dataplane/route/predicates.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::route {
namespace {

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

constexpr int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The byte at `at` of percent-encoded text; advances. A broken escape stands for itself.
char decode_at(std::string_view text, size_t& at) {
  const char c = text[at++];
  if (c != '%' || at + 1 >= text.size()) return c;
  const int high = hex(text[at]), low = hex(text[at + 1]);
  if (high < 0 || low < 0) return c;
  at += 2;
  return static_cast<char>(high * 16 + low);
}

bool decoded_equals(std::string_view encoded, std::string_view plain) {
  size_t at = 0, i = 0;
  while (at < encoded.size()) {
    if (i == plain.size() || decode_at(encoded, at) != plain[i++]) return false;
  }
  return i == plain.size();
}

std::string_view decode(std::string_view encoded, std::string& into) {
  if (encoded.find('%') == std::string_view::npos) return encoded;
  into.clear();
  for (size_t at = 0; at < encoded.size();) into.push_back(decode_at(encoded, at));
  return into;
}

// RFC 9110 5.3: several lines of one name are one list. Host and Upgrade are not among the fields (message.h) but may
// be asked for.
bool find_header(const http::RequestHead& request, std::string_view name, std::string& joined,
                 std::string_view& value) {
  size_t found = 0;
  for (const http::Field& field : request.fields.all()) {
    if (!equal_ignoring_case(field.name, name)) continue;
    if (++found == 1) {
      value = field.value;
      continue;
    }
    if (found == 2) joined.assign(value);
    joined.append(", ").append(field.value);
  }
  if (found > 1) value = joined;
  if (found > 0) return true;
  if (equal_ignoring_case(name, "host")) {
    value = request.host;
    return !request.host.empty();
  }
  if (equal_ignoring_case(name, "upgrade")) {
    value = request.upgrade;
    return !request.upgrade.empty();
  }
  return false;
}

bool value_holds(ir::ValueKind kind, std::string_view expected, std::string_view value, const Regex* regex) {
  switch (kind) {
    case ir::ValueKind::Exact:
      return value == expected;
    case ir::ValueKind::Prefix:
      return value.starts_with(expected);
    case ir::ValueKind::Present:
      return true;
    case ir::ValueKind::Regex:
      return regex != nullptr && regex->full_match(value);
  }
  return false;  // a kind this version does not know
}

bool method_holds(const ir::Route& route, std::string_view method) {
  const auto* methods = route.methods();
  if (methods == nullptr || methods->size() == 0) return true;
  for (const flatbuffers::String* one : *methods) {
    if (view(one) == method) return true;
  }
  return false;
}

const char* kind_word(ir::ValueKind kind) {
  switch (kind) {
    case ir::ValueKind::Exact:
      return "exact";
    case ir::ValueKind::Prefix:
      return "prefix";
    case ir::ValueKind::Present:
      return "any value";
    case ir::ValueKind::Regex:
      return "regex";
  }
  return "unknown kind";
}

std::string expectation(std::string_view what, std::string_view name, ir::ValueKind kind, std::string_view expected,
                        bool found, std::string_view value) {
  std::string out = fmt::format("{} {}: expected {}", what, name, kind_word(kind));
  if (kind != ir::ValueKind::Present) out += fmt::format(" '{}'", expected);
  out += found ? fmt::format(", got '{}'", value) : std::string(", it is absent");
  return out;
}

std::string method_detail(const ir::Route& route, std::string_view method) {
  std::string out = "method: expected ";
  for (flatbuffers::uoffset_t i = 0; i < route.methods()->size(); ++i) {
    if (i > 0) out += " or ";
    out += view(route.methods()->Get(i));
  }
  return out + fmt::format(", got {}", method);
}

template <class Matches>
void compile_all(const Matches* matches, std::vector<std::unique_ptr<Regex>>& into) {
  if (matches == nullptr) return;
  for (const auto* match : *matches) {
    if (match->kind() == ir::ValueKind::Regex) into.push_back(Regex::compile(view(match->value())));
  }
}

}  // namespace

bool find_query(std::string_view query, std::string_view name, std::string_view& value) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
    const size_t equals = pair.find('=');
    if (pair.empty() || !decoded_equals(pair.substr(0, equals), name)) continue;
    value = equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    return true;
  }
  return false;
}

void Predicates::compile(const ir::Route& route) {
  compile_all(route.headers(), regexes_);
  compile_all(route.query(), regexes_);
}

Lost Predicates::check(const ir::Route& route, const http::RequestHead& request, Scratch& scratch,
                       std::string* detail) const {
  if (!method_holds(route, request.method_name)) {
    if (detail != nullptr) *detail = method_detail(route, request.method_name);
    return Lost::method;
  }
  size_t regex = 0;
  const auto next_regex = [&](ir::ValueKind kind) -> const Regex* {
    return kind == ir::ValueKind::Regex ? regexes_[regex++].get() : nullptr;
  };
  if (const auto* headers = route.headers(); headers != nullptr) {
    for (const ir::HeaderMatch* match : *headers) {
      const Regex* const compiled = next_regex(match->kind());
      std::string_view value;
      const bool found = find_header(request, view(match->name()), scratch.joined, value);
      if (found && value_holds(match->kind(), view(match->value()), value, compiled)) continue;
      if (detail != nullptr)
        *detail = expectation("header", view(match->name()), match->kind(), view(match->value()), found, value);
      return Lost::header;
    }
  }
  if (const auto* query = route.query(); query != nullptr) {
    for (const ir::QueryMatch* match : *query) {
      const Regex* const compiled = next_regex(match->kind());
      std::string_view value;
      const bool found = find_query(request.query, view(match->name()), value);
      if (found) value = decode(value, scratch.decoded);
      if (found && value_holds(match->kind(), view(match->value()), value, compiled)) continue;
      if (detail != nullptr)
        *detail =
            expectation("query parameter", view(match->name()), match->kind(), view(match->value()), found, value);
      return Lost::query;
    }
  }
  return Lost::won;
}

}  // namespace sluice::route
