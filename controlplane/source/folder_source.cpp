#include "controlplane/source/folder_source.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <sys/inotify.h>

#include "common/base/asio.h"
#include "common/base/log.h"
#include "controlplane/source/manifest_set.h"

namespace sluice::source {
namespace {

namespace fs = std::filesystem;
constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_ONLYDIR;

bool is_manifest(std::string_view name) {
  if (name.starts_with('.') || name.ends_with('~')) return false;
  return name.ends_with(".yaml") || name.ends_with(".yml") || name.ends_with(".json");
}

Result<std::string> read_file(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return fail("{}", error.message());
  if (size > kMaxFileBytes) return fail("has {} bytes, at most {} are read", size, kMaxFileBytes);
  std::ifstream in(path, std::ios::binary);
  std::string text(size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  if (in.bad() || (!in && !in.eof())) return fail("cannot be read");
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

class FolderSource final : public store::Source {
 public:
  FolderSource(boost::asio::io_context& io, fs::path folder, int inotify) : folder_(std::move(folder)), events_(io, inotify) {}

  void start(Callbacks callbacks) override {
    callbacks_ = std::move(callbacks);
    scan(folder_);
    callbacks_.synced();
    wait();
  }
  void want(const std::vector<store::ObjectKey>&, const std::vector<store::ObjectKey>&) override {}
  void stop() override {
    boost::system::error_code ignored;
    events_.close(ignored);
  }

 private:
  // Watches a folder and everything below it, reads what is there.
  void scan(const fs::path& folder) {
    const int watch = inotify_add_watch(events_.native_handle(), folder.c_str(), kEvents);
    if (watch < 0) log::error("the folder cannot be watched", {{"folder", folder.string()}, {"error", std::strerror(errno)}});
    else watches_[watch] = folder;
    std::error_code error;
    std::vector<fs::path> files;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      const std::string name = it->path().filename().string();
      std::error_code type_error;
      if (!it->is_symlink(type_error) && it->is_directory(type_error)) {
        if (!name.starts_with('.')) scan(it->path());
      } else if (is_manifest(name)) {
        files.push_back(it->path());
      }
    }
    if (error) log::error("the folder cannot be read", {{"folder", folder.string()}, {"error", error.message()}});
    std::ranges::sort(files);
    for (const fs::path& file : files) read(file);
  }

  void read(const fs::path& path) {
    const std::string name = path.lexically_relative(folder_).string();
    std::error_code error;
    if (!fs::exists(path, error)) return send(set_.drop(name));
    if (!set_.files().contains(name) && set_.files().size() >= kMaxFiles) {
      log::error("too many manifest files; this one is not read", {{"file", name}});
      return;
    }
    const auto text = read_file(path);
    if (!text) return refuse(name, text.error());
    auto changes = set_.put(name, *text);
    if (!changes) return refuse(name, changes.error());
    send(std::move(*changes));
  }
  static void refuse(const std::string& name, const Error& error) {
    log::error("manifest file refused; its last good objects stay", {{"file", name}, {"error", error.message}});
  }
  void send(std::vector<store::Change> changes) {
    for (store::Change& change : changes) callbacks_.change(std::move(change));
  }

  // After a lost event or a folder that came or went: everything again, and files that are gone are dropped.
  void rescan() {
    for (const auto& [watch, folder] : watches_) inotify_rm_watch(events_.native_handle(), watch);
    watches_.clear();
    scan(folder_);
    std::vector<std::string> gone;
    std::error_code error;
    for (const auto& [name, refs] : set_.files()) {
      if (!fs::exists(folder_ / name, error)) gone.push_back(name);
    }
    for (const std::string& name : gone) send(set_.drop(name));
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
      std::error_code error;
      if ((event.mask & IN_IGNORED) != 0) {
        watches_.erase(folder);
      } else if ((event.mask & IN_ISDIR) != 0 || name.starts_with("..")) {
        everything = true;  // a folder came or went, or a mounted ConfigMap was swapped
      } else if (is_manifest(name) && ((event.mask & IN_CREATE) == 0 || fs::is_symlink(folder->second / name, error))) {
        dirty.insert(folder->second / name);  // a created regular file is read when its writer closes it
      }
    }
    if (everything) return rescan();
    for (const fs::path& path : dirty) read(path);
  }

  fs::path folder_;
  boost::asio::posix::stream_descriptor events_;
  Callbacks callbacks_;
  ManifestSet set_;
  std::map<int, fs::path> watches_;
  alignas(inotify_event) std::array<char, 65536> buffer_{};
};

}  // namespace

Result<std::unique_ptr<store::Source>> make_folder_source(boost::asio::io_context& io, const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return fail("{}: is no folder that can be read", folder);
  const int inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (inotify < 0) return fail("{}: inotify: {}", folder, std::strerror(errno));
  return std::make_unique<FolderSource>(io, fs::path(folder), inotify);
}

}  // namespace sluice::source
