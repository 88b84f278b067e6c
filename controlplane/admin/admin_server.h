// A small HTTP server for probes and scrapes (Boost.Beast): GET and HEAD, one request a connection, no bodies. A head
// of at most 8 KiB within the deadline, at most 64 connections. What is answered is the handler's business. Lives on
// the io_context's thread; must never change anything.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/asio.h"
#include "common/base/result.h"

namespace sluice::admin {

struct Answer {
  int status = 200;
  std::string body;
  std::string content_type = "text/plain; charset=utf-8";
};
// `path`: without its query.
using Handler = std::function<Answer(std::string_view path)>;

struct AdminLimits {
  uint32_t head_bytes = 8192;
  size_t connections = 64;
  std::chrono::milliseconds deadline{5000};  // from the connection to the last byte of the answer
};

class AdminServer {
 public:
  // `address`: a literal IPv4 or IPv6 address; port 0 = any free one.
  [[nodiscard]] static Result<std::unique_ptr<AdminServer>> listen(boost::asio::io_context& io,
                                                                   const std::string& address, uint16_t port,
                                                                   Handler handler, AdminLimits limits = {});
  ~AdminServer();  // connections end; the handler is not called any more
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  struct Shared;
  AdminServer(boost::asio::io_context& io, Handler handler, AdminLimits limits);
  void accept();
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer rest_;
  std::shared_ptr<Shared> shared_;
  uint16_t port_ = 0;
};

}  // namespace sluice::admin
