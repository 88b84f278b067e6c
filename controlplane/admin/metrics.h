// The control plane's metrics. What happens (a translation, an acknowledgement) is told and counted here; what is
// (objects, problems) is read from a Condition when somebody asks. Names begin with sluice_controlplane_, labels come
// from closed lists or are bounded. One thread.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "controlplane/admin/condition.h"

namespace sluice::admin {

// The way of a change: waiting for others to come with it, translation, compilation, into memory files and to the
// socket, until all workers run it.
enum class Stage : uint8_t { wait, translate, compile, publish, acknowledge };
inline constexpr size_t kStages = 5;

class Metrics {
 public:
  static constexpr size_t kMaxReasons = 64;  // of problems; further ones count as "other"

  Metrics();
  ~Metrics();
  void took(Stage stage, double seconds);
  void translated();
  // A state has been handed to the socket, at this monotonic time.
  void published(uint64_t sequence, uint64_t now_ns);
  // All workers run it; once for each state, whatever is told twice. `wall_seconds`: Unix time.
  void acknowledged(uint64_t sequence, uint64_t now_ns, double wall_seconds);
  void refused(ir::NackReason reason);
  // In Prometheus' text format.
  [[nodiscard]] std::string render(const Condition& condition) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::admin
