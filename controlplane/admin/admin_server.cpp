#include "controlplane/admin/admin_server.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "common/base/log.h"
#include "common/base/unix_listener.h"

namespace sluice::admin {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using Protocol = asio::generic::stream_protocol;
using boost::system::error_code;

struct AdminServer::Shared {
  Handler handler;  // empty: the server is gone
  AdminLimits limits;
  size_t connections = 0;

  [[nodiscard]] Answer answer(const http::request<http::empty_body>& request) const {
    Request parsed;
    parsed.put = limits.put && request.method() == http::verb::put;
    if (request.method() != http::verb::get && request.method() != http::verb::head && !parsed.put)
      return {405, "this port answers GET and HEAD\n"};
    const std::string_view target(request.target().data(), request.target().size());
    parsed.path = target.substr(0, target.find('?'));
    if (parsed.path.size() < target.size()) parsed.query = target.substr(parsed.path.size() + 1);
    return handler(parsed);
  }
};

namespace {
constexpr std::chrono::milliseconds kRest{100};

// One connection: keeps itself alive until the answer is out or the time is over. `State` is AdminServer::Shared.
template <class State>
class Connection : public std::enable_shared_from_this<Connection<State>> {
 public:
  Connection(Protocol::socket socket, std::shared_ptr<State> state)
      : stream_(std::move(socket)), state_(std::move(state)), buffer_(state_->limits.head_bytes + kSlack) {
    ++state_->connections;
    parser_.header_limit(state_->limits.head_bytes);
  }
  ~Connection() { --state_->connections; }

  void start() {
    // Once, for everything: a client that reads or writes a byte now and then gains no time.
    stream_.expires_after(state_->limits.deadline);
    auto head = [self = this->shared_from_this()](error_code error, size_t) { self->on_head(error); };
    http::async_read_header(stream_, buffer_, parser_, head);
  }

 private:
  static constexpr size_t kSlack = 1024;  // what may arrive behind a head; more is not read

  void on_head(error_code error) {
    if (!state_->handler) return;
    if (error == http::error::header_limit || error == http::error::buffer_overflow)
      return answer({431, "the head is too large\n"}, false);
    const bool has_body =
        error == http::error::body_limit || (!error && (parser_.chunked() || parser_.content_length().value_or(0) > 0));
    if (has_body) return answer({413, "requests have no body here\n"}, false);
    const bool broken = error && error.category() == http::make_error_code(http::error::bad_method).category();
    if (broken && error != http::error::end_of_stream) return answer({400, "malformed request\n"}, false);
    if (error) return;  // closed, or the time is over
    answer(state_->answer(parser_.get()), parser_.get().method() == http::verb::head);
  }

  void answer(Answer from, bool head_only) {
    response_.version(11);
    response_.result(static_cast<unsigned>(from.status));
    response_.set(http::field::content_type, from.content_type);
    response_.set(http::field::cache_control, "no-store");
    if (from.status == 405) response_.set(http::field::allow, "GET, HEAD");
    response_.keep_alive(false);
    response_.body() = std::move(from.body);
    response_.prepare_payload();
    serializer_.emplace(response_);
    serializer_->split(head_only);
    auto written = [self = this->shared_from_this()](error_code error, size_t) { self->on_written(error); };
    if (head_only) http::async_write_header(stream_, *serializer_, written);
    else http::async_write(stream_, *serializer_, written);
  }

  // Reads what still comes until the peer closes (or the deadline): closing with unread bytes would reset the answer
  // away.
  void on_written(error_code error) {
    if (error) return;
    error_code ignored;
    stream_.socket().shutdown(Protocol::socket::shutdown_send, ignored);
    linger();
  }
  void linger() {
    auto some = [self = this->shared_from_this()](error_code error, size_t) {
      if (!error) self->linger();
    };
    stream_.async_read_some(asio::buffer(rest_), some);
  }

  beast::basic_stream<Protocol> stream_;
  std::shared_ptr<State> state_;
  beast::flat_buffer buffer_;
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<char, 2048> rest_{};
};

}  // namespace

AdminServer::AdminServer(asio::io_context& io, Handler handler, AdminLimits limits)
    : acceptor_(io), rest_(io), shared_(std::make_shared<Shared>()) {
  shared_->handler = std::move(handler);
  shared_->limits = limits;
}

AdminServer::~AdminServer() { shared_->handler = nullptr; }

Result<std::unique_ptr<AdminServer>> AdminServer::listen(asio::io_context& io, const std::string& address,
                                                         uint16_t port, Handler handler, AdminLimits limits) {
  error_code error;
  const auto literal = asio::ip::make_address(address, error);
  if (error) return fail("admin address: '{}' is no IPv4 or IPv6 address", address);
  const tcp::endpoint endpoint(literal, port);
  std::unique_ptr<AdminServer> server(new AdminServer(io, std::move(handler), limits));
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) server->port_ = acceptor.local_endpoint(error).port();
  if (!error) server->acceptor_.assign(Protocol(endpoint.protocol()), acceptor.release(error), error);
  if (error) return fail("admin port {} on {}: {}", port, address, error.message());
  server->accept();
  return server;
}

Result<std::unique_ptr<AdminServer>> AdminServer::listen(asio::io_context& io, const std::string& path,
                                                         Handler handler) {
  auto listening = listen_unix(path);
  if (!listening) return std::unexpected(listening.error());
  AdminLimits limits;
  limits.put = true;
  std::unique_ptr<AdminServer> server(new AdminServer(io, std::move(handler), limits));
  error_code error;
  server->acceptor_.assign(Protocol(AF_UNIX, 0), listening->release(), error);
  if (error) return fail("admin socket {}: {}", path, error.message());
  server->accept();
  return server;
}

std::string_view Request::parameter(std::string_view name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=')
      return pair.substr(name.size() + 1);
  }
  return {};
}

void AdminServer::accept() {
  auto accepted = [this, shared = shared_](error_code error, Protocol::socket socket) {
    if (!shared->handler || error == asio::error::operation_aborted) return;
    if (!error && shared->connections < shared->limits.connections) {
      std::make_shared<Connection<Shared>>(std::move(socket), shared)->start();
      return accept();
    }
    // Too many connections, or no descriptors: this one is closed, the rest wait in the kernel's queue for a moment.
    rest_.expires_after(kRest);
    auto again = [this, shared](error_code stopped) {
      if (!stopped && shared->handler) accept();
    };
    rest_.async_wait(again);
  };
  acceptor_.async_accept(accepted);
}

}  // namespace sluice::admin
