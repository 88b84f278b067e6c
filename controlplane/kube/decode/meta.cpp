#include "controlplane/kube/decode/kinds.h"

#include <fmt/format.h>

namespace sluice::kube {

// `namespace` is absent only in files: kubectl would put such an object into "default", and so do we.
void decode_meta(const JsonNode& object, bool namespaced, store::Meta& out) {
  object.object(
      "metadata",
      [&](const JsonNode& meta) {
        out.name = meta.string("name", kMaxName, Need::required);
        if (!out.name.empty() && !is_dns_subdomain(out.name))
          meta.error("name", "must be a DNS subdomain: lower case letters, digits, '-' and '.'");
        if (namespaced) {
          out.ns = meta.string("namespace", 63, Need::optional, "default");
          if (!is_dns_label(out.ns)) meta.error("namespace", "must be a DNS label: lower case letters, digits and '-'");
        }
        out.uid = meta.string("uid", 128);
        out.resource_version = meta.string("resourceVersion", 256);
        out.generation = meta.integer("generation", 0, INT64_MAX, 0);
        if (const std::string time = meta.string("creationTimestamp", 64); !time.empty()) {
          if (const auto seconds = parse_rfc3339(time)) out.creation = *seconds;
          else
            meta.warning("creationTimestamp",
                         fmt::format("\"{}\" is no RFC 3339 time; the object counts as the youngest", time));
        }
        out.labels = meta.string_map("labels", kMaxItems, kMaxAnnotations);
        out.annotations = meta.string_map("annotations", kMaxItems, 2 * kMaxAnnotations, store::kUnreadable);
        // A second copy of the whole object that nobody here reads.
        out.annotations.erase("kubectl.kubernetes.io/last-applied-configuration");
      },
      Need::required);
}

}  // namespace sluice::kube
