// Who of several replicas writes: one Lease (coordination.k8s.io/v1), held by renewing it. Pure: state, clock and
// answers of the API server in, the next call out. Clocks of two machines are never compared: a holder counts as gone
// when its Lease has not changed for kLeaseMs of our own monotonic clock. The holder gives up by itself kRenewMs after
// its last renewal that succeeded, which is earlier, so that two never lead at once.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace sluice::status {

class Election {
 public:
  static constexpr uint64_t kLeaseMs = 15'000;  // client-go's customary figures
  static constexpr uint64_t kRenewMs = 10'000;
  static constexpr uint64_t kRenewEveryMs = 5'000;
  static constexpr uint64_t kRetryMs = 2'000;

  Election(std::string ns, std::string name, std::string identity)
      : ns_(std::move(ns)), name_(std::move(name)), identity_(std::move(identity)) {}

  // True at most once until read() has been told: the Lease is to be read now.
  [[nodiscard]] bool due(uint64_t now_ms);
  struct Write {
    bool create = false;  // else replace
    std::string body;
  };
  // The answer to the reading: HTTP status (0 = none) and body. What is to be written, if anything; then written() is
  // to be told. `wall_us`: Unix time, for the Lease's readers only.
  [[nodiscard]] std::optional<Write> read(uint64_t now_ms, int64_t wall_us, int status, const std::string& body);
  void written(uint64_t now_ms, int status, const std::string& body);
  [[nodiscard]] bool leading(uint64_t now_ms) const { return held_ && now_ms - renewed_ms_ < kRenewMs; }
  [[nodiscard]] const std::string& holder() const { return holder_; }  // as last read; may be somebody gone
  // The Lease without a holder, so that the next one need not wait; nullopt if we do not hold it. Ends the holding.
  [[nodiscard]] std::optional<std::string> release(int64_t wall_us);

 private:
  std::string ns_, name_, identity_;
  bool asking_ = false, held_ = false;
  uint64_t next_ms_ = 0, asked_ms_ = 0, renewed_ms_ = 0;
  std::string holder_;
  std::string seen_;  // holder, renewTime and version of the Lease as last seen changed
  uint64_t seen_ms_ = 0;
  std::string last_;  // the Lease as we last wrote it, with its version
};

// metav1.MicroTime.
[[nodiscard]] std::string micro_time(int64_t wall_us);

}  // namespace sluice::status
