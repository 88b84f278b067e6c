// The batch of the client connections of one worker (dataplane/net/batch.h).
#pragma once
#include "dataplane/net/batch.h"

namespace sluice::worker {

class ClientConnection;
using OutputBatch = net::Batch<ClientConnection, 32 * 1024>;

}  // namespace sluice::worker
