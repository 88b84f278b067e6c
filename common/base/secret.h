// Bytes that must never be printed: private keys, tokens. Prints as [redacted] through fmt and streams, wiped when
// destroyed. Read them with reveal(), a word to grep for.
#pragma once
#include <cstring>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sluice {

class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::string bytes) : bytes_(std::move(bytes)) {}
  SecretBytes(const SecretBytes&) = default;
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) { other.wipe(); }
  SecretBytes& operator=(const SecretBytes&) = default;
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
      wipe();
      bytes_ = std::move(other.bytes_);
      other.wipe();
    }
    return *this;
  }
  ~SecretBytes() { wipe(); }

  [[nodiscard]] std::string_view reveal() const { return bytes_; }
  [[nodiscard]] size_t size() const { return bytes_.size(); }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  bool operator==(const SecretBytes&) const = default;

 private:
  void wipe() {
    // explicit_bzero is not optimised away; the whole capacity may hold earlier bytes.
    bytes_.resize(bytes_.capacity());
    explicit_bzero(bytes_.data(), bytes_.size());
    bytes_.clear();
  }
  std::string bytes_;
};

inline std::ostream& operator<<(std::ostream& out, const SecretBytes&) { return out << "[redacted]"; }

}  // namespace sluice

template <>
struct fmt::formatter<sluice::SecretBytes> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const sluice::SecretBytes&, Context& ctx) const {
    return fmt::formatter<std::string_view>::format("[redacted]", ctx);
  }
};
