#include "dataplane/observe/log_line.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "common/base/access_log_names.h"

namespace sluice::observe {
namespace {

using ::testing::HasSubstr;

StreamRecord full() {
  StreamRecord r;
  r.start_wall_us = 1767323045000123;  // 2026-01-02T03:04:05.000123Z
  r.duration_us = 1234567;
  r.upstream_us = 1000;
  r.connect_us = 0;
  r.client = *net::Address::parse("203.0.113.9");
  r.peer = *net::Address::parse("2001:db8::7");
  r.request_id = "abc-1";
  r.method = "GET";
  r.scheme = "https";
  r.host = "shop.example";
  r.path = "/a/b";
  r.query = "x=1&y=2";
  r.has_query = true;
  r.user_agent = "curl/8";
  r.referer = "https://x.example/";
  r.protocol = "HTTP/1.1";
  r.status = 200;
  r.bytes_in = 0;
  r.bytes_out = 18446744073709551615u;
  r.upstream = *net::Address::parse("10.0.0.5");
  r.upstream.port = 8080;
  r.cluster = "shop/web/80";
  r.attempts = 2;
  r.reason = http::Reason::upstream_reset;
  r.grpc_status = 14;
  r.origin_kind = "Ingress";
  r.origin_namespace = "shop";
  r.origin_name = "web";
  r.origin_rule = "0";
  r.origin_generation = 7;
  r.state_sequence = 42;
  r.tls_version = "TLSv1.3";
  r.tls_cipher = "TLS_AES_128_GCM_SHA256";
  r.sni = "sni.example";
  r.rate_limit = "shop/clients/burst";
  return r;
}
std::string line(LineFormat& format, const StreamRecord& record, size_t bound = LineFormat::kMaxLine) {
  std::string out(LineFormat::kMaxLine + 1, '\xEE');
  const size_t size = format.build(record, out.data(), bound);
  EXPECT_LE(size, bound);
  EXPECT_EQ(out[bound], '\xEE') << "nothing is written behind the bound";
  EXPECT_EQ(out[size - 1], '\n');
  out.resize(size - 1);
  EXPECT_EQ(out.find('\n'), out.npos);
  return out;
}

TEST(LogLine, JsonHoldsEverything) {
  LineFormat format;
  const auto json = nlohmann::json::parse(line(format, full()));
  EXPECT_EQ(json["time"], "2026-01-02T03:04:05.000123Z");
  EXPECT_EQ(json["client"], "203.0.113.9");
  EXPECT_EQ(json["peer"], "2001:db8::7");
  EXPECT_EQ(json["query"], "x=1&y=2");
  EXPECT_EQ(json["status"], 200);
  EXPECT_EQ(json["grpc_status"], 14);
  EXPECT_EQ(json["bytes_out"], 18446744073709551615u);
  EXPECT_EQ(json["duration_us"], 1234567);
  EXPECT_EQ(json["upstream"], "10.0.0.5:8080");
  EXPECT_EQ(json["attempts"], 2);
  EXPECT_EQ(json["reason"], "upstream_reset");
  EXPECT_EQ(json["origin_kind"], "Ingress");
  EXPECT_EQ(json["origin_generation"], 7);
  EXPECT_EQ(json["state_sequence"], 42);
  EXPECT_EQ(json["sni"], "sni.example");
  EXPECT_EQ(json["rate_limit"], "shop/clients/burst");
  for (const auto& [key, value] : json.items()) EXPECT_TRUE(access_log_name(key)) << key;
}

TEST(LogLine, JsonLeavesOutWhatIsNotThere) {
  LineFormat format;
  StreamRecord r;
  r.status = 404;
  r.has_query = true;  // "/a?" keeps its empty query
  const auto json = nlohmann::json::parse(line(format, r));
  EXPECT_EQ(json["status"], 404);
  EXPECT_EQ(json["query"], "");
  for (const char* name : {"reason", "upstream", "attempts", "origin_kind", "tls_version", "sni", "user_agent",
                           "cluster", "peer", "rate_limit", "grpc_status"})
    EXPECT_FALSE(json.contains(name)) << name;
}

TEST(LogLine, NumbersOfEveryLength) {
  LineFormat format;
  ASSERT_EQ(format.configure("%{duration_us}"), "");
  StreamRecord r;
  for (uint64_t value = 1; value < 10'000'000'000'000'000'000u; value *= 10) {
    for (const uint64_t v : {value - 1, value, value + 1}) {
      r.duration_us = v;
      EXPECT_EQ(line(format, r), std::to_string(v));
    }
    if (value > UINT64_MAX / 10) break;
  }
}

TEST(LogLine, EveryByteIsEscapedInJson) {
  LineFormat format;
  for (int position = 0; position < 21; ++position) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string agent = "abcdefghijklmnopqrstu";
      agent[static_cast<size_t>(position)] = static_cast<char>(byte);
      StreamRecord r;
      r.user_agent = agent;
      const std::string text = line(format, r);
      const auto json = nlohmann::json::parse(text);  // refuses raw controls and bad UTF-8
      if (byte < 0x80) {
        EXPECT_EQ(json["user_agent"], agent);
      }
      if (byte < 0x20 || byte == 0x7f) {
        EXPECT_THAT(text, HasSubstr("\\u00"));
      }
    }
  }
  StreamRecord r;
  r.user_agent = "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80 \xED\xA0\x80 \xC0\xAF";
  EXPECT_THAT(std::string(nlohmann::json::parse(line(format, r))["user_agent"]),
              HasSubstr("gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80 "));
}

TEST(LogLine, Template) {
  LineFormat format;
  ASSERT_EQ(format.configure("%{client} [%{time}] \"%{method} %{path}\" %{status} 100%% %{reason} \"%{user_agent}\" "
                             "%{upstream} %{origin_kind}/%{origin_name}#%{origin_generation} %{sni}"),
            "");
  EXPECT_EQ(line(format, full()),
            "203.0.113.9 [2026-01-02T03:04:05.000123Z] \"GET /a/b\" 200 100% upstream_reset \"curl/8\" 10.0.0.5:8080 "
            "Ingress/web#7 sni.example");
  StreamRecord r;
  r.user_agent = "a\"b\\c\nd\x7f\xC3\xBC";
  ASSERT_EQ(format.configure("\"%{user_agent}\" %{method} %{upstream}"), "");
  EXPECT_EQ(line(format, r), R"("a\"b\\c\x0ad\x7f\xc3\xbc" - -)");
  ASSERT_EQ(format.configure("%{grpc_status}"), "");
  EXPECT_EQ(line(format, r), "-");
  r.grpc_status = 0;
  EXPECT_EQ(line(format, r), "0");
}

TEST(LogLine, EveryNameIsWritten) {
  LineFormat format;
  for (const std::string_view name : kAccessLogNames) {
    ASSERT_EQ(format.configure("%{" + std::string(name) + "}"), "");
    const std::string text = line(format, full());
    EXPECT_FALSE(text.empty()) << name;
    EXPECT_NE(text, "-") << name;
  }
}

TEST(LogLine, UnusableTemplatesAreRefusedAndTheFormerStays) {
  LineFormat format;
  ASSERT_EQ(format.configure("%{status}"), "");
  EXPECT_THAT(format.configure("%{statos}"), HasSubstr("statos"));
  EXPECT_THAT(format.configure("%{status"), HasSubstr("position 1"));
  EXPECT_THAT(format.configure("ab %h"), HasSubstr("position 4"));
  EXPECT_THAT(format.configure("100%"), HasSubstr("position 4"));
  EXPECT_THAT(format.configure(""), HasSubstr("empty"));
  EXPECT_THAT(format.configure("a\nb"), HasSubstr("control"));
  EXPECT_THAT(format.configure(std::string(5000, 'a')), HasSubstr("longer"));
  StreamRecord r;
  r.status = 7;
  EXPECT_EQ(line(format, r), "7");
  EXPECT_EQ(check_access_log_format("json"), "");
  EXPECT_EQ(check_access_log_format("%{host}"), "");
  EXPECT_THAT(check_access_log_format("%{nope}"), HasSubstr("nope"));
}

TEST(LogLine, EndlessValuesGiveABoundedValidLine) {
  LineFormat format;
  // The worst: every byte needs six.
  for (const std::string& big :
       {std::string(20'000, '\x01'), std::string(20'000, 'a'), std::string(20'000, '\xE2'), [] {
          std::string text;
          for (int i = 0; i < 7000; ++i) text += "\xE2\x82\xAC";
          return text;
        }()}) {
    StreamRecord r = full();
    for (std::string_view* field :
         {&r.request_id, &r.method, &r.scheme, &r.host, &r.path, &r.query, &r.user_agent, &r.referer, &r.protocol,
          &r.cluster, &r.origin_kind, &r.origin_namespace, &r.origin_name, &r.origin_rule, &r.tls_version,
          &r.tls_cipher, &r.sni, &r.rate_limit}) {
      *field = big;
    }
    r.duration_us = r.upstream_us = r.connect_us = r.bytes_in = r.bytes_out = r.state_sequence = UINT64_MAX;
    r.origin_generation = INT64_MIN;
    r.peer = r.client = *net::Address::parse("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    r.client.bytes[15] = 1;
    r.upstream = r.peer;
    r.upstream.port = 65535;
    for (const size_t bound : {LineFormat::kMaxLine, LineFormat::kAtomicLine}) {
      const std::string text = line(format, r, bound);
      const auto json = nlohmann::json::parse(text);
      EXPECT_EQ(json["origin_generation"], INT64_MIN);
      EXPECT_TRUE(json.contains("referer")) << "the last field";
    }
    LineFormat other;
    std::string many;
    for (int i = 0; i < 200; ++i) many += "%{path}";
    ASSERT_EQ(other.configure(many), "");
    line(other, r, LineFormat::kAtomicLine);
    line(other, r, LineFormat::kMaxLine);
  }
}

TEST(LogLine, LongLinesOfPipesAreCutOnlyWhenTheyMust) {
  LineFormat format;
  StreamRecord r = full();
  const std::string path = "/" + std::string(2000, 'p');
  r.path = path;
  EXPECT_EQ(nlohmann::json::parse(line(format, r, LineFormat::kAtomicLine))["path"], path);
}

}  // namespace
}  // namespace sluice::observe
