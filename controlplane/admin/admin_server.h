// A small HTTP server for probes, scrapes and operators (Boost.Beast): one request a connection, no bodies. A head
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
struct Request {
  std::string_view path, query;
  bool put = false;  // PUT instead of GET or HEAD; only on the unix socket
  // The value of `name` in the query; empty if it is not there.
  [[nodiscard]] std::string_view parameter(std::string_view name) const;
};
using Handler = std::function<Answer(const Request&)>;

struct AdminLimits {
  uint32_t head_bytes = 8192;
  size_t connections = 64;
  std::chrono::milliseconds deadline{5000};  // from the connection to the last byte of the answer
  bool put = false;                          // PUT is allowed
};

class AdminServer {
 public:
  // `address`: a literal IPv4 or IPv6 address; port 0 = any free one.
  [[nodiscard]] static Result<std::unique_ptr<AdminServer>> listen(boost::asio::io_context& io,
                                                                   const std::string& address, uint16_t port,
                                                                   Handler handler, AdminLimits limits = {});
  // On a unix socket for operators (common/base/unix_listener.h), with PUT.
  [[nodiscard]] static Result<std::unique_ptr<AdminServer>> listen(boost::asio::io_context& io, const std::string& path,
                                                                   Handler handler);
  ~AdminServer();  // connections end; the handler is not called any more
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  struct Shared;
  AdminServer(boost::asio::io_context& io, Handler handler, AdminLimits limits);
  void accept();
  boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol> acceptor_;
  boost::asio::steady_timer rest_;
  std::shared_ptr<Shared> shared_;
  uint16_t port_ = 0;
};

}  // namespace sluice::admin
