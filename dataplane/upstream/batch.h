// The batch of the upstream connections of one worker (dataplane/net/batch.h).
#pragma once
#include "dataplane/net/batch.h"

namespace sluice::upstream {

class Connection;
using Batch = net::Batch<Connection, 64 * 1024>;

}  // namespace sluice::upstream
