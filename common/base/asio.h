// The one place that includes Asio: <utility> first (Boost 1.74's awaitable.hpp uses std::exchange without it).
// Control plane, agent and tools only. Workers have their own reactor (docs/decisions/0002), master a poll loop.
// g++ 12 destroys a capturing lambda written inside a co_await expression twice (asio issue 858): name it first.
#pragma once
#include <utility>

#include <boost/asio.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
