#include "dataplane/http/target.h"

#include "dataplane/http/path.h"

namespace sluice::http {

Reason set_path_and_query(std::string_view target, RequestHead& head, Arena& arena) {
  const size_t mark = target.find('?');
  if (mark != std::string_view::npos) {
    const NormalQuery query = normalize_query(target.substr(mark + 1), arena);
    if (query.reason != Reason::none) return query.reason;
    head.has_query = true;
    head.query = query.query;
  }
  const NormalPath normal = normalize_path(target.substr(0, mark), arena);
  head.path = normal.path;
  return normal.reason;
}

}  // namespace sluice::http
