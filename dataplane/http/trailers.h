// Which fields may come as trailers (RFC 9110 6.5.1), the same for every protocol version.
#pragma once
#include <cstdint>

#include "dataplane/http/message.h"

namespace sluice::http {

enum class Trailer : uint8_t { keep, drop, refuse };

// RFC 9110 6.5.1: no trailer may frame, route, authenticate or modify. What frames or routes is refused, because only
// an attack sends it; the rest of that list is dropped ("MAY ... discard"), because a late answer or identity must not
// reach anybody who merges trailers into the head.
[[nodiscard]] Trailer judge_trailer(const Field& field);

}  // namespace sluice::http
