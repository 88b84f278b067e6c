#include "dataplane/agent/state_store.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/log.h"

namespace sluice::agent {
namespace asio = boost::asio;
namespace {
constexpr std::chrono::milliseconds kPause{1000};
constexpr const char* kManifest = "manifest";
constexpr const char* kPrevious = "manifest.previous";

struct Manifest {
  static constexpr uint64_t kMagic = 0x534c554943455354;  // "SLUICEST"
  uint64_t magic = kMagic;
  uint32_t version = 2;
  uint32_t schema = ir::kSchemaVersion;
  uint64_t number = 0;
  ir::StateId id;
  std::array<uint64_t, ir::kParts> sizes{};  // secrets: 0 = not kept
  std::array<ir::ContentHash, ir::kParts> hashes{};
  uint64_t shards_size = 0;  // of all of them in their file; 0 = the table has none
  ir::ContentHash checksum;  // of everything before
};
static_assert(std::is_trivially_copyable_v<Manifest> && sizeof(Manifest) % 8 == 0);

ir::ContentHash checksum(const Manifest& manifest) {
  return ir::content_hash(std::as_bytes(std::span(&manifest, 1)).first(offsetof(Manifest, checksum)));
}

std::string part_file(ir::PartKind kind, uint64_t number) {
  return fmt::format("state.{}.{}", part_name(kind), number);
}

// A table's shards, one behind the other.
std::string shards_file(uint64_t number) { return fmt::format("state.shards.{}", number); }

std::unexpected<Error> failed(const char* what, const std::string& path) {
  return fail("{} {}: {}", what, path, std::strerror(errno));
}

// Whole or not at all: beside its place, synced, renamed.
Status write_file(const std::string& path, std::span<const std::span<const std::byte>> pieces, mode_t mode) {
  const std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return failed("create", temporary);
  for (const std::span<const std::byte> bytes : pieces) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed("write", temporary);
      done += static_cast<size_t>(n);
    }
  }
  if (::fsync(fd.get()) != 0) return failed("sync", temporary);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return failed("rename", temporary);
  return {};
}

// Exactly `size` bytes, of a plain file.
Result<std::vector<std::byte>> read_file(const std::string& path, size_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat info {};
  if (!fd || fstat(fd.get(), &info) != 0) return failed("open", path);
  if (!S_ISREG(info.st_mode) || static_cast<size_t>(info.st_size) != size)
    return fail("{} has {} bytes, expected {}", path, info.st_size, size);
  std::vector<std::byte> bytes(size);
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::read(fd.get(), bytes.data() + done, size - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return failed("read", path);
    done += static_cast<size_t>(n);
  }
  return bytes;
}

// The calling thread runs when nothing else wants to: copying a large state to disk must not make a request wait. It
// needs no right, and what cannot be set changes nothing but that.
void stand_back() {
  const sched_param none{};
  (void)::sched_setscheduler(0, SCHED_IDLE, &none);
}

Result<Manifest> read_manifest(const std::string& path) {
  auto bytes = read_file(path, sizeof(Manifest));
  if (!bytes) return std::unexpected(bytes.error());
  Manifest manifest;
  std::memcpy(static_cast<void*>(&manifest), bytes->data(), sizeof manifest);
  if (manifest.magic != Manifest::kMagic || manifest.version != Manifest{}.version ||
      manifest.checksum != checksum(manifest))
    return fail("{} is damaged", path);
  if (manifest.shards_size > ir::kMaxPartBytes) return fail("{}: shards of {} bytes", path, manifest.shards_size);
  if (manifest.schema != ir::kSchemaVersion) return fail("{} is of schema version {}", path, manifest.schema);
  for (uint64_t size : manifest.sizes) {
    if (size > ir::kMaxPartBytes) return fail("{}: part of {} bytes", path, size);
  }
  return manifest;
}

std::vector<std::byte> empty_secrets() {
  flatbuffers::FlatBufferBuilder builder;
  ir::SecretSetT none;
  none.schema_version = ir::kSchemaVersion;
  builder.Finish(ir::SecretSet::Pack(builder, &none));
  const auto bytes = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  return {bytes.begin(), bytes.end()};
}

// Each is judged by the hash that its table has of it.
Status read_shards(const std::string& folder, const Manifest& manifest, State& state) {
  const std::string path = folder + "/" + shards_file(manifest.number);
  const auto* refs = state.head().shards();
  if (refs == nullptr) return {};
  auto bytes = read_file(path, manifest.shards_size);
  if (!bytes) return std::unexpected(bytes.error());
  size_t at = 0;
  for (const ir::ShardRef* ref : *refs) {
    if (ref->size() > bytes->size() - at) return fail("{} is cut", path);
    auto shard = make_part(ir::PartKind::shard, std::span(*bytes).subspan(at, ref->size()));
    if (!shard) return fail("{}: {}", path, shard.error().text);
    if ((*shard)->hash != ir::ContentHash{ref->high(), ref->low()}) return fail("{} is damaged", path);
    state.shards.push_back(std::move(*shard));
    at += ref->size();
  }
  if (at != bytes->size()) return fail("{} is longer than its table says", path);
  return check_whole(state);
}

Result<std::shared_ptr<const State>> read_generation(const std::string& folder, const char* name, bool secrets) {
  auto manifest = read_manifest(folder + "/" + name);
  if (!manifest) return std::unexpected(manifest.error());
  auto state = std::make_shared<State>();
  state->id = manifest->id;
  for (size_t i = 0; i < ir::kParts; ++i) {
    const auto kind = static_cast<ir::PartKind>(i);
    const bool skip = kind == ir::PartKind::secrets && (!secrets || manifest->sizes[i] == 0);
    auto bytes =
        skip ? empty_secrets() : read_file(folder + "/" + part_file(kind, manifest->number), manifest->sizes[i]);
    if (!bytes) return std::unexpected(bytes.error());
    auto part = make_part(kind, *bytes);
    explicit_bzero(bytes->data(), bytes->size());
    if (!part) return fail("{}: {}", part_file(kind, manifest->number), part.error().text);
    if (!skip && (*part)->hash != manifest->hashes[i]) return fail("{} is damaged", part_file(kind, manifest->number));
    state->parts[i] = std::move(*part);
  }
  if (Status read = read_shards(folder, *manifest, *state); !read) return std::unexpected(read.error());
  return state;
}

// Files of generations that no manifest names, and what an interrupted write left.
void sweep(const std::string& folder, uint64_t keep, uint64_t keep_too, bool secrets) {
  DIR* listing = opendir(folder.c_str());
  if (listing == nullptr) return;
  std::vector<std::string> doomed;
  while (const dirent* entry = readdir(listing)) {
    const std::string name = entry->d_name;
    if (!name.starts_with("state.") && name != std::string(kManifest) + ".new") continue;
    bool kept = false;
    for (size_t i = 0; i < ir::kParts; ++i) {
      const auto kind = static_cast<ir::PartKind>(i);
      if (kind == ir::PartKind::secrets && !secrets) continue;
      kept |= name == part_file(kind, keep) || name == part_file(kind, keep_too);
    }
    kept |= name == shards_file(keep) || name == shards_file(keep_too);
    if (!kept) doomed.push_back(folder + "/" + name);
  }
  closedir(listing);
  for (const std::string& path : doomed) ::unlink(path.c_str());
}
}  // namespace

Status write_state(const std::string& folder, const State& state, bool secrets) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return failed("create folder", folder);
  // An agent on its way out may still write while its successor begins.
  const UniqueFd listing(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!listing || ::flock(listing.get(), LOCK_EX) != 0) return failed("lock", folder);
  const std::string newest = folder + "/" + kManifest, previous = folder + "/" + kPrevious;
  const auto before = read_manifest(newest), before_that = read_manifest(previous);
  Manifest manifest;
  manifest.number = 1 + std::max(before ? before->number : 0, before_that ? before_that->number : 0);
  manifest.id = state.id;
  for (size_t i = 0; i < ir::kParts; ++i) {
    const auto kind = static_cast<ir::PartKind>(i);
    if (kind == ir::PartKind::secrets && !secrets) continue;
    manifest.sizes[i] = state.parts[i]->bytes().size();
    manifest.hashes[i] = state.parts[i]->hash;
    const mode_t mode = kind == ir::PartKind::secrets ? 0600 : 0640;
    const std::span<const std::byte> bytes[] = {state.parts[i]->bytes()};
    if (Status written = write_file(folder + "/" + part_file(kind, manifest.number), bytes, mode); !written)
      return written;
  }
  if (!state.shards.empty()) {
    std::vector<std::span<const std::byte>> pieces;
    for (const auto& shard : state.shards) {
      pieces.push_back(shard->bytes());
      manifest.shards_size += shard->bytes().size();
    }
    if (Status written = write_file(folder + "/" + shards_file(manifest.number), pieces, 0640); !written)
      return written;
  }
  manifest.checksum = checksum(manifest);
  // Between these two renames only the previous manifest exists, and it is whole. A damaged newest one does not push
  // out a good previous one.
  if (before && ::rename(newest.c_str(), previous.c_str()) != 0) return failed("rename", newest);
  const std::span<const std::byte> bytes[] = {std::as_bytes(std::span(&manifest, 1))};
  if (Status written = write_file(newest, bytes, 0640); !written) return written;
  if (::fsync(listing.get()) != 0) return failed("sync folder", folder);
  sweep(folder, manifest.number, before ? before->number : before_that ? before_that->number : 0, secrets);
  return {};
}

std::shared_ptr<const State> read_state(const std::string& folder, bool secrets, std::vector<std::string>& problems) {
  for (const char* name : {kManifest, kPrevious}) {
    auto state = read_generation(folder, name, secrets);
    if (state) return *state;
    problems.push_back(state.error().message);
  }
  return nullptr;
}

StateStore::StateStore(asio::io_context& io, std::string folder, bool secrets, uint64_t& failures)
    : io_(io), folder_(std::move(folder)), secrets_(secrets), pause_(io), failures_(failures) {}
StateStore::~StateStore() { disk_.join(); }

std::shared_ptr<const State> StateStore::load() {
  if (::access((folder_ + "/" + kManifest).c_str(), F_OK) != 0 &&
      ::access((folder_ + "/" + kPrevious).c_str(), F_OK) != 0)
    return nullptr;
  std::vector<std::string> problems;
  auto state = read_state(folder_, secrets_, problems);
  for (const std::string& problem : problems) log::error("state on disk not used", {{"reason", problem}});
  if (state) log::info("state loaded from disk", {{"folder", folder_}, {"sequence", state->id.sequence}});
  return state;
}

void StateStore::save(std::shared_ptr<const State> state) {
  next_ = std::move(state);
  if (!writing_) write_next();
}

void StateStore::write_next() {
  writing_ = next_ != nullptr;
  if (!writing_) return;
  auto work = [this, state = std::exchange(next_, nullptr)] {
    stand_back();
    const Status result = write_state(folder_, *state, secrets_);
    auto done = [this, result] { written(result); };
    asio::post(io_, done);
  };
  asio::post(disk_, work);
}

void StateStore::written(const Status& result) {
  if (!result) {
    ++failures_;
    log::error("state not written to disk", {{"error", result.error().message}});
  }
  pause_.expires_after(kPause);
  auto next = [this](boost::system::error_code error) {
    if (!error) write_next();
  };
  pause_.async_wait(next);
}

void StateStore::finish() {
  disk_.join();
  if (next_ == nullptr) return;
  if (Status result = write_state(folder_, *next_, secrets_); !result)
    log::error("state not written to disk", {{"error", result.error().message}});
  next_.reset();
}

}  // namespace sluice::agent
