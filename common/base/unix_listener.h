// A listening unix stream socket for operators: mode 0660, in a directory that is made (0750) if it is missing. What
// is left of an earlier process is replaced; anything that is no socket is not touched.
#pragma once
#include <string>

#include "common/base/result.h"
#include "common/base/unique_fd.h"

namespace sluice {

[[nodiscard]] Result<UniqueFd> listen_unix(const std::string& path);

}  // namespace sluice
