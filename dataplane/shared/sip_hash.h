// SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012): a hash that nobody without its key can
// find collisions of. A value: the state after a common beginning may be kept and copied for each of its ends. Input is
// whole words; texts are framed, so that different sequences of words and texts are different inputs.
#pragma once
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sluice::shared {

class SipHash {
 public:
  SipHash() : SipHash(0, 0) {}
  SipHash(uint64_t key0, uint64_t key1)
      : v0_(key0 ^ 0x736f6d6570736575),
        v1_(key1 ^ 0x646f72616e646f6d),
        v2_(key0 ^ 0x6c7967656e657261),
        v3_(key1 ^ 0x7465646279746573) {}

  void word(uint64_t m) {
    v3_ ^= m;
    round();
    round();
    v0_ ^= m;
    words_ += 1;
  }
  // Its length, then its bytes, filled up with zeros.
  void text(std::string_view text) {
    static_assert(std::endian::native == std::endian::little);
    word(text.size());
    for (; text.size() >= 8; text.remove_prefix(8)) word(load(text.data(), 8));
    if (!text.empty()) word(load(text.data(), text.size()));
  }
  // The function of the paper over what was given.
  [[nodiscard]] uint64_t finish() const { return finish({}); }
  // ... and over `rest` behind it, shorter than a word.
  [[nodiscard]] uint64_t finish(std::string_view rest) const {
    SipHash end = *this;
    end.word((rest.empty() ? 0 : load(rest.data(), rest.size())) | (words_ * 8 + rest.size()) << 56);
    end.v2_ ^= 0xff;
    for (int i = 0; i < 4; ++i) end.round();
    return end.v0_ ^ end.v1_ ^ end.v2_ ^ end.v3_;
  }

 private:
  static uint64_t load(const char* from, size_t size) {
    uint64_t value = 0;
    std::memcpy(&value, from, size);
    return value;
  }
  void round() {
    v0_ += v1_;
    v2_ += v3_;
    v1_ = std::rotl(v1_, 13) ^ v0_;
    v3_ = std::rotl(v3_, 16) ^ v2_;
    v0_ = std::rotl(v0_, 32);
    v2_ += v1_;
    v0_ += v3_;
    v1_ = std::rotl(v1_, 17) ^ v2_;
    v3_ = std::rotl(v3_, 21) ^ v0_;
    v2_ = std::rotl(v2_, 32);
  }
  uint64_t v0_, v1_, v2_, v3_;
  uint64_t words_ = 0;
};

}  // namespace sluice::shared
