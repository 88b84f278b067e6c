#include "controlplane/source/manifest_set.h"

#include <span>

#include "controlplane/source/yaml_json.h"

namespace sluice::source {
namespace {

constexpr size_t kLargestObject = 4 << 20;  // decode's bound: what is larger can only be a List

ir::ContentHash hash_of(std::string_view text) {
  return ir::content_hash(std::as_bytes(std::span(text.data(), text.size())));
}

std::string name_of(const store::ObjectRef& ref) {
  return fmt::format("{} {}{}{}", store::kind_name(ref.kind), ref.key.ns, ref.key.ns.empty() ? "" : "/", ref.key.name);
}

std::string place(const std::string& file, const ManifestItem& item) {
  return item.line == 0 ? file : fmt::format("{}:{}", file, item.line);
}

// What is wrong with an object, whether it decoded or not, with its place: only here the file is known.
void note_problems(const std::string& file, const ManifestItem& item, std::vector<std::string>& notes) {
  const auto note = [&](const store::ObjectRef& object, const std::string& field, const std::string& text) {
    notes.push_back(
        fmt::format("{}: {}: {}{}{}", place(file, item), name_of(object), field, field.empty() ? "" : ": ", text));
  };
  for (const store::Problem& problem : item.decoded.problems) note(problem.object, problem.field, problem.text);
  if (!item.decoded.object) return;
  for (const store::Flaw& flaw : store::meta_of(*item.decoded.object).flaws)
    note(store::ref_of(*item.decoded.object), flaw.field, flaw.text);
}

}  // namespace

// One JSON text: an object, or a List of them.
Status ManifestSet::take_json(std::string_view json, size_t line, const Known& known, ManifestItems& out,
                              bool in_list) {
  const ir::ContentHash hash = hash_of(json);
  if (const auto found = known.find({hash.high, hash.low}); found != known.end()) {
    out.push_back(found->second);
    return {};
  }
  ++work_.objects;
  auto decoded = kube::decode(json);
  const bool large = json.size() > kLargestObject;
  if (decoded && !decoded->list) {
    if (!decoded->foreign) out.push_back(std::make_shared<ManifestItem>(ManifestItem{hash, line, std::move(*decoded)}));
    return {};
  }
  if (!decoded && !large) return std::unexpected(decoded.error());
  if (in_list && large) return fail("an object is larger than {} bytes", kLargestObject);
  if (in_list) return fail("a List inside a List");
  const auto list = kube::decode_list(json);
  if (!list) return std::unexpected(list.error());
  for (size_t i = 0; i < list->items.size(); ++i) {
    if (auto status = take_json(list->items[i], line, known, out, true); !status)
      return fail("items[{}]: {}", i, status.error().message);
  }
  return {};
}

Result<ManifestItems> ManifestSet::read_yaml(const Piece& piece, const Known& known) {
  ++work_.documents;
  const auto documents = yaml_to_json(piece.text, size_t{64} << 20, piece.line);
  if (!documents) return std::unexpected(documents.error());
  ManifestItems items;
  for (const JsonDocument& document : *documents) {
    if (auto status = take_json(document.json, document.line, known, items); !status)
      return fail("line {}: {}", document.line, status.error().message);
  }
  return items;
}

Result<std::vector<store::Change>> ManifestSet::put(const std::string& file, std::string_view text,
                                                    std::vector<std::string>& notes) {
  File next;
  next.text = hash_of(text);
  const auto found = files_.find(file);
  if (found != files_.end() && found->second.text == next.text) return std::vector<store::Change>{};
  ++work_.files;
  Known known;
  if (found != files_.end()) {
    for (const auto& [ref, item] : found->second.objects)
      known.emplace(std::pair{item->hash.high, item->hash.low}, item);
  }
  const bool json = file.ends_with(".json");
  std::vector<Piece> pieces;
  if (json) pieces.push_back({1, text});
  else pieces = split_documents(text);
  std::vector<const ManifestItems*> in_order;
  for (const Piece& piece : pieces) {
    const ir::ContentHash hash = hash_of(piece.text);
    ManifestItems items;
    if (found != files_.end() && found->second.pieces.contains(hash)) {
      items = found->second.pieces.at(hash);
    } else if (ManifestItems whole; json && take_json(text, 0, known, whole)) {
      items = std::move(whole);
    } else {
      // What is no single JSON text may still be several documents, or tells where it is broken.
      auto read = read_yaml(piece, known);
      if (!read) return std::unexpected(read.error());
      items = std::move(*read);
    }
    in_order.push_back(&next.pieces.insert_or_assign(hash, std::move(items)).first->second);
  }
  for (const ManifestItems* items : in_order) {
    for (const auto& item : *items) {
      const bool is_known = known.contains({item->hash.high, item->hash.low});
      if (!is_known) note_problems(file, *item, notes);
      if (!item->decoded.ref) continue;
      const auto [entry, first] = next.objects.emplace(*item->decoded.ref, item);
      if (!first && entry->second != item)
        notes.push_back(fmt::format("{}: {} is in this file already; the first one counts", place(file, *item),
                                    name_of(entry->first)));
    }
  }
  std::vector<store::Change> changes;
  File& mine = files_[file];
  std::swap(mine, next);  // `next` is what it was
  for (const auto& [ref, item] : next.objects) {
    if (mine.objects.contains(ref)) continue;
    claims_[ref].by_file.erase(file);
    settle(ref, changes);
  }
  for (const auto& [ref, item] : mine.objects) {
    Claims& claims = claims_[ref];
    const bool is_new = claims.by_file.insert_or_assign(file, item).second;
    if (is_new && claims.by_file.size() > 1) {
      const auto& [winner, counts] = *claims.by_file.begin();
      notes.push_back(fmt::format("{}: {} is in {} too; that of {} counts", place(file, *item), name_of(ref),
                                  winner == file ? std::next(claims.by_file.begin())->first : winner, winner));
    }
    settle(ref, changes);
  }
  return changes;
}

std::vector<store::Change> ManifestSet::drop(const std::string& file) {
  std::vector<store::Change> changes;
  const auto found = files_.find(file);
  if (found == files_.end()) return changes;
  for (const auto& [ref, item] : found->second.objects) {
    claims_[ref].by_file.erase(file);
    settle(ref, changes);
  }
  files_.erase(found);
  return changes;
}

// Tells the store only what it does not have already.
void ManifestSet::settle(const store::ObjectRef& ref, std::vector<store::Change>& changes) {
  Claims& claims = claims_[ref];
  if (claims.by_file.empty()) {
    if (claims.told != nullptr) changes.emplace_back(store::Delete{ref});
    claims_.erase(ref);
    return;
  }
  const auto& item = claims.by_file.begin()->second;
  if (claims.told == item) return;
  claims.told = item;
  if (item->decoded.object) changes.emplace_back(store::Upsert{*item->decoded.object});
  else changes.emplace_back(store::Undecodable{ref, item->decoded.problems});
}

bool ManifestSet::holds_objects(const std::string& file) const {
  const auto found = files_.find(file);
  return found != files_.end() && !found->second.objects.empty();
}

std::vector<std::string> ManifestSet::names() const {
  std::vector<std::string> out;
  out.reserve(files_.size());
  for (const auto& [name, file] : files_) out.push_back(name);
  return out;
}

}  // namespace sluice::source
