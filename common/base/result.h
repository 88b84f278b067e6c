// Errors as values. Result<T> carries a text for people (control plane, tools, start-up); the data plane's hot path has
// its own trivially copyable error (dataplane/http/error.h). g++ 12 has std::expected without its monadic members.
#pragma once
#include <expected>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace sluice {

// What went wrong and where, as one sentence that names the object and the field.
struct Error {
  std::string message;
};

template <class T, class E = Error>
using Result = std::expected<T, E>;
using Status = Result<void>;

template <class... Args>
[[nodiscard]] std::unexpected<Error> fail(fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected<Error>(Error{fmt::format(format, std::forward<Args>(args)...)});
}

}  // namespace sluice
