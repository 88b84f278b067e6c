// Remembers how far a head that comes in pieces was looked at, so that one sent byte by byte costs linear time: each
// byte is scanned once, each line checked once when it is whole, and the head taken apart once when its empty line is
// there. Belongs to one reader.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sluice::http::h1 {

struct HeadScan {
  size_t line = 0;          // start of the first line that is not whole
  size_t seen = 0;          // bytes scanned
  size_t fields_start = 0;  // behind the start line; 0 = it is not whole
  bool started = false;     // a first, whole attempt was made
};

}  // namespace sluice::http::h1
