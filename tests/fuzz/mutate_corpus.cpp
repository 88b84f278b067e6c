// Seeded mutations of a corpus, for targets that this distribution's clang cannot build (it has no std::expected, so no
// libFuzzer): flips, sets, copies, cuts and grows. Arguments: folder, number of inputs. SLUICE_MUTATE_RUNS and
// SLUICE_MUTATE_SEED override: a failure is found again by its seed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {
using Bytes = std::vector<uint8_t>;

void mutate(Bytes& bytes, std::mt19937_64& random) {
  static constexpr uint8_t kInteresting[] = {0, 1, 2, 3, 4, 7, 8, 0x10, 0x20, 0x7f, 0x80, 0xfc, 0xfe, 0xff};
  const size_t changes = 1 + random() % 6;
  for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
    const size_t at = random() % bytes.size();
    switch (random() % 7) {
      case 0:
        bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
        break;
      case 1:
        bytes[at] = kInteresting[random() % std::size(kInteresting)];
        break;
      case 2:
        bytes[at] = static_cast<uint8_t>(random());
        break;
      case 3: {  // a 32-bit number: offsets and lengths
        const uint32_t value = static_cast<uint32_t>(random() % 3 == 0 ? random() : random() % (2 * bytes.size()));
        for (size_t k = 0; k < 4 && (at & ~size_t{3}) + k < bytes.size(); ++k)
          bytes[(at & ~size_t{3}) + k] = static_cast<uint8_t>(value >> 8 * k);
        break;
      }
      case 4: {  // a piece over another
        const size_t from = random() % bytes.size(),
                     count = std::min({random() % 32, bytes.size() - from, bytes.size() - at});
        std::copy_n(
            Bytes(bytes.begin() + static_cast<long>(from), bytes.begin() + static_cast<long>(from + count)).begin(),
            count, bytes.begin() + static_cast<long>(at));
        break;
      }
      case 5:
        if (random() % 8 == 0) bytes.resize(at);
        break;
      default:
        if (random() % 8 == 0)
          bytes.insert(bytes.begin() + static_cast<long>(at), 1 + random() % 16, static_cast<uint8_t>(random()));
        break;
    }
  }
}

uint64_t number(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1])) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Bytes> corpus;
  for (const auto& path : files) {
    std::ifstream in(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    Bytes exact = corpus.back();
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  if (corpus.empty()) return 1;
  const uint64_t runs = number("SLUICE_MUTATE_RUNS", std::strtoull(argv[2], nullptr, 10)),
                 seed = number("SLUICE_MUTATE_SEED", 1);
  std::mt19937_64 random(seed);
  for (uint64_t i = 0; i < runs; ++i) {
    Bytes bytes = corpus[random() % corpus.size()];
    mutate(bytes, random);
    bytes.shrink_to_fit();
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%zu files, %llu mutations, seed %llu\n", corpus.size(), static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(seed));
  return 0;
}
