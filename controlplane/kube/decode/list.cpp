// Splits a List into its items without decoding them: views into the caller's text, so that one bad item costs only
// itself.
#include <fmt/format.h>
#include <simdjson.h>

#include "controlplane/kube/decode/decode.h"

namespace sluice::kube {
namespace {

namespace ondemand = simdjson::ondemand;
constexpr size_t kMaxList = 256 << 20;

std::unexpected<Error> broken(simdjson::error_code error) {
  return fail("not a List: {}", simdjson::error_message(error));
}

Status read_metadata(ondemand::value value, ListPage& out) {
  ondemand::object meta;
  if (const auto error = value.get_object().get(meta); error != simdjson::SUCCESS) return broken(error);
  for (auto entry : meta) {
    std::string_view name;
    if (const auto error = entry.unescaped_key().get(name); error != simdjson::SUCCESS) return broken(error);
    std::string* to = name == "resourceVersion" ? &out.resource_version
                      : name == "continue"      ? &out.continue_token
                                                : nullptr;
    if (to == nullptr) continue;
    std::string_view word;
    if (entry.value().get_string().get(word) != simdjson::SUCCESS)
      return fail("metadata.resourceVersion and metadata.continue of a List must be strings");
    to->assign(word);
  }
  return {};
}

Status read_items(ondemand::value value, std::string_view json, const char* copy, ListPage& out) {
  ondemand::json_type type{};
  if (const auto error = value.type().get(type); error != simdjson::SUCCESS) return broken(error);
  if (type == ondemand::json_type::null) {  // Go's nil slice
    bool null = false;
    if (value.is_null().get(null) != simdjson::SUCCESS || !null) return fail("items of a List must be a list");
    return {};
  }
  ondemand::array items;
  if (value.get_array().get(items) != simdjson::SUCCESS) return fail("items of a List must be a list");
  for (auto item : items) {
    ondemand::object object;
    std::string_view raw;
    if (item.get_object().get(object) != simdjson::SUCCESS)
      return fail("items[{}] of a List must be an object", out.items.size());
    if (const auto error = object.raw_json().get(raw); error != simdjson::SUCCESS) return broken(error);
    raw = raw.substr(0, raw.rfind('}') + 1);  // simdjson's view goes on to the next token
    out.items.push_back(json.substr(static_cast<size_t>(raw.data() - copy), raw.size()));
  }
  return {};
}

}  // namespace

Result<ListPage> decode_list(std::string_view json) {
  if (json.size() > kMaxList) return fail("the List has {} bytes, at most {} are allowed", json.size(), kMaxList);
  const simdjson::padded_string text(json);
  ondemand::parser parser;
  ondemand::document document;
  ondemand::object root;
  if (const auto error = parser.iterate(text).get(document); error != simdjson::SUCCESS)
    return fail("not JSON: {}", simdjson::error_message(error));
  if (document.get_object().get(root) != simdjson::SUCCESS) return fail("not a JSON object");
  ListPage out;
  bool list = false;
  for (auto field : root) {
    std::string_view key;
    if (const auto error = field.unescaped_key().get(key); error != simdjson::SUCCESS) return broken(error);
    // The key lives in the parser's buffer: decide before anything else is unescaped.
    const bool is_kind = key == "kind", is_meta = key == "metadata", is_items = key == "items";
    ondemand::value value;
    if (const auto error = field.value().get(value); error != simdjson::SUCCESS) return broken(error);
    Status status;
    if (is_kind) {
      std::string_view kind;
      if (value.get_string().get(kind) != simdjson::SUCCESS || !kind.ends_with("List")) return fail("kind is no List");
      list = true;
    } else if (is_meta) {
      status = read_metadata(value, out);
    } else if (is_items) {
      status = read_items(value, json, text.data(), out);
    }
    if (!status) return std::unexpected(status.error());
  }
  const char* at = nullptr;
  if (document.current_location().get(at) != simdjson::OUT_OF_BOUNDS) return fail("text after the end of the List");
  if (!list) return fail("the List has no kind");
  return out;
}

}  // namespace sluice::kube
