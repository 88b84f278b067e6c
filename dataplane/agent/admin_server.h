// HTTP/1.1 for operators, on the admin port and on the unix socket, with one request a connection. A head of at most
// 8 KiB within 5 seconds, at most 64 connections; no bodies. The port is read-only; what a handler answers is its own
// business.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/asio.h"
#include "dataplane/agent/condition.h"

namespace sluice::agent {

struct AdminAnswer {
  int status = 400;
  std::string content_type = "text/plain; charset=utf-8", body;
  bool head_only = false;
};
// One request head, up to and without the empty line.
using AdminHandler = std::function<AdminAnswer(std::string_view head)>;

class AdminServer {
 public:
  // `listening`: a TCP or unix stream socket. Its descriptor is ours from here on.
  AdminServer(boost::asio::io_context& io, int listening, AdminHandler handler);
  void start();
  [[nodiscard]] uint16_t port() const { return port_; }  // 0: none

 private:
  void accept();
  boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol> acceptor_;
  boost::asio::steady_timer rest_;
  AdminHandler handler_;
  uint16_t port_ = 0;
  std::shared_ptr<size_t> connections_ = std::make_shared<size_t>(0);
};

struct AdminRequest {
  std::string_view method, path, query;
  // The value of `name` in the query, percent-decoded; empty if it is not there.
  [[nodiscard]] std::string parameter(std::string_view name) const;
};
// False: not a request.
[[nodiscard]] bool parse_request(std::string_view head, AdminRequest& out);

// What the port says: GET and HEAD of /healthz, /readyz and /metrics. Pure.
[[nodiscard]] AdminAnswer answer_admin(std::string_view head, const Condition& condition);
[[nodiscard]] std::string format_answer(const AdminAnswer& answer);

}  // namespace sluice::agent
