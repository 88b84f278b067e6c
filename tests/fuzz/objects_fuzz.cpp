// A manifest file of any bytes beside good objects: read, decoded, translated, compiled. It is refused whole or gives a
// state that the data plane accepts; the memo says what a translation from nothing says; without the file everything is
// as before. First byte: bits below; with `watched` the rest is what an API server answers to a list.
#include <cstdint>

#include "controlplane/kube/decode/decode.h"
#include "tests/fuzz/planes.h"

namespace {
using namespace sluice;

enum : uint8_t { json = 1, shared_hosts = 2, external_names = 4, default_backend = 8, default_tls = 16, watched = 32 };

config::Options options_of(uint8_t bits) {
  config::Options options;
  options.http_port = 80;
  options.https_port = 443;
  if ((bits & shared_hosts) != 0) options.host_ownership = config::Options::HostOwnership::shared;
  options.allow_external_name = (bits & external_names) != 0;
  options.allow_loopback_endpoints = (bits & external_names) != 0;
  options.class_policies_anywhere = (bits & external_names) != 0;
  if ((bits & default_backend) != 0) options.default_backend = config::ServiceTarget{{"default", "web"}, 80};
  if ((bits & default_tls) != 0) {
    options.default_certificate = store::ObjectKey{"other", "def"};
    options.ticket_keys_secret = store::ObjectKey{"infra", "tickets"};
  }
  return options;
}

// Every item as each kind: a list's items name none.
bool put_list(fuzz::Planes& planes, std::string_view text) {
  const auto page = kube::decode_list(text);
  if (!page) return false;
  for (const std::string_view item : page->items) {
    for (size_t kind = 0; kind < store::kKinds; ++kind) {
      auto decoded = kube::decode_as(static_cast<store::Kind>(kind), item);
      if (!decoded) continue;
      fuzz::require(decoded->object || !decoded->problems.empty() || decoded->foreign, "no object, no reason");
      std::vector<store::Change> changes;
      if (decoded->object) changes.emplace_back(store::Upsert{std::move(*decoded->object)});
      else if (decoded->ref) changes.emplace_back(store::Undecodable{*decoded->ref, std::move(decoded->problems)});
      planes.apply(std::move(changes));
    }
  }
  return true;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t bits = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  fuzz::Planes planes(options_of(bits));
  fuzz::require(planes.put("base.yaml", fuzz::base_objects()), "base.yaml is good");
  const std::string file = (bits & json) != 0 ? "z.json" : "z.yaml";  // after base.yaml, which so keeps its objects
  if ((bits & watched) != 0) {
    if (put_list(planes, text)) fuzz::require_same(planes.state(), planes.fresh_state(), "the memo is wrong");
    return 0;
  }
  const compile::Compiled before = planes.state();
  if (!planes.put(file, text)) {
    fuzz::require_same(planes.state(), before, "a file that was refused changed something");
    return 0;
  }
  fuzz::require_same(planes.state(), planes.fresh_state(), "the memo is wrong");
  // The default certificate keeps its last good form, and so do ticket keys.
  if ((bits & default_tls) != 0) return 0;
  planes.drop(file);
  fuzz::require_same(planes.state(), before, "a file that is gone left something");
  return 0;
}
