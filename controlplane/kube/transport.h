// HTTPS requests to one API server: plain calls and streamed watches. transport.cpp is the only file that knows the
// REST library, so that it can go. Every method is called on the io_context's thread and every callback comes on it;
// after cancel() or shutdown() none comes any more. Never: proxies, redirects, unverified TLS, unbounded answers. Knows
// nothing of Kubernetes objects.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "controlplane/kube/access.h"

namespace boost::asio {
class io_context;
}

namespace sluice::kube {

inline constexpr size_t kMaxBody = 64u << 20;    // one answer (a list page)
inline constexpr size_t kMaxUnread = 64u << 20;  // watch bytes received and not yet taken

enum class Method : uint8_t { get, post, put, patch, delete_ };

// Which plain call goes first where they wait for each other (call_gate.h).
enum class Urgency : uint8_t {
  urgent,      // small, and late is wrong: the pulse, Leases
  normal,      // lists, statuses, Events
  background,  // may be thousands: contents of Secrets and ConfigMaps
};

struct Call {
  Method method = Method::get;
  Urgency urgency = Urgency::normal;  // a watch does not wait
  std::string target;                 // path and query, percent-encoded, beginning with '/'
  std::string accept = "application/json";
  std::string content_type, body;
  size_t max_body = kMaxBody;
};

// An answer without its body: what a watch tells first.
struct Head {
  int status = 0;
  std::string content_type;
  uint32_t retry_after_s = 0;  // 0 = none given
};
struct Reply : Head {
  std::string body;
};

// A call under way, or one that waits for its turn. Letting go of it does not cancel it.
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual void cancel() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  using Done = std::function<void(Result<Reply>)>;
  struct WatchEvents {
    std::function<void(const Head&)> on_head;
    std::function<void(std::string_view)> on_bytes;
    std::function<void(Status)> on_end;  // once, also when the call failed before a head; an Error = not a clean end
  };
  // At most CallGate::kPlaces calls of send() are under way at once; more wait. A watch has a connection of its own.
  // An Error = no complete HTTP answer; any status is a Reply.
  virtual std::shared_ptr<Exchange> send(Call call, Done done) = 0;
  virtual std::shared_ptr<Exchange> watch(Call call, WatchEvents events) = 0;
  // Cancels everything and waits (some seconds at most) until the library has let go. The process leaves by _exit
  // afterwards: the library's threads are not joined.
  virtual void shutdown() = 0;
};

// An Error = the access's files or addresses are unusable.
[[nodiscard]] Result<std::unique_ptr<Transport>> make_transport(boost::asio::io_context& io, ClusterAccess access);

// RFC 3986 percent-encoding of one path segment or query value.
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace sluice::kube
