// A Secret -> session ticket keys that every worker can use (dataplane/net/tls_tickets.h). An entry's name is the Unix
// second from which its key makes new tickets, its value the 80 bytes that nginx's ssl_session_ticket_key takes. Key
// bytes never get into a text. Remembers nothing.
#pragma once
#include <memory>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "controlplane/store/objects.h"

namespace sluice::translate {

using TicketKeyList = std::vector<std::shared_ptr<const ir::TicketKeyT>>;

struct CheckedTicketKeys {
  TicketKeyList keys;              // by slot, key name; wiped when they go
  std::vector<store::Flaw> flaws;  // of entries that are left out, at most 17
};
[[nodiscard]] CheckedTicketKeys check_ticket_keys(const store::Secret& secret);

[[nodiscard]] bool equal(const TicketKeyList& a, const TicketKeyList& b);

}  // namespace sluice::translate
