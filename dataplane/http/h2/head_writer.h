// Heads and trailers as the name-value pairs that nghttp2 packs. Internal to h2/. What is_written() refuses is left
// out, names become lower case (RFC 9113 8.2), and fields that differ with every message are kept out of the
// compression tables (RFC 7541 6.2.2). Everything lives in the arena or where the head's views point: until it is
// framed.
#pragma once
#include <span>
#include <string_view>

#include <nghttp2/nghttp2.h>

#include "dataplane/http/message.h"

namespace sluice::http::h2 {

[[nodiscard]] std::span<const nghttp2_nv> write_request(const RequestHead& head, Scheme scheme, Arena& arena);
// `scheme`: of the connection it goes to; servers compare the two.
// `date` is added if there is none. `tunnel`: an extended CONNECT is accepted, 101 becomes 200 (RFC 8441 5).
[[nodiscard]] std::span<const nghttp2_nv> write_response(const ResponseHead& head, std::string_view date, bool tunnel,
                                                         Arena& arena);
[[nodiscard]] std::span<const nghttp2_nv> write_trailers(const Fields& trailers, Arena& arena);

}  // namespace sluice::http::h2
