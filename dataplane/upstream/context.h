// What all connections of one worker share. Owned by Upstreams; outlives every connection.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/http/h1/codec.h"
#include "dataplane/net/reactor.h"
#include "dataplane/upstream/batch.h"
#include "dataplane/upstream/connector.h"
#include "dataplane/upstream/idle_pool.h"
#include "dataplane/upstream/upstream.h"

namespace sluice::upstream {

class Connection;
class Exchange;
class Multiplexed;

struct Context {
  static constexpr size_t kReadBuffer = 128 * 1024;

  explicit Context(net::Reactor& on, std::unique_ptr<Connector> by) : reactor(on), connector(std::move(by)), idle(on) {}
  net::Reactor& reactor;
  std::unique_ptr<Connector> connector;
  http::h1::Limits limits;  // of answers
  Batch batch;
  std::unique_ptr<char[]> read_buffer = std::make_unique_for_overwrite<char[]>(kReadBuffer);
  bool reading = false;           // read_buffer holds bytes that events point into
  size_t active = 0;              // exchanges
  std::vector<Connection*> free;  // connection objects to be used again
  std::vector<Multiplexed*> free_multiplexed;
  std::vector<Exchange*> free_exchanges;
  Http2Limits http2;
  IdlePool idle;
};

}  // namespace sluice::upstream
