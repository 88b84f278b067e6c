// The admin port: GET and HEAD of /healthz, /readyz and /metrics, read-only. HTTP/1.1 with one request a connection. A
// head of at most 8 KiB within 5 seconds, at most 64 connections; no bodies. Nothing here changes anything.
#pragma once
#include <memory>
#include <string>

#include "common/base/asio.h"
#include "dataplane/agent/condition.h"

namespace sluice::agent {

class AdminServer {
 public:
  // `listening`: from the master, stays its own.
  AdminServer(boost::asio::io_context& io, int listening, const Condition& condition);
  void start();
  [[nodiscard]] uint16_t port() const { return port_; }

 private:
  void accept();
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer rest_;
  const Condition& condition_;
  uint16_t port_ = 0;
  std::shared_ptr<size_t> connections_ = std::make_shared<size_t>(0);
};

// The answer to one request head (up to and without the empty line): pure.
struct AdminAnswer {
  int status = 400;
  std::string content_type = "text/plain; charset=utf-8", body;
  bool head_only = false;
};
[[nodiscard]] AdminAnswer answer_admin(std::string_view head, const Condition& condition);
[[nodiscard]] std::string format_answer(const AdminAnswer& answer);

}  // namespace sluice::agent
