// One connected byte stream: plain TCP or TLS over it. Non-blocking; the owner registers fd() with the reactor and
// calls back here. Memory: an idle transport owns no buffer. Reads go into the caller's buffer (workers share one large
// one, WorkerBuffers); TLS decrypts from the worker's shared ciphertext buffer and stashes only an incomplete record.
// Writes are tried at once; what the kernel does not take is copied and kept (pending()), to be flushed on kWritable.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include <sys/uio.h>

#include "common/base/unique_fd.h"
#include "dataplane/net/address.h"

namespace sluice::net {

enum class Io : uint8_t {
  ok,
  again,  // nothing now; wait for kReadable / kWritable
  eof,    // clean end (TLS: close_notify; a TCP FIN without it is eof with truncated() set)
  error,  // connection is dead; error_code() = errno or TLS code
};
struct IoResult {
  Io state = Io::ok;
  size_t bytes = 0;
  bool drained = false;  // reads: the kernel's buffer is empty as far as known (a short read), no need to ask again
};

// The handshake ended because the peer's certificate is not trusted, or not for the name it should be for.
inline constexpr int kPeerNotVerified = -1;

class Transport {
 public:
  virtual ~Transport() = default;
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Continues connect and handshake; Io::ok = established. wants_write() says which event to wait for.
  virtual IoResult handshake() = 0;
  virtual IoResult read(std::span<char> into) = 0;
  // Gathers; bytes = accepted in full unless error: what was not written now is pending().
  virtual IoResult write(std::span<const iovec> parts) = 0;
  // A write that nothing follows, right before shutdown_write() or destruction. TLS says its end in it and lets the FIN
  // travel in the same packet (the kernel holds that back for at most 200 ms if neither comes). Plain TCP does not: the
  // client then could never be the first to close, and keeping TIME_WAIT costs more than a packet.
  virtual IoResult write_last(std::span<const iovec> parts) { return write(parts); }
  virtual IoResult flush() = 0;                      // pending bytes; ok = none left
  [[nodiscard]] virtual size_t pending() const = 0;  // bytes accepted but not yet in the kernel
  [[nodiscard]] virtual bool readable_now() const {
    return false;
  }                                                    // decrypted bytes wait inside: no event will announce them
  virtual void say_end() {}                            // close_notify, unless said; for a socket destroyed right after
  virtual void shutdown_write() = 0;                   // FIN / close_notify after what is pending
  [[nodiscard]] virtual bool wants_write() const = 0;  // the next step needs kWritable (pending bytes, handshake)
  [[nodiscard]] virtual bool secure() const { return false; }
  [[nodiscard]] virtual std::string_view server_name() const { return {}; }  // SNI, lower case
  [[nodiscard]] virtual std::string_view alpn() const { return {}; }
  [[nodiscard]] virtual std::string_view tls_version() const { return {}; }
  [[nodiscard]] virtual std::string_view tls_cipher() const { return {}; }
  // errno, a TLS library's code, or kPeerNotVerified.
  [[nodiscard]] int error_code() const { return error_code_; }
  [[nodiscard]] bool truncated() const { return truncated_; }

 protected:
  explicit Transport(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
  int error_code_ = 0;
  bool truncated_ = false;
};

// Takes a connected (accepted) or connecting socket, non-blocking. `connected`: known to be established (accepted),
// handshake() asks nothing; otherwise wants_write() stays true until handshake() said ok or bytes came.
[[nodiscard]] std::unique_ptr<Transport> make_plain(UniqueFd fd, bool connected = false);
// TLS transports: tls.h.

// Of a socket given to start_connect: 0 = established, EINPROGRESS = under way, else the errno it failed with.
[[nodiscard]] int connect_state(int fd);
// Non-blocking TCP connect with TCP_NODELAY; the fd may still be connecting (on loopback it usually is established when
// this returns: try handshake() at once). Empty fd with errno on immediate failure.
[[nodiscard]] UniqueFd start_connect(const Address& to);

}  // namespace sluice::net
