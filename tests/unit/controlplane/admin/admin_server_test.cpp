// Requests over real loopback sockets, on one thread: the server's loop is turned while the client waits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controlplane/admin/admin_server.h"

namespace sluice::admin {
namespace {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class AdminServerTest : public testing::Test {
 protected:
  void serve(AdminLimits limits = {}, const std::string& address = "127.0.0.1") {
    auto server = AdminServer::listen(
        io_, address, 0,
        [this](const Request& request) {
          asked_.emplace_back(request.path);
          return request.path == "/readyz" ? Answer{503, "missing\n"} : Answer{200, "ok\n"};
        },
        limits);
    ASSERT_TRUE(server.has_value()) << server.error().message;
    server_ = std::move(*server);
    address_ = asio::ip::make_address(address);
  }
  tcp::socket connect() {
    tcp::socket socket(io_);
    socket.connect({address_, server_->port()});
    return socket;
  }
  // All that comes until the server closes its side.
  std::string read_all(tcp::socket& socket) {
    std::string text;
    bool done = false;
    std::function<void()> more;
    std::array<char, 4096> buffer{};
    more = [&] {
      socket.async_read_some(asio::buffer(buffer), [&](error_code error, size_t size) {
        text.append(buffer.data(), size);
        if (error) done = true;
        else more();
      });
    };
    more();
    while (!done) io_.run_one();
    return text;
  }
  std::string ask(const std::string& request) {
    tcp::socket socket = connect();
    error_code ignored;
    asio::write(socket, asio::buffer(request), ignored);
    return read_all(socket);
  }

  asio::io_context io_{1};
  asio::ip::address address_;
  std::vector<std::string> asked_;
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminServerTest, AnswersWhatTheHandlerSays) {
  serve();
  const std::string ok = ask("GET /healthz?verbose=1 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(ok, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(ok, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(ok, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(ok, testing::EndsWith("\r\n\r\nok\n"));
  EXPECT_THAT(ask("GET /readyz HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(asked_, testing::ElementsAre("/healthz", "/readyz"));
}

TEST_F(AdminServerTest, HeadHasNoBody) {
  serve();
  const std::string answer = ask("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Content-Length: 3\r\n"));
  EXPECT_THAT(answer, testing::EndsWith("\r\n\r\n"));
}

TEST_F(AdminServerTest, RefusesEverythingElse) {
  serve();
  const std::string post = ask("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(post, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(post, HasSubstr("Allow: GET, HEAD\r\n"));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(ask("what is this\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nX: " + std::string(9000, 'x') + "\r\n\r\n"), StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(asked_, testing::IsEmpty());
}

TEST_F(AdminServerTest, AClientThatSaysNothingIsClosedAtTheDeadline) {
  AdminLimits limits;
  limits.deadline = std::chrono::milliseconds(20);
  serve(limits);
  EXPECT_EQ(ask("GET / HTTP/1.1\r\n"), "");
  EXPECT_EQ(ask(""), "");
}

TEST_F(AdminServerTest, ConnectionsBeyondTheLimitAreClosedAndComeBackLater) {
  AdminLimits limits;
  limits.connections = 2;
  limits.deadline = std::chrono::milliseconds(300);
  serve(limits);
  tcp::socket first = connect(), second = connect(), third = connect();
  EXPECT_EQ(read_all(third), "");  // closed unread, long before its deadline
  first.close();
  second.close();
  std::string answer;
  for (int tries = 0; tries < 100 && answer.empty(); ++tries) answer = ask("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
}

TEST_F(AdminServerTest, ListensOnTheGivenAddress) {
  serve({}, "::1");
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  const auto bad = AdminServer::listen(io_, "localhost", 0, nullptr);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().message, "admin address: 'localhost' is no IPv4 or IPv6 address");
  const auto taken = AdminServer::listen(io_, "::1", server_->port(), nullptr);
  ASSERT_FALSE(taken.has_value());
  EXPECT_THAT(taken.error().message, HasSubstr("Address already in use"));
}

TEST_F(AdminServerTest, AfterItsEndTheHandlerIsNotAsked) {
  serve();
  tcp::socket socket = connect();
  while (io_.poll_one() != 0) {
  }
  server_.reset();
  asio::write(socket, asio::buffer(std::string("GET / HTTP/1.1\r\n\r\n")));
  EXPECT_EQ(read_all(socket), "");
  EXPECT_THAT(asked_, testing::IsEmpty());
}

}  // namespace
}  // namespace sluice::admin
