// The answers on a connection, ours against llhttp (h1_differential.h). First byte: the requests' methods. Its corpus
// is h1_response's.
#include <cstdint>

#include "tests/fuzz/h1_differential.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http::h1::fuzz;
  if (size == 0) return 0;
  Tally tally;
  const std::string why = differ_responses({reinterpret_cast<const char*>(data) + 1, size - 1}, data[0], tally);
  require(why.empty(), why.c_str());
  return 0;
}
