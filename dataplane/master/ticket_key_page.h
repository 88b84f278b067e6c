// The master's part of the ticket keys that all workers share (dataplane/shared/ticket_keys.h): makes the page, fills
// it with random bytes, rotates it.
#pragma once
#include <cstdint>

#include "common/base/result.h"
#include "common/base/unique_fd.h"

namespace sluice::master {

inline constexpr uint64_t kTicketRotationMs = 3600u * 1000;

[[nodiscard]] Result<UniqueFd> make_ticket_key_page();
[[nodiscard]] Status rotate_ticket_key_page(int page);

}  // namespace sluice::master
