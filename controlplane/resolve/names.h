// Keeps DNS names resolved: the wanted ones are asked for at once, again every refresh interval, sooner after a
// failure. A name that cannot be resolved keeps its last good addresses and says why. Owned by main; lives on the
// io_context's thread; never blocks and never judges an address.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "common/base/result.h"
#include "controlplane/store/snapshot.h"

namespace sluice::resolve {

// Literal addresses of a name, in any order. The error is a sentence without its subject.
using Answer = Result<std::vector<std::string>>;
// Asks once, without waiting; the answer comes on the io_context's thread, exactly once.
using Lookup = std::function<void(const std::string& name, std::function<void(Answer)>)>;

struct Timings {
  uint64_t refresh_ms = 30'000;                      // after an answer
  uint64_t retry_ms = 2'000, retry_cap_ms = 30'000;  // after a failure, doubled each time
  uint64_t settle_ms = 5'000;                        // a first state waits for the first answers no longer than this
};

class Names {
 public:
  static constexpr size_t kMaxNames = 1024;    // more are not asked for, and say so
  static constexpr size_t kMaxAddresses = 64;  // of one name
  static constexpr size_t kMaxInFlight = 4;
  // What a name has come to; told only when it differs. A name that is no longer wanted is told as null.
  using Changed = std::function<void(const std::string& name, std::shared_ptr<const store::ResolvedName>)>;

  Names(boost::asio::io_context& io, Lookup lookup, Timings timings = {});
  ~Names();
  // `settled`: settled() has become true without a change.
  void start(Changed changed, std::function<void()> settled);
  // Sorted or not, repeated or not.
  void want(const std::vector<std::string>& names);
  // Every wanted name has had an answer, or settle_ms have passed since it was first wanted.
  [[nodiscard]] bool settled() const;
  void stop();

 private:
  struct Entry {
    std::shared_ptr<const store::ResolvedName> told;
    uint64_t due_ms = 0, wanted_ms = 0, failures = 0;
    bool in_flight = false, answered = false;
  };
  void ask();
  void arm();
  void on_answer(const std::string& name, uint64_t serial, Answer answer);
  void tell(const std::string& name, Entry& entry, store::ResolvedName now);

  Lookup lookup_;
  const Timings timings_;
  Changed changed_;
  std::function<void()> on_settled_;
  boost::asio::steady_timer timer_;
  std::map<std::string, Entry> entries_;
  std::set<std::string> refused_;  // beyond the bound
  size_t in_flight_ = 0;
  bool was_settled_ = true;
  std::shared_ptr<bool> alive_;
};

}  // namespace sluice::resolve
