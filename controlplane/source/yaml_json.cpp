// The only file of this room that includes yaml-cpp.
#include "controlplane/source/yaml_json.h"

#include <charconv>
#include <cmath>
#include <istream>
#include <map>
#include <optional>
#include <set>
#include <streambuf>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "common/base/log.h"

namespace sluice::source {
namespace {

// A stream over text that is not copied.
class ViewBuffer : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // a get area only; nothing writes to it
    setg(begin, begin, begin + text.size());
  }
};

bool digits(std::string_view text) {
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return !text.empty();
}

std::string_view without_zeros(std::string_view text) {
  const size_t first = text.find_first_not_of('0');
  return first == std::string_view::npos ? "0" : text.substr(first);
}

// A finite double in the shortest form that reads back the same. Nothing for what JSON cannot say.
std::optional<std::string> as_double(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return fmt::format("{}", value);
}

// YAML 1.2.2, 10.3.2: what a plain scalar is. The JSON text of a bool or number; nothing = a string. (Null is told by
// yaml-cpp itself.)
std::optional<std::string> core_type(std::string_view text) {
  const char first = text.empty() ? '\0' : text.front();
  if (text == "true" || text == "True" || text == "TRUE") return "true";
  if (text == "false" || text == "False" || text == "FALSE") return "false";
  if (!(first == '-' || first == '+' || first == '.' || (first >= '0' && first <= '9'))) return std::nullopt;
  const bool negative = first == '-';
  const std::string_view rest = negative || first == '+' ? text.substr(1) : text;
  if (digits(rest)) {
    const std::string_view significant = without_zeros(rest);
    // Beyond 64 bits a number is a double, as in Go.
    if (significant.size() > 18) return as_double(fmt::format("{}{}", negative ? "-" : "", significant));
    return fmt::format("{}{}", negative && significant != "0" ? "-" : "", significant);
  }
  if (first == '0' && text.size() > 2 && text.size() < 24 && (text[1] == 'o' || text[1] == 'x')) {
    uint64_t value = 0;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + 2, last, value, text[1] == 'o' ? 8 : 16);
    if (error == std::errc{} && end == last) return fmt::format("{}", value);
    return std::nullopt;
  }
  // [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
  size_t at = 0, before = 0, after = 0;
  while (at < rest.size() && rest[at] >= '0' && rest[at] <= '9') ++at, ++before;
  if (at < rest.size() && rest[at] == '.') {
    ++at;
    while (at < rest.size() && rest[at] >= '0' && rest[at] <= '9') ++at, ++after;
  }
  if (before + after == 0) return std::nullopt;
  if (at < rest.size() && (rest[at] == 'e' || rest[at] == 'E')) {
    ++at;
    if (at < rest.size() && (rest[at] == '-' || rest[at] == '+')) ++at;
    if (!digits(rest.substr(at))) return std::nullopt;
    at = rest.size();
  }
  if (at != rest.size()) return std::nullopt;
  return as_double(first == '+' ? rest : text);
}

constexpr size_t kMaxDepth = 100;

// Thrown only through the parser, caught in yaml_to_json.
struct Stop {
  size_t line;
  std::string text;
};

class Writer : public YAML::EventHandler {
 public:
  Writer(size_t first_line, size_t max_bytes) : first_line_(first_line), max_bytes_(max_bytes) {}

  std::string out;
  size_t line = 0;
  bool empty = true;

  int begin = 0;  // position of the document in the text

  void OnDocumentStart(const YAML::Mark& mark) override {
    begin = mark.pos;
    line = line_of(mark);
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    begin_node(mark, "null");
    // An empty document is a null too, and no object is ever null.
    if (!stack_.empty()) empty = false;
    const size_t at = out.size();
    out += is_key_ ? "\"null\"" : "null";
    end_node(anchor, at);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    begin_node(mark, "");
    empty = false;
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) stop(mark, "an alias to a value that contains it");
    if (is_key_ && found->second.front() != '"') stop(mark, "a key must be a word");
    if (out.size() + found->second.size() > max_bytes_) too_large(mark);
    out += found->second;
    finish();
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    begin_node(mark, value);
    empty = false;
    if (out.size() + value.size() > max_bytes_) too_large(mark);
    const size_t at = out.size();
    std::optional<std::string> typed;
    if (!is_key_) typed = resolve(mark, tag, value);
    if (typed) {
      out += *typed;
    } else {
      out += '"';
      log::append_json_escaped(out, value);
      out += '"';
    }
    end_node(anchor, at);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, false);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, true);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    bool is_map = false, key_next = false;
    size_t count = 0, begin = 0;
    YAML::anchor_t anchor{};
    std::set<std::string> keys;
  };

  [[nodiscard]] size_t line_of(const YAML::Mark& mark) const {
    return first_line_ + static_cast<size_t>(std::max(mark.line, 0));
  }
  [[noreturn]] void stop(const YAML::Mark& mark, std::string text) const { throw Stop{line_of(mark), std::move(text)}; }
  [[noreturn]] void too_large(const YAML::Mark& mark) const {
    stop(mark, fmt::format("the document is larger than {} bytes with its aliases expanded", max_bytes_));
  }

  // Writes what stands before the node, and knows whether it is a key.
  void begin_node(const YAML::Mark& mark, const std::string& word) {
    is_key_ = false;
    if (stack_.empty()) return;
    Level& level = stack_.back();
    if (level.is_map && level.key_next) {
      is_key_ = true;
      if (word == "<<") stop(mark, "merge keys (<<) are not supported");
      if (!level.keys.insert(word).second) stop(mark, fmt::format("the key '{}' is there twice", word.substr(0, 64)));
      if (level.count++ > 0) out += ',';
      return;
    }
    if (!level.is_map && level.count++ > 0) out += ',';
  }
  void end_node(YAML::anchor_t anchor, size_t at) {
    if (anchor != YAML::NullAnchor) {
      // Anchors may lie inside each other: what is kept of all of them counts, too.
      if (anchored_ += out.size() - at; anchored_ > max_bytes_)
        throw Stop{line, fmt::format("anchored values have more than {} bytes", max_bytes_)};
      anchors_[anchor] = out.substr(at);
    }
    finish();
  }
  void finish() {
    if (stack_.empty()) return;
    Level& level = stack_.back();
    if (!level.is_map) return;
    if (level.key_next) out += ':';
    level.key_next = !level.key_next;
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, bool is_map) {
    begin_node(mark, "");
    if (is_key_) stop(mark, "a key must be a word");
    if (stack_.size() >= kMaxDepth) stop(mark, fmt::format("nested deeper than {}", kMaxDepth));
    empty = false;
    Level& level = stack_.emplace_back();
    level.is_map = level.key_next = is_map;
    level.begin = out.size();
    level.anchor = anchor;
    out += is_map ? '{' : '[';
  }
  void close() {
    const Level level = std::move(stack_.back());
    stack_.pop_back();
    out += level.is_map ? '}' : ']';
    if (out.size() > max_bytes_)
      throw Stop{line, fmt::format("the document is larger than {} bytes with its aliases expanded", max_bytes_)};
    end_node(level.anchor, level.begin);
  }

  [[nodiscard]] std::optional<std::string> resolve(const YAML::Mark& mark, const std::string& tag,
                                                   const std::string& value) const {
    if (tag == "?" || tag.empty()) return core_type(value);
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return std::nullopt;
    if (tag == "tag:yaml.org,2002:null") return "null";
    if (tag == "tag:yaml.org,2002:int" || tag == "tag:yaml.org,2002:float" || tag == "tag:yaml.org,2002:bool") {
      if (auto typed = core_type(value)) return typed;
    }
    stop(mark, fmt::format("the tag '{}' is not supported", tag.substr(0, 64)));
  }

  const size_t first_line_;
  const size_t max_bytes_;
  std::vector<Level> stack_;
  bool is_key_ = false;
  size_t anchored_ = 0;
  std::map<YAML::anchor_t, std::string> anchors_;
};

}  // namespace

Result<std::vector<JsonDocument>> yaml_to_json(std::string_view text, size_t max_bytes, size_t first_line) {
  std::vector<JsonDocument> documents;
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  try {
    YAML::Parser parser(stream);
    for (int before = -1;;) {
      Writer writer(first_line, max_bytes);
      if (!parser.HandleNextDocument(writer)) break;
      // At a ',' outside of brackets (a JSON text with something behind it) yaml-cpp makes empty documents for ever.
      if (writer.begin == before) return fail("line {}: a ',' that belongs to nothing", writer.line);
      before = writer.begin;
      if (!writer.empty) documents.push_back({std::move(writer.out), writer.line});
    }
  } catch (const Stop& stop) {
    return fail("line {}: {}", stop.line, stop.text);
  } catch (const YAML::Exception& error) {
    return fail("line {}: {}", first_line + static_cast<size_t>(std::max(error.mark.line, 0)), error.msg);
  }
  return documents;
}

std::vector<Piece> split_documents(std::string_view text) {
  std::vector<Piece> pieces;
  size_t begin = 0, begin_line = 1, line = 1;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string_view row = text.substr(at, end == std::string_view::npos ? end : end - at);
    const bool marker =
        row.starts_with("---") && (row.size() == 3 || row[3] == ' ' || row[3] == '\t' || row[3] == '\r');
    // Directives (%YAML) stay with the document they are for.
    if (marker && at > begin && !text.substr(begin, at - begin).starts_with('%')) {
      pieces.push_back({begin_line, text.substr(begin, at - begin)});
      begin = at, begin_line = line;
    }
    if (end == std::string_view::npos) break;
    at = end + 1, ++line;
  }
  if (begin < text.size()) pieces.push_back({begin_line, text.substr(begin)});
  return pieces;
}

}  // namespace sluice::source
