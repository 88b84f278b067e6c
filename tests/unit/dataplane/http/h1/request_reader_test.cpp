#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h1/support.h"

namespace sluice::http::h1 {
namespace {

std::string get(std::string_view target, std::string_view fields = "") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: a.example\r\n" + std::string(fields) + "\r\n";
}
std::string post(std::string_view fields, std::string_view body = "") {
  return "POST /p HTTP/1.1\r\nHost: a.example\r\n" + std::string(fields) + "\r\n" + std::string(body);
}
std::string chunked(std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); }

// Each refused head is refused for the same reason whatever the pieces it comes in.
void expect_refused(std::string_view input, std::string_view word) {
  for (const size_t step : {0, 1, 2, 3, 7, 16, 64}) {
    RequestRun run(input, step);
    EXPECT_EQ(run.word(), word) << "step " << step << " of " << input;
    EXPECT_EQ(run.head.fields.size(), 0u);
    EXPECT_EQ(run.message.error.side, Side::client);
    EXPECT_FALSE(run.reader.keep_alive());
  }
}

TEST(RequestReader, PlainGet) {
  for (const size_t step : {0, 1, 2, 5, 17}) {
    RequestRun run(get("/a/b?x=1&y", "Accept: */*\r\nX-Empty:\r\nx-pad: \t v w \t\r\n"), step);
    ASSERT_EQ(run.word(), "none");
    ASSERT_TRUE(run.message.complete);
    EXPECT_EQ(run.head.method, Method::get);
    EXPECT_EQ(run.head.method_name, "GET");
    EXPECT_EQ(run.head.host, "a.example");
    EXPECT_EQ(run.head.port, 0);
    EXPECT_EQ(run.head.path, "/a/b");
    EXPECT_TRUE(run.head.has_query);
    EXPECT_EQ(run.head.query, "x=1&y");
    EXPECT_FALSE(run.head.has_body);
    EXPECT_FALSE(run.head.content_length.has_value());
    ASSERT_EQ(run.head.fields.size(), 3u);
    EXPECT_EQ(run.head.fields.all()[0].token, Token::accept);
    EXPECT_EQ(run.head.fields.all()[1].value, "");
    EXPECT_EQ(run.head.fields.all()[2].value, "v w");
    EXPECT_TRUE(run.reader.keep_alive());
  }
}

TEST(RequestReader, ViewsDoNotPointIntoTheInput) {
  std::string input = get("/a%41?q", "K: v\r\nConnection: upgrade\r\nUpgrade: foo\r\n");
  RequestRun run(input);
  ASSERT_TRUE(run.message.complete);
  // The run's buffers are gone; a sanitizer would tell.
  EXPECT_EQ(run.head.path, "/aA");
  EXPECT_EQ(run.head.query, "q");
  EXPECT_EQ(run.head.upgrade, "foo");
  EXPECT_EQ(run.head.fields.all()[0].name, "K");
}

TEST(RequestReader, RequestLine) {
  expect_refused("GET  / HTTP/1.1\r\n", "bad_request_line");
  expect_refused(" GET / HTTP/1.1\r\n", "bad_method");
  expect_refused("GET / HTTP/1.1 \r\n", "bad_request_line");
  expect_refused("GET /\r\n\r\n", "bad_request_line");
  expect_refused("GET\r\n\r\n", "bad_request_line");
  expect_refused("GET / http/1.1\r\n", "bad_request_line");
  expect_refused("GET / HTTP/1.1x\r\n", "bad_request_line");
  expect_refused("GET / HTTP/11\r\nHost: a\r\n", "bad_request_line");
  expect_refused("GET / HTTP/1.2\r\n", "bad_version");
  expect_refused("GET / HTTP/2.0\r\n", "bad_version");
  expect_refused("GET / HTTP/0.9\r\n", "bad_version");
  expect_refused("GET / HTTP/1.1\nHost: a\n\n", "bare_cr_lf");
  expect_refused("GET / HTTP/1.1\rX", "bare_cr_lf");
  expect_refused("\nGET / HTTP/1.1\r\n", "bare_cr_lf");
  expect_refused("\r\n\r\nGET / HTTP/1.1\r\n", "bad_request_line");
  expect_refused("\rGET / HTTP/1.1\r\n", "bare_cr_lf");
  expect_refused("G@T / HTTP/1.1\r\n", "bad_method");
  expect_refused("GET\t/ HTTP/1.1\r\n", "bad_method");
  expect_refused("GET /\t HTTP/1.1\r\n", "bad_target");
  expect_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version");
}

TEST(RequestReader, OneEmptyLineBeforeIsSkipped) {
  for (const size_t step : {0, 1, 3}) {
    RequestRun run("\r\n" + get("/"), step);
    EXPECT_TRUE(run.message.complete);
    EXPECT_EQ(run.message.consumed, get("/").size() + 2);
  }
}

TEST(RequestReader, Targets) {
  auto path = [](std::string_view target) {
    RequestRun run(get(target));
    return run.message.complete
               ? std::string(run.head.path) + (run.head.has_query ? "?" + std::string(run.head.query) : "")
               : std::string(run.word());
  };
  EXPECT_EQ(path("/"), "/");
  EXPECT_EQ(path("/a?"), "/a?");
  EXPECT_EQ(path("/a?b?c"), "/a?b?c");
  EXPECT_EQ(path("/a/../b"), "/b");
  EXPECT_EQ(path("/%61"), "/a");
  EXPECT_EQ(path("/../a"), "rejected_path");
  EXPECT_EQ(path("/a%00"), "rejected_path");
  EXPECT_EQ(path("/a%5cb"), "rejected_path");
  EXPECT_EQ(path("/a%4"), "bad_path_encoding");
  EXPECT_EQ(path("/a#b"), "bad_target");
  EXPECT_EQ(path("/a?b#c"), "bad_target");
  EXPECT_EQ(path("/a\\b"), "bad_target");
  EXPECT_EQ(path("/\xC3\xA4"), "bad_target");
  EXPECT_EQ(path("a"), "bad_target");
  EXPECT_EQ(path("a.example:80"), "bad_target");
  EXPECT_EQ(path("*"), "bad_target");
  EXPECT_EQ(path("ftp://a.example/"), "bad_target");
  EXPECT_EQ(path("http://a.example"), "/");
  EXPECT_EQ(path("HTTP://a.example?x"), "/?x");
  EXPECT_EQ(path("http://a.example/x/./y?z"), "/x/y?z");
  EXPECT_EQ(path("http://"), "bad_host");
  EXPECT_EQ(path("http:///x"), "bad_host");
  EXPECT_EQ(path("http://user@a.example/"), "bad_host");
}

TEST(RequestReader, AbsoluteFormWinsOverHost) {
  RequestRun run("GET http://B.example:81/x HTTP/1.1\r\nHost: a.example\r\n\r\n");
  ASSERT_TRUE(run.message.complete);
  EXPECT_EQ(run.head.host, "b.example");
  EXPECT_EQ(run.head.port, 81);
  expect_refused("GET http://b.example/ HTTP/1.1\r\n\r\n", "missing_host");
  expect_refused("GET http://b.example/ HTTP/1.1\r\nHost: a@b\r\n\r\n", "bad_host");
  expect_refused("GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\nHost: b.example\r\n\r\n", "duplicate_host");
}

TEST(RequestReader, OptionsAndConnect) {
  RequestRun star("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(star.message.complete);
  EXPECT_EQ(star.head.path, "*");
  RequestRun server("OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n");
  EXPECT_EQ(server.head.path, "*");
  RequestRun root("OPTIONS http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n");
  EXPECT_EQ(root.head.path, "/");
  expect_refused("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "connect_refused");
  expect_refused("OPTIONS a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "bad_target");
}

TEST(RequestReader, FieldLines) {
  auto with = [](std::string_view line) { return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(line) + "\r\n\r\n"; };
  expect_refused(with("Foo : bar"), "bad_header_name");
  expect_refused(with("Foo\t: bar"), "bad_header_name");
  expect_refused(with(": bar"), "bad_header_name");
  expect_refused(with("Foo"), "bad_header_name");
  expect_refused(with("Fo(o: bar"), "bad_header_name");
  expect_refused(with("F\xC3\xB6o: bar"), "bad_header_name");
  expect_refused(with("Foo: a\r\n b"), "obs_fold");
  expect_refused(with("Foo: a\r\n\tb"), "obs_fold");
  expect_refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "obs_fold");
  expect_refused(with("Foo: a\nBar: b"), "bare_cr_lf");
  expect_refused(with("Foo: a\rBar: b"), "bare_cr_lf");
  expect_refused(with("Foo: a\r\r\nBar: b"), "bare_cr_lf");
  expect_refused(with("Foo\nBar: b"), "bare_cr_lf");
  expect_refused(with(std::string_view("Foo: a\0b", 8)), "bad_header_value");
  expect_refused(with("Foo: a\x01"), "bad_header_value");
  expect_refused(with("Foo: a\x7F"), "bad_header_value");
  expect_refused(std::string("GET / HTTP/1.1\r\nHost: a\r\n\n"), "bare_cr_lf");
  RequestRun text(with("Foo: a\xC3\xA4\tb!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"));
  EXPECT_TRUE(text.message.complete);
  RequestRun names(with("!#$%&'*+-.^_`|~09azAZ: x"));
  EXPECT_TRUE(names.message.complete);
}

TEST(RequestReader, BadBytesAreRefusedAtOnce) {
  // Not when the head ends, and whatever came before.
  for (const std::string_view start :
       {"GET / HTTP/1.1\r\nHost: a\r\nFoo: x\n", "GET / HTTP/1.1\nHo", "GET / HTTP/1.1\r\nHost: a\r\nFoo: x\x01",
        "GET / HTTP/1.1\r\nHost: a\r\nFoo: x\rB", "GET / HTTP/1.1\r\nHost : a\r\n", "GET / HTTP/1.1\r\n x"}) {
    for (const size_t step : {0, 1, 4}) {
      RequestRun run(start, step);
      EXPECT_NE(run.word(), "none") << start << " step " << step;
    }
  }
}

TEST(RequestReader, Hosts) {
  auto host = [](std::string_view value) {
    RequestRun run("GET / HTTP/1.1\r\nHost: " + std::string(value) + "\r\n\r\n");
    return run.message.complete
               ? std::string(run.head.host) + (run.head.port != 0 ? ":" + std::to_string(run.head.port) : "")
               : std::string(run.word());
  };
  EXPECT_EQ(host("Example.COM"), "example.com");
  EXPECT_EQ(host("example.com."), "example.com");
  EXPECT_EQ(host("example.com.:8080"), "example.com:8080");
  EXPECT_EQ(host("a_b.example"), "a_b.example");
  EXPECT_EQ(host("127.0.0.1:80"), "127.0.0.1:80");
  EXPECT_EQ(host("[::1]:443"), "[::1]:443");
  EXPECT_EQ(host("[0:0:0::1]"), "[::1]");
  EXPECT_EQ(host("[2001:DB8::A]"), "[2001:db8::a]");
  for (const std::string_view bad : {"",          "a b",       "a@b",
                                     "a,b",       "a/b",       "a?b",
                                     "a#b",       "a%41",      "a:",
                                     "a:0",       "a:65536",   "a:65616",
                                     "a:99999",   "a:080",     "a:8x",
                                     "a:-1",      "a:80:80",   ".a",
                                     "a..b",      ".",         "[::1",
                                     "::1",       "[::1]x",    "[::1]:",
                                     "[]",        "[v1.a]",    "[fe80::1%25eth0]",
                                     "1.2.3",     "256.1.1.1", "01.2.3.4",
                                     "1.2.3.4.5", "0x7f.1",    "\xC3\xA4.example",
                                     "a\tb",      "http://a",  "a\\b",
                                     "a;b",       "*"}) {
    EXPECT_EQ(host(bad), "bad_host") << bad;
  }
  EXPECT_EQ(host(std::string(63, 'a') + ".b"), std::string(63, 'a') + ".b");
  EXPECT_EQ(host(std::string(64, 'a') + ".b"), "bad_host");
  EXPECT_EQ(host("b." + std::string(64, 'a')), "bad_host");
  expect_refused("GET / HTTP/1.1\r\n\r\n", "missing_host");
  expect_refused("GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", "duplicate_host");
  RequestRun old("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.message.complete);
  EXPECT_EQ(old.head.host, "");
  EXPECT_FALSE(old.reader.keep_alive());
}

TEST(RequestReader, ContentLength) {
  RequestRun run(post("Content-Length: 5\r\n", "hello"));
  EXPECT_TRUE(run.message.complete);
  EXPECT_EQ(run.message.body, "hello");
  EXPECT_EQ(run.head.content_length, 5u);
  RequestRun zero(post("Content-Length: 0\r\n"));
  EXPECT_TRUE(zero.message.complete);
  EXPECT_FALSE(zero.head.has_body);
  EXPECT_EQ(zero.head.content_length, 0u);
  for (const std::string_view bad : {"", "+5", "-5", "5,5", "5, 5", "0x5", "5 5", "5;", "5.0", "five",
                                     "99999999999999999999", "9223372036854775808", "\"5\""}) {
    expect_refused(post("Content-Length: " + std::string(bad) + "\r\n", "hello"), "bad_content_length");
  }
  expect_refused(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), "bad_content_length");
  expect_refused(post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), "bad_content_length");
}

TEST(RequestReader, TransferEncoding) {
  for (const std::string_view value : {"chunked", "Chunked", "CHUNKED"}) {
    RequestRun run(post("Transfer-Encoding: " + std::string(value) + "\r\n", "3\r\nabc\r\n0\r\n\r\n"));
    EXPECT_TRUE(run.message.complete) << value;
    EXPECT_EQ(run.message.body, "abc");
    EXPECT_FALSE(run.head.content_length.has_value());
  }
  for (const std::string_view bad : {"", "gzip", "gzip, chunked", "chunked, chunked", "chunked,", ",chunked",
                                     "identity", "chunked;q=1", "xchunked", "\"chunked\"", "chun ked", "chunked\x0B"}) {
    RequestRun run(post("Transfer-Encoding: " + std::string(bad) + "\r\n", "0\r\n\r\n"));
    EXPECT_THAT(std::string(run.word()), testing::AnyOf("bad_transfer_encoding", "bad_header_value")) << bad;
  }
  expect_refused(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "bad_transfer_encoding");
  expect_refused(post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"), "both_lengths");
  expect_refused(post("Content-Length: 3\r\nTransfer-Encoding: identity\r\n"), "both_lengths");
  expect_refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "te_in_http10");
}

TEST(RequestReader, ChunkedBodies) {
  const std::string body = "5\r\nhello\r\n00A;ext;a=b;c=\"q;\\\"\r\"\r\n";
  for (const size_t step : {0, 1, 2, 3, 5, 8}) {
    RequestRun run(
        chunked("5\r\nhello\r\n00A;ext;a=b;c=\"q;\\\"\"\r\n0123456789\r\n000\r\nX-Sum: 1\r\nETag: t\r\n\r\n"), step);
    ASSERT_TRUE(run.message.complete) << step << " " << run.word();
    EXPECT_EQ(run.message.body, "hello0123456789");
    EXPECT_THAT(run.message.trailers, testing::ElementsAre(testing::Pair("X-Sum", "1"), testing::Pair("ETag", "t")));
  }
  RequestRun at_once(chunked("5\r\nhello\r\n0\r\n\r\nGET"));
  EXPECT_TRUE(at_once.message.complete);
  EXPECT_EQ(at_once.message.consumed, chunked("5\r\nhello\r\n0\r\n\r\n").size());
}

TEST(RequestReader, BadChunks) {
  for (const std::string_view bad : {"5\nhello\r\n",
                                     "5\r\nhello\n0\r\n\r\n",
                                     "5\r\nhello0\r\n\r\n",
                                     "5\r\nhelloX\r\n0\r\n\r\n",
                                     "5\r\nhello\r0\r\n\r\n",
                                     "5\r\nhello\rX0\r\n\r\n",
                                     "x\r\n",
                                     "0x5\r\nhello\r\n",
                                     "-1\r\n",
                                     "+5\r\nhello\r\n",
                                     " 5\r\nhello\r\n",
                                     "5 \r\nhello\r\n",
                                     "5\t\r\n",
                                     "\r\n",
                                     ";a\r\n",
                                     "5;\r\nhello",
                                     "5;=b\r\n",
                                     "5;a=\r\n",
                                     "5;a=\"b\r\n",
                                     "5;a=\"b\"c\r\n",
                                     "5; a\r\n",
                                     "5 ;a\r\n",
                                     "5;a =b\r\n",
                                     "5;a\nhello\r\n",
                                     "5;a\rhello",
                                     "5,\r\n",
                                     "5_0\r\n",
                                     "1234567890abcdef\r\n",
                                     "ffffffffffffffffffff\r\n",
                                     "5\r\nhello\r\n\r\n"}) {
    for (const size_t step : {0, 1, 3}) {
      RequestRun run(chunked(bad), step);
      EXPECT_EQ(run.word(), "bad_chunk") << bad << " step " << step;
    }
  }
  for (const size_t step : {0, 1, 100}) {
    EXPECT_EQ(RequestRun(chunked("5;" + std::string(600, 'a')), step).word(), "bad_chunk");
  }
  std::string many;
  for (int i = 0; i < 100; ++i) many += "1;" + std::string(400, 'a') + "\r\nx\r\n";
  EXPECT_EQ(RequestRun(chunked(many)).word(), "bad_chunk");
}

TEST(RequestReader, Trailers) {
  auto word = [](std::string_view lines) {
    return std::string(RequestRun(chunked("0\r\n" + std::string(lines) + "\r\n\r\n")).word());
  };
  for (const std::string_view bad : {"Content-Length: 1", "transfer-encoding: chunked", "Host: b", "Connection: close",
                                     "Trailer: x", "TE: trailers", "Upgrade: x", "Expect: 100-continue"}) {
    EXPECT_EQ(word(bad), "bad_trailer") << bad;
  }
  EXPECT_EQ(word("Foo : x"), "bad_header_name");
  EXPECT_EQ(word("Foo: x\r\n y"), "obs_fold");
  EXPECT_EQ(word("Foo: x\nBar: y"), "bare_cr_lf");
  EXPECT_EQ(word("Foo: x\ry"), "bare_cr_lf");
  RequestRun dropped(
      chunked("0\r\nAuthorization: x\r\nCookie: a=b\r\nX-Forwarded-For: 1.1.1.1\r\nX_Forwarded_For: "
              "1.1.1.1\r\nx_real_ip: 1\r\nIf-Match: x\r\nContent-Type: a/b\r\n\r\n"));
  EXPECT_TRUE(dropped.message.complete);
  EXPECT_TRUE(dropped.message.trailers.empty());
  Limits limits;
  limits.header_bytes = 64;
  for (const size_t step : {0, 1, 10}) {
    EXPECT_EQ(RequestRun(chunked("0\r\nA: " + std::string(100, 'a')), step, limits).word(), "headers_too_large");
    EXPECT_EQ(RequestRun(chunked("0\r\nA: " + std::string(100, 'a') + "\r\n\r\n"), step, limits).word(),
              "headers_too_large");
  }
}

TEST(RequestReader, Limits) {
  Limits limits;
  limits.request_line = 20;
  limits.header_bytes = 40;
  limits.header_count = 3;
  for (const size_t step : {0, 1, 7}) {
    EXPECT_TRUE(RequestRun("GET /123456 HTTP/1.1\r\nHost: a\r\n\r\n", step, limits).message.complete) << step;
    EXPECT_EQ(RequestRun("GET /1234567 HTTP/1.1\r\nHost: a\r\n\r\n", step, limits).word(), "request_line_too_long");
    EXPECT_EQ(RequestRun("GET /12345678901234567890", step, limits).word(), "request_line_too_long");
    EXPECT_EQ(RequestRun(std::string(30, 'G'), step, limits).word(), "request_line_too_long");
    EXPECT_TRUE(RequestRun("GET / HTTP/1.1\r\nHost: a\r\nB: " + std::string(26, 'b') + "\r\n\r\n", step, limits)
                    .message.complete);
    EXPECT_EQ(RequestRun("GET / HTTP/1.1\r\nHost: a\r\nB: " + std::string(27, 'b') + "\r\n\r\n", step, limits).word(),
              "headers_too_large");
    EXPECT_EQ(RequestRun("GET / HTTP/1.1\r\nHost: a\r\nB: " + std::string(40, 'b'), step, limits).word(),
              "headers_too_large");
    EXPECT_TRUE(RequestRun("GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 2\r\n\r\n", step, limits).message.complete);
    EXPECT_EQ(RequestRun("GET / HTTP/1.1\r\nHost: a\r\nB: 1\r\nC: 2\r\nD: 3\r\n\r\n", step, limits).word(),
              "too_many_headers");
  }
}

TEST(RequestReader, ConnectionNamesAreRemoved) {
  RequestRun run(get("/",
                     "Connection: X-A, keep-alive, x-b\r\nX-A: 1\r\nx-B: 2\r\nX-C: 3\r\nKeep-Alive: "
                     "5\r\nProxy-Connection: close\r\nTE: gzip, trailers\r\nUpgrade: h2c\r\n"
                     "HTTP2-Settings: x\r\nProxy-Authorization: Basic x\r\n"));
  ASSERT_TRUE(run.message.complete);
  ASSERT_EQ(run.head.fields.size(), 1u);
  EXPECT_EQ(run.head.fields.all()[0].name, "X-C");
  EXPECT_TRUE(run.head.wants_trailers);
  EXPECT_EQ(run.head.upgrade, "");
}

TEST(RequestReader, ConnectionMayNotNameWhatTheGatewayNeeds) {
  RequestRun run(get("/",
                     "Connection: authorization, cookie, x-forwarded-for, x-forwarded-proto, X-Real-IP, x-request-id, "
                     "forwarded, host, content-length, content-type\r\n"
                     "Authorization: a\r\nCookie: b\r\nX-Forwarded-For: c\r\nX-Forwarded-Proto: d\r\nX-Real-IP: "
                     "e\r\nX-Request-Id: f\r\nForwarded: g\r\nContent-Type: h\r\n"));
  ASSERT_TRUE(run.message.complete);
  EXPECT_EQ(run.head.fields.size(), 8u);
  EXPECT_EQ(run.head.host, "a.example");
}

TEST(RequestReader, ConnectionOptions) {
  EXPECT_FALSE(RequestRun(get("/", "Connection: close\r\n")).reader.keep_alive());
  EXPECT_FALSE(RequestRun(get("/", "Connection: keep-alive, Close\r\n")).reader.keep_alive());
  EXPECT_FALSE(RequestRun(get("/", "Connection: a\r\nConnection: close\r\n")).reader.keep_alive());
  EXPECT_TRUE(RequestRun(get("/", "Connection: , ,keep-alive,\r\n")).reader.keep_alive());
  EXPECT_TRUE(RequestRun("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").reader.keep_alive());
  expect_refused(get("/", "Connection: a b\r\n"), "bad_header_value");
  expect_refused(get("/", "Connection: a\r\nConnection: a\r\nConnection: a\r\nConnection: a\r\nConnection: a\r\n"),
                 "bad_header_value");
  std::string many = "Connection: ";
  for (int i = 0; i < 40; ++i) many += "x" + std::to_string(i) + ",";
  expect_refused(get("/", many + "\r\n"), "bad_header_value");
}

TEST(RequestReader, Upgrade) {
  EXPECT_EQ(RequestRun(get("/", "Connection: Upgrade\r\nUpgrade: websocket\r\n")).head.upgrade, "websocket");
  EXPECT_EQ(RequestRun(get("/", "Connection: Upgrade\r\nUpgrade: a/1, b\r\n")).head.upgrade, "a/1, b");
  EXPECT_EQ(RequestRun(get("/", "Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n")).head.upgrade, "");
  EXPECT_EQ(RequestRun("GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n").head.upgrade, "");
  expect_refused(get("/", "Connection: Upgrade\r\nUpgrade: a b\r\n"), "bad_header_value");
  expect_refused(get("/", "Connection: Upgrade\r\nUpgrade:\r\n"), "bad_header_value");
}

TEST(RequestReader, Expect) {
  EXPECT_TRUE(RequestRun(post("Expect: 100-Continue\r\nContent-Length: 1\r\n", "x")).head.expect_continue);
  EXPECT_FALSE(RequestRun(post("Expect: 100-continue\r\nContent-Length: 0\r\n")).head.expect_continue);
  EXPECT_FALSE(
      RequestRun("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx").head.expect_continue);
  expect_refused(post("Expect: 200-ok\r\nContent-Length: 1\r\n", "x"), "unsupported_expect");
  expect_refused(post("Expect: 100-continue, x\r\nContent-Length: 1\r\n", "x"), "unsupported_expect");
}

TEST(RequestReader, Pipelined) {
  const std::string input =
      post("Content-Length: 3\r\n", "abc") + get("/2") + chunked("1\r\nx\r\n0\r\n\r\n") + get("/4");
  ChunkPool pool;
  Arena arena(pool);
  RequestReader reader;
  size_t at = 0;
  for (int i = 0; i < 4; ++i) {
    RequestHead head(arena);
    Message message;
    reader.reset();
    EXPECT_TRUE(reader.idle());
    feed(reader, std::string_view(input).substr(at), 0, arena, head, message);
    ASSERT_TRUE(message.complete) << i;
    EXPECT_FALSE(reader.idle());
    at += message.consumed;
  }
  EXPECT_EQ(at, input.size());
}

TEST(RequestReader, AHeadKeepsNothingOfTheOneBefore) {
  ChunkPool pool;
  Arena arena(pool);
  RequestHead head(arena);
  RequestReader reader;
  Message first, second;
  feed(reader,
       "POST /a?b HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length: 1\r\nExpect: 100-continue\r\nTE: trailers\r\n"
       "Connection: TE, Upgrade\r\nUpgrade: foo\r\nK: v\r\n\r\nx",
       0, arena, head, first);
  ASSERT_TRUE(first.complete);
  EXPECT_EQ(head.port, 8080);
  EXPECT_EQ(head.upgrade, "foo");
  EXPECT_TRUE(head.expect_continue);
  reader.reset();
  feed(reader, "GET / HTTP/1.0\r\n\r\n", 0, arena, head, second);
  ASSERT_TRUE(second.complete);
  EXPECT_EQ(head.method, Method::get);
  EXPECT_EQ(head.version, Version::http10);
  EXPECT_EQ(head.host, "");
  EXPECT_EQ(head.port, 0);
  EXPECT_EQ(head.path, "/");
  EXPECT_EQ(head.query, "");
  EXPECT_EQ(head.upgrade, "");
  EXPECT_FALSE(head.has_query || head.has_body || head.expect_continue || head.wants_trailers);
  EXPECT_FALSE(head.content_length.has_value());
  EXPECT_EQ(head.fields.size(), 0u);
}

TEST(RequestReader, WantsTrailers) {
  const auto wants = [](std::string_view te) {
    return RequestRun(get("/", "TE: " + std::string(te) + "\r\nConnection: TE\r\n")).head.wants_trailers;
  };
  EXPECT_TRUE(wants("trailers"));
  EXPECT_TRUE(wants("Trailers"));
  EXPECT_TRUE(wants("deflate;q=0.5, trailers"));
  EXPECT_TRUE(wants("trailers ; q=1"));
  EXPECT_FALSE(wants("trailers-x"));
  EXPECT_FALSE(wants("deflate;x=trailers"));
  EXPECT_FALSE(wants(""));
}

TEST(RequestReader, ErrorsAreFinal) {
  RequestRun run("GET / HTTP/1.1\nHost: a\r\n\r\n");
  ASSERT_EQ(run.word(), "bare_cr_lf");
  const std::string good = get("/");
  const Step again = run.reader.next(Bytes(good.data(), good.size()), run.arena, run.head, {});
  EXPECT_EQ(again.event, Event::error);
  EXPECT_EQ(again.error.reason, Reason::bare_cr_lf);
}

// RFC 9110 9.3.2: its answer has no content, so whoever answers has to know.
TEST(RequestReader, ARefusedHeadIsStillHead) {
  const char* const bad[] = {"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
                             "HEAD / HTTP/1.1\r\nHost : a\r\n\r\n", "HEAD /\n", "\r\nHEAD / HTTP/3.0\r\n\r\n"};
  for (const char* in : bad) {
    for (const size_t step : {0, 1, 3}) {
      RequestRun run(in, step);
      EXPECT_NE(run.word(), "none") << in;
      EXPECT_EQ(run.head.method, Method::head) << in;
      EXPECT_EQ(run.head.method_name, "HEAD") << in;
    }
  }
  EXPECT_EQ(RequestRun("HEAD / HTTP/1.1\r\nHost: a").head.method, Method::head);  // and never more of it
  RequestRun other("HEADS / HTTP/1.1\r\nHost : a\r\n\r\n");
  EXPECT_EQ(other.head.method, Method::get);
}

TEST(RequestReader, NothingMoreAfterTheEnd) {
  RequestRun run(get("/"));
  const std::string more = get("/next");
  const Step step = run.reader.next(Bytes(more.data(), more.size()), run.arena, run.head, {});
  EXPECT_EQ(step.event, Event::need_more);
  EXPECT_EQ(step.consumed, 0u);
}

}  // namespace
}  // namespace sluice::http::h1
