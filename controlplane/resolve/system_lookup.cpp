#include "controlplane/resolve/system_lookup.h"

#include <algorithm>
#include <array>
#include <memory>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include "common/base/freer.h"
#include "controlplane/resolve/own_addresses.h"

namespace sluice::resolve {
namespace {

int ask(const std::string& name, std::vector<std::string>& out) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = getaddrinfo(name.c_str(), nullptr, &hints, &list); error != 0) return error;
  const std::unique_ptr<addrinfo, Freer<freeaddrinfo>> held(list);
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* address =
        at->ai_family == AF_INET
            ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(at->ai_addr)->sin_addr)
            : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(at->ai_addr)->sin6_addr);
    if ((at->ai_family == AF_INET || at->ai_family == AF_INET6) &&
        inet_ntop(at->ai_family, address, text.data(), text.size()) != nullptr)
      out.emplace_back(text.data());
  }
  return 0;
}

}  // namespace

Answer ask_system(const std::string& name) {
  std::vector<std::string> out;
  // An ExternalName is a canonical name (Kubernetes answers it as a CNAME), so search domains are not for it. The hosts
  // file knows names without the final dot only.
  const bool dotted = name.find('.') != std::string::npos && !name.ends_with('.');
  int error = dotted ? ask(name + ".", out) : EAI_NONAME;
  if (error == EAI_NONAME) error = ask(name, out);
  if (error != 0) return fail("cannot be resolved: {}", gai_strerror(error));
  const auto is_v6 = [](const std::string& address) { return address.find(':') != std::string::npos; };
  if (std::ranges::all_of(out, is_v6)) return out;
  const auto own = interface_addresses();
  if (own && std::ranges::none_of(*own, is_v6)) std::erase_if(out, is_v6);
  return out;
}

Lookup make_system_lookup(boost::asio::io_context& io) {
  auto threads = std::make_shared<boost::asio::thread_pool>(Names::kMaxInFlight);
  return [&io, threads](const std::string& name, std::function<void(Answer)> done) {
    boost::asio::post(*threads, [&io, name, done = std::move(done)] {
      Answer answer = ask_system(name);
      boost::asio::post(io, [done, answer = std::move(answer)]() mutable { done(std::move(answer)); });
    });
  };
}

}  // namespace sluice::resolve
