// Reading and writing the API's JSON where nothing of it can be trusted: a member that is missing or of another type
// reads as empty, text that is no UTF-8 is written replaced. Neither ever throws.
#pragma once
#include <string>

#include <nlohmann/json.hpp>

namespace sluice::status {

[[nodiscard]] inline std::string dumped(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// The object under `name`.
[[nodiscard]] inline const nlohmann::json& part(const nlohmann::json& object, const char* name) {
  static const nlohmann::json kNone = nlohmann::json::object();
  const auto found = object.find(name);
  return found != object.end() && found->is_object() ? *found : kNone;
}

// The text under `name`.
[[nodiscard]] inline std::string text(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace sluice::status
