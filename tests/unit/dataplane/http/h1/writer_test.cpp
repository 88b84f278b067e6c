#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h1/support.h"

namespace sluice::http::h1 {
namespace {

class Writer : public testing::Test {
 protected:
  std::string request(Framing framing) {
    std::string out(max_head_size(head), '\0');
    out.resize(write_request_head(out, head, framing, &dropped));
    return out;
  }
  std::string response(const ResponseOptions& options) {
    std::string out(max_head_size(answer), '\0');
    out.resize(write_response_head(out, answer, options, &dropped));
    return out;
  }
  ChunkPool pool;
  Arena arena{pool};
  RequestHead head{arena};
  ResponseHead answer{arena};
  uint32_t dropped = 0;
};

TEST_F(Writer, Request) {
  head.host = "a.example";
  head.port = 8080;
  head.path = "/x";
  head.query = "y=1";
  head.has_query = true;
  head.fields.add("Accept", "*/*");
  EXPECT_EQ(request(Framing::none), "GET /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\n\r\n");
  head.method = Method::post;
  EXPECT_EQ(request(Framing::none),
            "POST /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\nContent-Length: 0\r\n\r\n");
  head.content_length = 12;
  head.wants_trailers = true;
  EXPECT_EQ(request(Framing::length),
            "POST /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\nContent-Length: 12\r\nTE: "
            "trailers\r\nConnection: TE\r\n\r\n");
  head.upgrade = "websocket";
  EXPECT_EQ(request(Framing::chunked),
            "POST /x?y=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\nTransfer-Encoding: chunked\r\nTE: "
            "trailers\r\nConnection: TE, Upgrade\r\n"
            "Upgrade: websocket\r\n\r\n");
  EXPECT_EQ(dropped, 0u);
}

TEST_F(Writer, RequestStar) {
  head.method = Method::options;
  head.path = "*";
  head.host = "a";
  EXPECT_EQ(request(Framing::none), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
}

TEST_F(Writer, AHeadCannotBeSplit) {
  head.method = Method::other;
  head.method_name = "A\r\nB";
  head.host = "a\r\nX: y";
  head.path = "/a b\r\n\xC3#";
  head.query = "q \n";
  head.has_query = true;
  head.upgrade = "a\r\nb";
  head.fields.add("Good", "1");
  head.fields.add("Bad", "a\r\nInjected: x");
  head.fields.add("Bad Name", "x");
  head.fields.add("", "x");
  head.fields.add("Nul", std::string_view("a\0b", 3));
  head.fields.add("Content-Length", "5");
  head.fields.add(Field{"transfer-encoding", "chunked"});  // token not set
  head.fields.add("Host", "other");
  head.fields.add("Connection", "close");
  EXPECT_EQ(request(Framing::none), "A__B /a%20b%0D%0A%C3%23?q%20%0A HTTP/1.1\r\nHost: \r\nGood: 1\r\n\r\n");
  EXPECT_EQ(dropped, 9u);
}

TEST_F(Writer, TooSmallGivesZero) {
  head.host = "a";
  head.path = "/";
  head.fields.add("A", "b");
  const std::string whole = request(Framing::none);
  for (size_t size = 0; size < whole.size(); ++size) {
    std::unique_ptr<char[]> out(new char[size]);
    EXPECT_EQ(write_request_head({out.get(), size}, head, Framing::none), 0u);
  }
  std::unique_ptr<char[]> exact(new char[whole.size()]);
  EXPECT_EQ(write_request_head({exact.get(), whole.size()}, head, Framing::none), whole.size());
}

TEST_F(Writer, Response) {
  const std::string_view date = "Tue, 24 Nov 2026 12:00:00 GMT";
  answer.status = 200;
  answer.content_length = 5;
  answer.fields.add("Server", "x");
  EXPECT_EQ(response({.framing = Framing::length, .date = date}),
            "HTTP/1.1 200 OK\r\nServer: x\r\nDate: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Length: 5\r\n\r\n");
  answer.fields.add("Date", "yesterday");
  answer.reason = "Fine";
  EXPECT_EQ(
      response({.framing = Framing::chunked, .close = true, .date = date}),
      "HTTP/1.1 200 Fine\r\nServer: x\r\nDate: yesterday\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(response({.framing = Framing::until_close}),
            "HTTP/1.1 200 Fine\r\nServer: x\r\nDate: yesterday\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(response({.framing = Framing::none, .client_version = Version::http10, .keep_alive_10 = true}),
            "HTTP/1.1 200 Fine\r\nServer: x\r\nDate: yesterday\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
}

TEST_F(Writer, ResponseWithoutContent) {
  answer.status = 204;
  answer.content_length = 0;
  EXPECT_EQ(response({}), "HTTP/1.1 204 No Content\r\n\r\n");
  answer.status = 100;
  EXPECT_EQ(response({.close = true, .date = "x"}), "HTTP/1.1 100 Continue\r\n\r\n");
  answer.status = 101;
  EXPECT_EQ(response({.upgrade = "websocket"}),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  answer.status = 304;
  answer.content_length.reset();
  EXPECT_EQ(response({}), "HTTP/1.1 304 Not Modified\r\n\r\n");
  answer.status = 426;
  answer.content_length = 0;
  EXPECT_EQ(response({.close = true, .upgrade = "a"}),
            "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close, Upgrade\r\nUpgrade: a\r\n\r\n");
}

TEST_F(Writer, ResponseCannotBeSplit) {
  answer.status = 299;
  answer.reason = "a\r\nX: y";
  answer.fields.add("X", "a\nb");
  answer.fields.add("Transfer-Encoding", "chunked");
  EXPECT_EQ(response({}), "HTTP/1.1 299 \r\n\r\n");
  EXPECT_EQ(dropped, 2u);
}

TEST_F(Writer, ChunksAndTrailers) {
  char out[64];
  EXPECT_EQ(std::string(out, write_chunk_head(out, 0x1234AB)), "1234ab\r\n");
  EXPECT_EQ(std::string(out, write_chunk_head(out, UINT64_MAX)), "ffffffffffffffff\r\n");
  EXPECT_EQ(write_chunk_head({out, 17}, 1), 0u);
  Fields trailers(arena);
  trailers.add("X", "1");
  trailers.add("Y", "\r");
  EXPECT_EQ(std::string(out, write_trailers(out, trailers, &dropped)), "0\r\nX: 1\r\n\r\n");
  EXPECT_EQ(dropped, 1u);
}

TEST_F(Writer, WhatIsWrittenIsRead) {
  const std::string input =
      "PUT /a%2fb?c HTTP/1.1\r\nHost: h:1\r\nA: 1\r\na: 2\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: "
      "TE\r\n\r\n0\r\n\r\n";
  RequestRun first(input);
  ASSERT_TRUE(first.message.complete);
  std::string out(max_head_size(first.head), '\0');
  out.resize(write_request_head(out, first.head, Framing::chunked));
  RequestRun second(out + "0\r\n\r\n");
  ASSERT_TRUE(second.message.complete);
  EXPECT_EQ(second.head.path, "/a%2Fb");
  EXPECT_EQ(second.head.fields.size(), 2u);
  EXPECT_TRUE(second.head.wants_trailers);
  EXPECT_EQ(second.head.port, 1);
}

}  // namespace
}  // namespace sluice::http::h1
