// Rule by rule: RFC 9113 unless said. Each case names its section.
#include <gtest/gtest.h>

#include <ostream>

#include "tests/unit/dataplane/http/h2/sections.h"

namespace sluice::http::h2 {
namespace {

constexpr uint32_t kMostDecoded = 256 * 1024;

struct Case {
  const char* rule;
  Section fields;
  Reason want;
  bool end = true;
  bool connect = false;  // RFC 8441 is spoken
};
std::ostream& operator<<(std::ostream& out, const Case& of) { return out << of.rule; }

Section request(std::string method, std::string scheme, std::string authority, std::string path) {
  return {{":method", std::move(method)},
          {":scheme", std::move(scheme)},
          {":authority", std::move(authority)},
          {":path", std::move(path)}};
}
Section with(Section section, const Section& more) {
  section.insert(section.end(), more.begin(), more.end());
  return section;
}
Section many(size_t count, const std::string& name = "x", const std::string& value = "1") {
  return Section(count, {name, value});
}
Section connect(const Section& more) {
  return with({{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "a.example"}},
              more);
}

class Http2Requests : public testing::Test {
 protected:
  Reason read(const Section& section, bool end = true, bool extended = false, const h1::Limits& limits = {}) {
    HeadReader reader(arena, limits, kMostDecoded);
    EXPECT_TRUE(add_all(reader, section));
    const Reason reason = reader.finish(head, end, extended);
    urgency = reader.urgency();
    incremental = reader.incremental();
    return reason;
  }
  ChunkPool pool;
  Arena arena{pool};
  RequestHead head{arena};
  uint8_t urgency = 0;
  bool incremental = false;
};

// RFC 9110 9.3.2: its answer has no content, so whoever answers has to know.
TEST_F(Http2Requests, ARefusedHeadIsStillHead) {
  Section section = with(get({}), many(101));
  section[0].second = "HEAD";
  EXPECT_EQ(read(section), Reason::too_many_headers);
  EXPECT_EQ(head.method, Method::head);
}

TEST_F(Http2Requests, Whole) {
  Section section = get({{"accept", "*/*"}, {"x-empty", ""}, {"x-obs", "caf\xC3\xA9"}});
  section[3].second = "/a/./b?q=1";
  ASSERT_EQ(read(section), Reason::none);
  EXPECT_EQ(head.method, Method::get);
  EXPECT_EQ(head.method_name, "GET");
  EXPECT_EQ(head.version, Version::http2);
  EXPECT_EQ(head.host, "a.example");
  EXPECT_EQ(head.port, 0);
  EXPECT_EQ(head.path, "/a/b");
  EXPECT_TRUE(head.has_query);
  EXPECT_EQ(head.query, "q=1");
  EXPECT_FALSE(head.has_body);
  EXPECT_FALSE(head.content_length.has_value());
  EXPECT_FALSE(head.expect_continue);
  EXPECT_FALSE(head.wants_trailers);
  EXPECT_TRUE(head.upgrade.empty());
  EXPECT_EQ(text_of(head.fields), "accept: */*\nx-empty: \nx-obs: caf\xC3\xA9\n");
  EXPECT_EQ(head.fields.all()[0].token, Token::accept);
}

class Http2BadRequest : public testing::TestWithParam<Case> {};

TEST_P(Http2BadRequest, Verdict) {
  const Case& of = GetParam();
  ChunkPool pool;
  Arena arena(pool);
  RequestHead head(arena);
  const h1::Limits limits;
  HeadReader reader(arena, limits, kMostDecoded);
  ASSERT_TRUE(add_all(reader, of.fields));
  EXPECT_EQ(describe(reader.finish(head, of.end, of.connect)).word, describe(of.want).word);
}

const Case kPseudo[] = {
    {"8.3 undefined", get({{":foo", "1"}}), Reason::bad_header_name},
    {"8.3 empty name", get({{":", "1"}}), Reason::bad_header_name},
    {"8.3 upper case", {{":Method", "GET"}, {":scheme", "https"}, {":path", "/"}}, Reason::bad_header_name},
    {"8.3 of an answer", get({{":status", "200"}}), Reason::bad_method},
    {"8.3 after a field", with({{"x", "1"}}, get()), Reason::bad_header_name},
    {"8.3 one after a field",
     {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"x", "1"}, {":authority", "a"}},
     Reason::bad_header_name},
    {"8.3 twice: method", get({{":method", "GET"}}), Reason::bad_header_name},
    {"8.3 twice: path", get({{":path", "/"}}), Reason::bad_header_name},
    {"8.3 twice: scheme", get({{":scheme", "https"}}), Reason::bad_header_name},
    {"8.3 twice: authority", get({{":authority", "a.example"}}), Reason::bad_header_name},
    {"8.3.1 no method", {{":scheme", "https"}, {":authority", "a"}, {":path", "/"}}, Reason::bad_method},
    {"8.3.1 no scheme", {{":method", "GET"}, {":authority", "a"}, {":path", "/"}}, Reason::bad_target},
    {"8.3.1 no path", {{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}}, Reason::bad_target},
    {"8.3.1 nothing", {}, Reason::bad_method},
    {"8.3.1 empty method", request("", "https", "a", "/"), Reason::bad_method},
    {"8.3.1 method no token", request("GE T", "https", "a", "/"), Reason::bad_method},
    {"8.3.1 method with a line end", request("GET / HTTP/1.1\r\nx", "https", "a", "/"), Reason::bad_header_value},
    {"8.3.1 any token is a method", request("BREW", "https", "a", "/"), Reason::none},
    {"8.3.1 empty path", request("GET", "https", "a", ""), Reason::bad_target},
    {"8.3.1 path without slash", request("GET", "https", "a", "x"), Reason::bad_target},
    {"8.3.1 absolute form", request("GET", "https", "a", "https://a/"), Reason::bad_target},
    {"8.3.1 fragment", request("GET", "https", "a", "/#x"), Reason::bad_target},
    {"8.3.1 space in the path", request("GET", "https", "a", "/ HTTP/1.1"), Reason::bad_target},
    {"8.3.1 line end in the path", request("GET", "https", "a", "/\r\nx: y"), Reason::bad_target},
    {"8.3.1 space behind the path", request("GET", "https", "a", "/ "), Reason::bad_target},
    {"8.3.1 above the root", request("GET", "https", "a", "/../x"), Reason::rejected_path},
    {"8.3.1 broken escape", request("GET", "https", "a", "/%zz"), Reason::bad_path_encoding},
    {"8.3.1 asterisk", request("GET", "https", "a", "*"), Reason::bad_target},
    {"8.3.1 asterisk for OPTIONS", request("OPTIONS", "https", "a", "*"), Reason::none},
    {"8.3.1 other schemes", request("GET", "ftp", "a", "/"), Reason::bad_target},
    {"8.3.1 scheme with a line end", request("GET", "http\r\n", "a", "/"), Reason::bad_header_value},
    {"8.3.1 http", request("GET", "http", "a", "/"), Reason::none},
};
const Case kHost[] = {
    {"8.3.1 neither authority nor host",
     {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}},
     Reason::missing_host},
    {"8.3.1 host alone",
     {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "a.example"}},
     Reason::none},
    {"8.3.1 bad host alone",
     {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {"host", "a b"}},
     Reason::bad_host},
    {"8.3.1 empty authority", request("GET", "https", "", "/"), Reason::bad_host},
    {"8.3.1 userinfo", request("GET", "https", "u:p@a", "/"), Reason::bad_host},
    {"8.3.1 port 0", request("GET", "https", "a:0", "/"), Reason::bad_host},
    {"8.3.1 empty port", request("GET", "https", "a:", "/"), Reason::bad_host},
    {"8.3.1 line end in the authority", request("GET", "https", "a\r\nx", "/"), Reason::bad_header_value},
    {"8.3.1 host differs", get({{"host", "b.example"}}), Reason::duplicate_host},
    {"8.3.1 host has another port", get({{"host", "a.example:444"}}), Reason::duplicate_host},
    {"8.3.1 host is malformed", get({{"host", "a b"}}), Reason::bad_host},
    {"8.3.1 host is empty", get({{"host", ""}}), Reason::bad_host},
    {"8.3.1 host twice", get({{"host", "a.example"}, {"host", "a.example"}}), Reason::duplicate_host},
    {"8.3.1 host is the same", get({{"host", "a.example"}}), Reason::none},
    {"8.3.1 the same in another case", get({{"host", "A.Example"}}), Reason::none},
    {"8.3.1 the same with the usual port", get({{"host", "a.example:443"}}), Reason::none},
    {"8.3.1 the usual port of the other scheme", get({{"host", "a.example:80"}}), Reason::duplicate_host},
};
const Case kFields[] = {
    {"8.2.1 upper case", get({{"Accept", "*/*"}}), Reason::bad_header_name},
    {"8.2.1 empty name", get({{"", "x"}}), Reason::bad_header_name},
    {"8.2.1 space in a name", get({{"a b", "x"}}), Reason::bad_header_name},
    {"8.2.1 colon in a name", get({{"a:b", "x"}}), Reason::bad_header_name},
    {"8.2.1 line end in a name", get({{"a\r\nb", "x"}}), Reason::bad_header_name},
    {"8.2.1 NUL in a name", get({{std::string("a\0", 2), "x"}}), Reason::bad_header_name},
    {"8.2.1 high byte in a name", get({{"a\xFF", "x"}}), Reason::bad_header_name},
    {"8.2.1 NUL in a value", get({{"a", std::string("b\0c", 3)}}), Reason::bad_header_value},
    {"8.2.1 CR in a value", get({{"a", "b\rc"}}), Reason::bad_header_value},
    {"8.2.1 LF in a value", get({{"a", "b\nc"}}), Reason::bad_header_value},
    {"8.2.1 another message in a value", get({{"a", "b\r\n\r\nGET / HTTP/1.1"}}), Reason::bad_header_value},
    {"8.2.1 space before a value", get({{"a", " b"}}), Reason::bad_header_value},
    {"8.2.1 space behind a value", get({{"a", "b "}}), Reason::bad_header_value},
    {"8.2.1 tab behind a value", get({{"a", "b\t"}}), Reason::bad_header_value},
    {"8.2.1 a space alone", get({{"a", " "}}), Reason::bad_header_value},
    {"8.2.1 space and tab inside", get({{"a", "b \tc"}}), Reason::none},
    {"8.2.2 connection", get({{"connection", "close"}}), Reason::bad_header_name},
    {"8.2.2 keep-alive", get({{"keep-alive", "1"}}), Reason::bad_header_name},
    {"8.2.2 proxy-connection", get({{"proxy-connection", "close"}}), Reason::bad_header_name},
    {"8.2.2 transfer-encoding", get({{"transfer-encoding", "chunked"}}), Reason::bad_header_name, false},
    {"8.2.2 transfer-encoding identity", get({{"transfer-encoding", "identity"}}), Reason::bad_header_name},
    {"8.2.2 upgrade", get({{"upgrade", "h2c"}}), Reason::bad_header_name},
    {"8.2.2 te trailers", get({{"te", "trailers"}}), Reason::none},
    {"8.2.2 te in capitals", get({{"te", "Trailers"}}), Reason::none},
    {"8.2.2 te gzip", get({{"te", "gzip"}}), Reason::bad_header_value},
    {"8.2.2 te more than trailers", get({{"te", "trailers, gzip"}}), Reason::bad_header_value},
    {"8.2.2 te empty", get({{"te", ""}}), Reason::bad_header_value},
    {"8.2.2 te a good one and a bad one", get({{"te", "trailers"}, {"te", "gzip"}}), Reason::bad_header_value},
    {"9110 10.1.1 expect", get({{"expect", "100-continue"}}), Reason::none, false},
    {"9110 10.1.1 another expectation", get({{"expect", "x"}}), Reason::unsupported_expect, false},
    {"9110 10.1.1 expect twice", get({{"expect", "100-continue"}, {"expect", "100-continue"}}),
     Reason::unsupported_expect, false},
};
const Case kLength[] = {
    {"8.1.1 a length and no content", get({{"content-length", "1"}}), Reason::bad_content_length},
    {"8.1.1 no length, no content", get({{"content-length", "0"}}), Reason::none},
    {"8.1.1 a length", get({{"content-length", "7"}}), Reason::none, false},
    {"8.1.1 twice", get({{"content-length", "7"}, {"content-length", "7"}}), Reason::bad_content_length, false},
    {"8.1.1 a list", get({{"content-length", "7, 7"}}), Reason::bad_content_length, false},
    {"8.1.1 no number", get({{"content-length", "x"}}), Reason::bad_content_length, false},
    {"8.1.1 a sign", get({{"content-length", "+7"}}), Reason::bad_content_length, false},
    {"8.1.1 empty", get({{"content-length", ""}}), Reason::bad_content_length, false},
    {"8.1.1 more than 64 bits", get({{"content-length", "18446744073709551616"}}), Reason::bad_content_length, false},
};
const Case kConnect[] = {
    {"8.5 CONNECT", {{":method", "CONNECT"}, {":authority", "a:443"}}, Reason::connect_refused, false},
    {"8.5 CONNECT with a path",
     {{":method", "CONNECT"}, {":authority", "a:443"}, {":path", "/"}},
     Reason::bad_target,
     false},
    {"8.5 CONNECT with a scheme",
     {{":method", "CONNECT"}, {":authority", "a:443"}, {":scheme", "https"}},
     Reason::bad_target,
     false},
    {"8.5 CONNECT without authority", {{":method", "CONNECT"}, {"host", "a:443"}}, Reason::bad_target, false},
    {"8441 4 whole", connect({{":path", "/ws"}}), Reason::none, false, true},
    {"8441 3 not offered", connect({{":path", "/ws"}}), Reason::bad_method, false, false},
    {"8441 4 nothing can follow", connect({{":path", "/ws"}}), Reason::bad_method, true, true},
    {"8441 4 with another method", get({{":protocol", "websocket"}}), Reason::bad_method, false, true},
    {"8441 4 no path", connect({}), Reason::bad_target, false, true},
    {"8441 4 bad protocol",
     {{":method", "CONNECT"}, {":protocol", "a b"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}},
     Reason::bad_header_value,
     false,
     true},
    {"8441 4 a list of protocols",
     {{":method", "CONNECT"}, {":protocol", "a,b"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}},
     Reason::bad_header_value,
     false,
     true},
    {"8441 4 name and version",
     {{":method", "CONNECT"}, {":protocol", "a/1"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}},
     Reason::none,
     false,
     true},
    {"8441 4 a length", connect({{":path", "/ws"}, {"content-length", "3"}}), Reason::bad_content_length, false, true},
    {"8441 4 length 0", connect({{":path", "/ws"}, {"content-length", "0"}}), Reason::bad_content_length, false, true},
    {"8441 4 upgrade is HTTP/1's", connect({{":path", "/ws"}, {"upgrade", "x"}}), Reason::bad_header_name, false, true},
};
const Case kLimits[] = {
    {"10.5.1 as many fields as may be", get(many(100)), Reason::none},
    {"10.5.1 one more", get(many(101)), Reason::too_many_headers},
    {"10.5.1 crumbs are one field", get(many(400, "cookie", "a=b")), Reason::none},
    {"10.5.1 crumbs before other fields", get(with(many(200, "cookie", "a=b"), many(99))), Reason::none},
    {"10.5.1 and one field too many", get(with(many(200, "cookie", "a=b"), many(100))), Reason::too_many_headers},
    {"10.5.1 too many crumbs", get(many(401, "cookie", "a=b")), Reason::too_many_headers},
    {"10.5.1 large", get({{"x", std::string(32000, 'x')}}), Reason::none},
    {"10.5.1 too large", get({{"x", std::string(33000, 'x')}}), Reason::headers_too_large},
    {"10.5.1 too large in crumbs", get(many(300, "cookie", std::string(120, 'c'))), Reason::headers_too_large},
    {"10.5.1 long path", request("GET", "https", "a", "/" + std::string(9000, 'x')), Reason::request_line_too_long},
    {"10.5.1 method and path together", request(std::string(5000, 'M'), "https", "a", "/" + std::string(5000, 'x')),
     Reason::request_line_too_long},
    {"10.5.1 long authority", request("GET", "https", std::string(9000, 'a'), "/"), Reason::request_line_too_long},
};

std::vector<Case> all_requests() {
  std::vector<Case> all;
  for (const std::span<const Case> some :
       {std::span<const Case>(kPseudo), std::span<const Case>(kHost), std::span<const Case>(kFields),
        std::span<const Case>(kLength), std::span<const Case>(kConnect), std::span<const Case>(kLimits)})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}
INSTANTIATE_TEST_SUITE_P(Rfc9113, Http2BadRequest, testing::ValuesIn(all_requests()));

// ---------------------------------------------------------------- what is kept

TEST_F(Http2Requests, TheFirstReasonStays) {
  EXPECT_EQ(read(get({{"A", "1"}, {"b", "\r"}, {"connection", "x"}})), Reason::bad_header_name);
}

TEST_F(Http2Requests, AuthorityInItsNormalForm) {
  ASSERT_EQ(read(request("GET", "https", "A.Example.:8443", "/")), Reason::none);
  EXPECT_EQ(head.host, "a.example");
  EXPECT_EQ(head.port, 8443);
}

TEST_F(Http2Requests, HostInPlaceOfTheAuthority) {
  ASSERT_EQ(read({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "[::0001]:81"}}), Reason::none);
  EXPECT_EQ(head.host, "[::1]");
  EXPECT_EQ(head.port, 81);
  EXPECT_EQ(head.fields.size(), 0u);
}

TEST_F(Http2Requests, HostIsNoFieldAnyMore) {
  ASSERT_EQ(read(get({{"host", "a.example"}, {"x", "1"}})), Reason::none);
  EXPECT_EQ(text_of(head.fields), "x: 1\n");
}

TEST_F(Http2Requests, WhatFramesOrEndsHereIsTakenOut) {
  ASSERT_EQ(read(get({{"te", "trailers"},
                      {"content-length", "12"},
                      {"expect", "100-Continue"},
                      {"proxy-authorization", "Basic eDp5"},
                      {"http2-settings", "AAMAAABk"},
                      {"trailer", "x"}}),
                 false),
            Reason::none);
  EXPECT_EQ(text_of(head.fields), "trailer: x\n");
  EXPECT_TRUE(head.wants_trailers);
  EXPECT_TRUE(head.expect_continue);
  EXPECT_TRUE(head.has_body);
  EXPECT_EQ(head.content_length, 12u);
}

TEST_F(Http2Requests, BodyOfUnknownLength) {
  ASSERT_EQ(read(get(), false), Reason::none);
  EXPECT_TRUE(head.has_body);
  EXPECT_FALSE(head.content_length.has_value());
}

TEST_F(Http2Requests, LengthZeroIsNoBody) {
  ASSERT_EQ(read(get({{"content-length", "0"}, {"expect", "100-continue"}}), false), Reason::none);
  EXPECT_FALSE(head.has_body);
  EXPECT_FALSE(head.expect_continue);
  EXPECT_EQ(head.content_length, 0u);
}

// 8.2.3
TEST_F(Http2Requests, CrumbsBecomeOneCookie) {
  ASSERT_EQ(read(get({{"cookie", "a=b"}, {"x", "1"}, {"cookie", "c=d"}, {"cookie", "e=f"}})), Reason::none);
  EXPECT_EQ(text_of(head.fields), "x: 1\ncookie: a=b; c=d; e=f\n");
  EXPECT_EQ(head.fields.find(Token::cookie)->value, "a=b; c=d; e=f");
}

TEST_F(Http2Requests, OneCookieStaysWhereItIs) {
  ASSERT_EQ(read(get({{"cookie", "a=b"}, {"x", "1"}})), Reason::none);
  EXPECT_EQ(text_of(head.fields), "cookie: a=b\nx: 1\n");
}

TEST_F(Http2Requests, EmptyCrumbsAddNothing) {
  ASSERT_EQ(read(get({{"cookie", ""}, {"cookie", "a=b"}, {"cookie", ""}})), Reason::none);
  EXPECT_EQ(text_of(head.fields), "cookie: a=b\n");
}

// RFC 8441 5: what HTTP/1 says with Upgrade.
TEST_F(Http2Requests, ExtendedConnectIsAnUpgrade) {
  ASSERT_EQ(read(connect({{":path", "/ws"}, {"sec-websocket-version", "13"}, {"expect", "100-continue"}}), false, true),
            Reason::none);
  EXPECT_EQ(head.method, Method::get);
  EXPECT_EQ(head.method_name, "GET");
  EXPECT_EQ(head.upgrade, "websocket");
  EXPECT_EQ(head.path, "/ws");
  EXPECT_EQ(head.host, "a.example");
  EXPECT_FALSE(head.has_body);
  EXPECT_FALSE(head.expect_continue);  // its bytes are no content
  EXPECT_EQ(text_of(head.fields), "sec-websocket-version: 13\n");
}

// RFC 9218 4
TEST_F(Http2Requests, Priority) {
  struct {
    const char* value;
    int urgency;
    bool incremental;
  } const cases[] = {
      {"u=5, i", 5, true}, {"u=0", 0, false},        {"i", 3, true},         {"i=?1", 3, true},
      {"i=?0", 3, false},  {"u=8", 3, false},        {"u=-1", 3, false},     {"u=05", 3, false},
      {"", 3, false},      {"u=2;x=1,i;y", 2, true}, {"x=1, u=6", 6, false}, {"u=1, u=2", 2, false},
      {"U=1", 3, false},   {"u=1.0", 3, false},      {"i, i=?0", 3, false},  {",,,u=7,,", 7, false},
      {"i=1", 3, false},   {"u", 3, false},          {"u=1\t,\ti", 1, true},
  };
  for (const auto& of : cases) {
    ASSERT_EQ(read(get({{"priority", of.value}})), Reason::none) << of.value;
    EXPECT_EQ(urgency, of.urgency) << of.value;
    EXPECT_EQ(incremental, of.incremental) << of.value;
  }
  ASSERT_EQ(read(get()), Reason::none);
  EXPECT_EQ(urgency, 3);
  EXPECT_FALSE(incremental);
}

TEST_F(Http2Requests, LimitsAreTheOnesGiven) {
  EXPECT_EQ(read(get(many(3)), true, false, {1024, 2, 64}), Reason::too_many_headers);
  EXPECT_EQ(read(get(many(2)), true, false, {1024, 2, 64}), Reason::none);
  EXPECT_EQ(read(get({{"x", std::string(1019, 'x')}}), true, false, {1024, 2, 64}), Reason::none);
  EXPECT_EQ(read(get({{"x", std::string(1020, 'x')}}), true, false, {1024, 2, 64}), Reason::headers_too_large);
  EXPECT_EQ(read(request("GET", "https", "a", "/" + std::string(61, 'x')), true, false, {1024, 2, 64}),
            Reason::request_line_too_long);
  EXPECT_EQ(read(request("GET", "https", "a", "/" + std::string(60, 'x')), true, false, {1024, 2, 64}), Reason::none);
}

// What is refused is not kept, but it is counted: a bomb ends the connection.
TEST_F(Http2Requests, DecodedBytesAreCountedKeptOrNot) {
  const h1::Limits limits{1024, 10, 64};
  HeadReader reader(arena, limits, 10000);
  size_t held = 0;
  int added = 0;
  const std::string value(995, 'x');
  while (reader.add("x", value)) {
    if (++added == 2) held = arena.held();
  }
  EXPECT_EQ(added, 10);
  EXPECT_EQ(arena.held(), held);
  EXPECT_FALSE(reader.add("", ""));
}

TEST_F(Http2Requests, EmptyFieldsAreCountedToo) {
  const h1::Limits limits;
  HeadReader reader(arena, limits, 1000);
  int added = 0;
  while (added < 1000 && reader.add("", "")) ++added;
  EXPECT_EQ(added, 250);
}

// 8.1.1: malformed ends the stream, the rest is answered.
TEST(Http2Malformed, Reasons) {
  for (const Reason reason :
       {Reason::bad_request_line, Reason::bad_method, Reason::bad_target, Reason::bad_header_name,
        Reason::bad_header_value, Reason::duplicate_host, Reason::bad_content_length, Reason::bad_trailer})
    EXPECT_TRUE(is_malformed(reason)) << describe(reason).word;
  for (const Reason reason : {Reason::headers_too_large, Reason::too_many_headers, Reason::request_line_too_long,
                              Reason::connect_refused, Reason::unsupported_expect, Reason::bad_host,
                              Reason::missing_host, Reason::bad_path_encoding, Reason::rejected_path}) {
    EXPECT_FALSE(is_malformed(reason)) << describe(reason).word;
    EXPECT_NE(describe(reason).status, 0) << describe(reason).word;
  }
}

// ---------------------------------------------------------------- answers

struct AnswerCase {
  const char* rule;
  Section fields;
  Reason want;
  bool end = false;
  Method method = Method::get;
};
std::ostream& operator<<(std::ostream& out, const AnswerCase& of) { return out << of.rule; }

class Http2BadAnswer : public testing::TestWithParam<AnswerCase> {};

TEST_P(Http2BadAnswer, Verdict) {
  const AnswerCase& of = GetParam();
  ChunkPool pool;
  Arena arena(pool);
  ResponseHead head(arena);
  const h1::Limits limits;
  HeadReader reader(arena, limits, kMostDecoded);
  ASSERT_TRUE(add_all(reader, of.fields));
  EXPECT_EQ(describe(reader.finish(head, of.end, of.method)).word, describe(of.want).word);
}

const AnswerCase kAnswers[] = {
    {"8.3.2 whole", answer(), Reason::none},
    {"8.3.2 no status", {{"x", "1"}}, Reason::bad_request_line},
    {"8.3.2 empty", {}, Reason::bad_request_line},
    {"8.3.2 twice", answer({{":status", "200"}}), Reason::bad_header_name},
    {"8.3.2 after a field", {{"x", "1"}, {":status", "200"}}, Reason::bad_header_name},
    {"8.3.2 two digits", answer({}, "20"), Reason::bad_request_line},
    {"8.3.2 four digits", answer({}, "2000"), Reason::bad_request_line},
    {"8.3.2 a phrase", answer({}, "200 OK"), Reason::bad_request_line},
    {"8.3.2 no number", answer({}, "2x0"), Reason::bad_request_line},
    {"8.3.2 099", answer({}, "099"), Reason::bad_request_line},
    {"8.3.2 600", answer({}, "600"), Reason::bad_request_line},
    {"8.3.2 599", answer({}, "599"), Reason::none},
    {"8.3 of a request: method", answer({{":method", "GET"}}), Reason::bad_header_name},
    {"8.3 of a request: path", {{":path", "/"}, {":status", "200"}}, Reason::bad_header_name},
    {"8.3 of a request: scheme", {{":scheme", "https"}, {":status", "200"}}, Reason::bad_header_name},
    {"8.3 of a request: authority", {{":authority", "a"}, {":status", "200"}}, Reason::bad_header_name},
    {"8.3 of a request: protocol", {{":protocol", "a"}, {":status", "200"}}, Reason::bad_header_name},
    {"8.6 no 101", answer({}, "101"), Reason::bad_request_line},
    {"8.1 interim", answer({}, "103"), Reason::none},
    {"8.1 interim at the end", answer({}, "103"), Reason::bad_request_line, true},
    {"9110 8.6 interim with a length", answer({{"content-length", "0"}}, "103"), Reason::bad_content_length},
    {"8.2.2 connection", answer({{"connection", "close"}}), Reason::bad_header_name},
    {"8.2.2 transfer-encoding", answer({{"transfer-encoding", "chunked"}}), Reason::bad_header_name},
    {"8.2.2 upgrade", answer({{"upgrade", "h2"}}), Reason::bad_header_name},
    {"8.2.1 upper case", answer({{"Server", "x"}}), Reason::bad_header_name},
    {"8.2.1 a line end", answer({{"x", "a\r\nset-cookie: b"}}), Reason::bad_header_value},
    {"8.1.1 a length", answer({{"content-length", "5"}}), Reason::none},
    {"8.1.1 a length and no content", answer({{"content-length", "5"}}), Reason::bad_content_length, true},
    {"8.1.1 to HEAD", answer({{"content-length", "5"}}), Reason::none, true, Method::head},
    {"8.1.1 with 304", answer({{"content-length", "5"}}, "304"), Reason::none, true},
    {"8.1.1 with 204", answer({{"content-length", "5"}}, "204"), Reason::bad_content_length, true},
    {"8.1.1 with 204 and 0", answer({{"content-length", "0"}}, "204"), Reason::none, true},
    {"8.1.1 twice", answer({{"content-length", "5"}, {"content-length", "5"}}), Reason::bad_content_length},
    {"8.1.1 no number", answer({{"content-length", "5x"}}), Reason::bad_content_length},
};
INSTANTIATE_TEST_SUITE_P(Rfc9113, Http2BadAnswer, testing::ValuesIn(kAnswers));

class Http2Answers : public testing::Test {
 protected:
  Reason read(const Section& section, bool end, Method method = Method::get) {
    const h1::Limits limits;
    HeadReader reader(arena, limits, kMostDecoded);
    EXPECT_TRUE(add_all(reader, section));
    return reader.finish(head, end, method);
  }
  ChunkPool pool;
  Arena arena{pool};
  ResponseHead head{arena};
};

TEST_F(Http2Answers, Whole) {
  ASSERT_EQ(read(answer({{"content-length", "3"},
                         {"set-cookie", "a=b"},
                         {"set-cookie", "c=d"},
                         {"proxy-authenticate", "Basic"},
                         {"host", "x"}}),
                 false),
            Reason::none);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.version, Version::http2);
  EXPECT_EQ(head.content_length, 3u);
  EXPECT_TRUE(head.has_body);
  EXPECT_EQ(text_of(head.fields), "set-cookie: a=b\nset-cookie: c=d\nhost: x\n");
}

TEST_F(Http2Answers, WithoutBody) {
  ASSERT_EQ(read(answer({{"content-length", "3"}}), true, Method::head), Reason::none);
  EXPECT_FALSE(head.has_body);
  EXPECT_EQ(head.content_length, 3u);
  // The end may come in a frame of its own.
  ASSERT_EQ(read(answer({}, "304"), false), Reason::none);
  EXPECT_FALSE(head.has_body);
}

TEST_F(Http2Answers, LengthZeroIsNoBody) {
  ASSERT_EQ(read(answer({{"content-length", "0"}}), false), Reason::none);
  EXPECT_FALSE(head.has_body);
  EXPECT_EQ(head.content_length, 0u);
}

TEST_F(Http2Answers, NoLengthFor204) {
  ASSERT_EQ(read(answer({{"content-length", "0"}}, "204"), true), Reason::none);
  EXPECT_FALSE(head.content_length.has_value());
}

// ---------------------------------------------------------------- trailers

class Http2Trailers : public testing::Test {
 protected:
  Reason read(const Section& section) {
    const h1::Limits limits{1024, 5, 64};
    HeadReader reader(arena, limits, kMostDecoded);
    EXPECT_TRUE(add_all(reader, section));
    return reader.finish_trailers(trailers);
  }
  ChunkPool pool;
  Arena arena{pool};
  Fields trailers{arena};
};

TEST_F(Http2Trailers, Kept) {
  ASSERT_EQ(read({{"grpc-status", "0"}, {"etag", "x"}}), Reason::none);
  EXPECT_EQ(text_of(trailers), "grpc-status: 0\netag: x\n");
}

// RFC 9110 6.5.1
TEST_F(Http2Trailers, WhatWouldModifyIsDropped) {
  ASSERT_EQ(read({{"authorization", "x"}, {"set-cookie", "a=b"}, {"x-forwarded-for", "1.2.3.4"}, {"a", "b"}}),
            Reason::none);
  EXPECT_EQ(text_of(trailers), "a: b\n");
}

TEST_F(Http2Trailers, Refused) {
  // 8.1: no pseudo-header fields
  for (const char* name : {":status", ":method", ":path", ":x"}) EXPECT_NE(read({{name, "1"}}), Reason::none) << name;
  EXPECT_EQ(read({{":status", "200"}}), Reason::bad_trailer);
  for (const char* name : {"host", "content-length", "transfer-encoding", "connection", "te", "trailer", "upgrade",
                           "keep-alive", "proxy-connection", "expect", "http2-settings"})
    EXPECT_EQ(read({{name, "1"}}), Reason::bad_trailer) << name;
  EXPECT_EQ(read({{"A", "1"}}), Reason::bad_header_name);
  EXPECT_EQ(read({{"a", "1\n"}}), Reason::bad_header_value);
  EXPECT_EQ(read(many(6)), Reason::too_many_headers);
  EXPECT_EQ(read({{"x", std::string(1020, 'x')}}), Reason::headers_too_large);
}

}  // namespace
}  // namespace sluice::http::h2
