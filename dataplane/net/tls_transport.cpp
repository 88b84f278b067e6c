#include "dataplane/net/tls_transport.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

#include "dataplane/net/openssl_handles.h"

namespace sluice::net {
namespace {
constexpr size_t kRecord = 16384;        // most plain bytes of one record (RFC 8446 5.1)
constexpr size_t kRecordOverhead = 512;  // header, nonce, tag, padding: RFC 5246 allows 2048, our ciphers use 37
constexpr size_t kScratch = 64 * 1024;
constexpr size_t kMaxUnasked = 64 * 1024;  // answers to KeyUpdate and the like that a peer may let pile up
}  // namespace

// The thread's shared buffers. `out` is empty between calls; `in` may hold ciphertext of `owner`.
struct TlsTransport::Scratch {
  char in[kScratch];
  char out[kScratch];
  char plain[kRecord];
  TlsTransport* owner = nullptr;
  size_t in_at = 0, in_end = 0, out_end = 0;
};

TlsTransport::Scratch& TlsTransport::scratch() {
  thread_local const std::unique_ptr<Scratch> buffers(new Scratch);
  return *buffers;
}

TlsTransport::TlsTransport(UniqueFd fd, Role role, TlsSide& side, std::shared_ptr<void> keep)
    : Transport(std::move(fd)), side_(side), keep_(std::move(keep)), role_(role), connecting_(role == Role::client) {}

TlsTransport::~TlsTransport() {
  // Without this OpenSSL gives up the session of a connection that ended without close_notify. RFC 5246 7.2.1 allows to
  // resume it; an alert has ended it already.
  if (ssl_ != nullptr && role_ == Role::client && error_code_ == 0)
    SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
  if (scratch().owner == this) scratch().owner = nullptr;
}

// ---------------------------------------------------------------- between OpenSSL and the shared buffers

bio_method_st* TlsTransport::bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sluice");
    BIO_meth_set_read(made, &TlsTransport::bio_read);
    BIO_meth_set_write(made, &TlsTransport::bio_write);
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH ? 1 : 0; });
    BIO_meth_set_create(made, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return made;
  }();
  return method;
}

int TlsTransport::bio_read(BIO* bio, char* into, int size) {
  auto& self = *static_cast<TlsTransport*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  const auto wanted = static_cast<size_t>(size);
  if (!self.in_.empty()) {
    const size_t n = std::min(wanted, self.in_.size());
    std::memcpy(into, self.in_.data(), n);
    self.in_.consume(n);
    return static_cast<int>(n);
  }
  Scratch& shared = scratch();
  if (shared.owner != &self || shared.in_at == shared.in_end) {
    switch (self.fill()) {
      case Fill::some:
        break;
      case Fill::again:
        BIO_set_retry_read(bio);
        return -1;
      case Fill::eof:
        return 0;
      case Fill::error:
        return -1;
    }
  }
  const size_t n = std::min(wanted, shared.in_end - shared.in_at);
  std::memcpy(into, shared.in + shared.in_at, n);
  shared.in_at += n;
  return static_cast<int>(n);
}

int TlsTransport::bio_write(BIO* bio, const char* from, int size) {
  auto& self = *static_cast<TlsTransport*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  self.take_ciphertext(from, static_cast<size_t>(size));
  return size;
}

// One recv into the shared buffer, unless the last one of this call emptied the kernel's.
TlsTransport::Fill TlsTransport::fill() {
  if (eof_) return Fill::eof;
  if (drained_) return Fill::again;
  Scratch& shared = scratch();
  if (shared.owner != nullptr && shared.owner != this) shared.owner->stash();
  shared.owner = this;
  shared.in_at = shared.in_end = 0;
  // No more than the caller has room for (plain text is never longer than its record), so that nothing is left over to
  // be copied.
  const size_t size = std::min(kScratch, std::max(want_, kRecord) + kRecordOverhead);
  for (;;) {
    const ssize_t n = ::recv(fd_.get(), shared.in, size, 0);
    if (n > 0) {
      shared.in_end = static_cast<size_t>(n);
      drained_ = shared.in_end < size;
      return Fill::some;
    }
    drained_ = true;
    if (n == 0) {
      eof_ = true;
      return Fill::eof;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return Fill::again;
    socket_error_ = errno;
    return Fill::error;
  }
}

// Another connection needs the shared buffer: what this one has not used yet moves out of it.
void TlsTransport::stash() {
  Scratch& shared = scratch();
  if (shared.in_at != shared.in_end) in_.append(shared.in + shared.in_at, shared.in_end - shared.in_at);
  shared.in_at = shared.in_end = 0;
  shared.owner = nullptr;
}

size_t TlsTransport::unread() const {
  const Scratch& shared = scratch();
  return in_.size() + (shared.owner == this ? shared.in_end - shared.in_at : 0);
}

void TlsTransport::take_ciphertext(const char* from, size_t size) {
  Scratch& shared = scratch();
  if (reading_ && pending() != 0) unasked_ += size;
  while (size != 0 && pending() == 0) {
    const size_t n = std::min(size, kScratch - shared.out_end);
    std::memcpy(shared.out + shared.out_end, from, n);
    shared.out_end += n;
    from += n;
    size -= n;
    if (size != 0) send_scratch();
  }
  out_.append(from, size);
}

// Held and new bytes in one send; what the socket does not take is pending from here on.
void TlsTransport::send_scratch(int flags) {
  Scratch& shared = scratch();
  const size_t fresh = std::exchange(shared.out_end, 0);
  if (fresh == 0) return;
  if (pending() != 0 || socket_error_ != 0) {
    out_.append(shared.out, fresh);
    return;
  }
  iovec parts[2] = {{const_cast<char*>(out_.data()), out_.size()}, {shared.out, fresh}};
  msghdr message{};
  message.msg_iov = out_.empty() ? parts + 1 : parts;
  message.msg_iovlen = out_.empty() ? 1 : 2;
  ssize_t n;
  do n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | flags);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN) socket_error_ = errno;
  size_t sent = n > 0 ? static_cast<size_t>(n) : 0;
  held_ = false;
  const size_t old = std::min(sent, out_.size());
  if (old != 0) out_.consume(old);
  sent -= old;
  out_.append(shared.out + sent, fresh - sent);
}

// Bytes that may travel with the next write: session tickets when a request is there already, the client's last flight.
void TlsTransport::hold_scratch() {
  Scratch& shared = scratch();
  const size_t fresh = std::exchange(shared.out_end, 0);
  if (fresh == 0) return;
  if (out_.empty()) held_ = true;
  out_.append(shared.out, fresh);
}

IoResult TlsTransport::send_out() {
  held_ = false;
  while (!out_.empty()) {
    const ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {.state = Io::again};
      return fail(errno);
    }
    const bool all = static_cast<size_t>(n) == out_.size();
    out_.consume(static_cast<size_t>(n));
    if (!all) return {.state = Io::again};
  }
  unasked_ = 0;
  return {};
}

// ---------------------------------------------------------------- the connection

bool TlsTransport::begin() {
  ssl_ = side_.begin(*this);
  if (ssl_ == nullptr) return false;
  BIO* bio = BIO_new(bio_method());
  if (bio == nullptr) return false;
  BIO_set_data(bio, this);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  if (role_ == Role::server) SSL_set_accept_state(ssl_);
  else SSL_set_connect_state(ssl_);
  return true;
}

IoResult TlsTransport::fail(int code) {
  if (error_code_ == 0) error_code_ = code;
  out_.clear();
  held_ = false;
  return {.state = Io::error, .drained = true};
}

// What a step of OpenSSL that returned no success means. Its alert, if any, is sent.
IoResult TlsTransport::failed_step(int returned) {
  const int reason = SSL_get_error(ssl_, returned);
  if (reason == SSL_ERROR_WANT_READ) return {.state = Io::again, .drained = drained_};
  if (reason == SSL_ERROR_ZERO_RETURN) return {.state = Io::eof, .drained = true};
  send_scratch();
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  if (socket_error_ != 0) return fail(socket_error_);
  if (eof_) {
    truncated_ = true;
    return {.state = Io::eof, .drained = true};
  }
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    return fail(kPeerNotVerified);
  return fail(code != 0 ? ERR_GET_REASON(code) : EPROTO);
}

IoResult TlsTransport::handshake() {
  if (established_) return {};
  if (error_code_ != 0) return {.state = Io::error, .drained = true};
  if (connecting_) {
    const int reason = connect_state(fd_.get());
    if (reason == EINPROGRESS) return {.state = Io::again};
    if (reason != 0) return fail(reason);
    connecting_ = false;
  }
  drained_ = false;
  want_ = kRecord;
  if (ssl_ == nullptr) {
    // A client that connects and says nothing costs no SSL object.
    if (role_ == Role::server) {
      const Fill first = fill();
      if (first == Fill::again) return {.state = Io::again, .drained = true};
      if (first == Fill::eof) {
        truncated_ = true;
        return {.state = Io::eof, .drained = true};
      }
      if (first == Fill::error) return fail(socket_error_);
    }
    if (!begin()) return fail(ENOMEM);
  }
  const int returned = SSL_do_handshake(ssl_);
  if (returned != 1) {
    IoResult result = failed_step(returned);
    if (result.state == Io::error) side_.finished(false, false);
    if (result.state != Io::again) return result;
    send_scratch();
    if (socket_error_ != 0) return fail(socket_error_);
    return {.state = Io::again, .drained = drained_};
  }
  established_ = true;
  side_.finished(true, SSL_session_reused(ssl_) == 1);
  // A client's last flight goes with its request; a server's tickets with the answer, if the request is here already
  // (TLS 1.2's Finished must go now).
  if (role_ == Role::client || (unread() != 0 && SSL_version(ssl_) >= TLS1_3_VERSION)) hold_scratch();
  else send_scratch();
  if (socket_error_ != 0) return fail(socket_error_);
  return {.drained = drained_};
}

IoResult TlsTransport::read(std::span<char> into) {
  if (error_code_ != 0 || !established_) return {.state = Io::error, .drained = true};
  // With bytes left over from a recv that emptied the kernel's buffer there is no need to ask it again.
  if (unread() == 0) drained_ = false;
  undelivered_ = false;
  reading_ = true;
  size_t got = 0;
  IoResult result;
  while (got < into.size()) {
    want_ = into.size() - got;
    size_t n = 0;
    const int returned = SSL_read_ex(ssl_, into.data() + got, into.size() - got, &n);
    if (returned != 1) {
      result = failed_step(returned);
      break;
    }
    got += n;
    // Asking OpenSSL once more just to hear that nothing is left would make it allocate its buffer again.
    if (drained_ && !more_inside()) break;
  }
  reading_ = false;
  send_scratch();
  if (unasked_ > kMaxUnasked) return fail(EMSGSIZE);
  result.bytes = got;
  if (got != 0) {
    // What came before an end or an error is delivered first; the next read says the rest.
    undelivered_ = result.state == Io::eof || result.state == Io::error;
    result.state = Io::ok;
    result.drained = drained_ && !undelivered_ && !more_inside();
  }
  return result;
}

IoResult TlsTransport::encrypt(const char* from, size_t size) {
  size_t written = 0;
  const int returned = SSL_write_ex(ssl_, from, size, &written);
  if (returned == 1) return {};
  return failed_step(returned);
}

IoResult TlsTransport::send_now(std::span<const iovec> parts, bool last) {
  if (error_code_ != 0 || !established_ || ended_ || fin_wanted_) return {.state = Io::error};
  Scratch& shared = scratch();
  size_t total = 0, gathered = 0;
  // Small parts become one record: head and body of a small answer. Big parts are encrypted from where they are.
  auto emit_gathered = [&]() -> IoResult {
    return gathered == 0 ? IoResult{} : encrypt(shared.plain, std::exchange(gathered, 0));
  };
  for (const iovec& part : parts) {
    const char* from = static_cast<const char*>(part.iov_base);
    size_t left = part.iov_len;
    total += left;
    while (left != 0) {
      IoResult result;
      size_t n;
      if (gathered == 0 && left >= kRecord) {
        n = kRecord;
        result = encrypt(from, n);
      } else {
        n = std::min(left, kRecord - gathered);
        std::memcpy(shared.plain + gathered, from, n);
        gathered += n;
        if (gathered == kRecord) result = emit_gathered();
      }
      if (result.state != Io::ok) return result.state == Io::error ? result : fail(EPROTO);
      from += n;
      left -= n;
    }
  }
  const IoResult result = emit_gathered();
  if (result.state != Io::ok) return result.state == Io::error ? result : fail(EPROTO);
  if (last) end_stream();
  send_scratch(last ? MSG_MORE : 0);
  if (socket_error_ != 0) return fail(socket_error_);
  return {.bytes = total};
}

IoResult TlsTransport::flush() {
  if (error_code_ != 0) return {.state = Io::error};
  const IoResult result = send_out();
  if (result.state == Io::ok && fin_wanted_ && !std::exchange(fin_sent_, true)) ::shutdown(fd_.get(), SHUT_WR);
  return result;
}

// Not waiting for the peer's close_notify: RFC 8446 6.1.
void TlsTransport::end_stream() {
  if (error_code_ != 0 || !established_ || std::exchange(ended_, true)) return;
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

void TlsTransport::say_end() {
  end_stream();
  send_scratch();
  if (held_) send_out();
}

void TlsTransport::shutdown_write() {
  if (fin_wanted_) return;
  fin_wanted_ = true;
  say_end();
  if (pending() == 0 && !std::exchange(fin_sent_, true)) ::shutdown(fd_.get(), SHUT_WR);
}

// Without read-ahead OpenSSL holds no more than one record: part of one (that only the socket can complete) or plain
// bytes of one.
bool TlsTransport::more_inside() const { return unread() != 0 || SSL_pending(ssl_) > 0; }

bool TlsTransport::readable_now() const { return undelivered_ || (established_ && error_code_ == 0 && more_inside()); }

std::string_view TlsTransport::alpn() const {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  if (established_) SSL_get0_alpn_selected(ssl_, &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

std::string_view TlsTransport::tls_version() const { return established_ ? SSL_get_version(ssl_) : std::string_view(); }
std::string_view TlsTransport::tls_cipher() const {
  return established_ ? SSL_get_cipher_name(ssl_) : std::string_view();
}

}  // namespace sluice::net
