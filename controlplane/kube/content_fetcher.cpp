#include "controlplane/kube/content_fetcher.h"

#include <algorithm>

#include "common/base/log.h"
#include "controlplane/kube/call_gate.h"
#include "controlplane/kube/decode/decode.h"

namespace sluice::kube {
namespace {

// As many as may be under way, and as many again at the gate: the next begins when a place is free, not when the answer
// before it has been read. The others wait here, where they are forgotten as soon as nobody wants them.
constexpr size_t kMaxInFlight = 2 * CallGate::kOrdinaryPlaces;
constexpr size_t kMaxObject = 4u << 20;

void set_loaded(store::Object& object, bool loaded) {
  if (auto* secret = std::get_if<store::Secret>(&object)) secret->loaded = loaded;
  if (auto* map = std::get_if<store::ConfigMap>(&object)) map->loaded = loaded;
}

void drop_content(store::Object& object) {
  set_loaded(object, false);
  if (auto* secret = std::get_if<store::Secret>(&object)) secret->data.clear();
  if (auto* map = std::get_if<store::ConfigMap>(&object)) map->data.clear();
}

// A fetch may run ahead of the watch: only a content older than the metadata is fetched again. Versions that are no
// numbers: whenever they differ.
bool older(const std::string& content_version, const std::string& metadata_version) {
  const uint64_t content = version_number(content_version), metadata = version_number(metadata_version);
  return content != 0 && metadata != 0 ? content < metadata : content_version != metadata_version;
}

}  // namespace

ContentFetcher::ContentFetcher(boost::asio::io_context& io, Transport& transport, store::Kind kind,
                               const ReflectorTimings& timings, Reflector::Chance chance, store::ChangeSink sink)
    : io_(io),
      transport_(transport),
      kind_(kind),
      timings_(timings),
      chance_(std::move(chance)),
      sink_(std::move(sink)) {}

void ContentFetcher::stop() {
  stopped_ = true;
  for (auto& [key, entry] : entries_) {
    if (entry.exchange) entry.exchange->cancel();
  }
  entries_.clear();
  queue_.clear();
}

bool ContentFetcher::settled() const {
  return std::all_of(wanted_.begin(), wanted_.end(), [&](const store::ObjectKey& key) {
    const auto entry = entries_.find(key);
    return entry == entries_.end() || entry->second.content || entry->second.tried;
  });
}

size_t ContentFetcher::loaded() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [](const auto& entry) { return entry.second.content.has_value(); }));
}

// Remembers the metadata and returns what the store is to have: the content we hold if it is still the right one, the
// metadata alone, or nothing (the store keeps the older content until the newer one is here: a certificate must not
// vanish while it is renewed).
std::optional<store::Object> ContentFetcher::accept(store::Object metadata) {
  drop_content(metadata);
  const store::ObjectKey key = store::meta_of(metadata).key();
  Entry& entry = entries_[key];
  const store::Meta& meta = store::meta_of(metadata);
  const bool same_object = entry.content && store::meta_of(*entry.content).uid == meta.uid;
  entry.metadata = std::move(metadata);
  if (!wanted_.contains(key)) return entry.metadata;
  if (!same_object) entry.content.reset();
  if (!entry.content || older(entry.fetched_version, store::meta_of(entry.metadata).resource_version)) enqueue(key);
  if (!entry.content) return entry.metadata;
  return std::nullopt;
}

void ContentFetcher::on_metadata(store::Change change) {
  if (stopped_) return;
  if (auto* upsert = std::get_if<store::Upsert>(&change)) {
    const store::ObjectKey key = store::meta_of(upsert->object).key();
    const auto known = entries_.find(key);
    // A failed content was reported with this version: the metadata alone would wipe the report.
    const bool reported = known != entries_.end() && known->second.tried && !known->second.content;
    auto object = accept(std::move(upsert->object));
    if (object && !(reported && wanted_.contains(key))) sink_(store::Upsert{std::move(*object)});
  } else if (auto* gone = std::get_if<store::Delete>(&change)) {
    if (auto entry = entries_.find(gone->ref.key); entry != entries_.end()) erase(entry);
    sink_(std::move(change));
  } else if (auto* list = std::get_if<store::Replace>(&change)) {
    replace(std::move(*list));
  } else {
    sink_(std::move(change));
  }
  pump();
}

void ContentFetcher::replace(store::Replace list) {
  std::set<store::ObjectKey> there;
  for (store::Object& object : list.objects) {
    const store::ObjectKey key = store::meta_of(object).key();
    there.insert(key);
    auto metadata = accept(std::move(object));
    // A list replaces everything, so what is held goes in again.
    Entry& entry = entries_[key];
    object = entry.content ? *entry.content : entry.metadata;
    if (!entry.content && wanted_.contains(key) && entry.tried) {
      entry.tried = false;
      enqueue(key);
    }
  }
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if ((list.ns.empty() || entry->first.ns == list.ns) && !there.contains(entry->first)) erase(entry);
    entry = next;
  }
  sink_(std::move(list));
}

void ContentFetcher::erase(Entries::iterator entry) {
  if (entry->second.exchange) {
    entry->second.exchange->cancel();
    --in_flight_;
  }
  std::erase(queue_, entry->first);
  entries_.erase(entry);
}

void ContentFetcher::want(const std::vector<store::ObjectKey>& keys) {
  if (stopped_) return;
  std::set<store::ObjectKey> wanted(keys.begin(), keys.end());
  for (const store::ObjectKey& key : wanted_) {
    const auto found = entries_.find(key);
    if (wanted.contains(key) || found == entries_.end()) continue;
    Entry& entry = found->second;
    const bool known = entry.content || entry.tried;
    if (entry.exchange) {
      entry.exchange->cancel();
      entry.exchange.reset();
      --in_flight_;
    }
    std::erase(queue_, key);
    Entry bare;
    bare.metadata = std::move(entry.metadata);
    entry = std::move(bare);
    if (known) sink_(store::Upsert{entry.metadata});
  }
  std::vector<store::ObjectKey> added;
  std::set_difference(wanted.begin(), wanted.end(), wanted_.begin(), wanted_.end(), std::back_inserter(added));
  wanted_ = std::move(wanted);
  for (const store::ObjectKey& key : added) {
    if (entries_.contains(key)) enqueue(key);
  }
  pump();
}

void ContentFetcher::enqueue(const store::ObjectKey& key) {
  Entry& entry = entries_[key];
  if (entry.queued) return;
  entry.queued = true;
  queue_.push_back(key);
}

void ContentFetcher::pump() {
  // An object whose fetch is under way stays queued: it is asked for again when that answer is here, for it may be the
  // older one.
  for (size_t n = queue_.size(); n > 0 && in_flight_ < kMaxInFlight && !stopped_; --n) {
    store::ObjectKey key = std::move(queue_.front());
    queue_.pop_front();
    const auto found = entries_.find(key);
    if (found == entries_.end()) continue;
    if (found->second.exchange) {
      queue_.push_back(std::move(key));
      continue;
    }
    found->second.queued = false;
    fetch(key, found->second);
  }
}

// Names come from metadata the API server sent, never from the text of an object that wants something.
void ContentFetcher::fetch(const store::ObjectKey& key, Entry& entry) {
  Call call;
  call.target = fmt::format("/api/v1/namespaces/{}/{}/{}", percent_encode(key.ns),
                            kind_ == store::Kind::secret ? "secrets" : "configmaps", percent_encode(key.name));
  call.max_body = kMaxObject;
  call.urgency = Urgency::background;
  entry.retry.reset();
  ++in_flight_;
  entry.exchange = transport_.send(std::move(call), [weak = weak_from_this(), key](Result<Reply> reply) {
    if (auto self = weak.lock(); self && !self->stopped_) self->on_reply(key, std::move(reply));
  });
}

void ContentFetcher::on_reply(const store::ObjectKey& key, Result<Reply> reply) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.exchange.reset();
  --in_flight_;
  if (!reply) failed(key, entry, reply.error().message);
  else if (reply->status == 404 && entry.backoff_ms < 4 * timings_.backoff_start_ms)
    retry_later(key, entry);  // deleted: the watch will say so
  else if (reply->status != 200) failed(key, entry, fmt::format("the API server answered {}", reply->status));
  else on_content(key, entry, reply->body);
  pump();
}

void ContentFetcher::on_content(const store::ObjectKey& key, Entry& entry, const std::string& body) {
  auto decoded = decode_as(kind_, body);
  entry.backoff_ms = 0;
  entry.tried = true;
  if (!decoded || !decoded->object || store::meta_of(*decoded->object).key() != key) {
    entry.content.reset();
    entry.fetched_version = store::meta_of(entry.metadata).resource_version;
    std::vector<store::Problem> problems;
    if (decoded) problems = std::move(decoded->problems);
    if (problems.empty()) {
      problems.push_back({{kind_, key},
                          "",
                          "Undecodable",
                          store::Severity::error,
                          decoded ? "the API server sent another object" : decoded.error().message});
    }
    sink_(store::Undecodable{{kind_, key}, std::move(problems)});
    return;
  }
  set_loaded(*decoded->object, true);
  // kubectl keeps whole Secrets in an annotation (last-applied-configuration).
  std::visit([](auto& typed) { typed.meta.annotations.clear(); }, *decoded->object);
  const store::Meta& meta = store::meta_of(*decoded->object);
  entry.fetched_version = meta.resource_version;
  if (version_number(meta.resource_version) != 0 &&
      older(meta.resource_version, store::meta_of(entry.metadata).resource_version))
    enqueue(key);
  entry.content = *decoded->object;
  sink_(store::Upsert{std::move(*decoded->object)});
}

void ContentFetcher::failed(const store::ObjectKey& key, Entry& entry, const std::string& why) {
  log::warning("cannot fetch",
               {{"kind", store::kind_name(kind_)}, {"namespace", key.ns}, {"name", key.name}, {"why", why}});
  // A content that is held goes on serving; without one the object's users are told why.
  if (!entry.content && !entry.tried) {
    entry.tried = true;
    sink_(store::Undecodable{{kind_, key}, {{{kind_, key}, "", "FetchFailed", store::Severity::error, why}}});
  }
  retry_later(key, entry);
}

void ContentFetcher::retry_later(const store::ObjectKey& key, Entry& entry) {
  entry.backoff_ms =
      entry.backoff_ms == 0 ? timings_.backoff_start_ms : std::min(entry.backoff_ms * 2, timings_.backoff_cap_ms);
  const auto jitter = static_cast<uint64_t>(static_cast<double>(entry.backoff_ms) * chance_());
  entry.retry = std::make_unique<boost::asio::steady_timer>(io_, std::chrono::milliseconds(entry.backoff_ms + jitter));
  entry.retry->async_wait([weak = weak_from_this(), key](const boost::system::error_code& error) {
    auto self = weak.lock();
    if (error || !self || self->stopped_ || !self->wanted_.contains(key) || !self->entries_.contains(key)) return;
    self->enqueue(key);
    self->pump();
  });
}

}  // namespace sluice::kube
