// RequestHeaders and ResponseHeaders: set, add, remove. What the gateway itself writes or vouches for cannot be edited.
#include <algorithm>
#include <array>
#include <optional>

#include <fmt/format.h>

#include "controlplane/features/feature.h"

namespace sluice::features {
namespace {

constexpr std::array<Row, 3> kRequestRows = {{
    {"requestHeaderModifier.set[]", "{name, value}", "", "Replaces the request's header, or adds it."},
    {"requestHeaderModifier.add[]", "{name, value}", "", "Adds a header beside those of the same name."},
    {"requestHeaderModifier.remove[]", "string", "", "Removes every header of that name."},
}};
constexpr std::array<Row, 3> kResponseRows = {{
    {"responseHeaderModifier.set[]", "{name, value}", "", "Replaces the response's header, or adds it."},
    {"responseHeaderModifier.add[]", "{name, value}", "", "Adds a header beside those of the same name."},
    {"responseHeaderModifier.remove[]", "string", "", "Removes every header of that name."},
}};

// RFC 9110 7.6.1 and RFC 9112: framing and hop-by-hop fields belong to the codec.
constexpr std::array<std::string_view, 10> kFraming = {
    "connection", "content-length", "transfer-encoding", "te",     "trailer",
    "upgrade",    "keep-alive",     "proxy-connection",  "expect", "http2-settings"};
// Written by the gateway from what it knows: who relies on them must be able to.
constexpr std::array<std::string_view, 7> kVouched = {"x-forwarded-for",  "x-forwarded-proto", "x-forwarded-host",
                                                      "x-forwarded-port", "x-real-ip",         "x-request-id",
                                                      "forwarded"};

// Lower case; '_' counts as '-', since some servers read it so.
std::string folded(std::string_view name) {
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '_') c = '-';
  }
  return out;
}

std::optional<std::string> refusal(std::string_view name, bool request) {
  if (!is_token(name)) return fmt::format("\"{}\" is no header name", name);
  const std::string lower = folded(name);
  if (std::ranges::find(kFraming, lower) != kFraming.end())
    return fmt::format("\"{}\" belongs to the connection and cannot be edited", name);
  if (!request) return std::nullopt;
  if (lower == "host") return std::string("Host is changed with urlRewrite.hostname, not as a header");
  if (std::ranges::find(kVouched, lower) != kVouched.end())
    return fmt::format("\"{}\" is set by the gateway and cannot be edited", name);
  return std::nullopt;
}

class Editor {
 public:
  Editor(int filter, std::string_view prefix, bool request, const Complain& complain)
      : filter_(filter), prefix_(prefix), request_(request), complain_(complain) {}

  void values(const char* list, const std::vector<store::HttpHeader>& from,
              std::vector<std::unique_ptr<ir::HeaderValueT>>& to) {
    for (size_t i = 0; i < from.size(); ++i) {
      if (const auto why = refusal(from[i].name, request_)) {
        complain(fmt::format("{}.{}[{}].name", prefix_, list, i), "InvalidHeader", *why);
      } else if (!is_field_value(from[i].value)) {
        complain(fmt::format("{}.{}[{}].value", prefix_, list, i), "InvalidHeader",
                 "holds a control character, or white space at an end");
      } else {
        auto value = std::make_unique<ir::HeaderValueT>();
        value->name = from[i].name;
        value->value = from[i].value;
        to.push_back(std::move(value));
      }
    }
  }
  void names(const std::vector<std::string>& from, std::vector<std::string>& to) {
    for (size_t i = 0; i < from.size(); ++i) {
      if (const auto why = refusal(from[i], request_))
        complain(fmt::format("{}.remove[{}]", prefix_, i), "InvalidHeader", *why);
      else to.push_back(from[i]);
    }
  }

 private:
  void complain(std::string field, const char* reason, std::string text) {
    complain_({filter_, std::move(field), reason, std::move(text)});
  }
  int filter_;
  std::string_view prefix_;
  bool request_;
  const Complain& complain_;
};

// All modifiers of one kind in a rule become one filter, in their order.
template <class Modifier>
std::unique_ptr<ir::HeaderEditsT> collect(const Input& input, std::string_view prefix, bool request,
                                          const Complain& complain) {
  if (input.filters == nullptr) return nullptr;
  std::unique_ptr<ir::HeaderEditsT> edits;
  for (size_t i = 0; i < input.filters->size(); ++i) {
    const auto* modifier = std::get_if<Modifier>(&(*input.filters)[i]);
    if (modifier == nullptr) continue;
    if (!edits) edits = std::make_unique<ir::HeaderEditsT>();
    Editor editor(static_cast<int>(i), prefix, request, complain);
    editor.values("set", modifier->edits.set, edits->set);
    editor.values("add", modifier->edits.add, edits->add);
    editor.names(modifier->edits.remove, edits->remove);
  }
  if (edits && edits->set.empty() && edits->add.empty() && edits->remove.empty()) return nullptr;
  return edits;
}

template <class Config>
void push(std::unique_ptr<ir::HeaderEditsT> edits, ir::RouteT& route) {
  if (!edits) return;
  Config config;
  config.edits = std::move(edits);
  auto filter = std::make_unique<ir::FilterT>();
  filter->config.Set(std::move(config));
  route.filters.push_back(std::move(filter));
}

}  // namespace

const std::span<const Row> kHeaderRows = kRequestRows;
const std::span<const Row> kResponseHeaderRows = kResponseRows;

void apply_request_headers(const Input& input, ir::RouteT& route, const Complain& complain) {
  push<ir::RequestHeadersT>(collect<store::RequestHeaderModifier>(input, "requestHeaderModifier", true, complain),
                            route);
}

void apply_response_headers(const Input& input, ir::RouteT& route, const Complain& complain) {
  push<ir::ResponseHeadersT>(collect<store::ResponseHeaderModifier>(input, "responseHeaderModifier", false, complain),
                             route);
}

}  // namespace sluice::features
