#include "controlplane/kube/watch_event.h"

#include <charconv>

#include <simdjson.h>

namespace sluice::kube {
namespace {

namespace dom = simdjson::dom;

std::string text_at(const dom::element& element, std::string_view pointer) {
  std::string_view text;
  return element.at_pointer(pointer).get(text) == simdjson::SUCCESS ? std::string(text) : std::string();
}

int64_t number_at(const dom::element& element, std::string_view pointer) {
  int64_t number = 0;
  return element.at_pointer(pointer).get(number) == simdjson::SUCCESS ? number : 0;
}

// The text of the value of "object" as it stands in the line: decode wants text, and printing the tree again costs more
// than finding it.
Result<std::string> object_text(std::string_view line) {
  namespace ondemand = simdjson::ondemand;
  const simdjson::padded_string text(line);
  thread_local ondemand::parser parser;
  ondemand::document document;
  ondemand::object root, object;
  std::string_view raw;
  if (parser.iterate(text).get(document) != simdjson::SUCCESS || document.get_object().get(root) != simdjson::SUCCESS ||
      root["object"].get_object().get(object) != simdjson::SUCCESS || object.raw_json().get(raw) != simdjson::SUCCESS) {
    return fail("a watch event without an object");
  }
  return std::string(raw.substr(0, raw.rfind('}') + 1));
}

}  // namespace

Result<WatchEvent> parse_watch_event(std::string_view line) {
  thread_local dom::parser parser;
  dom::element root;
  if (const auto error = parser.parse(line.data(), line.size()).get(root); error != simdjson::SUCCESS) {
    return fail("a watch event that is no JSON: {}", simdjson::error_message(error));
  }
  WatchEvent event;
  const std::string type = text_at(root, "/type");
  if (type == "ADDED") event.type = WatchEvent::Type::added;
  else if (type == "MODIFIED") event.type = WatchEvent::Type::modified;
  else if (type == "DELETED") event.type = WatchEvent::Type::deleted;
  else if (type == "BOOKMARK") event.type = WatchEvent::Type::bookmark;
  else if (type == "ERROR") event.type = WatchEvent::Type::error;
  else return fail("a watch event of unknown type \"{}\"", type.substr(0, 40));
  if (event.type == WatchEvent::Type::error) {
    event.code = static_cast<int>(number_at(root, "/object/code"));
    event.message = text_at(root, "/object/message").substr(0, 500);
    const int64_t after = number_at(root, "/object/details/retryAfterSeconds");
    event.retry_after_s = after > 0 && after < 86'400 ? static_cast<uint32_t>(after) : 0;
    return event;
  }
  event.resource_version = text_at(root, "/object/metadata/resourceVersion");
  if (event.resource_version.empty()) return fail("a watch event without metadata.resourceVersion");
  if (event.resource_version.size() > 256) return fail("a watch event with an overlong resourceVersion");
  if (event.type == WatchEvent::Type::bookmark) return event;
  auto object = object_text(line);
  if (!object) return std::unexpected(object.error());
  event.object = std::move(*object);
  return event;
}

uint64_t version_number(std::string_view resource_version) {
  uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(resource_version.data(), resource_version.data() + resource_version.size(), number);
  return error == std::errc() && end == resource_version.data() + resource_version.size() ? number : 0;
}

}  // namespace sluice::kube
