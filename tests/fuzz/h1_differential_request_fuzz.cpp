// The requests of a connection, ours against llhttp (h1_differential.h). Its corpus is h1_request's.
#include <cstdint>

#include "tests/fuzz/h1_differential.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http::h1::fuzz;
  Tally tally;
  const std::string why = differ_requests({reinterpret_cast<const char*>(data), size}, tally);
  require(why.empty(), why.c_str());
  return 0;
}
