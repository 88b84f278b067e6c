// Which objects the files of a folder hold, and what changes when a file does. No I/O: texts in, store changes out. The
// cost of a change is that of the documents that differ: the others are known by their hash, so a file of 10,000
// objects may be written again for one of them.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/ir/push_frame.h"
#include "controlplane/kube/decode/decode.h"
#include "controlplane/store/change.h"

namespace sluice::source {

// One object of a file, decoded once.
struct ManifestItem {
  ir::ContentHash hash;  // of its JSON
  size_t line = 0;       // of its document; 0 in JSON files
  kube::Decoded decoded;
};
using ManifestItems = std::vector<std::shared_ptr<const ManifestItem>>;
struct Piece;

class ManifestSet {
 public:
  // A file's new content. On Error the file keeps what it had; the error names the line. `notes`: what a person should
  // know beside that.
  [[nodiscard]] Result<std::vector<store::Change>> put(const std::string& file, std::string_view text,
                                                       std::vector<std::string>& notes);
  [[nodiscard]] std::vector<store::Change> drop(const std::string& file);
  [[nodiscard]] bool contains(const std::string& file) const { return files_.contains(file); }
  [[nodiscard]] bool holds_objects(const std::string& file) const;
  [[nodiscard]] size_t size() const { return files_.size(); }
  [[nodiscard]] std::vector<std::string> names() const;
  // What has been done so far; texts that were known by their hash are not in it.
  struct Work {
    size_t files = 0, documents = 0, objects = 0;  // taken apart, parsed, decoded
  };
  [[nodiscard]] const Work& work() const { return work_; }

 private:
  using Known = std::map<std::pair<uint64_t, uint64_t>, std::shared_ptr<const ManifestItem>>;  // by hash
  struct HashLess {
    bool operator()(const ir::ContentHash& a, const ir::ContentHash& b) const {
      return a.high != b.high ? a.high < b.high : a.low < b.low;
    }
  };
  struct File {
    ir::ContentHash text;                                       // of the whole
    std::map<ir::ContentHash, ManifestItems, HashLess> pieces;  // by the hash of a document's text
    std::map<store::ObjectRef, std::shared_ptr<const ManifestItem>> objects;
  };
  // Who says what of an object, by file name: the first one counts. `told`: what the store has.
  struct Claims {
    std::map<std::string, std::shared_ptr<const ManifestItem>> by_file;
    std::shared_ptr<const ManifestItem> told;
  };
  Status take_json(std::string_view json, size_t line, const Known& known, ManifestItems& out, bool in_list = false);
  Result<ManifestItems> read_yaml(const Piece& piece, const Known& known);
  void settle(const store::ObjectRef& ref, std::vector<store::Change>& changes);
  Work work_;
  std::map<std::string, File> files_;
  std::map<store::ObjectRef, Claims> claims_;
};

}  // namespace sluice::source
