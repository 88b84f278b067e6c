// The PROXY header, versions 1 and 2: the same verdict whatever the pieces, never more bytes taken than there are, and
// nothing said about addresses that were not given.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include "dataplane/net/proxy_protocol.h"

namespace {
using namespace sluice::net;

void require(bool holds) {
  if (!holds) std::abort();
}

ProxyHeader parse(std::string_view bytes) {
  const std::unique_ptr<char[]> exact(new char[bytes.size()]);
  if (!bytes.empty()) std::memcpy(exact.get(), bytes.data(), bytes.size());
  return parse_proxy_header({exact.get(), bytes.size()});
}

bool same(const ProxyHeader& a, const ProxyHeader& b) {
  return a.state == b.state && a.fault == b.fault && a.size == b.size && a.has_addresses == b.has_addresses &&
         a.source == b.source && a.destination == b.destination;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 2 * kMaxProxyV2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const ProxyHeader whole = parse(input);
  require((whole.state == ProxyState::bad) == (whole.fault != ProxyFault::none));
  require((whole.fault == ProxyFault::none) == describe(whole.fault).empty() || whole.fault == ProxyFault::none);
  if (whole.state == ProxyState::done) {
    require(whole.size > 0 && whole.size <= size && whole.size <= kMaxProxyV2);
    require(whole.has_addresses || (whole.source == Address{} && whole.destination == Address{}));
    require(same(parse(input.substr(0, whole.size)), whole));
  } else {
    require(whole.size == 0 && !whole.has_addresses);
    require(whole.state == ProxyState::bad || size < kMaxProxyV2);  // it ends at some point
  }
  // A verdict stands: what was not enough before it is only ever "more".
  const size_t end = whole.state == ProxyState::done ? whole.size : size;
  const size_t step = 1 + end / 64;
  bool judged = false;
  for (size_t n = 0; n < end; n += step) {
    const ProxyHeader part = parse(input.substr(0, n));
    require(part.state != ProxyState::done);
    require(!judged || part.state == ProxyState::bad);
    judged = judged || part.state == ProxyState::bad;
  }
  require(!judged || whole.state == ProxyState::bad);
  return 0;
}
