// The corpus as an ordinary test: LLVMFuzzerTestOneInput on each file of the folders given. Fails (aborts) as the
// fuzzer would.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  size_t count = 0;
  for (int i = 1; i < argc; ++i) {
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
      ++count;
    }
  }
  std::printf("%zu inputs\n", count);
  return count == 0 ? 1 : 0;
}
