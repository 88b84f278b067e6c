#include "dataplane/filters/header_edits.h"

namespace sluice::filters {

void apply_edits(const ir::HeaderEdits& edits, http::Fields& fields) {
  if (edits.remove() != nullptr) {
    for (const auto* name : *edits.remove()) fields.remove(view_of(name));
  }
  if (edits.set() != nullptr) {
    for (const ir::HeaderValue* value : *edits.set()) {
      fields.remove(view_of(value->name()));
      fields.add(view_of(value->name()), view_of(value->value()));
    }
  }
  if (edits.add() != nullptr) {
    for (const ir::HeaderValue* value : *edits.add()) fields.add(view_of(value->name()), view_of(value->value()));
  }
}

}  // namespace sluice::filters
