#include "common/ir/memfd.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sluice::ir {
namespace {
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
}

Result<UniqueFd> make_room(const char* name, size_t bytes) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail("memfd_create {}: {}", name, std::strerror(errno));
  if (bytes > 0 && fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes)) != 0)
    return fail("memfd {} of {} bytes: {}", name, bytes, std::strerror(errno));
  return fd;
}

Result<UniqueFd> make_sealed(const char* name, std::span<const std::byte> bytes, UniqueFd room) {
  UniqueFd fd = std::move(room);
  if (!fd) {
    auto made = make_room(name, 0);
    if (!made) return std::unexpected(made.error());
    fd = std::move(*made);
  }
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail("write memfd {}: {}", name, std::strerror(errno));
    done += static_cast<size_t>(n);
  }
  // Room that was left over goes.
  if (ftruncate(fd.get(), static_cast<off_t>(bytes.size())) != 0)
    return fail("memfd {}: {}", name, std::strerror(errno));
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return fail("seal memfd {}: {}", name, std::strerror(errno));
  return fd;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}
Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

Result<Mapping> Mapping::map(int fd, size_t max_bytes, bool require_sealed) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return fail("fstat of a part: {}", std::strerror(errno));
  if (info.st_size <= 0) return fail("a part is empty");
  const auto size = static_cast<size_t>(info.st_size);
  if (size > max_bytes) return fail("a part has {} bytes, more than the limit of {}", size, max_bytes);
  if (require_sealed) {
    const int seals = fcntl(fd, F_GET_SEALS);
    constexpr int kNeeded = F_SEAL_WRITE | F_SEAL_SHRINK;
    if (seals < 0 || (seals & kNeeded) != kNeeded) return fail("a part is not sealed");
  }
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return fail("mmap of a part: {}", std::strerror(errno));
  Mapping mapping;
  mapping.data_ = data;
  mapping.size_ = size;
  return mapping;
}

}  // namespace sluice::ir
