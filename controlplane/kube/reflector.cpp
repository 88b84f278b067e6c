#include "controlplane/kube/reflector.h"

#include <algorithm>

#include "controlplane/kube/decode/decode.h"

namespace sluice::kube {
namespace {

constexpr size_t kPageSize = 500;
constexpr size_t kMaxPages = 4000;  // two million objects of one kind are no cluster
constexpr size_t kMaxTombstones = 16'384;
constexpr int kServerErrorsBeforeList = 5;
constexpr uint32_t kMaxRetryAfter = 300;

bool is_json(const std::string& content_type) { return content_type.starts_with("application/json"); }

// PartialObjectMetadata carries annotations, where kubectl keeps whole Secrets (last-applied-configuration): never
// kept.
void drop_unread(store::Object& object, const ReflectorScope& scope) {
  auto* service = std::get_if<store::Service>(&object);
  if (service != nullptr && !scope.addresses) service->addresses = {};
  if (!scope.metadata_only) return;
  std::visit(
      [](auto& typed) {
        typed.meta.labels.clear();
        typed.meta.annotations.clear();
      },
      object);
}

}  // namespace

Reflector::Reflector(ReflectorScope scope, ReflectorTimings timings, Chance chance)
    : scope_(std::move(scope)), timings_(timings), chance_(std::move(chance)) {}

std::string Reflector::accept() const {
  const bool list = state_ == State::listing;
  if (!scope_.metadata_only) return "application/json";
  return list ? "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
              : "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
}

void Reflector::warn(Actions& out, const std::string& text) const {
  out.warnings.push_back(
      fmt::format("{}{}{}: {}", store::kind_name(scope_.kind), scope_.ns.empty() ? "" : " in ", scope_.ns, text));
}

Reflector::Actions Reflector::start(uint64_t now) {
  Actions out;
  if (state_ == State::idle) send_list(now, out);
  return out;
}

// ---- listing

void Reflector::restart_list() {
  listed_.clear();
  listed_bad_.clear();
  listed_versions_.clear();
  listed_version_.clear();
  continue_.clear();
  pages_ = 0;
}

// Lists are consistent reads (no resourceVersion): never older than what we had, so neither "too large resource
// version" nor going back in time can happen; since 1.31 the server answers them from its cache.
void Reflector::send_list(uint64_t now, Actions& out) {
  std::string target = scope_.path;
  char separator = '?';
  auto add = [&](std::string_view name, std::string_view value) {
    target += separator;
    target += name;
    target += '=';
    target += percent_encode(value);
    separator = '&';
  };
  if (!unpaged_) add("limit", std::to_string(kPageSize));
  if (!continue_.empty()) add("continue", continue_);
  if (!scope_.field_selector.empty()) add("fieldSelector", scope_.field_selector);
  state_ = State::listing;
  wake_at_ = now + timings_.answer_ms;
  ++counts_.lists;
  out.list = std::move(target);
}

Status Reflector::take_page(const std::string& body, bool& last) {
  auto page = decode_list(body);
  if (!page) return std::unexpected(page.error());
  if (page->resource_version.empty()) return fail("the list has no resourceVersion");
  if (++pages_ > kMaxPages) return fail("the list does not end after {} pages", kMaxPages);
  // Pages show one state; the first one's version is never too new.
  if (listed_version_.empty()) listed_version_ = page->resource_version;
  for (const std::string_view item : page->items) {
    auto decoded = decode_as(scope_.kind, item);
    if (!decoded) {
      listed_bad_.push_back(
          {{scope_.kind, {}},
           {{{scope_.kind, {}}, "", "Undecodable", store::Severity::error, decoded.error().message}}});
      continue;
    }
    if (decoded->object) {
      drop_unread(*decoded->object, scope_);
      const store::Meta& meta = store::meta_of(*decoded->object);
      listed_versions_[meta.key()] = version_number(meta.resource_version);
      listed_.push_back(std::move(*decoded->object));
    } else if (decoded->ref) {
      listed_versions_[decoded->ref->key] = 0;
      listed_bad_.push_back({*decoded->ref, std::move(decoded->problems)});
    }
  }
  continue_ = std::move(page->continue_token);
  last = continue_.empty();
  return {};
}

void Reflector::become_synced(Actions& out) {
  if (!synced_) out.synced = synced_ = true;
}

void Reflector::finish_list(Actions& out) {
  version_ = listed_version_;
  versions_ = std::move(listed_versions_);
  gone_.clear();
  if (scope_.only_name.empty()) {
    out.changes.push_back(store::Replace{scope_.kind, std::move(listed_), scope_.ns});
  } else {
    if (listed_.empty()) out.changes.push_back(store::Delete{{scope_.kind, {"", scope_.only_name}}});
    for (auto& object : listed_) out.changes.push_back(store::Upsert{std::move(object)});
  }
  for (auto& bad : listed_bad_) {
    if (bad.ref.key.name.empty()) warn(out, "an item of the list is left out: " + bad.problems.front().text);
    else out.changes.push_back(std::move(bad));
  }
  restart_list();
  unpaged_ = false;
  disordered_ = false;
  absent_since_ = 0;
  server_errors_ = 0;
  become_synced(out);
}

Reflector::Actions Reflector::on_list(uint64_t now, Result<Reply> reply) {
  Actions out;
  if (state_ != State::listing) return out;
  if (!reply) {
    list_failed(now, 0, 0, reply.error().message, out);
    return out;
  }
  if (reply->status != 200) {
    list_failed(now, reply->status, reply->retry_after_s, fmt::format("the list was answered {}", reply->status), out);
    return out;
  }
  bool last = false;
  Status taken = is_json(reply->content_type)
                     ? take_page(reply->body, last)
                     : Status(fail("the list is of type \"{}\"", reply->content_type.substr(0, 100)));
  if (!taken) {
    restart_list();
    list_failed(now, 0, 0, taken.error().message, out);
  } else if (!last) {
    send_list(now, out);
  } else {
    finish_list(out);
    send_watch(now, out);
  }
  return out;
}

// True when the answer is one that counts as knowledge for this kind.
bool Reflector::kind_absent(uint64_t now, int status, Actions& out) {
  if (status == 404 && scope_.may_be_absent) {
    if (!synced_) {
      warn(out, "the API server does not know this kind (CRD not installed): taken as empty");
    } else if (absent_since_ == 0) {
      // An API server that starts may say 404 before its CRDs are served: known objects stay until it has said so for a
      // while.
      absent_since_ = now;
    }
    if (!synced_ || (now - absent_since_ >= timings_.absent_confirm_ms && !versions_.empty())) {
      out.changes.push_back(store::Replace{scope_.kind, {}, scope_.ns});
      versions_.clear();
    }
  } else if (status == 403 && scope_.may_be_forbidden) {
    if (!synced_) warn(out, "listing is forbidden: taken as empty; grant list and watch to have it");
  } else {
    return false;
  }
  become_synced(out);
  return true;
}

void Reflector::list_failed(uint64_t now, int status, uint32_t retry_after_s, const std::string& why, Actions& out) {
  if (kind_absent(now, status, out)) {
    restart_list();
    state_ = State::waiting_to_list;
    wake_at_ = now + timings_.absent_retry_ms +
               static_cast<uint64_t>(static_cast<double>(timings_.absent_retry_ms) * 0.2 * chance_());
    return;
  }
  absent_since_ = 0;
  if (status == 410) {
    unpaged_ = !continue_.empty();
    restart_list();
  } else if (status != 0 && status != 429 && status < 500) {
    restart_list();
  }
  warn(out, why);
  back_off(now, State::waiting_to_list, std::min(retry_after_s, kMaxRetryAfter) * 1000ull);
}

// ---- watching

void Reflector::send_watch(uint64_t now, Actions& out) {
  const uint64_t span = timings_.watch_max_s - timings_.watch_min_s + 1;
  const uint64_t timeout = timings_.watch_min_s + static_cast<uint64_t>(chance_() * static_cast<double>(span));
  std::string target = fmt::format("{}?watch=1&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
                                   scope_.path, percent_encode(version_), timeout);
  if (!scope_.field_selector.empty()) target += "&fieldSelector=" + percent_encode(scope_.field_selector);
  state_ = State::watching;
  lines_.reset();
  head_seen_ = said_something_ = false;
  initial_events_ = version_.empty() || version_ == "0";
  started_ = last_bytes_ = now;
  ends_by_ = now + timeout * 1000 + timings_.watch_margin_ms;
  wake_at_ = now + timings_.answer_ms;
  ++counts_.watches;
  out.watch = std::move(target);
}

void Reflector::arm_watch(uint64_t now) {
  last_bytes_ = now;
  wake_at_ = std::min(now + timings_.silence_ms, ends_by_);
}

Reflector::Actions Reflector::on_watch_head(uint64_t now, const Head& head) {
  Actions out;
  if (state_ != State::watching) return out;
  head_seen_ = true;
  arm_watch(now);
  if (head.status == 200 && is_json(head.content_type)) return out;
  out.cancel = true;
  if (head.status == 200)
    watch_failed(now, 0, 0, fmt::format("the watch is of type \"{}\"", head.content_type.substr(0, 100)), out);
  else watch_failed(now, head.status, head.retry_after_s, fmt::format("the watch was answered {}", head.status), out);
  return out;
}

Reflector::Actions Reflector::on_watch_bytes(uint64_t now, std::string_view bytes) {
  Actions out;
  if (state_ != State::watching) return out;
  arm_watch(now);
  const bool fits = lines_.feed(bytes, [&](std::string_view line) { return on_line(now, line, out); });
  if (!fits && state_ == State::watching) {
    out.cancel = true;
    watch_failed(now, 0, 0, fmt::format("a watch event has more than {} bytes", kMaxLine), out);
  }
  return out;
}

// False = this watch is over.
bool Reflector::on_line(uint64_t now, std::string_view line, Actions& out) {
  auto event = parse_watch_event(line);
  if (!event) {
    out.cancel = true;
    watch_failed(now, 0, 0, event.error().message, out);
    return false;
  }
  if (event->type == WatchEvent::Type::error) {
    out.cancel = true;
    watch_failed(now, event->code, event->retry_after_s,
                 fmt::format("the watch says {}: {}", event->code, event->message), out);
    return false;
  }
  said_something_ = true;
  server_errors_ = 0;
  ++counts_.events;
  return apply(*event, now, out);
}

bool Reflector::apply(const WatchEvent& event, uint64_t now, Actions& out) {
  const uint64_t number = version_number(event.resource_version), seen = version_number(version_);
  const auto advance = [&] {
    if (number == 0 || seen == 0 || number > seen) version_ = event.resource_version;
  };
  if (event.type == WatchEvent::Type::bookmark) {
    initial_events_ = false;
    gone_.clear();
    advance();
    return true;
  }
  auto decoded = decode_as(scope_.kind, event.object);
  if (!decoded || !decoded->ref) {
    out.cancel = true;
    watch_failed(now, 0, 0, decoded ? "a watch event's object has no name" : decoded.error().message, out);
    return false;
  }
  if (event.type != WatchEvent::Type::added) initial_events_ = false;
  const store::ObjectKey& key = decoded->ref->key;
  const auto known = versions_.find(key);
  const auto gone = gone_.find(key);
  const uint64_t have = known != versions_.end() ? known->second : gone != gone_.end() ? gone->second : 0;
  const bool deleted = event.type == WatchEvent::Type::deleted;
  // A DELETED event may carry the version of the object's last change.
  const bool stale =
      number != 0 && have != 0 && (number < have || (number == have && (!deleted || known == versions_.end())));
  if (!initial_events_) {
    if (!stale && number != 0 && number < seen) disordered_ = true;
    advance();
  }
  if (stale) return true;
  if (deleted) {
    versions_.erase(key);
    if (gone_.size() >= kMaxTombstones) gone_.clear();
    gone_[key] = number;
    out.changes.push_back(store::Delete{*decoded->ref});
    return true;
  }
  gone_.erase(key);
  versions_[key] = number;
  if (decoded->object) {
    drop_unread(*decoded->object, scope_);
    out.changes.push_back(store::Upsert{std::move(*decoded->object)});
  } else {
    out.changes.push_back(store::Undecodable{*decoded->ref, std::move(decoded->problems)});
  }
  return true;
}

Reflector::Actions Reflector::on_watch_end(uint64_t now, const Status& status) {
  Actions out;
  if (state_ != State::watching) return out;
  if (!head_seen_) {
    watch_failed(now, 0, 0, status ? "the watch ended without an answer" : status.error().message, out);
    // Nothing was learnt, so nothing need be listed: a recovering API server is spared.
    if (!disordered_) state_ = State::waiting_to_watch;
    return out;
  }
  if (disordered_) {
    send_list(now, out);
  } else if (!said_something_ && now - started_ < timings_.short_watch_ms) {
    back_off(now, State::waiting_to_watch);
  } else {
    send_watch(now, out);
  }
  return out;
}

void Reflector::watch_failed(uint64_t now, int status, uint32_t retry_after_s, const std::string& why, Actions& out) {
  warn(out, why);
  const bool server_error = status >= 500 && ++server_errors_ < kServerErrorsBeforeList;
  const bool resume = !disordered_ && (status == 429 || status == 401 || server_error);
  if (!resume) server_errors_ = 0;
  lines_.reset();
  back_off(now, resume ? State::waiting_to_watch : State::waiting_to_list,
           std::min(retry_after_s, kMaxRetryAfter) * 1000ull);
}

// ---- waiting

void Reflector::back_off(uint64_t now, State next, uint64_t at_least_ms) {
  ++counts_.failures;
  if (backoff_ms_ == 0 || now - last_failure_ > timings_.backoff_reset_ms) backoff_ms_ = timings_.backoff_start_ms;
  else backoff_ms_ = std::min(backoff_ms_ * 2, timings_.backoff_cap_ms);
  last_failure_ = now;
  const auto jitter = static_cast<uint64_t>(static_cast<double>(backoff_ms_) * chance_());
  state_ = next;
  not_before_ = now + at_least_ms;
  wake_at_ = std::max(now + backoff_ms_ + jitter, not_before_);
}

Reflector::Actions Reflector::on_timer(uint64_t now) {
  Actions out;
  if (now < wake_at_) return out;
  switch (state_) {
    case State::idle:
      wake_at_ = UINT64_MAX;
      break;
    case State::waiting_to_list:
      send_list(now, out);
      break;
    case State::waiting_to_watch:
      send_watch(now, out);
      break;
    case State::listing:
      out.cancel = true;
      list_failed(now, 0, 0, "the list was not answered in time", out);
      break;
    case State::watching:
      out.cancel = true;
      if (head_seen_) {
        if (disordered_) send_list(now, out);
        else send_watch(now, out);
      } else {
        warn(out, "the watch was not answered in time");
        back_off(now, State::waiting_to_watch);
      }
      break;
  }
  return out;
}

Reflector::Actions Reflector::nudge(uint64_t now) {
  Actions out;
  if (state_ == State::watching) {
    out.cancel = true;
    if (disordered_) send_list(now, out);
    else send_watch(now, out);
  } else if (state_ == State::waiting_to_list || state_ == State::waiting_to_watch) {
    const auto spread = static_cast<uint64_t>(static_cast<double>(timings_.backoff_start_ms) * chance_());
    wake_at_ = std::max(std::min(wake_at_, now + spread), not_before_);
  }
  return out;
}

}  // namespace sluice::kube
