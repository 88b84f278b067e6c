// The descriptors that came with a packet (unix(7), SCM_RIGHTS).
#pragma once
#include <cstring>

#include <sys/socket.h>

#include "common/base/unique_fd.h"

namespace sluice::sync {

// take(UniqueFd) for each of them, so that none leaks: what it does not keep is closed.
template <class Take>
void take_descriptors(msghdr& header, Take&& take) {
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr; control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < here; ++i) {
      int raw = -1;
      std::memcpy(&raw, CMSG_DATA(control) + i * sizeof(int), sizeof raw);
      take(UniqueFd(raw));
    }
  }
}

}  // namespace sluice::sync
