// Parts of a state and shards of a table: any bytes are refused or can be read in full. First byte: which part. What
// verify accepts is walked, every string and every nested virtual host, and a table is put to use as in a worker:
// routed with, its filters prepared. So a sanitizer sees what verify missed.
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/ir/route_table_generated.h"
#include "common/ir/verify.h"
#include "dataplane/filters/chain.h"
#include "dataplane/route/router.h"
#include "dataplane/route/virtual_host.h"

namespace {
using namespace sluice;

const filters::Environment& environment() {
  static shared::Buckets buckets =
      shared::Buckets::map(shared::Buckets::make(shared::Buckets::kMinKeys).value().get()).value();
  static const auto page = std::make_unique<shared::CounterPage>();
  static const filters::Environment environment{&buckets, page.get()};
  return environment;
}

// A request to each host and path that the table has (the first few).
void use(const ir::RouteTable& table) {
  constexpr size_t kFew = 8;
  route::Router router;
  router.apply(table);
  ChunkPool pool;
  Arena arena(pool);
  for (size_t i = 0; i < std::min<size_t>(table.hosts()->size(), kFew); ++i) {
    const ir::VirtualHostRef& ref = *table.hosts()->Get(static_cast<uint32_t>(i));
    const std::string_view name = ref.host()->string_view();
    http::RequestHead head(arena);
    const std::string host = name.starts_with('*') ? "x" + std::string(name.substr(1)) : std::string(name);
    head.host = host;
    head.method_name = "GET";
    head.path = "/";
    const route::VirtualHostPtr loaded = router.match(head).host;
    if (!loaded) continue;
    for (uint32_t r = 0; r < std::min<uint32_t>(loaded->size(), kFew); ++r) {
      const ir::Route& route = *loaded->route(r);
      if (route.path() != nullptr && route.path()->string_view().starts_with('/'))
        head.path = route.path()->string_view();
      std::vector<route::Candidate> explained;
      const route::Match match = router.match(head, &explained);
      const filters::RouteFilters filters(match.route != nullptr ? *match.route : route, environment());
      (void)filters.make(arena, {match.matched_prefix});
    }
  }
}

// Unpacking visits every field of every table.
void walk(ir::PartKind kind, const uint8_t* data) {
  switch (kind) {
    case ir::PartKind::table:
    case ir::PartKind::shard: {
      const auto* table = flatbuffers::GetRoot<ir::RouteTable>(data);
      // One shard alone: what it says of others is refused or not, but read.
      (void)ir::verify_shards(*table);
      const std::unique_ptr<ir::RouteTableT> all(table->UnPack());
      if (table->hosts() == nullptr) return;
      for (const ir::VirtualHostRef* host : *table->hosts()) {
        // Workers copy a virtual host to aligned memory before they read it.
        const auto copy = std::make_unique<uint64_t[]>(host->data()->size() / 8 + 1);
        std::memcpy(copy.get(), host->data()->data(), host->data()->size());
        const std::unique_ptr<ir::VirtualHostT> content(flatbuffers::GetRoot<ir::VirtualHost>(copy.get())->UnPack());
      }
      use(*table);
      return;
    }
    case ir::PartKind::endpoints: {
      const std::unique_ptr<ir::EndpointSetT> all(flatbuffers::GetRoot<ir::EndpointSet>(data)->UnPack());
      return;
    }
    case ir::PartKind::secrets: {
      const std::unique_ptr<ir::SecretSetT> all(flatbuffers::GetRoot<ir::SecretSet>(data)->UnPack());
      return;
    }
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto kind = static_cast<ir::PartKind>(data[0] % (ir::kParts + 1));
  // Exactly its size (malloc's alignment is that of a mapping for our purposes: 16), so that a sanitizer sees each byte
  // too far.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[size - 1]);
  if (size > 1) std::memcpy(exact.get(), data + 1, size - 1);
  if (ir::verify_part(kind, std::as_bytes(std::span(exact.get(), size - 1)))) walk(kind, exact.get());
  return 0;
}
