// The corpus as an ordinary test: LLVMFuzzerTestOneInput on each file of the folders given. Fails (aborts) as the
// fuzzer would. --mutate N: then N mutations of them, always the same ones (drill push-frames).
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {
using Bytes = std::vector<uint8_t>;

// One of the inputs with a few changes: bits, bytes, lengths all ones or zero, cut, grown, or the end of another one.
Bytes mutated(const std::vector<Bytes>& inputs, std::mt19937_64& random) {
  Bytes out = inputs[random() % inputs.size()];
  for (size_t changes = 1 + random() % 4; changes > 0 && !out.empty(); --changes) {
    const size_t at = random() % out.size();
    switch (random() % 7) {
      case 0:
        out[at] ^= static_cast<uint8_t>(1u << random() % 8);
        break;
      case 1:
        out[at] = static_cast<uint8_t>(random());
        break;
      case 2:
        std::fill_n(out.begin() + static_cast<long>(at), std::min<size_t>(8, out.size() - at), 0xff);
        break;
      case 3:
        std::fill_n(out.begin() + static_cast<long>(at), std::min<size_t>(8, out.size() - at), 0);
        break;
      case 4:
        out.resize(at);
        break;
      case 5:
        out.insert(out.end(), 1 + random() % 64, static_cast<uint8_t>(random()));
        break;
      default: {
        const Bytes& other = inputs[random() % inputs.size()];
        out.resize(at);
        if (at < other.size()) out.insert(out.end(), other.begin() + static_cast<long>(at), other.end());
      }
    }
  }
  out.shrink_to_fit();
  return out;
}
}  // namespace

int main(int argc, char** argv) {
  size_t count = 0;
  long mutations = 0;
  std::vector<Bytes> inputs;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--mutate") == 0 && i + 1 < argc) {
      mutations = std::atol(argv[++i]);
      continue;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::vector<char> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
      // Named first, so that an abort tells which.
      std::printf("%s\n", entry.path().c_str());
      std::fflush(stdout);
      // Exactly its size: a sanitizer sees each byte too far.
      std::vector<uint8_t> exact(bytes.begin(), bytes.end());
      exact.shrink_to_fit();
      LLVMFuzzerTestOneInput(exact.data(), exact.size());
      if (mutations > 0) inputs.push_back(std::move(exact));
      ++count;
    }
  }
  std::printf("%zu inputs\n", count);
  std::mt19937_64 random(7);
  for (long i = 0; i < mutations && !inputs.empty(); ++i) {
    const Bytes input = mutated(inputs, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  if (mutations > 0) std::printf("%ld mutations of them\n", mutations);
  return count == 0 ? 1 : 0;
}
