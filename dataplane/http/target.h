// The path and query of a request target (RFC 9110 7.1), as every protocol version carries them: taken apart and made
// normal once (path.h).
#pragma once
#include <string_view>

#include "common/base/arena.h"
#include "dataplane/http/error.h"
#include "dataplane/http/message.h"

namespace sluice::http {

// target: origin-form (RFC 9112 3.2.1), starting with '/'. Sets head.path, head.query and head.has_query; views of
// `target` or of the arena. Else bad_target, bad_path_encoding or rejected_path.
[[nodiscard]] Reason set_path_and_query(std::string_view target, RequestHead& head, Arena& arena);

}  // namespace sluice::http
