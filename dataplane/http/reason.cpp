#include <array>

#include "dataplane/http/error.h"

namespace sluice::http {
namespace {

struct Row {
  Reason reason;
  ReasonInfo info;
};

// In the order of the enum (checked below). Statuses: RFC 9110 15 and RFC 6585; 0 = nothing can be answered, the
// connection is closed. 501 for CONNECT: 405 would need an Allow field (RFC 9110 15.5.6), and no target here supports
// it.
constexpr Row kRows[] = {
    {Reason::none, {"none", 200, ""}},
    {Reason::bad_request_line, {"bad_request_line", 400, "The request line is malformed."}},
    {Reason::bad_method, {"bad_method", 400, "The request method is malformed."}},
    {Reason::bad_target, {"bad_target", 400, "The request target is malformed."}},
    {Reason::bad_version, {"bad_version", 505, "This HTTP version is not supported."}},
    {Reason::bad_header_name, {"bad_header_name", 400, "A header field name is malformed."}},
    {Reason::bad_header_value, {"bad_header_value", 400, "A header field value is malformed."}},
    {Reason::bare_cr_lf, {"bare_cr_lf", 400, "A line does not end with CR LF."}},
    {Reason::obs_fold, {"obs_fold", 400, "Folded header lines are not accepted."}},
    {Reason::missing_host, {"missing_host", 400, "The Host header field is missing."}},
    {Reason::bad_host, {"bad_host", 400, "The host is malformed."}},
    {Reason::duplicate_host, {"duplicate_host", 400, "There is more than one Host header field."}},
    {Reason::bad_content_length, {"bad_content_length", 400, "Content-Length is malformed or repeated."}},
    {Reason::bad_transfer_encoding, {"bad_transfer_encoding", 400, "Transfer-Encoding is not exactly chunked."}},
    {Reason::both_lengths, {"both_lengths", 400, "Content-Length and Transfer-Encoding exclude each other."}},
    {Reason::te_in_http10, {"te_in_http10", 400, "HTTP/1.0 has no Transfer-Encoding."}},
    {Reason::bad_chunk, {"bad_chunk", 400, "The chunked body is malformed."}},
    {Reason::bad_trailer, {"bad_trailer", 400, "A trailer field is malformed or not allowed."}},
    {Reason::bad_path_encoding, {"bad_path_encoding", 400, "The path holds a broken percent-encoding."}},
    {Reason::rejected_path, {"rejected_path", 400, "The path is ambiguous or leaves the root."}},
    {Reason::upgrade_refused, {"upgrade_refused", 400, "This upgrade is not offered here."}},
    {Reason::connect_refused, {"connect_refused", 501, "CONNECT is not supported."}},
    {Reason::unsupported_expect, {"unsupported_expect", 417, "This expectation cannot be met."}},
    {Reason::bad_proxy_header, {"bad_proxy_header", 0, "The PROXY protocol header is malformed."}},
    {Reason::tls_required, {"tls_required", 400, "TLS is required here."}},
    {Reason::misdirected, {"misdirected", 421, "This host is not served on this connection."}},
    {Reason::request_line_too_long, {"request_line_too_long", 414, "The request line is too long."}},
    {Reason::headers_too_large, {"headers_too_large", 431, "The header section is too large."}},
    {Reason::too_many_headers, {"too_many_headers", 431, "There are too many header fields."}},
    {Reason::body_too_large, {"body_too_large", 413, "The body is too large."}},
    {Reason::request_header_timeout, {"request_header_timeout", 408, "The request did not arrive in time."}},
    {Reason::request_body_timeout, {"request_body_timeout", 408, "The request body did not arrive in time."}},
    {Reason::client_closed, {"client_closed", 0, "The client closed the connection."}},
    {Reason::no_route, {"no_route", 404, "Nothing is served here."}},
    {Reason::direct_response, {"direct_response", 200, ""}},
    {Reason::redirect, {"redirect", 302, ""}},
    {Reason::https_redirect, {"https_redirect", 308, "Use https."}},
    {Reason::no_endpoints, {"no_endpoints", 503, "The service has no ready endpoint.", "5"}},
    {Reason::service_not_found, {"service_not_found", 503, "The service does not exist."}},
    {Reason::backend_invalid, {"backend_invalid", 500, "The route's backend is invalid."}},
    {Reason::rule_invalid, {"rule_invalid", 500, "The route's rule is invalid."}},
    {Reason::port_not_found, {"port_not_found", 503, "The service does not have this port."}},
    {Reason::name_not_resolved, {"name_not_resolved", 503, "The upstream's name has no address.", "5"}},
    {Reason::connect_failed, {"connect_failed", 502, "The upstream could not be reached."}},
    {Reason::connect_timeout, {"connect_timeout", 504, "The upstream could not be reached in time."}},
    {Reason::upstream_closed, {"upstream_closed", 502, "The upstream closed the connection before an answer."}},
    {Reason::upstream_reset, {"upstream_reset", 502, "The upstream reset the connection."}},
    {Reason::upstream_tls_failed, {"upstream_tls_failed", 502, "TLS with the upstream failed."}},
    {Reason::upstream_tls_unverified, {"upstream_tls_unverified", 502, "The upstream's certificate is not trusted."}},
    {Reason::bad_response, {"bad_response", 502, "The upstream's answer is malformed."}},
    {Reason::response_too_large, {"response_too_large", 502, "The upstream's answer is too large."}},
    {Reason::response_timeout, {"response_timeout", 504, "The upstream did not answer in time."}},
    {Reason::request_timeout, {"request_timeout", 504, "The request took too long."}},
    {Reason::response_cut, {"response_cut", 502, "The upstream's answer ended too early."}},
    {Reason::body_not_replayable, {"body_not_replayable", 502, "The request could not be repeated."}},
    {Reason::overloaded, {"overloaded", 503, "The gateway is overloaded.", "1"}},
    {Reason::draining, {"draining", 503, "The gateway is shutting down.", "1"}},
    {Reason::rate_limited, {"rate_limited", 429, "There were too many requests; try again later."}},
    {Reason::filter_denied, {"filter_denied", 403, "The request was denied."}},
    {Reason::filter_failed, {"filter_failed", 500, "A policy could not be applied."}},
    {Reason::internal, {"internal", 500, "Internal error."}},
    {Reason::tunnel_idle, {"tunnel_idle", 0, "Nothing came either way for too long."}},
};

constexpr size_t kCount = static_cast<size_t>(Reason::kCount);
constexpr bool in_order() {
  if (std::size(kRows) != kCount) return false;
  for (size_t i = 0; i < kCount; ++i) {
    if (static_cast<size_t>(kRows[i].reason) != i) return false;
  }
  return true;
}
static_assert(in_order(), "one row for each Reason, in its order");

}  // namespace

const ReasonInfo& describe(Reason reason) {
  const auto i = static_cast<size_t>(reason);
  return kRows[i < kCount ? i : static_cast<size_t>(Reason::internal)].info;
}

Reason reason_of(std::string_view word) {
  for (const Row& row : kRows) {
    if (row.info.word == word) return row.reason;
  }
  return Reason::none;
}

}  // namespace sluice::http
