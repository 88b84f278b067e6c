#include <algorithm>
#include <fstream>
#include <numeric>
#include <optional>
#include <set>
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "controlplane/config/option_table.h"

namespace sluice::config {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t up = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = up;
    }
  }
  return row[b.size()];
}

std::string_view nearest_key(std::string_view key) {
  const auto rows = option_table();
  return std::ranges::min_element(rows, {}, [&](const OptionRow& row) { return edit_distance(key, row.key); })->key;
}
const OptionRow* find_row(std::string_view key) {
  for (const OptionRow& row : option_table()) {
    if (row.key == key) return &row;
  }
  return nullptr;
}
bool is_section(std::string_view key) {
  const std::string prefix = std::string(key) + ".";
  return std::ranges::any_of(option_table(), [&](const OptionRow& row) { return row.key.starts_with(prefix); });
}

// Where each document begins. YAML::LoadAll does not end at a ',' outside of brackets: yaml-cpp makes empty documents
// of it for ever.
class Beginning final : public YAML::EventHandler {
 public:
  YAML::Mark mark;
  void OnDocumentStart(const YAML::Mark& at) override { mark = at; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {}
  void OnMapEnd() override {}
};

// The mark of a second document.
std::optional<YAML::Mark> second_document(const std::string& text) {
  std::istringstream stream(text);
  YAML::Parser parser(stream);
  Beginning beginning;
  if (parser.HandleNextDocument(beginning) && parser.HandleNextDocument(beginning)) return beginning.mark;
  return std::nullopt;
}

class Loader {
 public:
  Loader(const std::string& file, Options& options) : file_(file), options_(options) {}

  Status map(const YAML::Node& node, const std::string& prefix) {
    for (const auto& entry : node) {
      if (!entry.first.IsScalar()) return at(entry.first, prefix, "a key must be text");
      const std::string key = prefix.empty() ? entry.first.Scalar() : prefix + "." + entry.first.Scalar();
      if (!seen_.insert(key).second) return at(entry.first, key, "is given twice");
      if (is_section(key)) {
        if (entry.second.IsNull()) continue;
        if (!entry.second.IsMap()) return at(entry.second, key, "must be a map");
        if (auto status = map(entry.second, key); !status) return status;
        continue;
      }
      const OptionRow* row = find_row(key);
      if (row == nullptr) return at(entry.first, key, fmt::format("is unknown; did you mean {}?", nearest_key(key)));
      if (auto status = value(*row, entry.second); !status) return status;
    }
    return {};
  }

 private:
  std::unexpected<Error> at(const YAML::Node& node, std::string_view key, std::string_view what) const {
    return fail("{}:{}: {} {}", file_, node.Mark().line + 1, key, what);
  }

  // No option has a use for them, and the data plane refuses them.
  static bool has_control(std::string_view text) {
    return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
  }

  Status value(const OptionRow& row, const YAML::Node& node) {
    const auto wrong = [&] { return at(node, row.key, fmt::format("must be {}", type_name(row.type))); };
    Value value;
    if (row.type == ValueType::text_list) {
      if (node.IsNull()) return {};
      if (!node.IsSequence()) return wrong();
      for (const auto& item : node) {
        if (!item.IsScalar()) return wrong();
        if (has_control(item.Scalar())) return at(item, row.key, "holds a control character");
        value.list.push_back(item.Scalar());
      }
    } else {
      if (!node.IsScalar()) return wrong();
      value.text = node.Scalar();
      if (has_control(value.text)) return at(node, row.key, "holds a control character");
      Result<uint64_t> number = 0;
      if (row.type == ValueType::boolean) {
        if (value.text != "true" && value.text != "false") return wrong();
        number = value.text == "true";
      } else if (row.type == ValueType::duration) {
        number = parse_duration(value.text);
      } else if (row.type == ValueType::size) {
        number = parse_size(value.text);
      } else if (row.type == ValueType::integer) {
        if (value.text.empty() || value.text.find_first_not_of("0123456789") != std::string::npos) return wrong();
        number = parse_size(value.text);
      }
      if (!number) return at(node, row.key, fmt::format("must be {}: {}", type_name(row.type), number.error().message));
      value.number = *number;
    }
    if (auto status = row.apply(value, options_); !status) return at(node, row.key, status.error().message);
    return {};
  }

  const std::string& file_;
  Options& options_;
  std::set<std::string> seen_;
};

}  // namespace

Status load_text(const std::string& text, const std::string& file_name, Options& options) {
  if (text.size() > kMaxFileBytes) return fail("{}: larger than 1 MiB", file_name);
  Options loaded = options;
  try {
    if (const auto mark = second_document(text))
      return fail("{}:{}: a second document; the options are one", file_name, mark->line + 1);
    const YAML::Node root = YAML::Load(text);
    if (root.IsNull()) return {};
    if (!root.IsMap()) return fail("{}:1: must be a map of options", file_name);
    if (auto status = Loader(file_name, loaded).map(root, ""); !status) return status;
  } catch (const YAML::Exception& e) {
    return fail("{}:{}: {}", file_name, e.mark.line + 1, e.msg);
  }
  options = std::move(loaded);
  return {};
}

Status load_file(const std::string& path, Options& options) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail("{}: cannot be read", path);
  std::ostringstream text;
  text << in.rdbuf();
  return load_text(text.str(), path, options);
}

}  // namespace sluice::config
