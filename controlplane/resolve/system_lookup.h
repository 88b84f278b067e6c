// The system's resolver (getaddrinfo) for Names: it blocks, so it runs on a few threads of its own, which do nothing
// else and are bounded by its own timeouts (resolv.conf). The answer is posted to the io_context.
#pragma once
#include "controlplane/resolve/names.h"

namespace sluice::resolve {

// The threads end with the process, or when the last copy of the Lookup is gone and their questions are answered.
[[nodiscard]] Lookup make_system_lookup(boost::asio::io_context& io);

// One question, blocking. IPv6 addresses are left out where this machine has none but loopback and link-local ones and
// the name has IPv4 addresses too.
[[nodiscard]] Answer ask_system(const std::string& name);

}  // namespace sluice::resolve
