#include "dataplane/http/message.h"

namespace sluice::http {
namespace {
// In the order of Method; `other` has no name of its own.
constexpr std::string_view kMethods[] = {"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                         "CONNECT", "OPTIONS", "TRACE", "PATCH"};
static_assert(std::size(kMethods) == static_cast<size_t>(Method::other));
}  // namespace

bool is_idempotent(Method method) {
  switch (method) {
    case Method::get:
    case Method::head:
    case Method::put:
    case Method::delete_:
    case Method::options:
    case Method::trace:
      return true;
    default:
      return false;
  }
}

Method method_of(std::string_view name) {
  for (size_t i = 0; i < std::size(kMethods); ++i) {
    if (kMethods[i] == name) return static_cast<Method>(i);
  }
  return Method::other;
}

std::string_view name_of(Method method) {
  return method < Method::other ? kMethods[static_cast<size_t>(method)] : std::string_view();
}

}  // namespace sluice::http
