#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/dataplane/http/h1/support.h"

namespace sluice::http::h1 {
namespace {

constexpr size_t kSteps[] = {0, 1, 2, 5, 16};

void expect_bad(std::string_view input, Reason detail, Method method = Method::get) {
  for (const size_t step : kSteps) {
    ResponseRun run(input, step, method);
    EXPECT_EQ(run.word(), "bad_response") << input << " step " << step;
    EXPECT_EQ(describe(run.detail()).word, describe(detail).word) << input << " step " << step;
    EXPECT_EQ(run.message.error.side, Side::upstream);
    EXPECT_FALSE(run.reader.keep_alive());
  }
}

TEST(ResponseReader, Length) {
  for (const size_t step : kSteps) {
    ResponseRun run("HTTP/1.1 200 Fine by me\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello", step);
    ASSERT_TRUE(run.message.complete);
    EXPECT_EQ(run.head.status, 200);
    EXPECT_EQ(run.head.reason, "Fine by me");
    EXPECT_EQ(run.message.body, "hello");
    EXPECT_EQ(run.head.fields.size(), 1u);
    EXPECT_TRUE(run.message.keep_alive);
    EXPECT_TRUE(run.reader.started());
  }
}

TEST(ResponseReader, StatusLine) {
  for (const std::string_view good : {"HTTP/1.1 200 OK", "HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 599 x\ty",
                                      "HTTP/1.1 200 \xC3\xA4", "HTTP/1.0 404 Not"}) {
    EXPECT_TRUE(ResponseRun(std::string(good) + "\r\nContent-Length: 0\r\n\r\n").message.complete) << good;
  }
  for (const std::string_view bad :
       {"HTTP/1.1  200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/1.1 600 OK",
        "HTTP/1.1 2x0 OK", "HTTP/1.1\t200 OK", " HTTP/1.1 200 OK", "HTTPS/1.1 200 OK", "http/1.1 200 OK", "ICY 200 OK",
        "HTTP/1.1 200\tOK", "HTTP/2 200 OK..", "HTTP/1.1 200x"}) {
    expect_bad(std::string(bad) + "\r\nContent-Length: 0\r\n\r\n", Reason::bad_request_line);
  }
  expect_bad("HTTP/1.2 200 OK\r\n\r\n", Reason::bad_version);
  expect_bad("HTTP/1.1 200 OK\nContent-Length: 0\n\n", Reason::bare_cr_lf);
  expect_bad("HTTP/1.1 200 O\rK\r\n\r\n", Reason::bare_cr_lf);
  expect_bad("\r\nHTTP/1.1 200 OK\r\n\r\n", Reason::bad_request_line);
}

TEST(ResponseReader, FieldsAreAsStrictAsInRequests) {
  auto with = [](std::string_view line) {
    return "HTTP/1.1 200 OK\r\n" + std::string(line) + "\r\nContent-Length: 0\r\n\r\n";
  };
  expect_bad(with("Foo : a"), Reason::bad_header_name);
  expect_bad(with(": a"), Reason::bad_header_name);
  expect_bad(with("Foo"), Reason::bad_header_name);
  expect_bad(with("Foo: a\r\n b"), Reason::obs_fold);
  expect_bad(with("Foo: a\nB: c"), Reason::bare_cr_lf);
  expect_bad(with("Foo: a\rB: c"), Reason::bare_cr_lf);
  expect_bad(with(std::string_view("Foo: \0", 6)), Reason::bad_header_value);
}

TEST(ResponseReader, Framing) {
  auto with = [](std::string_view lines) { return "HTTP/1.1 200 OK\r\n" + std::string(lines) + "\r\n\r\n0\r\n\r\n"; };
  expect_bad(with("Content-Length: x"), Reason::bad_content_length);
  expect_bad(with("Content-Length: 5, 5"), Reason::bad_content_length);
  expect_bad(with("Content-Length: 5\r\nContent-Length: 5"), Reason::bad_content_length);
  expect_bad(with("Content-Length: 5\r\nTransfer-Encoding: chunked"), Reason::both_lengths);
  expect_bad(with("Transfer-Encoding: gzip, chunked"), Reason::bad_transfer_encoding);
  expect_bad(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Reason::bad_transfer_encoding);
  expect_bad("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Reason::te_in_http10);
  for (const Method method : {Method::head, Method::get}) {
    expect_bad("HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", Reason::bad_content_length, method);
  }
}

TEST(ResponseReader, Chunked) {
  for (const size_t step : kSteps) {
    ResponseRun run("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n", step);
    ASSERT_TRUE(run.message.complete);
    EXPECT_EQ(run.message.body, "abc");
    EXPECT_EQ(run.message.trailers.size(), 1u);
    EXPECT_TRUE(run.message.keep_alive);
    expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd", Reason::bad_chunk);
    expect_bad("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 1\r\n\r\n",
               Reason::bad_trailer);
  }
}

TEST(ResponseReader, UntilClose) {
  ResponseRun run("HTTP/1.1 200 OK\r\n\r\nabc", 1);
  EXPECT_FALSE(run.message.complete);
  EXPECT_TRUE(run.head.has_body);
  EXPECT_FALSE(run.message.keep_alive);
  EXPECT_EQ(run.message.body, "abc");
  EXPECT_EQ(run.reader.eof().event, Event::end);
}

TEST(ResponseReader, NoBody) {
  struct Case {
    std::string_view head;
    Method method;
    std::optional<uint64_t> length;
    bool keep_alive;
  };
  const Case cases[] = {
      {"200 OK\r\nContent-Length: 7", Method::head, 7, true},
      {"200 OK\r\nTransfer-Encoding: chunked", Method::head, std::nullopt, true},
      {"200 OK", Method::head, std::nullopt, true},
      {"304 Not Modified\r\nContent-Length: 7", Method::get, 7, true},
      {"304 Not Modified\r\nTransfer-Encoding: chunked", Method::get, std::nullopt, true},
      {"204 No Content", Method::get, std::nullopt, true},
      {"204 No Content\r\nContent-Length: 0", Method::get, std::nullopt, true},
      {"204 No Content\r\nContent-Length: 3", Method::get, std::nullopt, false},
      {"204 No Content\r\nTransfer-Encoding: chunked", Method::get, std::nullopt, false},
      {"200 OK\r\nContent-Length: 0", Method::get, 0, true},
      {"200 OK\r\nContent-Length: 0\r\nConnection: close", Method::get, 0, false},
  };
  for (const Case& c : cases) {
    ResponseRun run("HTTP/1.1 " + std::string(c.head) + "\r\n\r\n", 0, c.method);
    ASSERT_TRUE(run.message.complete) << c.head;
    EXPECT_FALSE(run.head.has_body) << c.head;
    EXPECT_EQ(run.head.content_length, c.length) << c.head;
    EXPECT_EQ(run.message.keep_alive, c.keep_alive) << c.head;
  }
}

TEST(ResponseReader, Interim) {
  for (const size_t step : kSteps) {
    ResponseRun run(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
        "1\r\n\r\nx",
        step);
    ASSERT_TRUE(run.message.complete);
    EXPECT_THAT(run.message.interim, testing::ElementsAre(100, 103));
    EXPECT_EQ(run.head.fields.size(), 0u);
    EXPECT_EQ(run.message.body, "x");
  }
  EXPECT_FALSE(
      ResponseRun("HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
          .message.keep_alive);
  expect_bad("HTTP/1.1 100 Continue\r\nContent-Length: 1\r\n\r\nx", Reason::bad_content_length);
  expect_bad("HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n", Reason::bad_transfer_encoding);
  std::string many;
  for (int i = 0; i < 20; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(ResponseRun(many).word(), "response_too_large");
}

TEST(ResponseReader, SwitchingProtocolsEndsReading) {
  ResponseRun run(
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 opaque");
  EXPECT_TRUE(run.message.complete);
  EXPECT_EQ(run.head.status, 101);
  EXPECT_EQ(run.head.upgrade, "websocket");
  EXPECT_FALSE(run.message.keep_alive);
}

TEST(ResponseReader, KeepAlive) {
  EXPECT_FALSE(ResponseRun("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").message.keep_alive);
  EXPECT_TRUE(ResponseRun("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").message.keep_alive);
  EXPECT_FALSE(ResponseRun("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a, close\r\n\r\n").message.keep_alive);
}

TEST(ResponseReader, ConnectionNamedFieldsAreRemoved) {
  ResponseRun run(
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-a, set-cookie\r\nX-A: 1\r\nSet-Cookie: a=b\r\nKeep-Alive: "
      "1\r\nProxy-Authenticate: Basic\r\n\r\n");
  ASSERT_TRUE(run.message.complete);
  ASSERT_EQ(run.head.fields.size(), 1u);
  EXPECT_EQ(run.head.fields.all()[0].token, Token::set_cookie);
}

TEST(ResponseReader, Eof) {
  ResponseRun none("");
  Step step = none.reader.eof();
  EXPECT_EQ(step.error.reason, Reason::upstream_closed);
  EXPECT_EQ(step.error.retry, Retry::if_reused);
  for (const std::string_view cut :
       {"H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "HTTP/1.1 100 Continue\r\n\r\n"}) {
    ResponseRun run(cut);
    step = run.reader.eof();
    EXPECT_EQ(step.event, Event::error) << cut;
    EXPECT_EQ(step.error.reason, Reason::response_cut) << cut;
    EXPECT_EQ(step.error.retry, Retry::no);
  }
  ResponseRun whole("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(whole.reader.eof().event, Event::end);
}

TEST(ResponseReader, Limits) {
  Limits limits;
  limits.request_line = 20;
  limits.header_bytes = 40;
  limits.header_count = 2;
  for (const size_t step : kSteps) {
    EXPECT_EQ(ResponseRun("HTTP/1.1 200 " + std::string(30, 'a'), step, Method::get, limits).word(),
              "response_too_large");
    EXPECT_EQ(ResponseRun("HTTP/1.1 200 OK\r\nA: " + std::string(50, 'a'), step, Method::get, limits).word(),
              "response_too_large");
    EXPECT_EQ(ResponseRun("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n", step, Method::get, limits).word(),
              "response_too_large");
  }
}

}  // namespace
}  // namespace sluice::http::h1
