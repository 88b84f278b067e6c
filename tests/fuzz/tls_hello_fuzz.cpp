// A TLS server's first bytes. First byte odd: the rest is what a client sends. Even: the rest is the body of a
// server_name extension (RFC 6066 section 3) in an otherwise good ClientHello, so that our own reading of it is reached
// every time. Whatever comes: no crash, and a name that is told is one that could be ours.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <unistd.h>

#include "common/ir/push_frame.h"
#include "dataplane/net/tls.h"

namespace {
using namespace sluice;

void require(bool holds) {
  if (!holds) std::abort();
}

void put(std::string& out, size_t value, size_t bytes) {
  for (size_t i = bytes; i > 0; --i) out.push_back(static_cast<char>(value >> 8 * (i - 1)));
}
std::string with_size(std::string_view body, size_t bytes) {
  std::string out;
  put(out, body.size(), bytes);
  return out.append(body);
}
std::string extension(uint16_t type, std::string_view body) {
  std::string out;
  put(out, type, 2);
  return out + with_size(body, 2);
}

// RFC 8446 4.1.2 for 1.2 and 1.3, one cipher suite each.
std::string client_hello(std::string_view server_name) {
  std::string body("\x03\x03", 2);
  body.append(32, '\x11');
  body += with_size("", 1);
  body += with_size(std::string_view("\x13\x01\xc0\x2b", 4), 2);
  body += with_size(std::string_view("\0", 1), 1);
  std::string share("\0\x17", 2);  // secp256r1: the generator's point is a valid share
  share += with_size(
      std::string_view(
          "\x04\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1"
          "\x39\x45\xd8\x98\xc2\x96\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\x2b\xce\x33\x57\x6b"
          "\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5",
          65),
      2);
  body += with_size(extension(0, server_name) + extension(10, std::string_view("\0\x02\0\x17", 4)) +
                        extension(13, std::string_view("\0\x02\x04\x03", 4)) +
                        extension(43, std::string_view("\x04\x03\x04\x03\x03", 5)) + extension(51, with_size(share, 2)),
                    2);
  std::string message("\x01", 1);
  message += with_size(body, 3);
  return std::string("\x16\x03\x01", 3) + with_size(message, 2);
}

class Server {
 public:
  Server() : tls_(*page_) {
    ir::RouteTableT table;
    table.schema_version = ir::kSchemaVersion;
    table.settings = std::make_unique<ir::SettingsT>();
    table.settings->tls = std::make_unique<ir::TlsSettingsT>();
    for (const char* host : {"*.wild.example", "a.example"}) {
      auto tls = std::make_unique<ir::TlsHostT>();
      tls->host = host;
      tls->certificate = "ns/none";
      table.tls_hosts.push_back(std::move(tls));
    }
    ir::SecretSetT secrets;
    secrets.schema_version = ir::kSchemaVersion;
    table_.Finish(ir::RouteTable::Pack(table_, &table));
    secrets_.Finish(ir::SecretSet::Pack(secrets_, &secrets));
    (void)tls_.apply(  // says that ns/none is not there
        *flatbuffers::GetRoot<ir::RouteTable>(table_.GetBufferPointer()),
        *flatbuffers::GetRoot<ir::SecretSet>(secrets_.GetBufferPointer()));
  }
  void take(std::string_view bytes) {
    int fds[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    const UniqueFd client(fds[1]);
    const auto transport = tls_.make_server(UniqueFd(fds[0]));
    // In two pieces: a record that is not whole waits.
    const size_t half = bytes.size() / 2;
    for (const std::string_view piece : {bytes.substr(0, half), bytes.substr(half)}) {
      if (!piece.empty() && ::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL) < 0) break;
      const net::IoResult result = transport->handshake();
      require(result.state != net::Io::ok || !transport->tls_version().empty());
      if (result.state == net::Io::eof || result.state == net::Io::error) break;
    }
    const std::string_view name = transport->server_name();
    require(name.size() <= 253);
    for (const char c : name) {
      require((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_');
    }
    (void)tls_.take_problems();
  }

 private:
  std::unique_ptr<shared::CounterPage> page_ = std::make_unique<shared::CounterPage>();
  flatbuffers::FlatBufferBuilder table_, secrets_;
  net::TlsServer tls_;
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 16384) return 0;
  static auto* server = new Server;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 != 0) server->take(rest);
  else if (rest.size() <= 8192) server->take(client_hello(rest));
  return 0;
}
