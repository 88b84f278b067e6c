#include "dataplane/master/ticket_key_page.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "dataplane/shared/ticket_keys.h"

namespace sluice::master {
namespace {
constexpr size_t kPageBytes = 4096;
}

Status rotate_ticket_key_page(int page) {
  std::array<uint8_t, shared::TicketKeyPage::kRandomBytes> random;
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    return fail("getrandom: {}", std::strerror(errno));
  void* memory = mmap(nullptr, kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, page, 0);
  if (memory == MAP_FAILED) return fail("mmap of the ticket key page: {}", std::strerror(errno));
  static_cast<shared::TicketKeyPage*>(memory)->rotate(random);
  explicit_bzero(random.data(), random.size());
  munmap(memory, kPageBytes);
  return {};
}

Result<UniqueFd> make_ticket_key_page() {
  UniqueFd fd(memfd_create("sluice-ticket-keys", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), kPageBytes) != 0) return fail("ticket key page: {}", std::strerror(errno));
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return fail("seal ticket key page: {}", std::strerror(errno));
  if (Status rotated = rotate_ticket_key_page(fd.get()); !rotated) return std::unexpected(rotated.error());
  return fd;
}

}  // namespace sluice::master
