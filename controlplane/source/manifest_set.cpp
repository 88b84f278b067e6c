#include "controlplane/source/manifest_set.h"

#include "common/base/log.h"
#include "controlplane/source/yaml_json.h"

namespace sluice::source {
namespace {

std::string name_of(const store::ObjectRef& ref) { return fmt::format("{} {}/{}", store::kind_name(ref.kind), ref.key.ns, ref.key.name); }

// One JSON text: an object or a List of objects.
Status take_json(std::string_view json, std::vector<kube::Decoded>& out) {
  if (const auto list = kube::decode_list(json)) {
    for (const std::string_view item : list->items) {
      if (auto status = take_json(item, out); !status) return status;
    }
    return {};
  }
  auto decoded = kube::decode(json);
  if (!decoded) return std::unexpected(decoded.error());
  if (!decoded->foreign) out.push_back(std::move(*decoded));
  return {};
}

}  // namespace

Result<std::vector<kube::Decoded>> parse_manifest(std::string_view text, bool json) {
  std::vector<kube::Decoded> out;
  if (json) {
    if (auto status = take_json(text, out); !status) return std::unexpected(status.error());
    return out;
  }
  const auto documents = yaml_to_json(text);
  if (!documents) return std::unexpected(documents.error());
  for (const JsonDocument& document : *documents) {
    if (auto status = take_json(document.json, out); !status) return fail("the document at line {}: {}", document.line, status.error().message);
  }
  return out;
}

Result<std::vector<store::Change>> ManifestSet::put(const std::string& file, std::string_view text) {
  auto parsed = parse_manifest(text, file.ends_with(".json"));
  if (!parsed) return std::unexpected(parsed.error());
  std::set<store::ObjectRef> now;
  for (kube::Decoded& decoded : *parsed) {
    for (const store::Problem& problem : decoded.problems) {
      log::warning("manifest", {{"file", file}, {"object", name_of(problem.object)}, {"field", problem.field}, {"problem", problem.text}});
    }
    if (!decoded.ref) continue;
    if (!now.insert(*decoded.ref).second) {
      log::warning("the object is twice in one file; the first counts", {{"file", file}, {"object", name_of(*decoded.ref)}});
      continue;
    }
    const store::ObjectRef ref = *decoded.ref;
    claims_[ref].insert_or_assign(file, std::move(decoded));
  }
  std::vector<store::Change> changes;
  std::set<store::ObjectRef>& before = files_[file];
  for (const store::ObjectRef& ref : before) {
    if (now.contains(ref)) continue;
    claims_[ref].erase(file);
    settle(ref, changes);
  }
  for (const store::ObjectRef& ref : now) settle(ref, changes);
  before = std::move(now);
  return changes;
}

std::vector<store::Change> ManifestSet::drop(const std::string& file) {
  std::vector<store::Change> changes;
  const auto found = files_.find(file);
  if (found == files_.end()) return changes;
  for (const store::ObjectRef& ref : found->second) {
    claims_[ref].erase(file);
    settle(ref, changes);
  }
  files_.erase(found);
  return changes;
}

void ManifestSet::settle(const store::ObjectRef& ref, std::vector<store::Change>& changes) {
  const auto found = claims_.find(ref);
  if (found == claims_.end() || found->second.empty()) {
    if (found != claims_.end()) claims_.erase(found);
    changes.emplace_back(store::Delete{ref});
    return;
  }
  const auto& claims = found->second;
  const auto& [file, decoded] = *claims.begin();
  for (auto other = std::next(claims.begin()); other != claims.end(); ++other) {
    log::warning("the object is in two files; the first file by name counts", {{"object", name_of(ref)}, {"file", file}, {"ignored", other->first}});
  }
  if (decoded.object) changes.emplace_back(store::Upsert{*decoded.object});
  else changes.emplace_back(store::Undecodable{ref, decoded.problems});
}

}  // namespace sluice::source
