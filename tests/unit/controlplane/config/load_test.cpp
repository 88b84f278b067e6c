#include <cstring>
#include <span>

#include <gtest/gtest.h>

#include "common/ir/verify.h"
#include "controlplane/config/option_table.h"

namespace sluice::config {
namespace {

std::string error_of(const std::string& text) {
  Options options;
  const auto status = load_text(text, "sluice.yaml", options);
  return status ? "" : status.error().message;
}

// What the data plane says to a table with these settings.
std::string verified(const Options& options) {
  ir::RouteTableT table;
  table.schema_version = ir::kSchemaVersion;
  table.settings = std::make_unique<ir::SettingsT>(options.settings);
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(ir::RouteTable::Pack(builder, &table));
  // Aligned as a memory file is.
  std::vector<uint64_t> aligned((builder.GetSize() + 7) / 8);
  std::memcpy(aligned.data(), builder.GetBufferPointer(), builder.GetSize());
  const auto status = ir::verify_table(std::as_bytes(std::span(aligned)).first(builder.GetSize()));
  return status ? "" : status.error().message;
}

TEST(Config, ReadsEveryType) {
  Options options;
  ASSERT_TRUE(
      load_text("workers: 3\n"
                "timeouts: {requestHeader: 5s, keepAlive: 500ms, request: 0}\n"
                "limits:\n  headerBytes: 16Ki\n  bodyBytes: 1Mi\n  minBodyRate: 2Ki\n"
                "http2: {enabled: false, cleartext: false, extendedConnect: false, maxConcurrentStreams: 250, "
                "streamWindow: 128Ki, connectionWindow: 4Mi}\n"
                "accessLog: {path: \"off\"}\nconnections: {balance: even}\n"
                "trustedProxies: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]\n"
                "tls: {minVersion: \"1.3\", ticketKeysSecret: infra/tickets}\nhostOwnership: shared\nsslRedirect: "
                "false\nwatchNamespaces: [a, b]\n"
                "classPolicyNamespaces: [infra, edge-2]\n"
                "externalNameCidrs: [127.0.0.0/8, \"2001:db8::/32\"]\n"
                "publishService: edge/gateway\npublishAddresses: [192.0.2.1, \"2001:DB8::1\", lb.example, 192.0.2.1]\n",
                "f", options));
  EXPECT_EQ(options.publish_service, (store::ObjectKey{"edge", "gateway"}));
  EXPECT_EQ(options.publish_addresses,
            (std::vector<PublishedAddress>{{"192.0.2.1", ""}, {"2001:db8::1", ""}, {"", "lb.example"}}));
  EXPECT_EQ(options.settings.workers, 3u);
  EXPECT_EQ(options.settings.timeouts->request_header, 5000u);
  EXPECT_EQ(options.settings.timeouts->keep_alive, 500u);
  EXPECT_EQ(options.settings.timeouts->upstream_connect, 2000u) << "the others keep the schema's default";
  EXPECT_EQ(options.settings.limits->header_bytes, 16384u);
  EXPECT_EQ(options.settings.limits->body_bytes, 1u << 20);
  EXPECT_EQ(options.settings.limits->min_body_rate, 2048u);
  EXPECT_EQ(options.settings.connection_balance, ir::ConnectionBalance::Even);
  EXPECT_EQ(verified(options), "");
  EXPECT_NE(error_of("connections: {balance: fair}").find("must be kernel or even"), std::string::npos);
  const ir::Http2SettingsT& http2 = *options.settings.http2;
  EXPECT_FALSE(http2.enabled);
  EXPECT_FALSE(http2.cleartext);
  EXPECT_FALSE(http2.extended_connect);
  EXPECT_EQ(http2.concurrent_streams, 250u);
  EXPECT_EQ(http2.stream_window, 131072u);
  EXPECT_EQ(http2.connection_window, 4u << 20);
  EXPECT_EQ(options.settings.access_log->path, "off");
  ASSERT_EQ(options.settings.trusted_proxies.size(), 3u);
  EXPECT_EQ(options.settings.trusted_proxies[0]->bits, 104);
  EXPECT_EQ(options.settings.trusted_proxies[0]->address->low(), 0x0000FFFF0A000000u);
  EXPECT_EQ(options.settings.trusted_proxies[1]->bits, 32);
  EXPECT_EQ(options.settings.trusted_proxies[2]->bits, 128);
  EXPECT_EQ(options.settings.tls->min_version, 0x0304);
  EXPECT_EQ(options.ticket_keys_secret, (store::ObjectKey{"infra", "tickets"}));
  EXPECT_EQ(options.host_ownership, Options::HostOwnership::shared);
  EXPECT_FALSE(options.ssl_redirect);
  EXPECT_EQ(options.watch_namespaces, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(options.class_policy_namespaces, (std::vector<std::string>{"infra", "edge-2"}));
  EXPECT_EQ(options.external_name_ranges,
            (std::vector<AddressRange>{{0, 0x0000ffff'7f000000u, 104}, {0x20010db8'00000000u, 0, 32}}));
}

TEST(Config, AnUnknownKeyNamesFileLineAndTheNearest) {
  EXPECT_EQ(error_of("workers: 1\ntimeouts:\n  requestHeadr: 5s\n"),
            "sluice.yaml:3: timeouts.requestHeadr is unknown; did you mean timeouts.requestHeader?");
  EXPECT_EQ(error_of("trustedProxy: []\n"), "sluice.yaml:1: trustedProxy is unknown; did you mean trustedProxies?");
}

TEST(Config, WrongValuesSayWhatTheyShouldBe) {
  EXPECT_NE(error_of("timeouts: {keepAlive: 5}").find("needs a unit"), std::string::npos);
  EXPECT_NE(error_of("timeouts: {keepAlive: 25h}").find("more than 24h"), std::string::npos);
  EXPECT_NE(error_of("timeouts: 5s").find("must be a map"), std::string::npos);
  EXPECT_NE(error_of("workers: many").find("must be a number"), std::string::npos);
  EXPECT_NE(error_of("workers: 5000").find("between 0 and 128"), std::string::npos);
  EXPECT_NE(error_of("limits: {headerBytes: 5Kb}").find("unknown unit"), std::string::npos);
  EXPECT_NE(error_of("trustedProxies: [10.0.0.1/8]").find("behind its prefix"), std::string::npos);
  EXPECT_NE(error_of("trustedProxies: [host.example]").find("no IP address"), std::string::npos);
  EXPECT_NE(error_of("trustedProxies: 10.0.0.0/8").find("list"), std::string::npos);
  EXPECT_NE(error_of("externalNameCidrs: [localhost]").find("no IP address"), std::string::npos);
  EXPECT_NE(error_of("classPolicyNamespaces: [a/b]").find("no namespace's name"), std::string::npos);
  EXPECT_NE(error_of("classPolicyNamespaces: ['']").find("no namespace's name"), std::string::npos);
  EXPECT_NE(error_of("classPolicyNamespaces: infra").find("list"), std::string::npos);
  EXPECT_NE(error_of("publishService: gateway").find("is not NAMESPACE/NAME"), std::string::npos);
  for (const char* text : {"10.0.0.256", "'::ffff:10.0.0.1'", "A.example", "a..example", "-a.example", "'*.example'",
                           "''", "a.example.", "1.2", "10.0.0.0/8", "\"10.0.0.1\\0x\""})
    EXPECT_NE(error_of(std::string("publishAddresses: [") + text + "]").find("publishAddresses "), std::string::npos)
        << text;
  std::string many = "publishAddresses: [";
  for (int i = 0; i < 33; ++i) many += "192.0.2." + std::to_string(i) + ", ";
  EXPECT_NE(error_of(many + "a.example]").find("more than 32"), std::string::npos);
  EXPECT_NE(error_of("sslRedirect: yes").find("true or false"), std::string::npos);
  EXPECT_NE(error_of("tls: {minVersion: \"1.1\"}").find("1.2 or 1.3"), std::string::npos);
  EXPECT_NE(error_of("accessLog: {path: relative}").find("absolute"), std::string::npos);
  EXPECT_NE(error_of("workers: 1\nworkers: 2\n").find("given twice"), std::string::npos);
  EXPECT_NE(error_of("workers: [").find("sluice.yaml:"), std::string::npos);
  EXPECT_NE(error_of("- 1").find("must be a map"), std::string::npos);
}

// What the data plane would refuse is refused here, where a person sees it: else no state would ever be taken.
TEST(Config, BoundsAreThoseOfTheDataPlane) {
  EXPECT_NE(error_of("limits: {headerBytes: 1023}").find("between 1024"), std::string::npos);
  EXPECT_EQ(error_of("limits: {headerBytes: 1024}"), "");
  EXPECT_NE(error_of("limits: {requestLine: 255}").find("between 256"), std::string::npos);
  EXPECT_EQ(error_of("limits: {requestLine: 256}"), "");
  EXPECT_NE(error_of("listeners: {bind: ['::1', '::2', '::3', '::4', '::5', '::6', '::7', '::8', '::9']}")
                .find("more than 8"),
            std::string::npos);
  EXPECT_NE(error_of("accessLog: {path: /" + std::string(1024, 'a') + "}").find("longer than 1024"), std::string::npos);
  EXPECT_NE(error_of("tls: {ciphers: " + std::string(1025, 'a') + "}").find("longer than 1024"), std::string::npos);
  EXPECT_NE(error_of("accessLog: {path: \"/a\\nb\"}").find("control character"), std::string::npos);
  EXPECT_NE(error_of("listeners: {bind: [\"::1\\0x\"]}").find("control character"), std::string::npos);
}

// yaml-cpp makes documents of such a ',' for ever.
TEST(Config, ACommaThatBelongsToNothingEnds) {
  EXPECT_EQ(error_of(", workers: 1"), "sluice.yaml:1: a second document; the options are one");
  EXPECT_EQ(error_of("{workers: 1}\n, {}"), "sluice.yaml:2: a second document; the options are one");
  EXPECT_NE(error_of("workers: 1\n---\nworkers: 2\n").find("a second document"), std::string::npos);
}

TEST(Config, ASecretIsNamedWithItsNamespace) {
  for (const std::string text : {"tickets", "/tickets", "infra/", "a/b/c", "/"}) {
    EXPECT_EQ(error_of("workers: 1\ntls:\n  ticketKeysSecret: " + text + "\n"),
              "sluice.yaml:3: tls.ticketKeysSecret '" + text + "' is not NAMESPACE/NAME");
  }
  EXPECT_NE(error_of("tls: {ticketKeysSecret: infra/" + std::string(312, 'a') + "}").find("is not NAMESPACE/NAME"),
            std::string::npos);
  EXPECT_EQ(error_of("tls: {ticketKeysSecret: infra/" + std::string(253, 'a') + "}"), "");
  Options options;
  options.ticket_keys_secret = store::ObjectKey{"infra", "tickets"};
  ASSERT_TRUE(load_text("tls: {ticketKeysSecret: \"\"}", "f", options));
  EXPECT_FALSE(options.ticket_keys_secret) << "empty: none";
}

TEST(Config, AnErrorChangesNothing) {
  Options options;
  EXPECT_FALSE(load_text("workers: 3\nnope: 1\n", "f", options));
  EXPECT_EQ(options.settings.workers, 0u);
  EXPECT_TRUE(load_text("", "f", options));
}

TEST(Config, EveryRowAcceptsItsStatedDefault) {
  for (const OptionRow& row : option_table()) {
    Options options;
    std::string text;
    std::string_view key = row.key;
    std::string indent;
    for (size_t dot = key.find('.'); dot != std::string_view::npos; dot = key.find('.')) {
      text += indent + std::string(key.substr(0, dot)) + ":\n";
      indent += "  ";
      key = key.substr(dot + 1);
    }
    const bool quoted = row.type == ValueType::text;
    text += indent + std::string(key) + ": " + (quoted ? "\"" : "") + std::string(row.standard) + (quoted ? "\"" : "") +
            "\n";
    const auto status = load_text(text, "f", options);
    EXPECT_TRUE(status) << row.key << ": " << (status ? "" : status.error().message);
  }
}

// What the options accept, the data plane takes: its verification must not be narrower anywhere.
TEST(Config, BothEndsOfEveryRangeAreVerified) {
  const std::string path = "/" + std::string(1023, 'p');
  const std::string ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256" + std::string(1024 - 29, ':');
  const std::string format = std::string(4000, 'f');
  for (const std::string text :
       {"workers: 0", "workers: 128", "limits: {headerBytes: 1Ki, headerCount: 1, requestLine: 256, bodyBytes: 0}",
        "limits: {headerBytes: 1Mi, headerCount: 1000, requestLine: 64Ki, bodyBytes: 1Gi}",
        "limits: {connections: 10000000, upstreamIdle: 1000000, minBodyRate: 1Gi}",
        "limits: {connections: 0, upstreamIdle: 0, minBodyRate: 0}",
        "http2: {maxConcurrentStreams: 1, streamWindow: 65535, connectionWindow: 65535}",
        "http2: {maxConcurrentStreams: 1000, streamWindow: 16Mi, connectionWindow: 16Mi}",
        "timeouts: {requestHeader: 1ms, requestBodyIdle: 1ms, keepAlive: 1ms, upstreamConnect: 1ms, upstreamResponse: "
        "1ms, request: 0s, tlsHandshake: 1ms, upstreamIdle: 1ms, drain: 0s}",
        "timeouts: {requestHeader: 24h, requestBodyIdle: 24h, keepAlive: 24h, upstreamConnect: 24h, upstreamResponse: "
        "24h, request: 24h, tlsHandshake: 24h, upstreamIdle: 24h, drain: 24h}",
        "proxyProtocol: [\"::/0\", 0.0.0.0/0]\ntrustedProxies: [\"::1\"]", "tls: {minVersion: \"1.3\"}"}) {
    Options options;
    const auto status = load_text(text, "f", options);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(verified(options), "") << text;
  }
  Options options;
  ASSERT_TRUE(
      load_text("accessLog: {path: \"" + path + "\", format: \"" + format + "\"}\ntls: {ciphers: \"" + ciphers + "\"}",
                "f", options));
  EXPECT_EQ(verified(options), "");
  for (const char* text :
       {"limits: {headerBytes: 1023}", "limits: {headerBytes: 1048577}", "limits: {headerCount: 0}",
        "limits: {headerCount: 1001}", "limits: {requestLine: 255}", "limits: {requestLine: 65537}",
        "timeouts: {requestHeader: 0s}", "workers: 129", "limits: {minBodyRate: 1073741825}",
        "http2: {maxConcurrentStreams: 0}", "http2: {maxConcurrentStreams: 1001}", "http2: {streamWindow: 65534}",
        "http2: {streamWindow: 16777217}", "http2: {connectionWindow: 65534}", "http2: {connectionWindow: 16777217}"}) {
    EXPECT_NE(error_of(text).find("between"), std::string::npos) << text;
  }
  std::string addresses;
  for (int i = 1; i <= 9; ++i) addresses += (i == 1 ? "" : ", ") + ("127.0.0." + std::to_string(i));
  EXPECT_NE(error_of("listeners: {bind: [" + addresses + "]}").find("more than 8"), std::string::npos);
  EXPECT_NE(error_of("accessLog: {path: \"" + path + "p\"}").find("longer than"), std::string::npos);
  EXPECT_NE(error_of("tls: {ciphers: \"" + ciphers + ":\"}").find("longer than"), std::string::npos);
}

TEST(Config, ListenersAreOptionsToo) {
  Options options;
  options.https_port = 443;
  ASSERT_TRUE(load_text("listeners: {http: 8080, https: off, bind: [127.0.0.1, \"::1\"]}", "f", options));
  EXPECT_EQ(options.http_port, 8080);
  EXPECT_FALSE(options.https_port);
  EXPECT_EQ(options.bind, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_NE(error_of("listeners: {http: 70000}").find("must be a port"), std::string::npos);
  EXPECT_NE(error_of("listeners: {bind: [localhost]}").find("no IP address"), std::string::npos);
  EXPECT_NE(error_of("listeners: {bind: [10.0.0.0/8]}").find("no IP address"), std::string::npos);
}

TEST(Config, LogFormatsNameWhatALineHas) {
  EXPECT_EQ(error_of("accessLog: {format: '%{client} %{status} 100%%'}"), "");
  EXPECT_EQ(error_of("accessLog: {format: json}"), "");
  EXPECT_NE(error_of("accessLog: {format: '%{statsu}'}").find("unknown name 'statsu'"), std::string::npos);
  EXPECT_NE(error_of("accessLog: {format: '%{status'}").find("must begin %{name}"), std::string::npos);
}

TEST(Config, BrokenFiles) {
  EXPECT_EQ(error_of(""), "");
  EXPECT_EQ(error_of("# only a comment\n"), "");
  EXPECT_EQ(error_of("workers: 1\n---\nworkers: 2\n").substr(0, 14), "sluice.yaml:2:");
  EXPECT_NE(error_of("- workers\n").find("must be a map"), std::string::npos);
  EXPECT_NE(error_of("? [a]\n: b\n").find("a key must be text"), std::string::npos);
  EXPECT_NE(error_of(std::string(100'000, '[')), "") << "deep nesting is an error, not the end of the stack";
  EXPECT_NE(error_of("tls: {ciphers: NONSENSE}").find("selects no cipher"), std::string::npos);
}

TEST(Config, TheReferenceNamesEveryKey) {
  const std::string text = reference_markdown();
  for (const OptionRow& row : option_table())
    EXPECT_NE(text.find(fmt::format("| `{}` |", row.key)), std::string::npos) << row.key;
}

}  // namespace
}  // namespace sluice::config
