// What control plane targets share: objects to refer to, and that what comes of any objects is a state that the data
// plane accepts.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "common/ir/verify.h"
#include "controlplane/compile/compile.h"
#include "controlplane/source/manifest_set.h"
#include "controlplane/store/store.h"
#include "controlplane/translate/translate.h"

namespace sluice::fuzz {

// Few hosts are enough for a table in shards.
inline constexpr size_t kShardAbove = 8;

inline constexpr int64_t kNow = 1'767'225'600;  // 2026-01-01

inline void require(bool good, const std::string& what) {
  if (good) return;
  std::fprintf(stderr, "property broken: %s\n", what.c_str());
  std::abort();
}

// The golden tests' Services, slices and classes.
inline const std::string& base_objects() {
  static const std::string text = [] {
    std::ifstream in(SLUICE_SOURCE_DIR "/tests/golden/base.yaml", std::ios::binary);
    std::string all{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    require(!all.empty(), "base.yaml is there");
    return all;
  }();
  return text;
}

// A control plane from files to parts.
class Planes {
 public:
  explicit Planes(config::Options options) : options_(std::move(options)) {}
  // False: the file was refused.
  bool put(const std::string& file, std::string_view text) {
    std::vector<std::string> notes;
    auto changes = set_.put(file, text, notes);
    if (!changes) return false;
    apply(std::move(*changes));
    return true;
  }
  void drop(const std::string& file) { apply(set_.drop(file)); }
  void apply(std::vector<store::Change> changes) {
    for (store::Change& change : changes) store_.apply(std::move(change));
  }
  // Memoised, as in the running process; checked by the data plane's rules.
  compile::Compiled state() { return checked(translator_.translate(store_.snapshot(), options_, kNow), compiler_); }
  // The same from nothing.
  compile::Compiled fresh_state() const {
    translate::Translator translator;
    compile::Compiler compiler(kShardAbove);
    return checked(translator.translate(store_.snapshot(), options_, kNow), compiler);
  }

 private:
  static compile::Compiled checked(const translate::Translation& translation, compile::Compiler& compiler) {
    compile::Compiled compiled = compiler.compile(translation);
    for (size_t i = 0; i < ir::kParts; ++i) {
      const auto& bytes = *compiled.parts[i].bytes;
      const Status status = ir::verify_part(static_cast<ir::PartKind>(i), std::span(bytes.data(), bytes.size()));
      require(status.has_value(), "the data plane refuses the state: " + (status ? "" : status.error().message));
    }
    std::vector<const ir::RouteTable*> shards;
    for (const compile::Part& shard : compiled.shards) {
      const Status status = ir::verify_part(ir::PartKind::shard, *shard.bytes);
      require(status.has_value(), "the data plane refuses a shard: " + (status ? "" : status.error().message));
      shards.push_back(ir::GetRouteTable(shard.bytes->data()));
    }
    if (shards.empty()) return compiled;
    const Status whole = ir::verify_shards({*ir::GetRouteTable(compiled.parts[0].bytes->data()), shards});
    require(whole.has_value(), "the data plane refuses the shards: " + (whole ? "" : whole.error().message));
    return compiled;
  }
  config::Options options_;
  source::ManifestSet set_;
  store::Store store_;
  translate::Translator translator_;
  compile::Compiler compiler_{kShardAbove};
};

inline void require_same(const compile::Compiled& a, const compile::Compiled& b, const std::string& what) {
  for (size_t i = 0; i < ir::kParts; ++i) require(a.parts[i].hash == b.parts[i].hash, what);
  require(a.shards.size() == b.shards.size(), what);
  for (size_t i = 0; i < a.shards.size(); ++i) require(a.shards[i].hash == b.shards[i].hash, what);
}

}  // namespace sluice::fuzz
