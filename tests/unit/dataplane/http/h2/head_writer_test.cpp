#include <gtest/gtest.h>

#include "dataplane/http/h2/head_writer.h"
#include "tests/unit/dataplane/http/h2/sections.h"

namespace sluice::http::h2 {
namespace {

std::string text_of(std::span<const nghttp2_nv> pairs) {
  std::string out;
  for (const nghttp2_nv& pair : pairs) {
    out.append(reinterpret_cast<const char*>(pair.name), pair.namelen).append(": ");
    out.append(reinterpret_cast<const char*>(pair.value), pair.valuelen).append("\n");
  }
  return out;
}

class Http2Writer : public testing::Test {
 protected:
  std::string request() { return text_of(write_request(head, Scheme::https, arena)); }
  std::string response(std::string_view date = {}, bool tunnel = false) {
    return text_of(write_response(response_head, date, tunnel, arena));
  }
  Http2Writer() {
    head.method_name = "GET";
    head.host = "a.example";
    head.path = "/x";
  }
  ChunkPool pool;
  Arena arena{pool};
  RequestHead head{arena};
  ResponseHead response_head{arena};
};

// RFC 9113 8.3.1: pseudo-header fields first; 8.2: lower case.
TEST_F(Http2Writer, Request) {
  head.port = 8080;
  head.query = "y=1";
  head.has_query = true;
  head.fields.add("Accept", "*/*");
  head.fields.add("X-Mixed-CASE", "Value");
  EXPECT_EQ(request(),
            ":method: GET\n:scheme: https\n:authority: a.example:8080\n:path: /x?y=1\naccept: */*\nx-mixed-case: "
            "Value\n");
  EXPECT_EQ(text_of(write_request(head, Scheme::http, arena)).find(":scheme: http\n"), 13u);
  head.method = Method::post;
  head.content_length = 12;
  head.wants_trailers = true;
  EXPECT_TRUE(request().starts_with(":method: POST\n"));
  EXPECT_TRUE(request().ends_with("content-length: 12\nte: trailers\n"));
}

TEST_F(Http2Writer, AnyMethod) {
  head.method = Method::other;
  head.method_name = "PROPFIND";
  EXPECT_TRUE(request().starts_with(":method: PROPFIND\n"));
  head.method_name = "A\r\nB";
  EXPECT_TRUE(request().starts_with(":method: _\n"));
  head.method_name = "";
  EXPECT_TRUE(request().starts_with(":method: _\n"));
}

TEST_F(Http2Writer, Targets) {
  auto path = [&](std::string_view of, std::string_view query, bool has_query) {
    head.path = of;
    head.query = query;
    head.has_query = has_query;
    const std::string text = request();
    const size_t at = text.find(":path: ") + 7;
    return text.substr(at, text.find('\n', at) - at);
  };
  EXPECT_EQ(path("/", "", false), "/");
  EXPECT_EQ(path("/", "", true), "/?");
  EXPECT_EQ(path("/", "ignored", false), "/");
  EXPECT_EQ(path("*", "", false), "*");
  EXPECT_EQ(path("x", "", false), "/x");
  EXPECT_EQ(path("", "", false), "/");
  EXPECT_EQ(path("/%2F", "a?b/c", true), "/%2F?a?b/c");
  EXPECT_EQ(path("/a b\r\n#?", "\x01\xFF#", true), "/a%20b%0D%0A%23%3F?%01%FF%23");
}

TEST_F(Http2Writer, AuthorityOnlyIfItIsOne) {
  for (const std::string_view host : {"", "a b", "a\r\nx", "u@a", "a/b"}) {
    head.host = host;
    EXPECT_EQ(request().find(":authority"), std::string::npos) << host;
  }
  head.host = "[::1]";
  EXPECT_NE(request().find(":authority: [::1]\n"), std::string::npos);
  head.port = 65535;
  EXPECT_NE(request().find(":authority: [::1]:65535\n"), std::string::npos);
}

// 8.2.2, and what a filter may have put in.
TEST_F(Http2Writer, WhatIsLeftOut) {
  for (const char* name : {"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "TE",
                           "Content-Length", "HTTP2-Settings", "Host", "bad name", "", ":path", "a\nb"})
    head.fields.add(name, "x");
  for (const char* value : {"a\r\nb", "a\nb", "\x01"}) head.fields.add("x-bad", value);
  head.fields.add("x-nul", std::string_view("a\0b", 3));
  head.fields.add("x-good", " \tvalue ");
  EXPECT_EQ(request(), ":method: GET\n:scheme: https\n:authority: a.example\n:path: /x\nx-good: value\n");
  // A field whose token was not looked up is judged by its name.
  head.fields.clear();
  head.fields.add({"connection", "close", Token::none});
  EXPECT_EQ(request(), ":method: GET\n:scheme: https\n:authority: a.example\n:path: /x\n");
}

TEST_F(Http2Writer, Response) {
  response_head.status = 204;
  response_head.content_length = 0;  // RFC 9110 8.6: not with 204
  response_head.fields.add("Server", "x");
  EXPECT_EQ(response(), ":status: 204\nserver: x\n");
  response_head.status = 200;
  EXPECT_EQ(response("Sun, 06 Nov 1994 08:49:37 GMT"),
            ":status: 200\nserver: x\ndate: Sun, 06 Nov 1994 08:49:37 GMT\ncontent-length: 0\n");
  response_head.fields.add("Date", "now");
  EXPECT_EQ(response("Sun, 06 Nov 1994 08:49:37 GMT"), ":status: 200\nserver: x\ndate: now\ncontent-length: 0\n");
  response_head.fields.add("Host", "kept");  // means nothing here
  response_head.status = 304;
  EXPECT_EQ(response(), ":status: 304\nserver: x\ndate: now\nhost: kept\ncontent-length: 0\n");
}

TEST_F(Http2Writer, TheDateIsCopied) {
  std::string date = "Sun, 06 Nov 1994 08:49:37 GMT";
  response_head.status = 200;
  const auto pairs = write_response(response_head, date, false, arena);
  date.assign(date.size(), '#');
  EXPECT_EQ(text_of(pairs), ":status: 200\ndate: Sun, 06 Nov 1994 08:49:37 GMT\n");
}

TEST_F(Http2Writer, Interim) {
  response_head.status = 103;
  response_head.content_length = 5;
  response_head.fields.add("Link", "</a>");
  EXPECT_EQ(response("Sun, 06 Nov 1994 08:49:37 GMT"), ":status: 103\nlink: </a>\n");
}

// RFC 8441 5: 101 accepts; anything else is an answer like any other.
TEST_F(Http2Writer, Tunnel) {
  response_head.status = 101;
  response_head.fields.add("Sec-WebSocket-Protocol", "chat");
  EXPECT_EQ(response("x", true), ":status: 200\nsec-websocket-protocol: chat\n");
  response_head.status = 403;
  response_head.content_length = 3;
  EXPECT_EQ(response("x", true), ":status: 403\nsec-websocket-protocol: chat\ndate: x\ncontent-length: 3\n");
}

TEST_F(Http2Writer, TrailersOnly) {
  Fields trailers(arena);
  trailers.add("Grpc-Status", "0");
  trailers.add("Content-Length", "3");
  trailers.add("Host", "x");
  trailers.add("x", "a\nb");
  EXPECT_EQ(text_of(write_trailers(trailers, arena)), "grpc-status: 0\n");
  EXPECT_TRUE(write_trailers(Fields(arena), arena).empty());
}

// RFC 7541 7.1.3: secrets must not be guessed by the size of what is compressed; and no dynamic entry is spent on what
// differs each time.
TEST_F(Http2Writer, KeptOutOfTheTables) {
  head.fields.add("Authorization", "Basic x");
  head.fields.add("Cookie", "a=b");
  head.fields.add("X-Request-Id", "1");
  head.fields.add("User-Agent", "x");
  head.content_length = 5;
  for (const nghttp2_nv& pair : write_request(head, Scheme::http, arena)) {
    const std::string_view name(reinterpret_cast<const char*>(pair.name), pair.namelen);
    const bool out = name == "authorization" || name == "cookie" || name == "x-request-id" || name == "content-length";
    EXPECT_EQ((pair.flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0, out) << name;
  }
}

// What is written reads as what it was.
TEST_F(Http2Writer, ReadAgain) {
  head.method = Method::put;
  head.method_name = "PUT";
  head.port = 81;
  head.query = "a=b";
  head.has_query = true;
  head.content_length = 7;
  head.has_body = true;
  head.wants_trailers = true;
  head.fields.add("Accept", "*/*");
  head.fields.add("cookie", "a=b; c=d");
  const h1::Limits limits;
  HeadReader reader(arena, limits, 10000);
  for (const nghttp2_nv& pair : write_request(head, Scheme::https, arena))
    ASSERT_TRUE(reader.add({reinterpret_cast<const char*>(pair.name), pair.namelen},
                           {reinterpret_cast<const char*>(pair.value), pair.valuelen}));
  RequestHead again(arena);
  ASSERT_EQ(reader.finish(again, false, false), Reason::none);
  EXPECT_EQ(again.method, Method::put);
  EXPECT_EQ(again.host, "a.example");
  EXPECT_EQ(again.port, 81);
  EXPECT_EQ(again.path, "/x");
  EXPECT_EQ(again.query, "a=b");
  EXPECT_EQ(again.content_length, 7u);
  EXPECT_TRUE(again.wants_trailers);
  EXPECT_EQ(h2::text_of(again.fields), "accept: */*\ncookie: a=b; c=d\n");
}

}  // namespace
}  // namespace sluice::http::h2
