#include "controlplane/kube/decode/json_node.h"

#include <fmt/format.h>

namespace sluice::kube {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

std::string_view type_word(element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "a list";
    case element_type::OBJECT:
      return "an object";
    case element_type::INT64:
    case element_type::UINT64:
    case element_type::DOUBLE:
      return "a number";
    case element_type::STRING:
      return "a string";
    case element_type::BOOL:
      return "a boolean";
    case element_type::NULL_VALUE:
      return "null";
  }
  return "something else";
}

bool has_control(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return true;
  }
  return false;
}

}  // namespace

std::string FieldPath::text() const {
  std::string out = parent != nullptr ? parent->text() : std::string{};
  if (!name.empty()) {
    if (!out.empty()) out += '.';
    out += name;
  }
  if (index >= 0) out += fmt::format("[{}]", index);
  return out;
}

void DecodeContext::record(store::Severity severity, std::string field, std::string text) {
  if (problems.size() == kMaxProblems) ++dropped;
  else problems.push_back({ref, std::move(field), "Invalid", severity, std::move(text)});
}
void DecodeContext::error(std::string field, std::string text) {
  failed = true;
  record(store::Severity::error, std::move(field), std::move(text));
}
void DecodeContext::flaw(std::string field, std::string text) {
  record(store::Severity::error, std::move(field), std::move(text));
}
void DecodeContext::warning(std::string field, std::string text) {
  record(store::Severity::warning, std::move(field), std::move(text));
}

void JsonNode::error(std::string_view key, std::string text) const {
  context_.error(FieldPath{&path_, key}.text(), std::move(text));
}
void JsonNode::flaw(std::string_view key, std::string text) const {
  context_.flaw(FieldPath{&path_, key}.text(), std::move(text));
}
void JsonNode::warning(std::string_view key, std::string text) const {
  context_.warning(FieldPath{&path_, key}.text(), std::move(text));
}

std::optional<element> JsonNode::find(std::string_view key, Need need) const {
  element value;
  if (object_.at_key(key).get(value) == simdjson::SUCCESS && !value.is_null()) return value;
  if (need == Need::required) error(key, "is required");
  return std::nullopt;
}

void JsonNode::wrong_type(std::string_view key, std::string_view wanted, element got) const {
  error(key, fmt::format("must be {}, not {}", wanted, type_word(got)));
}

bool JsonNode::has(std::string_view key) const { return find(key, Need::optional).has_value(); }

std::string JsonNode::string(std::string_view key, size_t max, Need need, std::string_view fallback) const {
  const auto value = find(key, need);
  if (!value) return std::string(fallback);
  std::string_view text;
  if (value->get(text) != simdjson::SUCCESS) {
    wrong_type(key, "a string", *value);
  } else if (text.size() > max) {
    error(key, fmt::format("has {} bytes, at most {} are allowed", text.size(), max));
  } else if (has_control(text)) {
    error(key, "holds a control character");
  } else if (text.empty() && need == Need::required) {
    error(key, "must not be empty");
  } else {
    return std::string(text);
  }
  return std::string(fallback);
}

std::string JsonNode::text(std::string_view key, size_t max) const {
  const auto value = find(key, Need::optional);
  if (!value) return {};
  std::string_view text;
  if (value->get(text) != simdjson::SUCCESS) {
    wrong_type(key, "a string", *value);
  } else if (text.size() > max) {
    error(key, fmt::format("has {} bytes, at most {} are allowed", text.size(), max));
  } else {
    return std::string(text);
  }
  return {};
}

bool JsonNode::boolean(std::string_view key, bool fallback) const {
  const auto value = find(key, Need::optional);
  if (!value) return fallback;
  bool out = fallback;
  if (value->get(out) != simdjson::SUCCESS) wrong_type(key, "true or false", *value);
  return out;
}

int64_t JsonNode::integer(std::string_view key, int64_t min, int64_t max, int64_t fallback, Need need) const {
  const auto value = find(key, need);
  if (!value) return fallback;
  int64_t out = 0;
  if (value->type() == element_type::UINT64) {
    error(key, fmt::format("must be between {} and {}", min, max));
  } else if (value->get(out) != simdjson::SUCCESS) {
    wrong_type(key, "a whole number", *value);
  } else if (out < min || out > max) {
    error(key, fmt::format("is {}, must be between {} and {}", out, min, max));
  } else {
    return out;
  }
  return fallback;
}

std::string JsonNode::number_or_name(std::string_view key, size_t max) const {
  const auto value = find(key, Need::optional);
  if (!value) return {};
  int64_t number = 0;
  if (value->get(number) == simdjson::SUCCESS) return std::to_string(number);
  return string(key, max);
}

std::optional<uint32_t> JsonNode::duration_ms(std::string_view key) const {
  if (!has(key)) return std::nullopt;
  const std::string text = string(key, 32, Need::optional, "?");
  if (text == "?") return std::nullopt;  // already reported
  const auto out = parse_duration_ms(text);
  if (!out) error(key, fmt::format("\"{}\" is no duration such as 30s, 500ms or 1h30m", text));
  return out;
}

int JsonNode::choice(std::string_view key, std::initializer_list<std::string_view> words, int fallback,
                     Need need) const {
  const auto value = find(key, need);
  if (!value) return need == Need::required ? -1 : fallback;
  std::string_view text;
  if (value->get(text) != simdjson::SUCCESS) {
    wrong_type(key, "a string", *value);
    return -1;
  }
  int index = 0;
  for (const auto word : words) {
    if (word == text) return index;
    ++index;
  }
  std::string list;
  for (const auto word : words) list += (list.empty() ? "" : ", ") + std::string(word);
  error(key, fmt::format("is \"{}\", must be one of: {}", text.substr(0, 64), list));
  return -1;
}

std::vector<std::string> JsonNode::strings(std::string_view key, size_t max_items, size_t max_bytes) const {
  std::vector<std::string> out;
  const size_t before = context_.problems.size() + context_.dropped;
  out = strings_each(key, max_items, max_bytes);
  if (context_.problems.size() + context_.dropped != before) context_.failed = true;
  return out;
}

std::vector<std::string> JsonNode::strings_each(std::string_view key, size_t max_items, size_t max_bytes) const {
  std::vector<std::string> out;
  const auto value = find(key, Need::optional);
  if (!value) return out;
  simdjson::dom::array array;
  if (value->get(array) != simdjson::SUCCESS) {
    wrong_type(key, "a list", *value);
    return out;
  }
  if (array.size() > max_items) {
    error(key, fmt::format("has {} items, at most {} are allowed", array.size(), max_items));
    return out;
  }
  int64_t index = 0;
  for (const element item : array) {
    const FieldPath at{&path_, key, index++};
    std::string_view text;
    std::string& to = out.emplace_back();
    if (item.get(text) != simdjson::SUCCESS) {
      context_.flaw(at.text(), fmt::format("must be a string, not {}", type_word(item)));
    } else if (text.empty()) {
      context_.flaw(at.text(), "must not be empty");
    } else if (text.size() > max_bytes) {
      context_.flaw(at.text(), fmt::format("has {} bytes, at most {} are allowed", text.size(), max_bytes));
    } else if (has_control(text)) {
      context_.flaw(at.text(), "holds a control character");
    } else {
      to = text;
    }
  }
  return out;
}

std::vector<uint16_t> JsonNode::numbers(std::string_view key, size_t max_items, int64_t min, int64_t max) const {
  std::vector<uint16_t> out;
  const auto value = find(key, Need::optional);
  if (!value) return out;
  simdjson::dom::array array;
  if (value->get(array) != simdjson::SUCCESS) {
    wrong_type(key, "a list", *value);
    return out;
  }
  if (array.size() > max_items) {
    error(key, fmt::format("has {} items, at most {} are allowed", array.size(), max_items));
    return out;
  }
  int64_t index = 0;
  for (const element item : array) {
    const FieldPath at{&path_, key, index++};
    int64_t number = 0;
    if (item.get(number) != simdjson::SUCCESS || number < min || number > max) {
      context_.error(at.text(), fmt::format("must be a whole number between {} and {}", min, max));
    } else {
      out.push_back(static_cast<uint16_t>(number));
    }
  }
  return out;
}

std::map<std::string, std::string> JsonNode::string_map(std::string_view key, size_t max_items, size_t max_bytes,
                                                        const char* unreadable) const {
  std::map<std::string, std::string> out;
  const auto value = find(key, Need::optional);
  if (!value) return out;
  simdjson::dom::object object;
  if (value->get(object) != simdjson::SUCCESS) {
    wrong_type(key, "an object", *value);
    return out;
  }
  const FieldPath at{&path_, key};
  size_t items = 0, bytes = 0;
  for (const auto field : object) {
    std::string_view text;
    if (field.value.is_null()) continue;
    if (field.value.get(text) != simdjson::SUCCESS) {
      context_.flaw(FieldPath{&at, field.key}.text(), fmt::format("must be a string, not {}", type_word(field.value)));
      if (unreadable == nullptr) continue;
      text = unreadable;
    }
    bytes += field.key.size() + text.size();
    if (++items > max_items || bytes > max_bytes) {
      error(key, fmt::format("holds more than {} items or {} bytes", max_items, max_bytes));
      return {};
    }
    out.emplace(field.key, text);
  }
  return out;
}

bool JsonNode::object(std::string_view key, const std::function<void(const JsonNode&)>& read, Need need) const {
  const auto value = find(key, need);
  if (!value) return false;
  simdjson::dom::object object;
  if (value->get(object) != simdjson::SUCCESS) {
    wrong_type(key, "an object", *value);
    return false;
  }
  const FieldPath at{&path_, key};
  read(JsonNode(context_, object, at));
  return true;
}

void JsonNode::each(std::string_view key, size_t max_items, const std::function<void(const JsonNode&)>& read,
                    const std::function<void(bool was_read)>& broken, Need need) const {
  const auto value = find(key, need);
  if (!value) return;
  simdjson::dom::array array;
  if (value->get(array) != simdjson::SUCCESS) return wrong_type(key, "a list", *value);
  if (array.size() > max_items)
    return error(key, fmt::format("has {} items, at most {} are allowed", array.size(), max_items));
  const bool outer = context_.failed;
  size_t index = 0;
  for (const element item : array) {
    const FieldPath at{&path_, key, static_cast<int64_t>(index++)};
    simdjson::dom::object object;
    const bool readable = item.get(object) == simdjson::SUCCESS;
    context_.failed = false;
    if (readable) read(JsonNode(context_, object, at));
    else context_.error(at.text(), fmt::format("must be an object, not {}", type_word(item)));
    if (std::exchange(context_.failed, outer)) broken(readable);
  }
  if (index == 0 && need == Need::required) error(key, "must not be empty");
}

}  // namespace sluice::kube
