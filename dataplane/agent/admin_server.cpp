#include "dataplane/agent/admin_server.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <sys/socket.h>

#include "common/base/log.h"
#include "dataplane/agent/metrics.h"
#include "dataplane/net/address.h"

namespace sluice::agent {
namespace asio = boost::asio;
using Socket = asio::generic::stream_protocol::socket;
using boost::system::error_code;
namespace {
constexpr size_t kMaxHead = 8192, kMaxConnections = 64;
constexpr std::chrono::seconds kDeadline{5};
constexpr std::chrono::milliseconds kRest{100};

// One connection: keeps itself alive until the answer is out or the time is over.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(Socket socket, const AdminHandler& handler, std::shared_ptr<size_t> count)
      : socket_(std::move(socket)), deadline_(socket_.get_executor()), handler_(handler), count_(std::move(count)) {
    ++*count_;
  }
  ~Connection() { --*count_; }
  void start() {
    deadline_.expires_after(kDeadline);
    auto over = [self = weak_from_this()](error_code error) {
      if (const auto alive = self.lock(); alive && !error) alive->close();
    };
    deadline_.async_wait(over);
    read();
  }

 private:
  void read() {
    auto some = [self = shared_from_this()](error_code error, size_t bytes) {
      if (error) return self->close();
      self->head_.append(self->buffer_.data(), bytes);
      self->on_head();
    };
    socket_.async_read_some(asio::buffer(buffer_), some);
  }
  void on_head() {
    const size_t end = head_.find("\r\n\r\n");
    if (end == std::string::npos) {
      if (head_.size() < kMaxHead) return read();
      AdminAnswer too_large;
      too_large.status = 431;
      return answer(format_answer(too_large));
    }
    answer(format_answer(handler_(std::string_view(head_).substr(0, end))));
  }
  void answer(std::string text) {
    answer_ = std::move(text);
    auto written = [self = shared_from_this()](error_code error, size_t) {
      error_code ignored;
      if (!error) self->socket_.shutdown(Socket::shutdown_send, ignored);
      self->linger();
    };
    asio::async_write(socket_, asio::buffer(answer_), written);
  }
  // Reads what still comes until the peer closes (or the deadline): closing with unread bytes would reset the answer
  // away.
  void linger() {
    auto some = [self = shared_from_this()](error_code error, size_t) {
      if (error) self->close();
      else self->linger();
    };
    socket_.async_read_some(asio::buffer(buffer_), some);
  }
  void close() {
    error_code ignored;
    socket_.close(ignored);
    deadline_.cancel();
  }
  Socket socket_;
  asio::steady_timer deadline_;
  const AdminHandler& handler_;
  std::shared_ptr<size_t> count_;
  std::array<char, 2048> buffer_{};
  std::string head_, answer_;
};

const char* phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Bad Request";
  }
}
}  // namespace

bool parse_request(std::string_view head, AdminRequest& out) {
  const std::string_view line = head.substr(0, head.find("\r\n"));
  const size_t first = line.find(' '), last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || !line.substr(last + 1).starts_with("HTTP/1.")) return false;
  out.method = line.substr(0, first);
  out.path = line.substr(first + 1, last - first - 1);
  const size_t mark = out.path.find('?');
  out.query = mark == std::string_view::npos ? std::string_view() : out.path.substr(mark + 1);
  out.path = out.path.substr(0, mark);
  return true;
}

std::string AdminRequest::parameter(std::string_view name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.substr(0, pair.find('=')) != name || pair.size() <= name.size()) continue;
    std::string value;
    for (std::string_view text = pair.substr(name.size() + 1); !text.empty(); text.remove_prefix(1)) {
      unsigned byte = 0;
      const bool escaped = text.size() >= 3 && text[0] == '%' &&
                           std::from_chars(text.data() + 1, text.data() + 3, byte, 16).ptr == text.data() + 3;
      value += escaped ? static_cast<char>(byte) : text[0];
      if (escaped) text.remove_prefix(2);
    }
    return value;
  }
  return {};
}

AdminAnswer answer_admin(std::string_view head, const Condition& condition) {
  AdminAnswer answer;
  AdminRequest request;
  if (!parse_request(head, request)) {
    answer.body = "malformed request line\n";
    return answer;
  }
  const auto [method, path, query] = request;
  answer.head_only = method == "HEAD";
  if (method != "GET" && method != "HEAD") {
    answer.status = 405;
    answer.body = "this port answers GET and HEAD\n";
  } else if (path == "/healthz") {
    answer.status = 200;
    answer.body = "ok\n";
  } else if (path == "/readyz") {
    const std::string reason = condition.not_ready_because();
    answer.status = reason.empty() ? 200 : 503;
    answer.body = (reason.empty() ? "ready" : reason) + "\n";
  } else if (path == "/metrics") {
    answer.status = 200;
    answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
    answer.body = render_metrics(condition);
  } else {
    answer.status = 404;
    answer.body = "there are /healthz, /readyz and /metrics\n";
  }
  return answer;
}

std::string format_answer(const AdminAnswer& answer) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Cache-Control: no-store\r\nConnection: "
      "close\r\n\r\n",
      answer.status, phrase(answer.status), answer.content_type, answer.body.size(),
      answer.status == 405 ? "Allow: GET, HEAD\r\n" : "");
  if (!answer.head_only) text += answer.body;
  return text;
}

AdminServer::AdminServer(asio::io_context& io, int listening, AdminHandler handler)
    : acceptor_(io), rest_(io), handler_(std::move(handler)) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  error_code error;
  if (getsockname(listening, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    error.assign(errno, boost::system::system_category());
  if (!error) acceptor_.assign({address.ss_family, 0}, listening, error);
  if (error) log::error("admin listener", {{"error", error.message()}});
  else if (address.ss_family != AF_UNIX) port_ = net::Address::from_sockaddr(address).port;
}

void AdminServer::start() {
  if (acceptor_.is_open()) accept();
}

void AdminServer::accept() {
  auto accepted = [this](error_code error, Socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error && *connections_ < kMaxConnections) {
      std::make_shared<Connection>(std::move(socket), handler_, connections_)->start();
      return accept();
    }
    // Too many connections, or no descriptors: the rest wait in the queue of the kernel for a moment.
    rest_.expires_after(kRest);
    auto again = [this](error_code stopped) {
      if (!stopped) accept();
    };
    rest_.async_wait(again);
  };
  acceptor_.async_accept(accepted);
}

}  // namespace sluice::agent
