// The addresses that no tenant's name may lead to: the API server's, and this machine's or Pod's own.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::resolve {

// `server_url`: https://HOST[:PORT][/...]; a HOST that is no literal address is left out. Loopback and link-local
// addresses are left out too: they are refused anyway.
[[nodiscard]] std::vector<std::string> own_addresses(std::string_view server_url);
// Only this machine's; nothing if the system does not tell.
[[nodiscard]] std::optional<std::vector<std::string>> interface_addresses();

}  // namespace sluice::resolve
