// Hosts and paths as the data plane will meet them: the same normal form as dataplane/http/path.h, so that what is
// configured can match.
#pragma once
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace sluice::translate {

// "a.example.com", or "*.example.com" (exactly one label). Kubernetes' own rule: lower case DNS names, no addresses, no
// trailing dot. The error is a sentence without its subject ("must be ...").
[[nodiscard]] Status check_host(std::string_view host);

// RFC 3986 6.2.2 normal form of a configured path: escapes of unreserved characters decoded, others in upper case,
// bytes that cannot be sent raw escaped. Refused: no leading '/', dot segments, broken escapes, NUL, backslash, '?' and
// '#', since no request could match.
[[nodiscard]] Result<std::string> normalize_path(std::string_view path);
// The same without trailing slashes: Prefix matches element by element, and "/foo/" is "/foo". "/" becomes "".
[[nodiscard]] Result<std::string> normalize_prefix(std::string_view path);

}  // namespace sluice::translate
