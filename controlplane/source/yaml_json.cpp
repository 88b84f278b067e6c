#include "controlplane/source/yaml_json.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>
#include <unordered_set>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include "common/base/log.h"

namespace sluice::source {
namespace {

constexpr size_t kMaxDepth = 100;

// Thrown only through the parser, caught in yaml_to_json.
struct Refused {
  int line;
  std::string text;
};

bool is_digits(std::string_view text) { return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos; }

// A plain scalar as a JSON literal; empty = it is text.
std::string plain_literal(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return "null";
  if (text == "true" || text == "True" || text == "TRUE") return "true";
  if (text == "false" || text == "False" || text == "FALSE") return "false";
  const bool sign = text[0] == '-' || text[0] == '+';
  const std::string_view digits = text.substr(sign ? 1 : 0);
  if (is_digits(digits)) {
    const size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
    return (text[0] == '-' ? "-" : "") + std::string(digits.substr(first));
  }
  if (!sign && text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'o')) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), value, text[1] == 'x' ? 16 : 8);
    if (error == std::errc{} && end == text.data() + text.size()) return std::to_string(value);
    return {};
  }
  if (digits.find_first_not_of("0123456789.eE+-") == std::string_view::npos && digits.find_first_of("0123456789") != std::string_view::npos) {
    double value = 0;
    const std::string copy(text[0] == '+' ? digits : text);
    const auto [end, error] = std::from_chars(copy.data(), copy.data() + copy.size(), value);
    if (error == std::errc{} && end == copy.data() + copy.size() && std::isfinite(value)) return fmt::format("{}", value);
  }
  return {};
}

class JsonWriter final : public YAML::EventHandler {
 public:
  explicit JsonWriter(size_t max_bytes) : max_bytes_(max_bytes) {}
  std::vector<JsonDocument> documents;

  void OnDocumentStart(const YAML::Mark& mark) override {
    documents.push_back({{}, mark.line + 1});
    anchors_.clear();
  }
  void OnDocumentEnd() override {
    used_ += out().size();
    if (out().empty() || out() == "null") documents.pop_back();
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    begin_value(mark);
    const size_t start = out().size();
    out() += "null";
    end_value(anchor, start);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    begin_value(mark);
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refused{mark.line, "an alias to a value that is not complete"};
    check_room(mark, found->second.size());
    out() += found->second;
    end_value(0, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    if (!stack_.empty() && stack_.back().map && stack_.back().key_next) return key(mark, value);
    begin_value(mark);
    const size_t start = out().size();
    check_room(mark, value.size());
    const std::string literal = tag == "?" ? plain_literal(value) : std::string();
    if (literal.empty()) quote(value);
    else out() += literal;
    end_value(anchor, start);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { open(mark, anchor, false); }
  void OnSequenceEnd() override { close(']'); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override { open(mark, anchor, true); }
  void OnMapEnd() override { close('}'); }

 private:
  struct Level {
    bool map = false;
    bool key_next = false;
    bool empty = true;
    YAML::anchor_t anchor = 0;
    size_t start = 0;
    std::unordered_set<std::string> keys{};
  };
  std::string& out() { return documents.back().json; }
  void check_room(const YAML::Mark& mark, size_t more) const {
    if (used_ + documents.back().json.size() + more > max_bytes_) throw Refused{mark.line, fmt::format("expands to more than {} bytes", max_bytes_)};
  }
  void quote(std::string_view text) {
    out() += '"';
    log::append_json_escaped(out(), text);
    out() += '"';
  }
  void key(const YAML::Mark& mark, const std::string& name) {
    Level& level = stack_.back();
    if (name == "<<") throw Refused{mark.line, "merge keys (<<) are not supported"};
    if (!level.keys.insert(name).second) throw Refused{mark.line, fmt::format("the key '{}' is given twice", name)};
    if (!level.empty) out() += ',';
    level.empty = false;
    quote(name);
    out() += ':';
    level.key_next = false;
  }
  void begin_value(const YAML::Mark& mark) {
    if (stack_.empty()) return;
    Level& level = stack_.back();
    if (level.map) {
      if (level.key_next) throw Refused{mark.line, "a key must be a scalar"};
    } else {
      if (!level.empty) out() += ',';
      level.empty = false;
    }
  }
  void end_value(YAML::anchor_t anchor, size_t start) {
    if (anchor != 0) anchors_[anchor] = out().substr(start);
    if (!stack_.empty() && stack_.back().map) stack_.back().key_next = true;
  }
  void open(const YAML::Mark& mark, YAML::anchor_t anchor, bool map) {
    begin_value(mark);
    if (stack_.size() >= kMaxDepth) throw Refused{mark.line, fmt::format("nested deeper than {}", kMaxDepth)};
    check_room(mark, 2);
    stack_.push_back({.map = map, .key_next = map, .anchor = anchor, .start = out().size()});
    out() += map ? '{' : '[';
  }
  void close(char bracket) {
    out() += bracket;
    const Level level = std::move(stack_.back());
    stack_.pop_back();
    end_value(level.anchor, level.start);
  }

  size_t max_bytes_;
  size_t used_ = 0;
  std::vector<Level> stack_;
  std::map<YAML::anchor_t, std::string> anchors_;
};

}  // namespace

Result<std::vector<JsonDocument>> yaml_to_json(std::string_view text, size_t max_bytes) {
  JsonWriter writer(max_bytes);
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(writer)) {
    }
  } catch (const Refused& refused) {
    return fail("line {}: {}", refused.line + 1, refused.text);
  } catch (const YAML::Exception& e) {
    return fail("line {}: {}", e.mark.line + 1, e.msg);
  }
  return std::move(writer.documents);
}

}  // namespace sluice::source
