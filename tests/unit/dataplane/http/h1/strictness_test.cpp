// docs/http1-strictness.md against the cases that it names: each exists and ends as the table says.
#include <gtest/gtest.h>

#include <map>

#include "tests/unit/dataplane/http/h1/cases.h"

namespace sluice::http::h1 {
namespace {

// The columns of a row; "\|" is a bar inside of one.
std::vector<std::string> columns(const std::string& line) {
  std::vector<std::string> out;
  std::string column;
  for (size_t i = 1; i < line.size(); ++i) {
    if (line[i] == '\\' && i + 1 < line.size() && line[i + 1] == '|') {
      column += line[++i];
    } else if (line[i] == '|') {
      out.push_back(column);
      column.clear();
    } else {
      column += line[i];
    }
  }
  return out;
}

std::vector<std::string> quoted(const std::string& column) {
  std::vector<std::string> out;
  for (size_t at = column.find('`'); at != std::string::npos; at = column.find('`', at + 1)) {
    const size_t end = column.find('`', at + 1);
    if (end == std::string::npos) break;
    out.push_back(column.substr(at + 1, end - at - 1));
    at = end;
  }
  return out;
}

// In the words of the table.
std::string answer_of(const Case& c) {
  const Outcome& first = c.outcomes.at(0);
  if (first.kind == "refuse") return first.argument.substr(0, 3);
  if (first.kind == "refuse-body" || first.kind == "cut") return "cut";
  if (first.kind == "bad-gateway") return "502";
  return "accepted";
}

TEST(Strictness, EachNamedCaseEndsAsTheTableSays) {
  std::map<std::string, const Case*> cases;
  const std::vector<Case> all = read_cases(std::string(SLUICE_SOURCE_DIR) + "/tests/proxy/h1_cases.txt");
  for (const Case& c : all) cases[c.id] = &c;
  std::ifstream in(std::string(SLUICE_SOURCE_DIR) + "/docs/http1-strictness.md");
  size_t rows = 0;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("| ") || line.starts_with("| rule ")) continue;
    ++rows;
    const std::vector<std::string> row = columns(line);
    ASSERT_EQ(row.size(), 5u) << line;
    const std::string answer = row[1].substr(1, row[1].size() - 2);
    EXPECT_TRUE(row[3].starts_with(" RFC ")) << line;
    const std::vector<std::string> named = quoted(row[4]);
    EXPECT_FALSE(named.empty()) << line;
    for (const std::string& id : named) {
      if (!cases.contains(id)) ADD_FAILURE() << "no case " << id << "\n" << line;
      else EXPECT_EQ(answer_of(*cases[id]), answer) << id << "\n" << line;
    }
  }
  EXPECT_GT(rows, 50u);
}

}  // namespace
}  // namespace sluice::http::h1
