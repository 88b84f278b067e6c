// Ours against llhttp (h1_differential.h). First byte: bit 0 an answer, bit 1 to HEAD.
#include <cstdint>

#include "tests/fuzz/h1_differential.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::http;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string why = (data[0] & 1) != 0
                              ? h1::fuzz::differ_response(input, (data[0] & 2) != 0 ? Method::head : Method::get)
                              : h1::fuzz::differ_request(input);
  if (!why.empty()) h1::fuzz::require(false, why.c_str());
  return 0;
}
