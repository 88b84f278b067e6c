#define OPENSSL_SUPPRESS_DEPRECATED  // see install() in the header
#include "dataplane/net/tls_tickets.h"

#include <algorithm>
#include <cstring>

#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "common/base/clock.h"

namespace sluice::net {

using shared::TicketKey;

TicketBox::TicketBox(const shared::TicketKeyPage* page)
    : page_(page),
      cipher_(EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr)),
      digest_(EVP_MD_fetch(nullptr, "SHA256", nullptr)) {
  // Until the page has keys: our own. epoch stays 0, so that the first of the page replaces them.
  for (TicketKey* key : {&local_.previous, &local_.current, &local_.next}) {
    RAND_bytes(key->name.data(), static_cast<int>(key->name.size()));
    RAND_bytes(key->cipher_key.data(), static_cast<int>(key->cipher_key.size()));
    RAND_bytes(key->mac_key.data(), static_cast<int>(key->mac_key.size()));
  }
}

TicketBox::~TicketBox() {
  explicit_bzero(static_cast<void*>(&local_), sizeof local_);
  for (Dated& dated : dated_) explicit_bzero(static_cast<void*>(&dated), sizeof dated);
}

std::string TicketBox::apply(const ir::SecretSet& secrets) {
  std::string problem;
  for (Dated& dated : dated_) explicit_bzero(static_cast<void*>(&dated), sizeof dated);
  dated_.clear();
  if (secrets.ticket_keys() == nullptr) return problem;
  dated_.reserve(kMaxKeys);  // no copy of a key is left behind
  for (const ir::TicketKey* from : *secrets.ticket_keys()) {
    if (from->key() == nullptr || from->key()->size() != TicketKey::kBytes) {
      problem = "a ticket key is not 80 bytes long (name 16, AES-256 32, HMAC 32) and is left out";
      continue;
    }
    if (dated_.size() == kMaxKeys) {
      problem = "more than 16 ticket keys; the rest is left out";
      break;
    }
    Dated& dated = dated_.emplace_back();
    dated.from = from->slot();
    std::memcpy(static_cast<void*>(&dated.key), from->key()->data(), TicketKey::kBytes);
  }
  std::stable_sort(dated_.begin(), dated_.end(), [](const Dated& a, const Dated& b) { return a.from < b.from; });
  return problem;
}

void TicketBox::refresh() {
  if (page_ == nullptr || !page_->valid() || page_->epoch() == local_.epoch) return;
  local_ = page_->read();
}

// The newest key whose time has come; all instances with the same Secret agree.
const TicketKey& TicketBox::current() {
  if (dated_.empty()) {
    refresh();
    return local_.current;
  }
  const int64_t now = wall_us() / 1'000'000;
  const TicketKey* best = &dated_.front().key;
  for (const Dated& dated : dated_) {
    if (dated.from <= now) best = &dated.key;
  }
  return *best;
}

bool TicketBox::set_mac(HMAC_CTX* mac, const TicketKey& key) const {
  return HMAC_Init_ex(mac, key.mac_key.data(), static_cast<int>(key.mac_key.size()), digest_.get(), nullptr) == 1;
}

void TicketBox::install(SSL_CTX* context, Callback callback) { SSL_CTX_set_tlsext_ticket_key_cb(context, callback); }

int TicketBox::seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac) {
  const TicketKey& key = current();
  std::memcpy(name, key.name.data(), key.name.size());
  if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(cipher_.get())) != 1) return -1;
  if (EVP_EncryptInit_ex2(cipher, cipher_.get(), key.cipher_key.data(), iv, nullptr) != 1 || !set_mac(mac, key))
    return -1;
  return 1;
}

int TicketBox::open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, HMAC_CTX* mac) {
  const TicketKey* sealing = &current();
  const TicketKey* found = nullptr;
  auto consider = [&](const TicketKey& key) {
    if (std::memcmp(name, key.name.data(), key.name.size()) == 0) found = &key;
  };
  if (dated_.empty()) {
    for (const TicketKey* key : {&local_.current, &local_.previous, &local_.next}) consider(*key);
  } else {
    for (const Dated& dated : dated_) consider(dated.key);
  }
  if (found == nullptr) return 0;  // a full handshake, and a new ticket
  if (!set_mac(mac, *found) || EVP_DecryptInit_ex2(cipher, cipher_.get(), found->cipher_key.data(), iv, nullptr) != 1)
    return -1;
  return found == sealing ? 1 : 2;  // 2: the ticket is good, give out a new one
}

}  // namespace sluice::net
