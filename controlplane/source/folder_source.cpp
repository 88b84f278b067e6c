#include "controlplane/source/folder_source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/asio.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/unique_fd.h"
#include "controlplane/source/manifest_set.h"

namespace sluice::source {
namespace {

namespace fs = std::filesystem;
constexpr uint32_t kEvents =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

bool is_manifest(std::string_view name) {
  if (name.starts_with('.') || name.ends_with('~')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

// Tells one content of a path from another without reading it.
struct Stamp {
  dev_t device = 0;
  ino_t inode = 0;
  off_t size = 0;
  int64_t modified_ns = 0;
  bool operator==(const Stamp&) const = default;
};
std::optional<Stamp> stamp_of(const fs::path& path, bool* is_folder = nullptr) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  if (is_folder != nullptr) *is_folder = S_ISDIR(info.st_mode);
  return Stamp{info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

// Only regular files: a pipe in the folder must not stop us.
Result<std::string> read_file(const fs::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0) return fail("cannot be read: {}", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return fail("is no regular file");
  if (static_cast<uint64_t>(info.st_size) > kMaxFileBytes)
    return fail("has {} bytes, at most {} are read", info.st_size, kMaxFileBytes);
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t got = 0;
  while (got < text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + got, text.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail("cannot be read: {}", std::strerror(errno));
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  text.resize(got);
  return text;
}

class FolderSource final : public store::Source {
 public:
  FolderSource(boost::asio::io_context& io, fs::path folder, int inotify)
      : folder_(std::move(folder)), events_(io, inotify), doubt_timer_(io), sweep_timer_(io) {}

  void start(Callbacks callbacks) override {
    callbacks_ = std::move(callbacks);
    rescan();
    callbacks_.synced();
    wait();
    sweep_later();
  }
  void want(const std::vector<store::ObjectKey>&, const std::vector<store::ObjectKey>&) override {}
  void stop() override {
    boost::system::error_code ignored;
    events_.close(ignored);
    doubt_timer_.cancel();
    sweep_timer_.cancel();
  }

 private:
  // Everything again: at start, after lost events, after a folder came or went. Files whose text is the same cost one
  // hash.
  void rescan() {
    for (const auto& [watch, folder] : watches_) inotify_rm_watch(events_.native_handle(), watch);
    watches_.clear();
    links_.clear();
    root_ = stamp_of(folder_);
    std::set<std::string> found;
    std::set<std::pair<dev_t, ino_t>> visited;
    scan(folder_, 0, visited, found);
    for (const std::string& name : set_.names()) {
      if (!found.contains(name)) doubt(name);
    }
  }

  // Watches a folder before it is listed, so that nothing falls between the two.
  void scan(const fs::path& folder, size_t depth, std::set<std::pair<dev_t, ino_t>>& visited,
            std::set<std::string>& found) {
    const auto stamp = stamp_of(folder);
    if (!stamp || !visited.insert({stamp->device, stamp->inode}).second) return;  // a link back to a folder above
    if (depth > kMaxDepth)
      return log::error("folders are nested too deeply; this one is not read", {{"folder", folder.string()}});
    const int watch = inotify_add_watch(events_.native_handle(), folder.c_str(), kEvents);
    if (watch < 0)
      log::error("the folder cannot be watched", {{"folder", folder.string()}, {"error", std::strerror(errno)}});
    else watches_[watch] = folder;
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
      entries.push_back(*it);
    if (error) log::error("the folder cannot be read", {{"folder", folder.string()}, {"error", error.message()}});
    std::ranges::sort(entries);
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.')) continue;
      std::error_code type_error;
      if (entry.is_symlink(type_error)) links_[entry.path()] = stamp_of(entry.path());
      if (entry.is_directory(type_error)) {
        scan(entry.path(), depth + 1, visited, found);
      } else if (is_manifest(name)) {
        found.insert(name_of(entry.path()));
        read(entry.path());
      }
    }
  }

  std::string name_of(const fs::path& path) const { return path.lexically_relative(folder_).string(); }

  void read(const fs::path& path, bool believe = false) {
    const std::string name = name_of(path);
    if (!stamp_of(path)) return doubt(name);
    if (!set_.contains(name) && set_.size() >= kMaxFiles)
      return log::error("too many manifest files; this one is not read", {{"file", name}});
    const auto text = read_file(path);
    if (!text) return refuse(name, text.error());
    // An empty file is mostly one whose writer has just begun.
    if (text->empty() && !believe && set_.holds_objects(name)) return doubt(name);
    doubted_.erase(name);
    std::vector<std::string> notes;
    auto changes = set_.put(name, *text, notes);
    for (const std::string& note : notes) log::warning("manifest", {{"problem", note}});
    if (!changes) return refuse(name, changes.error());
    send(std::move(*changes));
  }
  static void refuse(const std::string& name, const Error& error) {
    log::error("manifest file refused; its last good objects stay", {{"file", name}, {"error", error.message}});
  }
  void send(std::vector<store::Change> changes) {
    for (store::Change& change : changes) callbacks_.change(std::move(change));
  }

  // Gone or empty: looked at again in a moment, then believed.
  void doubt(const std::string& name) {
    if (!set_.contains(name) || !doubted_.emplace(name, monotonic_ms() + kDoubtMs).second) return;
    if (doubted_.size() == 1) settle_doubts_later();
  }
  void settle_doubts_later() {
    doubt_timer_.expires_after(std::chrono::milliseconds(kDoubtMs));
    doubt_timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) settle_doubts();
    });
  }
  void settle_doubts() {
    std::vector<std::string> due;
    for (const auto& [name, at] : doubted_) {
      if (at <= monotonic_ms()) due.push_back(name);
    }
    for (const std::string& name : due) {
      doubted_.erase(name);
      // Without its root there is nothing to compare with: the last objects stay until it is back.
      if (!stamp_of(folder_)) log::error("the folder is gone; the last objects stay", {{"file", name}});
      else if (stamp_of(folder_ / name)) read(folder_ / name, true);
      else send(set_.drop(name));
    }
    if (!doubted_.empty()) settle_doubts_later();
  }

  void wait() {
    events_.async_read_some(boost::asio::buffer(buffer_), [this](const boost::system::error_code& error, size_t size) {
      if (error) return;
      on_events(size);
      wait();
    });
  }

  void on_events(size_t size) {
    std::set<fs::path> dirty;
    bool everything = false;
    for (size_t at = 0; at + sizeof(inotify_event) <= size;) {
      inotify_event event;
      std::memcpy(&event, buffer_.data() + at, sizeof event);
      const std::string name = event.len > 0 ? std::string(buffer_.data() + at + sizeof event) : std::string();
      at += sizeof event + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) everything = true;
      const auto folder = watches_.find(event.wd);
      if (folder == watches_.end()) continue;
      if ((event.mask & IN_IGNORED) != 0) {
        watches_.erase(folder);
        continue;
      }
      const fs::path path = folder->second / name;
      std::error_code error;
      const bool is_link = fs::is_symlink(path, error);
      if ((event.mask & (IN_ISDIR | IN_DELETE_SELF | IN_MOVE_SELF)) != 0 || name.starts_with("..") || is_link ||
          links_.contains(path)) {
        everything = true;  // a folder or link came or went, or a mounted ConfigMap was swapped
      } else if (is_manifest(name) && (event.mask & IN_CREATE) == 0) {
        dirty.insert(path);  // a created file is read when its writer closes it
      }
    }
    if (everything) return rescan();
    for (const fs::path& path : dirty) read(path);
  }

  void sweep_later() {
    sweep_timer_.expires_after(std::chrono::milliseconds(kSweepMs));
    sweep_timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      const auto root = stamp_of(folder_);
      const bool moved = root && (!root_ || root->device != root_->device || root->inode != root_->inode);
      const bool link_changed =
          std::ranges::any_of(links_, [](const auto& link) { return stamp_of(link.first) != link.second; });
      if (moved || link_changed) rescan();
      sweep_later();
    });
  }

  fs::path folder_;
  boost::asio::posix::stream_descriptor events_;
  boost::asio::steady_timer doubt_timer_, sweep_timer_;
  Callbacks callbacks_;
  ManifestSet set_;
  std::map<int, fs::path> watches_;
  std::map<fs::path, std::optional<Stamp>> links_;  // symbolic links, with what they point to
  std::optional<Stamp> root_;
  std::map<std::string, uint64_t> doubted_;  // until when
  alignas(inotify_event) std::array<char, 65536> buffer_{};
};

}  // namespace

Result<std::unique_ptr<store::Source>> make_folder_source(boost::asio::io_context& io, const std::string& folder) {
  bool is_folder = false;
  if (!stamp_of(folder, &is_folder) || !is_folder) return fail("{}: is no folder that can be read", folder);
  const int inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify < 0) return fail("{}: inotify: {}", folder, std::strerror(errno));
  return std::make_unique<FolderSource>(io, fs::path(folder), inotify);
}

}  // namespace sluice::source
