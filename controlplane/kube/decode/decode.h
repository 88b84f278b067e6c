// JSON of one Kubernetes object -> typed object. Hostile input: every string and list is bounded, every wrong type is a
// Problem that names the field. One file per kind. Unknown fields are ignored (the API server has its own say). A bad
// element of a list is a flaw of the object (store::Flaw) and costs nothing else; a wrong or missing needed field of
// the object itself makes it undecodable.
#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "controlplane/store/objects.h"
#include "controlplane/store/problem.h"

namespace sluice::kube {

struct Decoded {
  std::optional<store::Object> object;   // absent: see problems
  std::optional<store::ObjectRef> ref;   // known whenever kind and metadata.name were readable
  std::vector<store::Problem> problems;  // why it is undecodable; what is wrong with a decoded one is in its meta.flaws
  bool foreign = false;                  // a kind that is none of ours: not a problem
  bool list = false;                     // foreign, because it is a List: decode_list() reads it
};

// `json`: one object with apiVersion and kind. An Error = the text is no JSON object, has no kind, or exceeds the limit
// of 4 MiB.
[[nodiscard]] Result<Decoded> decode(std::string_view json);
// An item of a list or watch, where apiVersion and kind may be absent.
[[nodiscard]] Result<Decoded> decode_as(store::Kind kind, std::string_view json);

// The items of a List text ("kind": "...List", items: [...]), each as JSON text, with metadata.resourceVersion and
// metadata.continue.
struct ListPage {
  std::vector<std::string_view> items;  // views into `json`
  std::string resource_version, continue_token;
};
[[nodiscard]] Result<ListPage> decode_list(std::string_view json);

}  // namespace sluice::kube
