// A virtual host's nested buffer. The same as flatbuffers' own Pack, but for texts that nearly every route of a host
// repeats (who decided, metric label, class, cluster) and for equal backends and upgrades of neighbours: they are
// written once a buffer, which makes tables of many routes a good deal smaller. Internal to this room.
#pragma once
#include <flatbuffers/flatbuffers.h>

#include "common/ir/route_table_generated.h"

namespace sluice::compile {

[[nodiscard]] flatbuffers::Offset<ir::VirtualHost> pack_host(flatbuffers::FlatBufferBuilder& builder,
                                                             const ir::VirtualHostT& host);

}  // namespace sluice::compile
