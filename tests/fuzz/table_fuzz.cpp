// Parts of a state: any bytes are refused or can be read in full. First byte: which part. What verify accepts is
// walked: every string and every nested virtual host, as a worker would, so that a sanitizer sees what verify missed.
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "common/ir/route_table_generated.h"
#include "common/ir/verify.h"

namespace {
using namespace sluice;

// Unpacking visits every field of every table.
void walk(ir::PartKind kind, const uint8_t* data) {
  switch (kind) {
    case ir::PartKind::table: {
      const auto* table = flatbuffers::GetRoot<ir::RouteTable>(data);
      const std::unique_ptr<ir::RouteTableT> all(table->UnPack());
      if (table->hosts() == nullptr) return;
      for (const ir::VirtualHostRef* host : *table->hosts()) {
        // Workers copy a virtual host to aligned memory before they read it.
        const auto copy = std::make_unique<uint64_t[]>(host->data()->size() / 8 + 1);
        std::memcpy(copy.get(), host->data()->data(), host->data()->size());
        const std::unique_ptr<ir::VirtualHostT> content(flatbuffers::GetRoot<ir::VirtualHost>(copy.get())->UnPack());
      }
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
  const auto kind = static_cast<ir::PartKind>(data[0] % ir::kParts);
  // Exactly its size (malloc's alignment is that of a mapping for our purposes: 16), so that a sanitizer sees each byte
  // too far.
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[size - 1]);
  if (size > 1) std::memcpy(exact.get(), data + 1, size - 1);
  if (ir::verify_part(kind, std::as_bytes(std::span(exact.get(), size - 1)))) walk(kind, exact.get());
  return 0;
}
