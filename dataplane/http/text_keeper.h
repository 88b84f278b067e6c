// Moves texts that outlive their memory into one block of exactly their size. It is told of the same texts twice: the
// first time it counts, the second it copies and moves the views. Views of the same bytes share a copy.
#pragma once
#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace sluice::http {

class TextKeeper {
 public:
  // Counts.
  TextKeeper() = default;
  // Copies; `to` has room for what was counted.
  explicit TextKeeper(char* to) : to_(to) {}

  void keep(std::string_view& text) {
    if (text.empty()) {
      text = {};
      return;
    }
    for (size_t i = 0; i < known_; ++i) {
      if (from_[i].data() != text.data() || from_[i].size() != text.size()) continue;
      if (to_ != nullptr) text = {to_ + at_[i], text.size()};
      return;
    }
    if (known_ < kMost) {
      from_[known_] = text;
      at_[known_++] = size_;
    }
    if (to_ != nullptr) {
      std::memcpy(to_ + size_, text.data(), text.size());
      text = {to_ + size_, text.size()};
    }
    size_ += text.size();
  }
  [[nodiscard]] size_t size() const { return size_; }

 private:
  static constexpr size_t kMost = 16;  // that are compared
  std::array<std::string_view, kMost> from_;
  std::array<size_t, kMost> at_{};
  size_t known_ = 0, size_ = 0;
  char* to_ = nullptr;
};

}  // namespace sluice::http
