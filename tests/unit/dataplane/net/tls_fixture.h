// For TLS tests: certificates made on the spot, the two parts of the state, and a client of plain OpenSSL over a socket
// pair.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "common/ir/route_table_generated.h"
#include "dataplane/net/openssl_handles.h"
#include "dataplane/net/tls.h"

namespace sluice::net::test {

inline std::string pem_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

// A certificate with its key, signed by itself or by another.
struct Made {
  std::string chain, key;
  KeyPtr private_key;
  CertificatePtr certificate;

  explicit Made(const std::string& name, const std::string& san = "", const Made* issuer = nullptr, long days = 30,
                bool rsa = false) {
    private_key.reset(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256"));
    certificate.reset(X509_new());
    X509* x = certificate.get();
    static long serial = 1;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -100L * 86400);
    X509_gmtime_adj(X509_getm_notAfter(x), days * 86400);
    X509_set_pubkey(x, private_key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(
        x, issuer != nullptr ? X509_get_subject_name(issuer->certificate.get()) : X509_get_subject_name(x));
    auto extend = [&](int nid, const char* value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
      X509_add_ext(x, extension, -1);
      X509_EXTENSION_free(extension);
    };
    if (san.empty()) extend(NID_basic_constraints, "critical,CA:TRUE");
    else extend(NID_subject_alt_name, san.c_str());
    X509_sign(x, issuer != nullptr ? issuer->private_key.get() : private_key.get(), EVP_sha256());
    const BioPtr out(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(out.get(), x);
    chain = pem_of(out.get());
    const BioPtr key_out(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(key_out.get(), private_key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    key = pem_of(key_out.get());
  }
};

// The state's two parts as workers see them.
class State {
 public:
  ir::RouteTableT table;
  ir::SecretSetT secrets;
  State() {
    table.settings = std::make_unique<ir::SettingsT>();
    table.settings->tls = std::make_unique<ir::TlsSettingsT>();
  }
  State& certificate(const std::string& id, const std::string& chain, const std::string& key) {
    auto made = std::make_unique<ir::CertificateT>();
    made->id = id;
    made->chain_pem = chain;
    made->key_pem = key;
    made->hash = std::hash<std::string>()(chain + key);
    std::erase_if(secrets.certificates, [&](const auto& old) { return old->id == id; });
    secrets.certificates.push_back(std::move(made));
    std::sort(secrets.certificates.begin(), secrets.certificates.end(),
              [](const auto& a, const auto& b) { return a->id < b->id; });
    return *this;
  }
  State& certificate(const std::string& id, const Made& made) { return certificate(id, made.chain, made.key); }
  State& host(const std::string& name, const std::string& id) {
    auto made = std::make_unique<ir::TlsHostT>();
    made->host = name;
    made->certificate = id;
    table.tls_hosts.push_back(std::move(made));
    std::sort(table.tls_hosts.begin(), table.tls_hosts.end(),
              [](const auto& a, const auto& b) { return a->host < b->host; });
    return *this;
  }
  std::vector<TlsProblem> apply(TlsServer& server) {
    auto built = std::make_unique<Built>();
    built->table.Finish(ir::RouteTable::Pack(built->table, &table));
    built->secrets.Finish(ir::SecretSet::Pack(built->secrets, &secrets));
    auto problems = server.apply(*flatbuffers::GetRoot<ir::RouteTable>(built->table.GetBufferPointer()),
                                 *flatbuffers::GetRoot<ir::SecretSet>(built->secrets.GetBufferPointer()));
    built_ = std::move(built);  // what was applied before may go only now
    return problems;
  }

 private:
  struct Built {
    flatbuffers::FlatBufferBuilder table, secrets;
  };
  std::unique_ptr<Built> built_;
};

struct Unmap {
  void operator()(shared::CounterPage* page) const { munmap(page, sizeof(shared::CounterPage)); }
};
inline std::unique_ptr<shared::CounterPage, Unmap> make_page() {
  void* at = mmap(nullptr, sizeof(shared::CounterPage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return std::unique_ptr<shared::CounterPage, Unmap>(static_cast<shared::CounterPage*>(at));
}

struct Sockets {
  UniqueFd server, client;
  Sockets() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    server.reset(fds[0]);
    client.reset(fds[1]);
  }
};

struct ClientOptions {
  std::string name;
  int version = 0;  // TLS1_2_VERSION, TLS1_3_VERSION; 0 = any
  SSL_SESSION* resume = nullptr;
  std::string alpn{};  // wire form
};

// Both ends of one connection: our server transport, and OpenSSL as anybody's client.
class Connection {
 public:
  std::unique_ptr<Transport> server;
  SslPtr client;
  UniqueFd client_fd;
  IoResult server_result;
  int client_error = 0;
  bool good = false;
  std::vector<SSL_SESSION*> tickets;

  Connection(TlsServer& tls, const ClientOptions& options) {
    Sockets sockets;
    server = tls.make_server(std::move(sockets.server));
    client_fd = std::move(sockets.client);
    context_.reset(SSL_CTX_new(TLS_client_method()));
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_.get(), [](SSL* ssl, SSL_SESSION* session) {
      static_cast<Connection*>(SSL_get_app_data(ssl))->tickets.push_back(session);
      return 1;
    });
    client.reset(SSL_new(context_.get()));
    SSL_set_app_data(client.get(), this);
    SSL_set_fd(client.get(), client_fd.get());
    if (!options.name.empty()) SSL_set_tlsext_host_name(client.get(), options.name.c_str());
    if (options.version != 0) {
      SSL_set_min_proto_version(client.get(), options.version);
      SSL_set_max_proto_version(client.get(), options.version);
    }
    if (options.resume != nullptr) {
      // A copy: OpenSSL's client uses a TLS 1.3 ticket only once.
      const std::unique_ptr<SSL_SESSION, Freer<SSL_SESSION_free>> copy(SSL_SESSION_dup(options.resume));
      SSL_set_session(client.get(), copy.get());
    }
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(client.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    SSL_set_connect_state(client.get());
    shake();
  }
  ~Connection() {
    // OpenSSL makes the session of a connection that was not shut down unusable.
    SSL_set_shutdown(client.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    for (SSL_SESSION* ticket : tickets) SSL_SESSION_free(ticket);
  }
  void shake() {
    bool client_done = false, server_done = false;
    for (int i = 0; i < 20 && !(client_done && server_done); ++i) {
      if (!client_done) {
        const int n = SSL_do_handshake(client.get());
        client_done = n == 1;
        if (n != 1 && SSL_get_error(client.get(), n) != SSL_ERROR_WANT_READ) {
          client_error = ERR_GET_REASON(ERR_peek_error());
          ERR_clear_error();
          server_result = server->handshake();
          return;
        }
      }
      if (!server_done) {
        server_result = server->handshake();
        server_done = server_result.state == Io::ok;
        if (!server_done && server_result.state != Io::again) {
          const int n = SSL_do_handshake(client.get());
          if (n != 1) client_error = ERR_GET_REASON(ERR_peek_error());
          ERR_clear_error();
          return;
        }
      }
    }
    good = client_done && server_done;
  }
  void client_send(std::string_view text) {
    EXPECT_EQ(SSL_write(client.get(), text.data(), static_cast<int>(text.size())), static_cast<int>(text.size()));
  }
  std::string client_receive() {
    std::string all;
    char buffer[20000];
    for (int n; (n = SSL_read(client.get(), buffer, sizeof buffer)) > 0;) all.append(buffer, static_cast<size_t>(n));
    ERR_clear_error();
    return all;
  }
  void server_send(std::string_view text) {
    const iovec part{const_cast<char*>(text.data()), text.size()};
    EXPECT_EQ(server->write({&part, 1}).bytes, text.size());
  }
  std::string server_receive(size_t room = 65536) {
    std::string all(room, '\0');
    last = server->read({all.data(), room});
    all.resize(last.bytes);
    return all;
  }
  IoResult last;
  // The common name of what the server showed.
  std::string shown() {
    const CertificatePtr peer(SSL_get1_peer_certificate(client.get()));
    if (!peer) return "";
    char name[256] = "";
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer.get()), NID_commonName, name, sizeof name);
    return name;
  }
  bool resumed() { return SSL_session_reused(client.get()) == 1; }

 private:
  ContextPtr context_;
};

}  // namespace sluice::net::test
