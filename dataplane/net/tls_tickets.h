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
  // The work of OpenSSL's callback: SSL_CTX_set_tlsext_ticket_key_evp_cb(3).
  int seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac);
  int open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac);

 private:
  struct Dated {
    int64_t from;  // Unix seconds since when it encrypts
    shared::TicketKey key;
  };
  void refresh();
  [[nodiscard]] const shared::TicketKey& current();
  [[nodiscard]] static bool set_mac(EVP_MAC_CTX* mac, const shared::TicketKey& key);

  const shared::TicketKeyPage* page_;
  CipherPtr cipher_;
  shared::TicketKeys local_;
  std::vector<Dated> dated_;  // by time; empty = the page's or our own
};

}  // namespace sluice::net
