// Diagnostics of both planes: one JSON object a line on stderr. Not the access log (dataplane/observe) and never on the
// path of a request. Field values are escaped here; SecretBytes prints as [redacted]. The level is a process-wide
// atomic, changed at run time.
#pragma once
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace sluice::log {

enum class Level : uint8_t { debug, info, warning, error, off };

// A name and its value, already text.
struct Field {
  template <class T>
  Field(std::string_view name_, const T& value_) : name(name_), value(fmt::format("{}", value_)) {}
  std::string_view name;
  std::string value;
};

void set_level(Level level);
[[nodiscard]] Level level();
[[nodiscard]] std::string_view level_name(Level level);
// "debug", "info", "warning", "error", "off"; false if unknown.
bool parse_level(std::string_view text, Level& out);
// Named once per process: "controlplane", "agent", "worker 1". Kept by value.
void set_component(std::string_view name);

// Writes one line with a single write(2); lines are at most 8 KiB (longer values are cut).
void write(Level level, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view message, std::initializer_list<Field> fields = {}) {
  if (level() <= Level::debug) write(Level::debug, message, fields);
}
inline void info(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::info, message, fields);
}
inline void warning(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::warning, message, fields);
}
inline void error(std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::error, message, fields);
}

// Appends text as the inside of a JSON string (quotes not included). Bytes that are no valid UTF-8 become \u00XX of the
// byte.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace sluice::log
