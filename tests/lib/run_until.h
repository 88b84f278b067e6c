// Runs an io_context until something has happened. For tests; the patience is there so that a hang becomes a failure.
#pragma once
#include <chrono>

#include "common/base/asio.h"

namespace sluice::testkit {

template <class Done>
bool run_until(boost::asio::io_context& io, Done done, std::chrono::milliseconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  const auto work = boost::asio::make_work_guard(io);  // else run_for returns at once when nothing waits
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    io.restart();
    io.run_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace sluice::testkit
