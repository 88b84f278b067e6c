// v1 Secret: a whole one, or only its metadata (PartialObjectMetadata of a metadata watch), which has neither type nor
// data.
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {

void decode_kind(const JsonNode& object, store::Secret& out) {
  out.type = object.string("type", kMaxName);
  out.loaded =
      object.has("type") || object.has("data") || object.has("stringData") || object.string("kind", 64) == "Secret";
  for (auto& [name, value] : object.string_map("data", kMaxItems, 4 << 20)) {
    auto bytes = parse_base64(value);
    if (bytes) out.data.insert_or_assign(name, SecretBytes(std::move(*bytes)));
    else object.flaw("data." + name, "is not base64");
  }
  // Write-only in the API server, which folds it into data; files may still hold it. It wins over data.
  for (auto& [name, value] : object.string_map("stringData", kMaxItems, 4 << 20))
    out.data.insert_or_assign(name, SecretBytes(value));
}

}  // namespace sluice::kube
