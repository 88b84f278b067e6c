#include "dataplane/agent/last_good.h"

#include <cstring>
#include <map>
#include <set>

#include "common/base/log.h"

namespace sluice::agent {
namespace {
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

std::string_view view_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : text->string_view();
}

std::set<std::string_view> named_by(const ir::TableView& table) {
  std::set<std::string_view> ids;
  for (const ir::RouteTable* list : table.lists()) {
    if (list->tls_hosts() == nullptr) continue;
    for (const ir::TlsHost* host : *list->tls_hosts()) ids.insert(view_of(host->certificate()));
  }
  ids.insert(view_of(table.head().default_certificate()));
  ids.erase(std::string_view());
  return ids;
}

const ir::Certificate* find(const ir::SecretSet& secrets, std::string_view id) {
  return secrets.certificates() == nullptr ? nullptr : secrets.certificates()->LookupByKey(std::string(id).c_str());
}

Offset<ir::Certificate> copy(FlatBufferBuilder& to, const ir::Certificate& from, bool last_good) {
  const auto id = to.CreateString(view_of(from.id()));
  const auto chain = to.CreateString(view_of(from.chain_pem()));
  const auto key = to.CreateString(view_of(from.key_pem()));
  return ir::CreateCertificate(to, id, from.hash(), chain, key, from.not_after(), last_good);
}

bool has_keys(const ir::SecretSet& secrets) {
  return secrets.ticket_keys() != nullptr && secrets.ticket_keys()->size() > 0;
}
// Whose ticket keys: the new state's own, unless it names a Secret without any and the old one has some of that.
const ir::SecretSet& ticket_keys_of(const ir::SecretSet& secrets, const ir::SecretSet& before) {
  const std::string_view name = view_of(secrets.ticket_keys_secret());
  const bool lacks = !name.empty() && !has_keys(secrets);
  return lacks && has_keys(before) && view_of(before.ticket_keys_secret()) == name ? before : secrets;
}

// Straight from one buffer into the other: no key is left behind in objects in between.
void build(FlatBufferBuilder& to, const ir::SecretSet& secrets,
           const std::map<std::string_view, const ir::Certificate*>& kept, const ir::SecretSet& keys_from) {
  std::map<std::string_view, Offset<ir::Certificate>> all;  // by id, as lookups want them
  for (const auto& [id, certificate] : kept) all[id] = copy(to, *certificate, true);
  if (secrets.certificates() != nullptr) {
    for (const ir::Certificate* own : *secrets.certificates())
      all[view_of(own->id())] = copy(to, *own, own->last_good());
  }
  std::vector<Offset<ir::Certificate>> certificates;
  for (const auto& [id, offset] : all) certificates.push_back(offset);
  std::vector<Offset<ir::TicketKey>> keys;
  if (keys_from.ticket_keys() != nullptr) {
    for (const ir::TicketKey* key : *keys_from.ticket_keys()) {
      const auto bytes = key->key() == nullptr ? 0 : to.CreateVector(key->key()->data(), key->key()->size());
      keys.push_back(ir::CreateTicketKey(to, key->slot(), bytes));
    }
  }
  const auto certificate_list = to.CreateVector(certificates);
  const auto key_list = to.CreateVector(keys);
  const std::string_view secret = view_of(secrets.ticket_keys_secret());
  const auto keys_secret = secret.empty() ? 0 : to.CreateString(secret);
  to.Finish(ir::CreateSecretSet(to, secrets.schema_version(), certificate_list, key_list, keys_secret));
}
}  // namespace

std::shared_ptr<const State> keep_last_good(std::shared_ptr<const State> state, const State* before, int64_t now,
                                            Kept& kept) {
  if (before == nullptr) return state;
  std::map<std::string_view, const ir::Certificate*> missing;
  for (const std::string_view id : named_by(state->table())) {
    if (find(state->secrets(), id) != nullptr) continue;
    const ir::Certificate* old = find(before->secrets(), id);
    if (old != nullptr && old->not_after() > now) missing.emplace(id, old);
  }
  const ir::SecretSet& keys_from = ticket_keys_of(state->secrets(), before->secrets());
  const bool keeps_keys = &keys_from != &state->secrets();
  if (missing.empty() && !keeps_keys) return state;
  FlatBufferBuilder builder;
  build(builder, state->secrets(), missing, keys_from);
  const auto part =
      make_part(ir::PartKind::secrets, std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())));
  explicit_bzero(builder.GetBufferPointer(), builder.GetSize());
  if (!part) {
    log::error("last good secrets cannot be kept", {{"error", part.error().text}});
    return state;
  }
  auto own = std::make_shared<State>(*state);
  own->parts[static_cast<size_t>(ir::PartKind::secrets)] = *part;
  for (const auto& [id, certificate] : missing) kept.certificates.emplace_back(id);
  if (keeps_keys) kept.ticket_keys = view_of(keys_from.ticket_keys_secret());
  return own;
}

}  // namespace sluice::agent
