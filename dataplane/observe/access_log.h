// The access log: lines are built once, in a ring of the worker's own, and written in batches (64 KiB, or 250 ms). A
// full disk, a blocked pipe or a missing reader drops lines and counts them; it never delays a request. Values are
// escaped; nothing a client sends can begin a new line or field.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dataplane/http/error.h"
#include "dataplane/http/message.h"
#include "dataplane/net/address.h"
#include "dataplane/net/reactor.h"
#include "dataplane/shared/counters.h"

namespace sluice::observe {

// Everything a line can say about one finished stream. Views are valid during the call.
struct StreamRecord {
  int64_t start_wall_us = 0;
  uint64_t duration_us = 0;
  uint64_t upstream_us = 0;  // request sent to head received; 0 = none
  uint64_t connect_us = 0;
  net::Address client;  // by trusted proxies
  net::Address peer;    // of the socket
  std::string_view request_id, method, scheme, host, path, query, user_agent, referer, protocol;
  bool has_query = false;
  uint16_t status = 0;                   // 0 = no answer was sent
  uint64_t bytes_in = 0, bytes_out = 0;  // bodies
  net::Address upstream;                 // port 0 = none
  std::string_view cluster;
  uint8_t attempts = 0;
  http::Reason reason = http::Reason::none;
  std::optional<uint8_t> grpc_status;  // of a gRPC request
  std::string_view origin_kind, origin_namespace, origin_name, origin_rule;
  int64_t origin_generation = 0;
  uint64_t state_sequence = 0;  // generation of the table that decided
  std::string_view tls_version, tls_cipher, sni;
  std::string_view rate_limit;  // id of the limit that refused, or would have
};

class AccessLog {
 public:
  // path: a file (opened for append, reopened on reopen()), "/dev/stdout", "/dev/stderr", "off". format: "json" or a
  // template of %{name} and text.
  AccessLog(net::Reactor& reactor, shared::CounterPage& counters);
  ~AccessLog();
  // Takes new settings; an unusable path is logged once and counts drops. Unknown names in a template were refused by
  // the control plane.
  void configure(std::string_view path, std::string_view format);
  [[nodiscard]] bool enabled() const { return enabled_; }
  // counters.log_lines counts every line, log_dropped those of them that were not written.
  void write(const StreamRecord& record);
  void reopen();
  void flush();  // at exit

 private:
  struct Impl;
  bool enabled_ = false;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::observe
