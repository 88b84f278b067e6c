#include "controlplane/config/option_table.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <openssl/ssl.h>

#include "common/base/access_log_names.h"
#include "common/ir/verify.h"

namespace sluice::config {
namespace {

Result<uint64_t> parse_number(std::string_view text, std::string_view& rest) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return fail("'{}' does not begin with a number", text);
  rest = text.substr(static_cast<size_t>(end - text.data()));
  return value;
}

template <class T>
T& made(std::unique_ptr<T>& slot) {
  if (slot == nullptr) slot = std::make_unique<T>();
  return *slot;
}
auto& timeouts(Options& o) { return made(o.settings.timeouts); }
auto& limits(Options& o) { return made(o.settings.limits); }
auto& access_log(Options& o) { return made(o.settings.access_log); }
auto& tls(Options& o) { return made(o.settings.tls); }
auto& http2(Options& o) { return made(o.settings.http2); }

Status bounded(uint64_t value, uint64_t low, uint64_t high, uint32_t& out) {
  if (value < low || value > high) return fail("must be between {} and {}", low, high);
  out = static_cast<uint32_t>(value);
  return {};
}
Status flag(const Value& value, bool& out) {
  out = value.number != 0;
  return {};
}
Status streams(const Value& value, uint32_t& out) { return bounded(value.number, 1, ir::kMaxHttp2Streams, out); }
Status window(const Value& value, uint32_t& out) {
  return bounded(value.number, ir::kMinHttp2Window, ir::kMaxHttp2Window, out);
}
Status cidrs(const Value& value, std::vector<std::unique_ptr<ir::CidrT>>& out) {
  if (value.list.size() > 1024) return fail("more than 1024 entries");
  std::vector<std::unique_ptr<ir::CidrT>> parsed;
  for (const std::string& text : value.list) {
    auto cidr = parse_cidr(text);
    if (!cidr) return std::unexpected(cidr.error());
    parsed.push_back(std::make_unique<ir::CidrT>(*cidr));
  }
  out = std::move(parsed);
  return {};
}
Status ranges(const Value& value, std::vector<AddressRange>& out) {
  std::vector<std::unique_ptr<ir::CidrT>> parsed;
  if (Status ok = cidrs(value, parsed); !ok) return ok;
  out.clear();
  for (const auto& cidr : parsed) out.push_back({cidr->address->high(), cidr->address->low(), cidr->bits});
  return {};
}
constexpr uint64_t kDay = 86'400'000;

Status port(const Value& value, std::optional<uint16_t>& out) {
  if (value.text == "off") {
    out.reset();
    return {};
  }
  std::string_view rest;
  const auto number = parse_number(value.text, rest);
  if (!number || !rest.empty() || *number > 65535) return fail("must be a port (0: any free one) or off");
  out = static_cast<uint16_t>(*number);
  return {};
}
// Each of them for http and for https.
constexpr size_t kMaxBind = ir::kMaxListenerAddresses / 2;
Status bind(const Value& value, std::vector<std::string>& out) {
  if (value.list.size() > kMaxBind) return fail("more than {} addresses", kMaxBind);
  for (const std::string& text : value.list) {
    if (text.find('/') != std::string::npos || !parse_cidr(text))
      return fail("'{}' is no IP address", text.substr(0, 64));
  }
  out = value.list;
  return {};
}
Status namespaces(const Value& value, std::vector<std::string>& out) {
  for (const std::string& name : value.list) {
    // RFC 1123 label, as Kubernetes wants of a namespace's name.
    const bool plain = name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
    if (name.empty() || name.size() > 63 || !plain || name.front() == '-' || name.back() == '-')
      return fail("'{}' is no namespace's name", name.substr(0, 64));
  }
  out = value.list;
  return {};
}
Status log_format(const Value& value, std::string& out) {
  if (const std::string wrong = check_access_log_format(value.text); !wrong.empty()) return fail("{}", wrong);
  out = value.text;
  return {};
}
Status published(const Value& value, std::vector<PublishedAddress>& out) {
  if (value.list.size() > kMaxPublished) return fail("more than {} addresses", kMaxPublished);
  std::vector<PublishedAddress> parsed;
  for (const std::string& text : value.list) {
    auto address = parse_published(text);
    if (!address) return std::unexpected(address.error());
    if (std::ranges::find(parsed, *address) == parsed.end()) parsed.push_back(std::move(*address));
  }
  out = std::move(parsed);
  return {};
}
Status object_key(const Value& value, std::optional<store::ObjectKey>& out) {
  if (value.text.empty()) {
    out.reset();
    return {};
  }
  auto key = parse_key(value.text);
  if (!key) return std::unexpected(key.error());
  out = std::move(*key);
  return {};
}
// OpenSSL is asked, so that a list without one usable cipher is refused here and not by every worker.
Status ciphers(const Value& value, std::string& out) {
  if (value.text.size() > ir::kMaxNameBytes) return fail("is longer than {} bytes", ir::kMaxNameBytes);
  if (!value.text.empty()) {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    const bool usable = context != nullptr && SSL_CTX_set_cipher_list(context, value.text.c_str()) == 1;
    SSL_CTX_free(context);
    if (!usable) return fail("'{}' selects no cipher", value.text.substr(0, 256));
  }
  out = value.text;
  return {};
}

// NOLINTBEGIN(readability-function-size)
#define SLUICE_TIMEOUT(KEY, FIELD, LOW, DEFAULT, DOC)                                              \
  OptionRow {                                                                                      \
    "timeouts." KEY, ValueType::duration, DEFAULT, DOC,                                            \
        [](const Value& v, Options& o) { return bounded(v.number, LOW, kDay, timeouts(o).FIELD); } \
  }
#define SLUICE_HTTP2(KEY, TYPE, DEFAULT, READ, FIELD, DOC)                                                          \
  OptionRow {                                                                                                       \
    "http2." KEY, ValueType::TYPE, DEFAULT, DOC, [](const Value& v, Options& o) { return READ(v, http2(o).FIELD); } \
  }
constexpr OptionRow kRows[] = {
    OptionRow{
        "workers", ValueType::integer, "0",
        "Worker processes. 0: the CPU quota of the cgroup, else the number of CPUs.",
        [](const Value& v, Options& o) { return bounded(v.number, 0, ir::kMaxTableWorkers, o.settings.workers); }},
    OptionRow{"listeners.http", ValueType::text, "off",
              "Port for plain HTTP; 0: any free one; off. The flag --http-port wins. Opened and closed at run time.",
              [](const Value& v, Options& o) { return port(v, o.http_port); }},
    OptionRow{"listeners.https", ValueType::text, "off", "Port for HTTPS. The flag --https-port wins.",
              [](const Value& v, Options& o) { return port(v, o.https_port); }},
    OptionRow{"listeners.bind", ValueType::text_list, "[]",
              "IPv4 and IPv6 addresses to listen on. Empty: all. The flag --bind wins.",
              [](const Value& v, Options& o) { return bind(v, o.bind); }},
    SLUICE_TIMEOUT("requestHeader", request_header, 1, "10s",
                   "A request's head must be complete this long after its first byte (408)."),
    SLUICE_TIMEOUT("requestBodyIdle", request_body_idle, 1, "30s",
                   "Longest silence inside a request's body (408). gRPC: tunnelIdle."),
    SLUICE_TIMEOUT("keepAlive", keep_alive, 1, "75s", "An idle client connection is closed after this."),
    SLUICE_TIMEOUT("upstreamConnect", upstream_connect, 1, "2s",
                   "Connecting to an endpoint, TLS included; then another endpoint is tried."),
    SLUICE_TIMEOUT("upstreamResponse", upstream_response, 1, "60s",
                   "The head of the answer must come this long after the request was sent (504), and each part of it "
                   "this long after the one before (cut). gRPC: tunnelIdle."),
    SLUICE_TIMEOUT("request", request, 0, "0s",
                   "The whole request, all tries included (504). 0: no limit. A Route's own timeout wins; a gRPC "
                   "client's grpc-timeout, where it is shorter."),
    SLUICE_TIMEOUT("tlsHandshake", tls_handshake, 1, "10s", "A TLS handshake must be finished in this time."),
    SLUICE_TIMEOUT("upstreamIdle", upstream_idle, 1, "60s", "An idle upstream connection is closed after this."),
    SLUICE_TIMEOUT(
        "tunnelIdle", tunnel_idle, 1, "1h",
        "After an upgrade (WebSocket) both connections are closed when no byte came either way for this long. Also the "
        "longest silence of either side of a gRPC call."),
    SLUICE_TIMEOUT(
        "queueDelay", queue_delay, 0, "100ms",
        "How long what has arrived may wait for its worker's turn, standing, before new requests are answered 503 "
        "(overload): of standard routes a growing share from here on, five of eight at twice this; of sheddable ones "
        "from "
        "a quarter of it, of critical ones from 25 times as much. 0: as long as it takes."),
    OptionRow{
        "timeouts.drain", ValueType::duration, "30s",
        "Grace period of a shutdown: streams may end, then connections are closed, WebSockets with a Close (1001).",
        [](const Value& v, Options& o) { return bounded(v.number, 0, kDay, o.settings.drain_ms); }},
    OptionRow{"limits.headerBytes", ValueType::size, "32Ki", "All fields of a request's head together (431).",
              [](const Value& v, Options& o) {
                return bounded(v.number, ir::kMinHeaderBytes, ir::kMaxHeaderBytes, limits(o).header_bytes);
              }},
    OptionRow{"limits.headerCount", ValueType::integer, "100", "Number of fields in a request's head (431).",
              [](const Value& v, Options& o) { return bounded(v.number, 1, 1000, limits(o).header_count); }},
    OptionRow{"limits.requestLine", ValueType::size, "8Ki", "Length of the request line (414).",
              [](const Value& v, Options& o) {
                return bounded(v.number, ir::kMinRequestLine, 1 << 16, limits(o).request_line);
              }},
    OptionRow{"limits.bodyBytes", ValueType::size, "0", "Length of a request's body (413). 0: no limit.",
              [](const Value& v, Options& o) -> Status {
                limits(o).body_bytes = v.number;
                return {};
              }},
    OptionRow{"limits.connections", ValueType::integer, "0",
              "Client connections per worker; some more are answered 503 with Retry-After, others closed. 0: what the "
              "open-files limit allows.",
              [](const Value& v, Options& o) { return bounded(v.number, 0, 10'000'000, limits(o).connections); }},
    OptionRow{"limits.upstreamIdle", ValueType::integer, "512",
              "Idle upstream connections that an instance keeps, over all workers.",
              [](const Value& v, Options& o) { return bounded(v.number, 0, 1'000'000, limits(o).upstream_idle); }},
    OptionRow{
        "limits.minBodyRate", ValueType::size, "0",
        "Bytes per second that a request's body must make on average (408). 0: no limit.",
        [](const Value& v, Options& o) { return bounded(v.number, 0, ir::kMaxBodyRate, limits(o).min_body_rate); }},
    OptionRow{"connections.balance", ValueType::text, "kernel",
              "Which worker serves a new client connection. kernel: the one that the hash of its addresses falls on. "
              "even: the one that has the fewest, for few connections that stay long and do much (HTTP/2, gRPC, "
              "WebSockets).",
              [](const Value& v, Options& o) -> Status {
                if (v.text != "kernel" && v.text != "even") return fail("must be kernel or even");
                o.settings.connection_balance =
                    v.text == "even" ? ir::ConnectionBalance::Even : ir::ConnectionBalance::Kernel;
                return {};
              }},
    SLUICE_HTTP2("enabled", boolean, "true", flag, enabled, "Offers HTTP/2 on the HTTPS listener (ALPN h2)."),
    SLUICE_HTTP2("cleartext", boolean, "true", flag, cleartext,
                 "Takes HTTP/2 on the plain listener from clients that begin with it (prior knowledge)."),
    SLUICE_HTTP2("maxConcurrentStreams", integer, "100", streams, concurrent_streams,
                 "Requests that one connection may have under way, 1 to 1000."),
    SLUICE_HTTP2("streamWindow", size, "64Ki", window, stream_window,
                 "Bytes of one request's body that a client may send ahead of what has been passed on, 65535 to 16Mi."),
    SLUICE_HTTP2("connectionWindow", size, "1Mi", window, connection_window,
                 "The same for all requests of a connection together."),
    SLUICE_HTTP2("extendedConnect", boolean, "true", flag, extended_connect, "WebSocket over HTTP/2 (RFC 8441)."),
    OptionRow{"accessLog.path", ValueType::text, "/dev/stdout", "A file, /dev/stdout, /dev/stderr, or off.",
              [](const Value& v, Options& o) -> Status {
                if (v.text != "off" && !v.text.starts_with('/')) return fail("must be an absolute path or off");
                if (v.text.size() > ir::kMaxNameBytes) return fail("is longer than {} bytes", ir::kMaxNameBytes);
                access_log(o).path = v.text;
                return {};
              }},
    OptionRow{"accessLog.format", ValueType::text, "json",
              "json, or a template of text and %{name}; the names are those of the JSON line.",
              [](const Value& v, Options& o) { return log_format(v, access_log(o).format); }},
    OptionRow{"trustedProxies", ValueType::text_list, "[]",
              "CIDRs of proxies in front whose X-Forwarded-* and X-Request-Id are believed.",
              [](const Value& v, Options& o) { return cidrs(v, o.settings.trusted_proxies); }},
    OptionRow{"proxyProtocol", ValueType::text_list, "[]",
              "CIDRs of peers whose connections must begin with a PROXY protocol header (v1 or v2).",
              [](const Value& v, Options& o) { return cidrs(v, o.settings.proxy_protocol); }},
    OptionRow{"forwardedHeader", ValueType::boolean, "false", "Adds RFC 7239 Forwarded beside X-Forwarded-*.",
              [](const Value& v, Options& o) -> Status {
                o.settings.forwarded_header = v.number != 0;
                return {};
              }},
    OptionRow{"tls.minVersion", ValueType::text, "1.2", "1.2 or 1.3.",
              [](const Value& v, Options& o) -> Status {
                if (v.text != "1.2" && v.text != "1.3") return fail("must be 1.2 or 1.3");
                tls(o).min_version = v.text == "1.2" ? 0x0303 : 0x0304;
                return {};
              }},
    OptionRow{"tls.ciphers", ValueType::text, "",
              "Cipher list for TLS 1.2 in OpenSSL's words. Empty: forward-secret AEAD ciphers.",
              [](const Value& v, Options& o) { return ciphers(v, tls(o).ciphers); }},
    OptionRow{
        "tls.ticketKeysSecret", ValueType::text, "",
        "NAMESPACE/NAME of a Secret with the session ticket keys that all replicas share: each entry is named by "
        "the Unix second from which its key makes new tickets, and holds 80 bytes (docs/security.md). Empty: each "
        "instance makes its own.",
        [](const Value& v, Options& o) { return object_key(v, o.ticket_keys_secret); }},
    OptionRow{"hostOwnership", ValueType::text, "namespace",
              "namespace: the oldest claim of a host owns it for its namespace. shared: the oldest owns each path.",
              [](const Value& v, Options& o) -> Status {
                if (v.text != "namespace" && v.text != "shared") return fail("must be namespace or shared");
                o.host_ownership =
                    v.text == "shared" ? Options::HostOwnership::shared : Options::HostOwnership::per_namespace;
                return {};
              }},
    OptionRow{"watchNamespaces", ValueType::text_list, "[]", "Namespaces to watch. Empty: all.",
              [](const Value& v, Options& o) -> Status {
                o.watch_namespaces = v.list;
                return {};
              }},
    OptionRow{
        "classPolicyNamespaces", ValueType::text_list, "[]",
        "Namespaces whose policies (RateLimitPolicy) may target an IngressClass, and so everybody's routes. Empty: "
        "the control plane's own; on a folder, every one.",
        [](const Value& v, Options& o) { return namespaces(v, o.class_policy_namespaces); }},
    OptionRow{
        "sslRedirect", ValueType::boolean, "true",
        "308 to https for hosts that have TLS. The annotation sluice.dev/ssl-redirect overrides it for an Ingress.",
        [](const Value& v, Options& o) -> Status {
          o.ssl_redirect = v.number != 0;
          return {};
        }},
    OptionRow{"allowExternalName", ValueType::boolean, "false",
              "Serves Services of type ExternalName. Their names are resolved every 30 s; each address is checked each "
              "time: loopback, link-local, metadata services, the API server and this Pod are refused.",
              [](const Value& v, Options& o) -> Status {
                o.allow_external_name = v.number != 0;
                return {};
              }},
    OptionRow{"externalNameCidrs", ValueType::text_list, "[]",
              "CIDRs that an ExternalName may lead to although they would be refused.",
              [](const Value& v, Options& o) { return ranges(v, o.external_name_ranges); }},
    OptionRow{"publishService", ValueType::text, "",
              "NAMESPACE/NAME of the Service through which clients come: its addresses are written into "
              "status.loadBalancer of every accepted Ingress and Route, and follow it. Empty: statuses keep what they "
              "say.",
              [](const Value& v, Options& o) { return object_key(v, o.publish_service); }},
    OptionRow{"publishAddresses", ValueType::text_list, "[]",
              "IP addresses and DNS names to write there instead, at most 32; they win over publishService.",
              [](const Value& v, Options& o) { return published(v, o.publish_addresses); }},
};
#undef SLUICE_TIMEOUT
#undef SLUICE_HTTP2
// NOLINTEND(readability-function-size)

}  // namespace

std::span<const OptionRow> option_table() { return kRows; }

std::string_view type_name(ValueType type) {
  static constexpr std::string_view kNames[] = {"true or false",           "a number", "a duration (10s, 500ms, 2m)",
                                                "a size (512, 64Ki, 1Mi)", "text",     "a list of texts"};
  return kNames[static_cast<size_t>(type)];
}

Result<uint64_t> parse_duration(std::string_view text) {
  std::string_view unit;
  const auto number = parse_number(text, unit);
  if (!number) return number;
  uint64_t factor = 0;
  if (unit == "ms") factor = 1;
  else if (unit == "s") factor = 1000;
  else if (unit == "m") factor = 60'000;
  else if (unit == "h") factor = 3'600'000;
  else if (unit.empty() && *number == 0) factor = 1;
  else return fail("'{}' needs a unit: ms, s, m or h", text);
  if (*number > kDay / factor) return fail("'{}' is more than 24h", text);
  return *number * factor;
}

Result<uint64_t> parse_size(std::string_view text) {
  std::string_view unit;
  const auto number = parse_number(text, unit);
  if (!number) return number;
  unsigned shift = 0;
  if (unit == "Ki") shift = 10;
  else if (unit == "Mi") shift = 20;
  else if (unit == "Gi") shift = 30;
  else if (!unit.empty()) return fail("'{}' has an unknown unit: none, Ki, Mi or Gi", text);
  if (*number > (std::numeric_limits<uint64_t>::max() >> shift)) return fail("'{}' is too large", text);
  return *number << shift;
}

Result<ir::CidrT> parse_cidr(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string address(text.substr(0, slash));
  std::array<unsigned char, 16> bytes{};
  unsigned width = 128;
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    bytes[10] = bytes[11] = 0xFF;
    std::memcpy(bytes.data() + 12, &v4, 4);
    width = 32;
  } else if (inet_pton(AF_INET6, address.c_str(), bytes.data()) != 1) {
    return fail("'{}' is no IP address or CIDR", text);
  }
  uint64_t bits = width;
  if (slash != std::string_view::npos) {
    std::string_view rest;
    const auto number = parse_number(text.substr(slash + 1), rest);
    if (!number || !rest.empty() || *number > width) return fail("'{}' has a bad prefix length", text);
    bits = *number;
  }
  const auto total = static_cast<unsigned>(128 - width + bits);
  for (unsigned bit = total; bit < 128; ++bit) {
    if ((bytes[bit / 8] >> (7 - bit % 8)) & 1) return fail("'{}' has bits set behind its prefix", text);
  }
  uint64_t halves[2] = {0, 0};
  for (size_t i = 0; i < 16; ++i) halves[i / 8] = halves[i / 8] << 8 | bytes[i];
  ir::CidrT cidr;
  cidr.address = std::make_unique<ir::EndpointAddress>(halves[0], halves[1]);
  cidr.bits = static_cast<uint8_t>(total);
  return cidr;
}

Result<store::ObjectKey> parse_key(std::string_view text) {
  constexpr size_t kMaxKey = 63 + 1 + 253;  // of a namespace's and of a Secret's or Service's name, RFC 1123
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size() || text.size() > kMaxKey ||
      text.find('/', slash + 1) != std::string_view::npos) {
    return fail("'{}' is not NAMESPACE/NAME", text.substr(0, kMaxKey));
  }
  return store::ObjectKey{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

Result<PublishedAddress> parse_published(std::string_view text) {
  constexpr size_t kMaxHost = 253, kMaxLabel = 63;  // RFC 1123, 1035
  const std::string name(text.substr(0, kMaxHost));
  char canonical[INET6_ADDRSTRLEN];
  in_addr v4{};
  bool good = text.size() <= kMaxHost && name.find('\0') == std::string::npos;
  if (good && inet_pton(AF_INET, name.c_str(), &v4) == 1)
    return PublishedAddress{inet_ntop(AF_INET, &v4, canonical, sizeof canonical), {}};
  in6_addr v6{};
  if (good && inet_pton(AF_INET6, name.c_str(), &v6) == 1) {
    // The API refuses an IPv4 address in this dress.
    if (IN6_IS_ADDR_V4MAPPED(&v6)) return fail("'{}' is an IPv4 address written as IPv6", name);
    return PublishedAddress{inet_ntop(AF_INET6, &v6, canonical, sizeof canonical), {}};
  }
  bool digits = true;  // of the last label: no name of the DNS ends so, and 10.0.0.256 is no name
  for (size_t begin = 0; good && begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view label = std::string_view(name).substr(begin, end - begin);
    good = !label.empty() && label.size() <= kMaxLabel && label.front() != '-' && label.back() != '-' &&
           label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string_view::npos;
    digits = label.find_first_not_of("0123456789") == std::string_view::npos;
    begin = end + 1;
  }
  if (!good || digits) return fail("'{}' is neither an IP address nor a DNS name in lower case", name);
  return PublishedAddress{{}, name};
}

std::string reference_markdown() {
  std::string out =
      "# Configuration\n\n"
      "<!-- Written by hack/gen-docs from controlplane/config/option_table.cpp: change it there. -->\n\n"
      "The config file (`--config FILE`) is YAML; the chart's values have the same names. An unknown key or a value "
      "out of its range is refused with file and\n"
      "line. The file is read again when it changes: one that is refused leaves the old settings in force. "
      "`watchNamespaces` takes effect at the next start.\n\n"
      "Durations: `500ms`, `10s`, `2m`, `1h`. Sizes: bytes, or with `Ki`, `Mi`, `Gi`.\n\n"
      "| key | type | default | meaning |\n|---|---|---|---|\n";
  static constexpr std::string_view kShort[] = {"boolean", "number", "duration", "size", "text", "list"};
  for (const OptionRow& row : kRows) {
    const std::string standard = row.standard.empty() ? "empty" : fmt::format("`{}`", row.standard);
    out += fmt::format("| `{}` | {} | {} | {} |\n", row.key, kShort[static_cast<size_t>(row.type)], standard, row.doc);
  }
  out += "\n## Names in an access log line\n\nKeys of the JSON line, and what a template may use as `%{name}`:\n";
  const char* separator = "";
  for (const std::string_view name : kAccessLogNames)
    out += fmt::format("{}`{}`", std::exchange(separator, ", "), name);
  return out + ".\n";
}

}  // namespace sluice::config
