// Reading one JSON object with bounds and field paths: the only place of this room that touches simdjson.
// Every getter answers the API's default for an absent or null field and records a Problem that names the field when
// the type, size or range is wrong; it never throws and never stops, so that one pass reports everything. Nodes live on
// the decoder's stack; they own nothing.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <simdjson.h>

#include "controlplane/store/objects.h"
#include "controlplane/store/problem.h"

namespace sluice::kube {

// A chain of stack frames; text only when a problem needs it.
struct FieldPath {
  const FieldPath* parent = nullptr;
  std::string_view name;
  int64_t index = -1;  // >= 0: an element of `name`'s list
  [[nodiscard]] std::string text() const;
};

struct DecodeContext {
  static constexpr size_t kMaxProblems = 64;  // of one object; more are only counted
  store::ObjectRef ref;
  std::vector<store::Problem> problems;
  size_t dropped = 0;
  bool failed = false;  // the element being read, in the end the object, cannot be used
  void error(std::string field, std::string text);
  void flaw(std::string field, std::string text);  // an error that spoils nothing but its own field
  void warning(std::string field, std::string text);

 private:
  void record(store::Severity severity, std::string field, std::string text);
};

enum class Need : uint8_t { optional, required };

class JsonNode {
 public:
  JsonNode(DecodeContext& context, simdjson::dom::object object, const FieldPath& path)
      : context_(context), object_(object), path_(path) {}

  [[nodiscard]] bool has(std::string_view key) const;  // present and not null
  // Strings are refused over `max` bytes and when they hold control characters (`text` allows them: bodies, PEM,
  // annotations).
  std::string string(std::string_view key, size_t max, Need need = Need::optional,
                     std::string_view fallback = {}) const;
  std::string text(std::string_view key, size_t max) const;
  bool boolean(std::string_view key, bool fallback) const;
  int64_t integer(std::string_view key, int64_t min, int64_t max, int64_t fallback, Need need = Need::optional) const;
  // A number or a string (IntOrString), as text.
  std::string number_or_name(std::string_view key, size_t max) const;
  // GEP-2257 duration ("1h30m", "500ms"); absent = nothing.
  std::optional<uint32_t> duration_ms(std::string_view key) const;
  // One of `words`; its index. Absent = fallback; -1 with a problem when unknown or (required) absent.
  int choice(std::string_view key, std::initializer_list<std::string_view> words, int fallback,
             Need need = Need::optional) const;
  // One bad item spoils the list.
  std::vector<std::string> strings(std::string_view key, size_t max_items, size_t max_bytes) const;
  // A bad item, also an empty one, is "" with a flaw; the others stay.
  std::vector<std::string> strings_each(std::string_view key, size_t max_items, size_t max_bytes) const;
  std::vector<uint16_t> numbers(std::string_view key, size_t max_items, int64_t min, int64_t max) const;
  // A value that is no string is a flaw; `unreadable` stands for it, or it is left out if that is null.
  std::map<std::string, std::string> string_map(std::string_view key, size_t max_items, size_t max_bytes,
                                                const char* unreadable = nullptr) const;

  // Calls `read` with the object at `key`; not called when absent, null or no object. True if called.
  bool object(std::string_view key, const std::function<void(const JsonNode&)>& read, Need need = Need::optional) const;
  // Calls `read` for each element, which must be objects; at most max_items. An error inside an element is that
  // element's alone: `broken` is called after it, with false for one that is no object, and the list stays good.
  void each(std::string_view key, size_t max_items, const std::function<void(const JsonNode&)>& read,
            const std::function<void(bool was_read)>& broken, Need need = Need::optional) const;
  // The elements one for one, so that indexes are those of the object; a broken one is marked `invalid`.
  template <class T, class Read>
  void list(std::string_view key, size_t max_items, std::vector<T>& out, const Read& read,
            Need need = Need::optional) const {
    each(
        key, max_items, [&](const JsonNode& node) { read(node, out.emplace_back()); },
        [&](bool was_read) {
          if (!was_read) out.emplace_back();
          out.back().invalid = true;
        },
        need);
  }
  // Without the broken ones, for lists whose order says nothing.
  template <class T, class Read>
  void good_ones(std::string_view key, size_t max_items, std::vector<T>& out, const Read& read) const {
    each(
        key, max_items,
        [&](const JsonNode& node) {
          T element;
          const bool taken = read(node, element);
          if (taken && !node.context().failed) out.push_back(std::move(element));
        },
        [](bool) {});
  }
  // Runs `read`; an error in it is a flaw of what it reads and spoils nothing around. True if there was none.
  template <class Read>
  bool alone(const Read& read) const {
    const bool outer = std::exchange(context_.failed, false);
    read();
    return !std::exchange(context_.failed, outer);
  }

  void error(std::string_view key, std::string text) const;
  void flaw(std::string_view key, std::string text) const;
  void warning(std::string_view key, std::string text) const;
  [[nodiscard]] DecodeContext& context() const { return context_; }

 private:
  [[nodiscard]] std::optional<simdjson::dom::element> find(std::string_view key, Need need) const;
  void wrong_type(std::string_view key, std::string_view wanted, simdjson::dom::element got) const;
  DecodeContext& context_;
  simdjson::dom::object object_;
  const FieldPath& path_;
};

// Milliseconds of a GEP-2257 duration: ([0-9]{1,5}(h|m|s|ms)){1,4}; nothing if it is none.
[[nodiscard]] std::optional<uint32_t> parse_duration_ms(std::string_view text);
// Unix seconds of an RFC 3339 time; nothing if it is none.
[[nodiscard]] std::optional<int64_t> parse_rfc3339(std::string_view text);
// RFC 4648 base64 with padding, as encoding/json writes []byte; line breaks are skipped as Go does.
[[nodiscard]] std::optional<std::string> parse_base64(std::string_view text);
// DNS-1123 subdomain (RFC 1123), the form of all our kinds' names; a namespace is one label of at most 63 bytes.
[[nodiscard]] bool is_dns_subdomain(std::string_view text, size_t max = 253);
[[nodiscard]] bool is_dns_label(std::string_view text);

}  // namespace sluice::kube
