// Header edits of the table on a list of fields: remove, then set, then add. Values are views into the table's copy.
#pragma once
#include "common/ir/route_table_generated.h"
#include "dataplane/http/message.h"

namespace sluice::filters {

inline std::string_view view_of(const flatbuffers::String* text) {
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

void apply_edits(const ir::HeaderEdits& edits, http::Fields& fields);

}  // namespace sluice::filters
