#include "controlplane/kube/decode/decode.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <simdjson.h>

#include "controlplane/kube/decode/kinds.h"

namespace sluice::kube {
namespace {

constexpr size_t kMaxObject = 4 << 20;

struct KindInfo {
  std::string_view group, version, kind;
  bool namespaced;
};
// In the order of store::Kind.
constexpr std::array<KindInfo, store::kKinds> kKindInfo = {{
    {"networking.k8s.io", "v1", "Ingress", true},
    {"networking.k8s.io", "v1", "IngressClass", false},
    {"", "v1", "Service", true},
    {"discovery.k8s.io", "v1", "EndpointSlice", true},
    {"", "v1", "Secret", true},
    {"", "v1", "ConfigMap", true},
    {"", "v1", "Namespace", false},
    {"sluice.dev", "v1alpha1", "Route", true},
    {"sluice.dev", "v1alpha1", "RateLimitPolicy", true},
}};

template <class T>
void decode_typed(const JsonNode& node, const store::Meta& meta, std::optional<store::Object>& out) {
  T typed;
  typed.meta = meta;
  decode_kind(node, typed);
  DecodeContext& context = node.context();
  if (context.dropped > 0)
    context.problems.back().text += fmt::format("; and {} more problems of this object", context.dropped);
  if (context.failed) return;
  typed.meta.flaws.reserve(context.problems.size());
  for (store::Problem& problem : context.problems) {
    typed.meta.flaws.push_back(
        {std::move(problem.field), std::move(problem.text), problem.severity == store::Severity::warning});
  }
  context.problems.clear();
  out.emplace(std::move(typed));
}

void decode_object(const JsonNode& node, store::Kind kind, const store::Meta& meta, std::optional<store::Object>& out) {
  switch (kind) {
    case store::Kind::ingress:
      return decode_typed<store::Ingress>(node, meta, out);
    case store::Kind::ingress_class:
      return decode_typed<store::IngressClass>(node, meta, out);
    case store::Kind::service:
      return decode_typed<store::Service>(node, meta, out);
    case store::Kind::endpoint_slice:
      return decode_typed<store::EndpointSlice>(node, meta, out);
    case store::Kind::secret:
      return decode_typed<store::Secret>(node, meta, out);
    case store::Kind::config_map:
      return decode_typed<store::ConfigMap>(node, meta, out);
    case store::Kind::namespace_:
      return decode_typed<store::Namespace>(node, meta, out);
    case store::Kind::route:
      return decode_typed<store::Route>(node, meta, out);
    case store::Kind::rate_limit_policy:
      return decode_typed<store::RateLimitPolicy>(node, meta, out);
  }
}

Decoded decode_known(store::Kind kind, simdjson::dom::object object) {
  Decoded out;
  DecodeContext context;
  context.ref.kind = kind;
  const FieldPath root;
  const JsonNode node(context, object, root);
  store::Meta meta;
  decode_meta(node, kKindInfo[static_cast<size_t>(kind)].namespaced, meta);
  context.ref.key = meta.key();
  for (auto& problem : context.problems) problem.object = context.ref;
  if (!meta.name.empty()) out.ref = context.ref;
  decode_object(node, kind, meta, out.object);
  out.problems = std::move(context.problems);
  return out;
}

// One parser per thread: its buffers are reused from object to object. Texts are copied into it, because it needs
// padding behind them.
Result<simdjson::dom::object> parse(simdjson::dom::parser& parser, std::string_view json) {
  if (json.size() > kMaxObject) return fail("the object has {} bytes, at most {} are allowed", json.size(), kMaxObject);
  simdjson::dom::element root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root); error != simdjson::SUCCESS) {
    return fail("not JSON: {}", simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) return fail("not a JSON object");
  return object;
}

simdjson::dom::parser& shared_parser() {
  thread_local simdjson::dom::parser parser;
  return parser;
}

// Objects of a group that has ours under another version get told which one is read; all else is simply not ours.
bool other_version_of(const KindInfo& info, std::string_view group) {
  return group == info.group || (info.kind == "Ingress" && group == "extensions");
}

}  // namespace

Result<Decoded> decode(std::string_view json) {
  auto object = parse(shared_parser(), json);
  if (!object) return std::unexpected(object.error());
  std::string_view api_version, kind;
  if (object->at_key("kind").get(kind) != simdjson::SUCCESS || kind.empty()) return fail("the object has no kind");
  if (object->at_key("apiVersion").get(api_version) != simdjson::SUCCESS)
    return fail("the {} has no apiVersion", kind.substr(0, 64));
  const size_t slash = api_version.find('/');
  const std::string_view group = slash == std::string_view::npos ? std::string_view{} : api_version.substr(0, slash);
  const std::string_view version = slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
  for (size_t i = 0; i < kKindInfo.size(); ++i) {
    const KindInfo& info = kKindInfo[i];
    if (kind != info.kind) continue;
    if (group == info.group && version == info.version) return decode_known(static_cast<store::Kind>(i), *object);
    if (!other_version_of(info, group)) break;
    Decoded out = decode_known(static_cast<store::Kind>(i), *object);
    out.object.reset();
    out.problems.clear();
    const store::ObjectRef ref = out.ref.value_or(store::ObjectRef{static_cast<store::Kind>(i), {}});
    out.problems.push_back({ref, "apiVersion", "UnsupportedVersion", store::Severity::error,
                            fmt::format("{} is not served; use {}{}{}", api_version.substr(0, 64), info.group,
                                        info.group.empty() ? "" : "/", info.version)});
    return out;
  }
  Decoded out;
  out.foreign = true;
  const auto lists = [&](const KindInfo& info) { return kind.substr(0, kind.size() - 4) == info.kind; };
  out.list = kind == "List" || (kind.ends_with("List") && std::ranges::any_of(kKindInfo, lists));
  return out;
}

Result<Decoded> decode_as(store::Kind kind, std::string_view json) {
  auto object = parse(shared_parser(), json);
  if (!object) return std::unexpected(object.error());
  return decode_known(kind, *object);
}

}  // namespace sluice::kube
