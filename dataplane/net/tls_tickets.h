// Session tickets of one worker: which key encrypts, which decrypt. Keys come from the state's SecretSet, else from the
// master's page, else they are this process's own. Room-internal. Keys are never logged.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "dataplane/net/openssl_handles.h"
#include "dataplane/shared/ticket_keys.h"

namespace sluice::net {

class TicketBox {
 public:
  static constexpr size_t kMaxKeys = 16;
  explicit TicketBox(const shared::TicketKeyPage* page);
  ~TicketBox();
  TicketBox(const TicketBox&) = delete;
  TicketBox& operator=(const TicketBox&) = delete;

  // Keys of the state override the page's; none gives the page back its place. Says what was wrong, empty if nothing.
  std::string apply(const ir::SecretSet& secrets);
  // The work of OpenSSL's callback, SSL_CTX_set_tlsext_ticket_key_cb(3). The variant with HMAC_CTX, though deprecated:
  // the one with EVP_MAC_CTX looks HMAC and SHA-256 up by name for each ticket, 3 us of some 17.
  using Callback = int (*)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, HMAC_CTX*, int);
  static void install(SSL_CTX* context, Callback callback);
  int seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac);
  int open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac);

 private:
  struct Dated {
    int64_t from;  // Unix seconds since when it encrypts
    shared::TicketKey key;
  };
  void refresh();
  [[nodiscard]] const shared::TicketKey& current();
  [[nodiscard]] bool set_mac(HMAC_CTX* mac, const shared::TicketKey& key) const;

  const shared::TicketKeyPage* page_;
  CipherPtr cipher_;
  DigestPtr digest_;
  shared::TicketKeys local_;
  std::vector<Dated> dated_;  // by time; empty = the page's or our own
};

}  // namespace sluice::net
