// The data plane's error: trivially copyable, no strings. `Reason` is a closed list; one table (reason.cpp) maps each
// to its status, its stable word (access log, metrics, error body) and a sentence. A reason never changes its word once
// released.
#pragma once
#include <cstdint>
#include <string_view>

namespace sluice::http {

enum class Side : uint8_t { client, upstream, internal };
enum class Retry : uint8_t {
  no,         // may have been processed, or must not be repeated
  yes,        // nothing reached the upstream's application: safe for any request
  if_reused,  // a reused connection died before a byte came back: safe for idempotent requests, or if nothing was sent
};

enum class Reason : uint8_t {
  none,
  // client: malformed (RFC 9112 unless said)
  bad_request_line,
  bad_method,
  bad_target,
  bad_version,
  bad_header_name,
  bad_header_value,
  bare_cr_lf,
  obs_fold,
  missing_host,
  bad_host,
  duplicate_host,
  bad_content_length,
  bad_transfer_encoding,
  both_lengths,
  te_in_http10,
  bad_chunk,
  bad_trailer,
  bad_path_encoding,
  rejected_path,
  upgrade_refused,
  connect_refused,
  unsupported_expect,
  bad_proxy_header,
  tls_required,
  misdirected,
  // client: limits and time
  request_line_too_long,
  headers_too_large,
  too_many_headers,
  body_too_large,
  request_header_timeout,
  request_body_timeout,
  client_closed,
  // routing
  no_route,
  direct_response,
  redirect,
  https_redirect,
  // upstream
  no_endpoints,
  service_not_found,
  backend_invalid,
  rule_invalid,
  port_not_found,
  name_not_resolved,
  connect_failed,
  connect_timeout,
  upstream_closed,
  upstream_reset,
  upstream_tls_failed,
  upstream_tls_unverified,
  bad_response,
  response_too_large,
  response_timeout,
  request_timeout,
  response_cut,
  body_not_replayable,
  // ours
  overloaded,
  draining,
  rate_limited,
  filter_denied,
  filter_failed,
  internal,
  tunnel_idle,
  kCount
};

struct Error {
  Reason reason = Reason::none;
  Side side = Side::internal;
  Retry retry = Retry::no;
  int16_t detail = 0;  // errno or a library's code, for the log
};

struct ReasonInfo {
  std::string_view word;      // "no_endpoints"
  uint16_t status;            // answered to the client if nothing was sent yet; 0 = no answer, close
  std::string_view sentence;  // for the error body; never internals
  // Seconds, as a literal (RFC 9110 10.2.3): when another try may find it better. Empty: nobody can say.
  std::string_view retry_after{};
};
[[nodiscard]] const ReasonInfo& describe(Reason reason);
// By its word; none if there is no such word.
[[nodiscard]] Reason reason_of(std::string_view word);

}  // namespace sluice::http
