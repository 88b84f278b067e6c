// What a source of objects (API server, folder) tells the store. One stream a kind; `synced` ends the first list of a
// kind.
#pragma once
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/store/objects.h"
#include "controlplane/store/problem.h"

namespace sluice::store {

struct Upsert {
  Object object;
};
struct Delete {
  ObjectRef ref;
};
// A whole list: every object of that kind not in it is gone (a relist must delete what vanished while the watch was
// down). `ns` empty = all namespaces; otherwise only that namespace's objects are replaced (one list per watched
// namespace).
struct Replace {
  Kind kind{};
  std::vector<Object> objects;
  std::string ns = {};
};
// An object that is there but could not be decoded: the source keeps reporting it until it is mended or deleted.
// Replaces earlier problems of it.
struct Undecodable {
  ObjectRef ref;
  std::vector<Problem> problems;
};
using Change = std::variant<Upsert, Delete, Replace, Undecodable>;
using ChangeSink = std::function<void(Change)>;

}  // namespace sluice::store
