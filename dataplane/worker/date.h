// The Date field's text (RFC 9110 5.6.7, IMF-fixdate), made once a second.
#pragma once
#include <cstdint>
#include <string_view>

namespace sluice::worker {

class Date {
 public:
  // now_ms: monotonic, of the present batch.
  [[nodiscard]] std::string_view text(uint64_t now_ms) {
    if (now_ms >= next_ms_) update(now_ms);
    return {text_, 29};
  }

 private:
  void update(uint64_t now_ms);
  uint64_t next_ms_ = 0;
  char text_[32] = {};
};

}  // namespace sluice::worker
