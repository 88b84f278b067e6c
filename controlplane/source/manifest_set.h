// Which objects the files of a folder hold, and what changes when a file does. No I/O: texts in, store changes out.
#pragma once
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "controlplane/kube/decode/decode.h"
#include "controlplane/store/change.h"

namespace sluice::source {

// The objects of one text. An Error = nothing of it can be used.
[[nodiscard]] Result<std::vector<kube::Decoded>> parse_manifest(std::string_view text, bool json);

class ManifestSet {
 public:
  // A file's new content. On Error the file keeps what it had.
  [[nodiscard]] Result<std::vector<store::Change>> put(const std::string& file, std::string_view text);
  [[nodiscard]] std::vector<store::Change> drop(const std::string& file);
  [[nodiscard]] const std::map<std::string, std::set<store::ObjectRef>>& files() const { return files_; }

 private:
  void settle(const store::ObjectRef& ref, std::vector<store::Change>& changes);
  // Who says what of an object, by file name: the first one counts.
  std::map<store::ObjectRef, std::map<std::string, kube::Decoded>> claims_;
  std::map<std::string, std::set<store::ObjectRef>> files_;
};

}  // namespace sluice::source
