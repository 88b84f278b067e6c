// One line of a watch, and the cutting of a byte stream into lines. No I/O. The line is hostile: bounded, checked,
// never thrown upon.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/result.h"

namespace sluice::kube {

struct WatchEvent {
  enum class Type : uint8_t { added, modified, deleted, bookmark, error } type{};
  std::string object;            // JSON of the object
  std::string resource_version;  // metadata.resourceVersion; empty in an error
  // Of an error (a Status object):
  int code = 0;
  std::string message;
  uint32_t retry_after_s = 0;
};
[[nodiscard]] Result<WatchEvent> parse_watch_event(std::string_view line);

inline constexpr size_t kMaxLine = 4u << 20;

// Bytes in, whole lines out. What follows the last line feed waits; reset() drops it, for half a line is no event.
class LineSplitter {
 public:
  // Calls `line(std::string_view)` for each complete, non-empty line until it returns false. Returns false when a line
  // is longer than kMaxLine: nothing more is then read until reset().
  template <class Line>
  bool feed(std::string_view bytes, Line line) {
    while (!bytes.empty()) {
      const size_t end = bytes.find('\n');
      const std::string_view part = bytes.substr(0, end);
      if (half_.size() + part.size() > kMaxLine) return false;
      if (end == std::string_view::npos) {
        half_.append(part);
        return true;
      }
      bytes.remove_prefix(end + 1);
      if (half_.empty()) {
        if (!part.empty() && !line(part)) return true;
        continue;
      }
      half_.append(part);
      const std::string whole = std::move(half_);
      half_.clear();
      if (!line(std::string_view(whole))) return true;
    }
    return true;
  }
  void reset() { half_ = std::string(); }
  [[nodiscard]] size_t held() const { return half_.size(); }

 private:
  std::string half_;
};

// Decimal resource versions are ordered (KEP-5504 makes that official; it has held since v1.0). Anything else is 0:
// unknown.
[[nodiscard]] uint64_t version_number(std::string_view resource_version);

}  // namespace sluice::kube
