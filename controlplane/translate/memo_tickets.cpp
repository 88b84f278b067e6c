// Session ticket keys of the Secret that the options name. The last good ones stay while it is broken, as with
// certificates.
#include <fmt/format.h>

#include "controlplane/translate/memo.h"

namespace sluice::translate {

void Translator::Memo::update_ticket_keys(const store::Snapshot& snapshot, Dirty& dirty) {
  const std::optional<store::ObjectKey>& wanted = options.ticket_keys_secret;
  bool judge = dirty.everything;
  if (tickets.secret != wanted) {
    for (const auto& key : {tickets.secret, wanted}) {
      if (key) dirty.secrets.insert(*key);
    }
    tickets.secret = wanted;
    // Those of another Secret are not this one's last good ones.
    out.ticket_keys.clear();
    out.ticket_keys_secret = wanted ? wanted->ns + "/" + wanted->name : std::string{};
    judge = true;
  }
  if (wanted && dirty.everything) dirty.secrets.insert(*wanted);
  if (!judge && !(wanted && dirty.secrets.contains(*wanted))) return;
  problems.remove(tickets.problems);
  tickets.problems.clear();
  out.secrets_pending -= tickets.pending ? 1 : 0;
  tickets.pending = false;
  if (wanted) judge_ticket_keys(snapshot);
  out.secrets_pending += tickets.pending ? 1 : 0;
  problems.add(tickets.problems);
}

void Translator::Memo::judge_ticket_keys(const store::Snapshot& snapshot) {
  const store::ObjectRef ref{store::Kind::secret, *tickets.secret};
  const std::string name = "Secret " + out.ticket_keys_secret;
  const auto report = [&](std::string field, const char* reason, std::string text) {
    tickets.problems.push_back({ref, std::move(field), reason, store::Severity::error, std::move(text)});
  };
  const auto none = [&](const char* reason, std::string_view why) {
    report("tls.ticketKeysSecret", reason,
           fmt::format("{} {}; {}", name, why,
                       out.ticket_keys.empty()
                           ? "its last good ticket keys are used if the data plane has them, else each instance's own"
                           : "its last good ticket keys stay in use"));
  };
  const auto found = snapshot.secrets.find(*tickets.secret);
  if (found == snapshot.secrets.end()) return none("SecretNotFound", "does not exist");
  const store::Secret& secret = *found->second;
  tickets.pending = !secret.loaded;
  if (!secret.loaded) return;
  report_flaws(ref, secret.meta, tickets.problems);
  CheckedTicketKeys checked = check_ticket_keys(secret);
  for (store::Flaw& flaw : checked.flaws)
    report(std::move(flaw.field), "InvalidTicketKey", fmt::format("{}: {}", name, flaw.text));
  if (checked.keys.empty())
    return none("NoTicketKeys", "holds no ticket key (80 bytes, named by the Unix second from which it is used)");
  // Equal keys keep their addresses: whoever memoises by address sees no change.
  if (!equal(checked.keys, out.ticket_keys)) out.ticket_keys = std::move(checked.keys);
}

}  // namespace sluice::translate
