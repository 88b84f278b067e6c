#include "controlplane/resolve/system_lookup.h"

#include <algorithm>
#include <array>
#include <memory>

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>

namespace sluice::resolve {
namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* value) const {
    Free(value);
  }
};

bool has_global_ipv6() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return true;
  const std::unique_ptr<ifaddrs, Freer<freeifaddrs>> held(list);
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET6) continue;
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr)->sin6_addr;
    if (!IN6_IS_ADDR_LOOPBACK(&address) && !IN6_IS_ADDR_LINKLOCAL(&address)) return true;
  }
  return false;
}

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
  if (!std::ranges::all_of(out, is_v6) && !has_global_ipv6()) std::erase_if(out, is_v6);
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
