// The words of an access log template, for both planes: the data plane writes them, the control plane refuses others. A
// name never changes its meaning. A template is text with %{name} in it; %% is a percent sign.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

inline constexpr std::array<std::string_view, 35> kAccessLogNames = {
    "time",           // when the request began, RFC 3339 in UTC with microseconds
    "start_wall_us",  // the same as a number: microseconds since 1970
    "duration_us",    // from its first byte to the end of the answer
    "upstream_us",    // request sent to answer's head received; 0 = none
    "connect_us",     // of the last attempt; 0 = a connection was reused
    "client",         // address, by trusted proxies
    "peer",           // address of the socket
    "request_id",
    "method",
    "scheme",  // http or https
    "host",
    "path",   // normalised
    "query",  // without ?
    "user_agent",
    "referer",
    "protocol",     // HTTP/1.1
    "status",       // 0 = no answer was sent
    "bytes_in",     // body of the request
    "bytes_out",    // body of the answer
    "upstream",     // address and port of the last attempt
    "cluster",      // namespace/service/port
    "attempts",     // how many endpoints were tried
    "reason",       // of a local answer or a failure
    "origin_kind",  // the Kubernetes object that decided ...
    "origin_namespace",
    "origin_name",
    "origin_rule",        // ... its rule
    "origin_generation",  // ... and its generation
    "state_sequence",     // of the table that decided
    "tls_version",
    "tls_cipher",
    "sni",
    "worker_pid",   // which worker wrote the line
    "rate_limit",   // namespace/policy/limit that refused, or would have in shadow mode (reason is not rate_limited)
    "grpc_status",  // number of a gRPC request's status, by its answer or by how it ended
};

[[nodiscard]] constexpr std::optional<size_t> access_log_name(std::string_view name) {
  for (size_t i = 0; i < kAccessLogNames.size(); ++i) {
    if (kAccessLogNames[i] == name) return i;
  }
  return std::nullopt;
}

// Walks a template: on_text(string_view) for what is copied, on_name(index) for values. What is wrong with it as one
// sentence, empty if nothing.
template <class OnText, class OnName>
[[nodiscard]] std::string parse_access_log_template(std::string_view format, OnText on_text, OnName on_name) {
  if (format.empty()) return "the format is empty";
  if (format.size() > 4096) return "the format is longer than 4096 bytes";
  for (const char c : format) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return "the format holds a control character (a line's end is added by itself)";
  }
  size_t at = 0;
  while (at < format.size()) {
    const size_t percent = format.find('%', at);
    if (percent != at) on_text(format.substr(at, percent == format.npos ? format.npos : percent - at));
    if (percent == format.npos) break;
    const std::string_view rest = format.substr(percent + 1);
    if (rest.starts_with('%')) {
      on_text(rest.substr(0, 1));
      at = percent + 2;
      continue;
    }
    const size_t end = rest.find('}');
    if (!rest.starts_with('{') || end == rest.npos) {
      return "position " + std::to_string(percent + 1) + ": % must begin %{name}; a percent sign is %%";
    }
    const std::string_view name = rest.substr(1, end - 1);
    const auto index = access_log_name(name);
    if (!index) return "unknown name '" + std::string(name) + "'";
    on_name(*index);
    at = percent + 1 + end + 1;
  }
  return {};
}

// "json" or a template. Empty = good.
[[nodiscard]] inline std::string check_access_log_format(std::string_view format) {
  if (format == "json") return {};
  return parse_access_log_template(
      format, [](std::string_view) {}, [](size_t) {});
}

}  // namespace sluice
