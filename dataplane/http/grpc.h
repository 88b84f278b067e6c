// gRPC over HTTP (gRPC's PROTOCOL-HTTP2.md and http-grpc-status-mapping.md), as far as a gateway has to know it: which
// requests are gRPC, their deadline, the status of an answer, and what an answer of our own says. Nothing here looks at
// bodies. gRPC-Web (application/grpc-web) is plain HTTP to us.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/message.h"

namespace sluice::http::grpc {

enum class Status : uint8_t {
  ok,
  cancelled,
  unknown,
  invalid_argument,
  deadline_exceeded,
  not_found,
  already_exists,
  permission_denied,
  resource_exhausted,
  failed_precondition,
  aborted,
  out_of_range,
  unimplemented,
  internal,
  unavailable,
  data_loss,
  unauthenticated,
  kCount
};
// Its number as text: a literal.
[[nodiscard]] std::string_view digits(Status status);

inline constexpr std::string_view kContentType = "application/grpc";
inline constexpr std::string_view kTimeoutField = "grpc-timeout";
inline constexpr std::string_view kStatusField = "grpc-status";
inline constexpr std::string_view kMessageField = "grpc-message";

// POST with the media type application/grpc, alone or followed by a suffix (+proto) or parameters.
[[nodiscard]] bool is_request(const RequestHead& head);

// What `fields` (trailers, or the head of a trailers-only answer) say; nothing without the field. A value that is no
// number of a status is unknown, as gRPC's clients have it.
[[nodiscard]] std::optional<Status> status_in(const Fields& fields);
// What a client makes of an answer without grpc-status (http-grpc-status-mapping.md).
[[nodiscard]] Status status_of(uint16_t http_status);
// Of an answer of ours that would have had `http_status`, and of a stream that ended for this reason.
[[nodiscard]] Status status_of(Reason reason, uint16_t http_status);
// Whether an answer of ours becomes a gRPC status. What is meant for the HTTP client below gRPC stays as it is:
// redirects, 421 (RFC 9110 15.5.20: ask on another connection), and a route's own answers below 400.
[[nodiscard]] bool is_told_as_status(Reason reason, uint16_t http_status);

// grpc-timeout: 1 to 8 digits and a unit (H, M, S, m, u, n). Microseconds, nanoseconds rounded up; nothing if
// malformed.
[[nodiscard]] std::optional<uint64_t> parse_timeout(std::string_view value);
inline constexpr size_t kMaxTimeout = 9;  // bytes
// In the largest unit that says it exactly within 8 digits; where none does, in the smallest that has room, rounded
// down. At most 99999999 hours. A view into `to`.
[[nodiscard]] std::string_view write_timeout(uint64_t microseconds, std::span<char, kMaxTimeout> to);

// Percent-encoded for grpc-message: all but 0x20 to 0x7E, and '%'. In the arena, or `text` itself.
[[nodiscard]] std::string_view encode_message(std::string_view text, Arena& arena);

}  // namespace sluice::http::grpc
