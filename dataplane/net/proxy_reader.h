// Takes exactly the PROXY header from a fresh connection, before any transport is put on it: not one byte of what
// follows is consumed, so plain and TLS transports begin where they would without it. Holds the part of a header that
// came so far; nothing once it is done.
#pragma once
#include <string>

#include "dataplane/net/proxy_protocol.h"

namespace sluice::net {

class ProxyReader {
 public:
  enum class State : uint8_t { again, done, bad, closed };  // again: wait for kReadable. closed: end or socket error
  // Call at each kReadable until it says something other than again.
  State read(int fd);
  [[nodiscard]] const ProxyHeader& header() const { return header_; }

 private:
  std::string held_;
  ProxyHeader header_;
};

}  // namespace sluice::net
