// Keeps the contents of the wanted Secrets (or ConfigMaps) in step with their metadata: a GET when a resourceVersion
// changes, two at once (call_gate.h), and nothing kept of what is no longer wanted. Stands between the metadata's
// reflector and the store. Lives on the io_context's thread.
#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/asio.h"
#include "controlplane/kube/reflector.h"
#include "controlplane/kube/transport.h"
#include "controlplane/store/change.h"

namespace sluice::kube {

class ContentFetcher : public std::enable_shared_from_this<ContentFetcher> {
 public:
  // `kind`: secret or config_map.
  ContentFetcher(boost::asio::io_context& io, Transport& transport, store::Kind kind, const ReflectorTimings& timings,
                 Reflector::Chance chance, store::ChangeSink sink);

  void on_metadata(store::Change change);
  void want(const std::vector<store::ObjectKey>& keys);
  void stop();
  // Each wanted object that exists was fetched, or could not be and an Undecodable said so.
  [[nodiscard]] bool settled() const;
  [[nodiscard]] size_t wanted() const { return wanted_.size(); }
  [[nodiscard]] size_t loaded() const;

 private:
  struct Entry {
    store::Object metadata;                // loaded = false
    std::optional<store::Object> content;  // loaded = true; only while wanted
    std::string fetched_version;           // resourceVersion of `content`, or of the metadata at the last try
    bool queued = false, in_flight = false, tried = false;
    uint64_t backoff_ms = 0;
    std::unique_ptr<boost::asio::steady_timer> retry;
    std::shared_ptr<Exchange> exchange;
  };
  using Entries = std::map<store::ObjectKey, Entry>;

  std::optional<store::Object> accept(store::Object metadata);
  void replace(store::Replace list);
  void erase(Entries::iterator entry);
  void enqueue(const store::ObjectKey& key);
  void pump();
  void fetch(const store::ObjectKey& key, Entry& entry);
  void on_reply(const store::ObjectKey& key, Result<Reply> reply);
  void on_content(const store::ObjectKey& key, Entry& entry, const std::string& body);
  void failed(const store::ObjectKey& key, Entry& entry, const std::string& why);
  void retry_later(const store::ObjectKey& key, Entry& entry);

  boost::asio::io_context& io_;
  Transport& transport_;
  const store::Kind kind_;
  const ReflectorTimings timings_;
  Reflector::Chance chance_;
  store::ChangeSink sink_;
  Entries entries_;
  std::set<store::ObjectKey> wanted_;
  std::deque<store::ObjectKey> queue_;
  size_t in_flight_ = 0;
  bool stopped_ = false;
};

}  // namespace sluice::kube
