// `sluice status`, `table`, `dump` and `log-level`: asks the planes' unix sockets over HTTP and writes what they say,
// for a person or as JSON. Reads and prints; changes nothing but the log level. Every answer is bounded.
#pragma once
#include <string>
#include <vector>

#include "common/base/result.h"

namespace sluice::tool {

inline constexpr const char* kDefaultSocket = "/run/sluice-admin/admin.sock";  // as in the chart's containers

struct OperatorFlags {
  std::vector<std::string> sockets;  // empty: those of --state, else the default one
  std::string state;                 // of `sluice run`
  std::string what;                  // "status", "table", "dump", "log-level"
  std::string argument;              // table: HOST[/PATH]; log-level: the new one
  bool json = false;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
};
[[nodiscard]] Result<HttpAnswer> ask(const std::string& socket, const std::string& method, const std::string& target);

// JSON as indented text, like YAML.
[[nodiscard]] Result<std::string> render(const std::string& json);
// The answer of /table: hosts, routes in order, clusters, endpoints.
[[nodiscard]] Result<std::string> render_table(const std::string& json);

// Exit code; output on stdout, what is wrong on stderr.
[[nodiscard]] int run_operator(const OperatorFlags& flags);

}  // namespace sluice::tool
