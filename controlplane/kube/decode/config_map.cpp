// v1 ConfigMap (binaryData is not used by anything here), v1 Namespace (labels only).
#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {

void decode_kind(const JsonNode& object, store::ConfigMap& out) {
  out.loaded = object.has("data") || object.has("binaryData") || object.string("kind", 64) == "ConfigMap";
  out.data = object.string_map("data", kMaxItems, 4 << 20);
}

void decode_kind(const JsonNode&, store::Namespace&) {}

}  // namespace sluice::kube
