#include "controlplane/kube/transport.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "common/base/asio.h"
#include "controlplane/kube/call_gate.h"
#include "controlplane/kube/tls_files.h"

#include <boost/asio/ssl.hpp>
#include <cpprest/http_client.h>
#include <openssl/err.h>
#include <pplx/threadpool.h>

namespace sluice::kube {
namespace {

namespace http = web::http;
using ByteBuf = concurrency::streams::streambuf<uint8_t>;

// Longer than any watch timeout we ask for (600 s): the library's timer runs between bytes, and a quiet watch is no
// dead one.
constexpr std::chrono::seconds kWatchIdle{900};
constexpr std::chrono::seconds kCallIdle{30};
constexpr std::chrono::seconds kShutdownWait{5};
constexpr size_t kReadSize = 64u << 10;

// The library keeps an OpenSSL error's number but not its category.
std::string cause_of(const std::error_code& code) {
  if (!code || code == std::errc::host_unreachable) return {};  // the library says that of every failed connect
  if (code.value() > 0xFFFF) {
    if (const char* text = ERR_reason_error_string(static_cast<unsigned long>(code.value()))) return text;
  }
  return code.message();
}

class CallState;

// Calls that wait or that the library still works on.
struct Outstanding {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<CallState*> calls;
};

// One call, from its wait for a place and the request task to the last byte. Library threads run step after step, never
// two at once; only `cancelled_`, `unread_` and the cancellation source are shared with the io_context's thread.
class CallState : public Exchange, public std::enable_shared_from_this<CallState> {
 public:
  CallState(boost::asio::io_context& io, std::shared_ptr<Outstanding> outstanding, Transport::Done done,
            Transport::WatchEvents events, size_t max_body)
      : io_(io),
        outstanding_(std::move(outstanding)),
        done_(std::move(done)),
        events_(std::move(events)),
        max_body_(max_body),
        is_watch_(!done_) {
    std::lock_guard lock(outstanding_->mutex);
    outstanding_->calls.insert(this);
  }
  ~CallState() override { let_go(); }
  void cancel() override {
    if (cancelled_.exchange(true)) return;
    if (!begun_) {
      if (auto gate = gate_.lock()) gate->withdraw(ticket_);
      return let_go();
    }
    // Cancelling runs the library's callbacks at once; errors of sockets already gone are of no interest.
    try {
      cancellation_.cancel();
    } catch (...) {
    }
  }
  void waits_at(const std::shared_ptr<CallGate>& gate, CallGate::Ticket ticket) {
    gate_ = gate;
    ticket_ = ticket;
  }
  void begins() { begun_ = true; }
  void run(http::client::http_client& client, http::http_request request) {
    auto self = shared_from_this();
    client.request(std::move(request), cancellation_.get_token()).then([self](pplx::task<http::http_response> task) {
      self->guard([&] { self->on_response(task.get()); });
    });
  }
  void fail_soon(std::string message) { finish(Error{std::move(message)}); }

 private:
  template <class Step>
  void guard(Step step) {
    try {
      step();
    } catch (const http::http_exception& error) {
      const std::string cause = cause_of(error.error_code());
      finish(Error{too_large_ ? fmt::format("the answer has more than {} bytes", is_watch_ ? kMaxUnread : max_body_)
                   : cause.empty() || cause == error.what() ? std::string(error.what())
                                                            : fmt::format("{}: {}", error.what(), cause)});
    } catch (const std::exception& error) {
      finish(Error{too_large_ ? fmt::format("the answer has more than {} bytes", is_watch_ ? kMaxUnread : max_body_)
                              : error.what()});
    } catch (...) {
      finish(Error{"unknown failure of the REST library"});
    }
  }

  void on_response(const http::http_response& response) {
    response_ = response;
    reply_.status = response.status_code();
    utility::string_t value;
    if (response.headers().match(http::header_names::content_type, value)) reply_.content_type = value;
    uint32_t seconds = 0;
    if (response.headers().match(http::header_names::retry_after, seconds)) reply_.retry_after_s = seconds;
    // The library keeps a failure of the body in this task too; a failure that nobody looks at ends the process.
    response.content_ready().then([](pplx::task<http::http_response> task) {
      try {
        task.get();
      } catch (...) {
      }
    });
    if (is_watch_) {
      post([](CallState& call) { call.events_.on_head(call.reply_); });
    }
    buf_ = response.body().streambuf();
    chunk_.resize(kReadSize);
    pump();
  }

  // getc() waits for one byte and leaves it; then everything that is there is taken. getn() of a fixed size would wait
  // for that size.
  void pump() {
    auto self = shared_from_this();
    buf_.getc().then([self](pplx::task<int> task) {
      self->guard([&] {
        if (task.get() == ByteBuf::traits::eof()) return self->finish({});
        const size_t ready = std::min(std::max<size_t>(self->buf_.in_avail(), 1), self->chunk_.size());
        self->buf_.getn(self->chunk_.data(), ready).then([self](pplx::task<size_t> got) {
          self->guard([&] { self->on_bytes(got.get()); });
        });
      });
    });
  }

  void on_bytes(size_t count) {
    if (count == 0) return finish({});
    std::string_view bytes(reinterpret_cast<const char*>(chunk_.data()), count);
    if (is_watch_) {
      too_large_ = unread_.fetch_add(count) + count > kMaxUnread;
      if (!too_large_) {
        post([text = std::string(bytes)](CallState& call) {
          call.unread_.fetch_sub(text.size());
          call.events_.on_bytes(text);
        });
      }
    } else {
      too_large_ = reply_.body.size() + count > max_body_;
      if (!too_large_) reply_.body.append(bytes);
    }
    if (too_large_) {
      cancellation_.cancel();
      throw std::length_error("too large");
    }
    pump();
  }

  // The library is done with this call.
  void let_go() {
    std::lock_guard lock(outstanding_->mutex);
    outstanding_->calls.erase(this);
    outstanding_->changed.notify_all();
  }

  void finish(std::optional<Error> error) {
    if (finished_.exchange(true)) return;
    post([error = std::move(error)](CallState& call) {
      if (call.is_watch_) {
        call.events_.on_end(error ? Status(std::unexpected(*error)) : Status());
      } else if (error) {
        call.done_(std::unexpected(*error));
      } else {
        call.done_(std::move(call.reply_));
      }
    });
    let_go();  // last: shutdown() waits for it, and the io_context may be gone afterwards
  }

  template <class Step>
  void post(Step step) {
    boost::asio::post(io_, [self = shared_from_this(), step = std::move(step)]() mutable {
      if (!self->cancelled_) step(*self);
    });
  }

  boost::asio::io_context& io_;
  std::shared_ptr<Outstanding> outstanding_;
  Transport::Done done_;
  Transport::WatchEvents events_;
  const size_t max_body_;
  const bool is_watch_;
  std::atomic<bool> cancelled_{false}, finished_{false};
  std::atomic<size_t> unread_{0};
  pplx::cancellation_token_source cancellation_;
  http::http_response response_;
  ByteBuf buf_;
  std::vector<uint8_t> chunk_;
  Reply reply_;
  bool too_large_ = false;
  // Of the io_context's thread alone.
  std::weak_ptr<CallGate> gate_;
  CallGate::Ticket ticket_ = 0;
  bool begun_ = false;
};

http::method method_of(Method method) {
  switch (method) {
    case Method::get:
      return http::methods::GET;
    case Method::post:
      return http::methods::POST;
    case Method::put:
      return http::methods::PUT;
    case Method::patch:
      return http::methods::PATCH;
    case Method::delete_:
      return http::methods::DEL;
  }
  return http::methods::GET;
}

http::client::http_client_config client_config(const std::shared_ptr<TlsFiles>& files, bool sni,
                                               std::chrono::seconds idle) {
  http::client::http_client_config config;
  config.set_timeout(idle);
  config.set_max_redirects(0);  // a redirect would carry the token elsewhere
  config.set_proxy(web::web_proxy(web::web_proxy::disabled));
  config.set_validate_certificates(true);
  config.set_tlsext_sni_enabled(sni);
  // Called for each new connection, so rotated files take effect by themselves. Throws: the call fails with the
  // message.
  config.set_ssl_context_callback([files](boost::asio::ssl::context& context) {
    if (auto ok = files->apply(context.native_handle()); !ok) throw std::runtime_error(ok.error().message);
  });
  return config;
}

class RestTransport : public Transport {
 public:
  RestTransport(boost::asio::io_context& io, ClusterAccess access)
      : io_(io),
        access_(std::move(access)),
        files_(std::make_shared<TlsFiles>(access_)),
        token_(access_.token, access_.token_file),
        outstanding_(std::make_shared<Outstanding>()),
        gate_(std::make_shared<CallGate>(io)),
        calls_(utility::conversions::to_string_t(access_.server), client_config(files_, sni(), kCallIdle)),
        watches_(utility::conversions::to_string_t(access_.server), client_config(files_, sni(), kWatchIdle)) {}
  ~RestTransport() override { shutdown(); }

  std::shared_ptr<Exchange> send(Call call, Done done) override {
    auto state =
        std::make_shared<CallState>(io_, outstanding_, std::move(done), Transport::WatchEvents(), call.max_body);
    const Urgency urgency = call.urgency;
    state->waits_at(gate_, gate_->enter(urgency, [this, state, call = std::move(call)](CallGate::Place place) mutable {
      start(*state, calls_, std::move(call), std::move(place));
    }));
    return state;
  }
  std::shared_ptr<Exchange> watch(Call call, WatchEvents events) override {
    auto state = std::make_shared<CallState>(io_, outstanding_, Done(), std::move(events), call.max_body);
    start(*state, watches_, std::move(call), {});
    return state;
  }

  void shutdown() override {
    gate_->close();
    std::vector<std::shared_ptr<CallState>> calls;
    std::unique_lock lock(outstanding_->mutex);
    for (CallState* call : outstanding_->calls) {
      if (auto held = std::static_pointer_cast<CallState>(call->weak_from_this().lock()))
        calls.push_back(std::move(held));
    }
    lock.unlock();
    for (auto& call : calls) call->cancel();
    calls.clear();
    lock.lock();
    outstanding_->changed.wait_for(lock, kShutdownWait, [&] { return outstanding_->calls.empty(); });
  }

 private:
  // RFC 6066 section 3: no address as server name.
  [[nodiscard]] bool sni() const {
    const web::uri uri(utility::conversions::to_string_t(access_.server));
    boost::system::error_code not_an_address;
    boost::asio::ip::make_address(access_.tls_server_name.empty() ? uri.host() : access_.tls_server_name,
                                  not_an_address);
    return static_cast<bool>(not_an_address);
  }

  void start(CallState& state, http::client::http_client& client, Call call, CallGate::Place place) {
    state.begins();
    auto token = token_.current();
    if (!token) return state.fail_soon(token.error().message);
    try {
      http::http_request request(method_of(call.method));
      request.set_request_uri(utility::conversions::to_string_t(call.target));
      request.headers().add(http::header_names::accept, call.accept);
      request.headers().add(http::header_names::user_agent, "sluice-controlplane");
      // The library takes the name to verify from here; the API server does not route by Host.
      if (!access_.tls_server_name.empty()) request.headers().add(http::header_names::host, access_.tls_server_name);
      if (!token->empty())
        request.headers().add(http::header_names::authorization, "Bearer " + std::string(token->reveal()));
      if (!call.content_type.empty()) request.set_body(std::move(call.body), call.content_type);
      // The place goes with the request, which the library lets go of after it has put the connection back: given up
      // with the answer's last byte, the place's next call would find no idle connection and open one more.
      if (place)
        request.set_progress_handler([place = std::move(place)](http::message_direction::direction, uint64_t) {});
      state.run(client, std::move(request));
    } catch (const std::exception& error) {
      state.fail_soon(error.what());
    }
  }

  boost::asio::io_context& io_;
  const ClusterAccess access_;
  std::shared_ptr<TlsFiles> files_;
  TokenFile token_;
  std::shared_ptr<Outstanding> outstanding_;
  std::shared_ptr<CallGate> gate_;
  http::client::http_client calls_, watches_;
};

// The library starts 40 threads unless told before its first use.
void limit_threads() {
  static std::once_flag once;
  std::call_once(once, [] { crossplat::threadpool::initialize_with_threads(2); });
}

}  // namespace

Result<std::unique_ptr<Transport>> make_transport(boost::asio::io_context& io, ClusterAccess access) {
  auto server = check_server_url(access.server);
  if (!server) return std::unexpected(server.error());
  access.server = std::move(*server);
  try {
    limit_threads();
    auto transport = std::make_unique<RestTransport>(io, access);
    // Broken files are said now, not at the first call.
    if (auto ok = check_tls_files(access); !ok) return std::unexpected(ok.error());
    return transport;
  } catch (const std::exception& error) {
    return fail("API server {}: {}", access.server, error.what());
  }
}

std::string percent_encode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
        c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

}  // namespace sluice::kube
