// Snapshot -> what the data plane is to do. Pure: no clock, no I/O, no randomness; the same objects give the same
// answer on every replica. Never fails whole: what cannot be honoured becomes a Problem and answers its error status,
// everything else is served. Translator memoises per object and keeps the result up to date, so the cost of one change
// is the cost of what it touches; translate() from scratch gives equal bytes (tested).
#pragma once
#include <memory>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/config/options.h"
#include "controlplane/store/problem.h"
#include "controlplane/store/snapshot.h"

namespace sluice::translate {

// Verdict on one object we are responsible for (Ingress of our class, Route attached to us, policy that targets what is
// ours), for status and events.
struct ObjectStatus {
  store::ObjectRef object;
  int64_t generation = 0;
  bool accepted = false;                  // at least one rule is served; a policy: it limits at least one target
  bool resolved_refs = true;              // every backend, Secret and class it names was found and allowed
  std::vector<store::ParentRef> parents;  // Routes: the accepted parents; policies: the accepted targets
};

// A Service of type ExternalName that a cluster uses, with a DNS name: whoever resolves names (controlplane/resolve)
// puts what they come to into the snapshot; each address is checked before it is used.
struct ExternalName {
  store::ObjectKey service;
  std::string host;
  auto operator<=>(const ExternalName&) const = default;
};

struct Translation {
  // Virtual hosts in byte order of host; shared with the translator's memo, never changed once here.
  std::vector<std::shared_ptr<const ir::VirtualHostT>> hosts;
  std::vector<std::shared_ptr<const ir::ClusterT>> clusters;            // by name
  std::vector<std::shared_ptr<const ir::ClusterEndpointsT>> endpoints;  // by name
  std::vector<std::shared_ptr<const ir::CertificateT>> certificates;    // by id
  std::vector<std::shared_ptr<const ir::TlsHostT>> tls_hosts;           // by host
  std::string default_certificate;
  std::vector<std::shared_ptr<const ir::TicketKeyT>> ticket_keys;  // by slot, key name; all of them change together
  std::string ticket_keys_secret;                                  // "NS/NAME" that the options name; empty = none
  std::vector<ir::ListenerT> listeners;                            // by name
  ir::SettingsT settings;
  std::vector<store::Problem> problems;  // by object, field
  std::vector<ObjectStatus> statuses;    // by object
  std::vector<store::ObjectKey>
      wanted_secrets;  // Secrets and ConfigMaps that accepted objects name: the source fetches these and no others
  std::vector<store::ObjectKey> wanted_config_maps;
  std::vector<ExternalName> external_names;
  uint64_t wanted_version = 0;  // another one whenever the wanted lists are others
  size_t secrets_pending = 0;   // wanted Secrets that exist but are not loaded yet: the first push waits for them
};

class Translator {
 public:
  Translator();
  ~Translator();
  // `options` may change between calls (that drops the memo). Certificates keep their last good form within their
  // validity, and ticket keys theirs: all that is remembered. Time is an input: `now` in Unix seconds tells expired
  // certificates; 0 = not judged. The result is the translator's own, brought up to date by the next call.
  [[nodiscard]] const Translation& translate(const store::Snapshot& snapshot, const config::Options& options,
                                             int64_t now = 0);

 private:
  struct Memo;
  std::unique_ptr<Memo> memo_;
};

}  // namespace sluice::translate
