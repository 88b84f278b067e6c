// Mirrors one kind (in one namespace or all) from the API server: list, then watch, for ever. A state machine without
// I/O: events in, actions out; time and chance are passed in. One per kind and scope; its runner (reflector_runner.h)
// does what it says. It must never delete on half knowledge: objects vanish by a DELETED event or by a list that
// succeeded to its last page, by nothing else.
//
//   state     event                                    then
//   listing   page with continue                       next page
//   listing   last page                                Replace, watch from the list's version
//   listing   410 (continue token expired)             list anew, in one page
//   listing   404 where the kind may be absent         synced and empty; asked again slowly
//   listing   429, 5xx, no answer, garbage             back off, same page again (garbage, other status: first page)
//   watching  event, bookmark                          apply, advance the version
//   watching  end                                      watch from the last version (a half line is dropped)
//   watching  410 as status or ERROR event             back off, list
//   watching  429, 5xx, refused                        back off (Retry-After), watch from the last version; list after
//   5 times 5xx watching  garbage, oversized line, other error     back off, list watching  silent too long, or past
//   its timeout     watch from the last version
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "controlplane/kube/transport.h"
#include "controlplane/kube/watch_event.h"
#include "controlplane/store/change.h"

namespace sluice::kube {

struct ReflectorTimings {
  uint64_t backoff_start_ms = 800,
           backoff_cap_ms = 30'000;               // doubled each time; up to as much again by chance (jitter 1.0)
  uint64_t backoff_reset_ms = 120'000;            // of health
  uint64_t watch_min_s = 300, watch_max_s = 600;  // timeoutSeconds asked for
  uint64_t watch_margin_ms = 30'000;              // after which an unfinished watch is dead
  uint64_t silence_ms = 150'000;                  // without a byte; bookmarks come each minute
  uint64_t answer_ms = 60'000;                    // for one list page or a watch's head
  uint64_t short_watch_ms = 1'000;                // a watch that ends sooner, having said nothing, counts as a failure
  uint64_t absent_retry_ms = 30'000;              // between questions for a kind the server does not know
  uint64_t absent_confirm_ms = 60'000;            // 404 for so long before known objects are believed gone
};

struct ReflectorScope {
  store::Kind kind{};
  std::string path;       // "/apis/networking.k8s.io/v1/ingresses"
  std::string ns;         // limits Replace to this namespace; empty = all
  std::string only_name;  // the one object of a cluster-wide kind that this scope is about; its list is told as Upsert
                          // or Delete, not as Replace
  std::string field_selector;     // as text, not yet encoded
  bool metadata_only = false;     // asks for PartialObjectMetadata and drops labels and annotations
  bool addresses = false;         // of Services: keeps them; nobody else reads them
  bool may_be_absent = false;     // 404 of an uninstalled CRD counts as an empty list
  bool may_be_forbidden = false;  // 403 before the first list counts as synced
};

class Reflector {
 public:
  using Chance = std::function<double()>;  // uniform in [0, 1)
  struct Actions {
    bool cancel = false;  // first of all, the call under way
    std::vector<store::Change> changes;
    bool synced = false;  // once: the first whole list is in `changes`, now or before
    std::vector<std::string> warnings;
    std::optional<std::string> list, watch;  // targets; at most one of the two
  };

  Reflector(ReflectorScope scope, ReflectorTimings timings, Chance chance);

  [[nodiscard]] Actions start(uint64_t now);
  [[nodiscard]] Actions on_list(uint64_t now, Result<Reply> reply);
  [[nodiscard]] Actions on_watch_head(uint64_t now, const Head& head);
  [[nodiscard]] Actions on_watch_bytes(uint64_t now, std::string_view bytes);
  [[nodiscard]] Actions on_watch_end(uint64_t now, const Status& status);
  [[nodiscard]] Actions on_timer(uint64_t now);
  // The network came back: a watch under way may be half-open, a wait may be over.
  [[nodiscard]] Actions nudge(uint64_t now);
  [[nodiscard]] uint64_t wake_at() const { return wake_at_; }  // milliseconds on the caller's clock; call on_timer then

  [[nodiscard]] const ReflectorScope& scope() const { return scope_; }
  [[nodiscard]] std::string accept() const;
  [[nodiscard]] bool synced() const { return synced_; }
  [[nodiscard]] const std::string& version() const { return version_; }
  struct Counts {
    uint64_t lists = 0, watches = 0, events = 0, failures = 0;
  };
  [[nodiscard]] const Counts& counts() const { return counts_; }

 private:
  enum class State : uint8_t { idle, listing, watching, waiting_to_list, waiting_to_watch };

  void send_list(uint64_t now, Actions& out);
  void send_watch(uint64_t now, Actions& out);
  void restart_list();
  void back_off(uint64_t now, State next, uint64_t at_least_ms = 0);
  void list_failed(uint64_t now, int status, uint32_t retry_after_s, const std::string& why, Actions& out);
  void watch_failed(uint64_t now, int status, uint32_t retry_after_s, const std::string& why, Actions& out);
  bool kind_absent(uint64_t now, int status, Actions& out);
  Status take_page(const std::string& body, bool& last);
  void finish_list(Actions& out);
  bool on_line(uint64_t now, std::string_view line, Actions& out);
  bool apply(const WatchEvent& event, uint64_t now, Actions& out);
  void become_synced(Actions& out);
  void arm_watch(uint64_t now);
  void warn(Actions& out, const std::string& text) const;

  const ReflectorScope scope_;
  const ReflectorTimings timings_;
  Chance chance_;
  State state_ = State::idle;
  uint64_t wake_at_ = UINT64_MAX;
  bool synced_ = false;
  Counts counts_;

  // The list under way.
  std::vector<store::Object> listed_;
  std::vector<store::Undecodable> listed_bad_;
  std::map<store::ObjectKey, uint64_t> listed_versions_;
  std::string listed_version_, continue_;
  bool unpaged_ = false;  // after an expired token: the whole list in one answer cannot expire half-way
  size_t pages_ = 0;

  // What is mirrored: the version of each object, and of each deleted one until the next bookmark or list, so that
  // repeated or reordered events do no harm.
  std::map<store::ObjectKey, uint64_t> versions_, gone_;
  std::string version_;  // to watch from
  bool disordered_ =
      false;  // an event older than `version_` was news: resuming might miss another, so list when the watch ends

  // The watch under way.
  LineSplitter lines_;
  uint64_t started_ = 0, last_bytes_ = 0, ends_by_ = 0;
  bool head_seen_ = false, said_something_ = false;
  bool initial_events_ =
      false;  // watching from "" or "0": the first ADDED events are in no order and must not advance the version

  uint64_t backoff_ms_ = 0, last_failure_ = 0, not_before_ = 0, absent_since_ = 0;
  int server_errors_ = 0;
};

}  // namespace sluice::kube
