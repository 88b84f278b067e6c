// A TLS connection, either side. Room-internal: made by TlsServer and make_client.
// OpenSSL never touches the socket: it reads ciphertext from the thread's shared buffer (one recv fills it) and writes
// into another (one send empties it). Ciphertext that a connection could not use yet stays in the shared buffer until
// somebody else needs it, and only then moves to a buffer of its own.
#pragma once
#include <memory>
#include <string>

#include "dataplane/net/pending_buffer.h"
#include "dataplane/net/transport.h"

struct ssl_st;
struct bio_st;
struct bio_method_st;

namespace sluice::net {

class TlsTransport;

// Who makes a connection's SSL object and wants to know how its handshake ended.
class TlsSide {
 public:
  virtual ~TlsSide() = default;
  // At the first bytes (server) or once connected (client); null on failure.
  virtual ssl_st* begin(TlsTransport& transport) = 0;
  virtual void finished(bool good, bool resumed) = 0;
};

class TlsTransport final : public Transport {
 public:
  enum class Role : uint8_t { server, client };
  // `side` outlives the transport or is kept alive by `keep`.
  TlsTransport(UniqueFd fd, Role role, TlsSide& side, std::shared_ptr<void> keep = nullptr);
  ~TlsTransport() override;

  IoResult handshake() override;
  IoResult read(std::span<char> into) override;
  IoResult write(std::span<const iovec> parts) override { return send_now(parts, false); }
  IoResult write_last(std::span<const iovec> parts) override { return send_now(parts, true); }
  IoResult flush() override;
  [[nodiscard]] size_t pending() const override { return held_ ? 0 : out_.size(); }
  [[nodiscard]] bool readable_now() const override;
  void say_end() override;
  void shutdown_write() override;
  [[nodiscard]] bool wants_write() const override { return connecting_ || pending() != 0; }
  [[nodiscard]] bool secure() const override { return true; }
  [[nodiscard]] std::string_view server_name() const override { return server_name_; }
  [[nodiscard]] std::string_view alpn() const override;
  [[nodiscard]] std::string_view tls_version() const override;
  [[nodiscard]] std::string_view tls_cipher() const override;

  void set_server_name(std::string_view name) { server_name_ = name; }
  [[nodiscard]] TlsSide& side() { return side_; }
  static bio_method_st* bio_method();

 private:
  struct Scratch;
  static Scratch& scratch();
  static int bio_read(bio_st* bio, char* into, int size);
  static int bio_write(bio_st* bio, const char* from, int size);
  bool begin();
  enum class Fill : uint8_t { some, again, eof, error };
  Fill fill();
  void stash();
  [[nodiscard]] size_t unread() const;
  [[nodiscard]] bool more_inside() const;
  void take_ciphertext(const char* from, size_t size);
  void send_scratch(int flags = 0);
  IoResult send_out();
  void hold_scratch();
  IoResult fail(int code);
  IoResult failed_step(int returned);
  IoResult send_now(std::span<const iovec> parts, bool last);
  void end_stream();
  IoResult encrypt(const char* from, size_t size);

  ssl_st* ssl_ = nullptr;
  TlsSide& side_;
  std::shared_ptr<void> keep_;
  std::string server_name_;
  PendingBuffer in_;    // ciphertext kept for the next read
  PendingBuffer out_;   // ciphertext for the socket
  size_t want_ = 0;     // plain bytes the current read has room for
  size_t unasked_ = 0;  // bytes OpenSSL wrote on its own while the socket took nothing
  int socket_error_ = 0;
  Role role_;
  bool connecting_;
  bool established_ = false;
  bool held_ = false;  // out_ waits for the next write on purpose, not for the socket
  bool reading_ = false;
  bool drained_ = false;
  bool eof_ = false;
  bool undelivered_ = false;  // an end or error that the last read had no room to say
  bool ended_ = false;        // close_notify is made
  bool fin_wanted_ = false;
  bool fin_sent_ = false;
};

}  // namespace sluice::net
