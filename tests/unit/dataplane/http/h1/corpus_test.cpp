// Every case of tests/proxy/h1_cases.txt against the codec, in several pieces each.
#include <gtest/gtest.h>

#include <set>

#include "dataplane/http/chars.h"
#include "tests/unit/dataplane/http/h1/cases.h"
#include "tests/unit/dataplane/http/h1/support.h"

namespace sluice::http::h1 {
namespace {

const std::vector<Case>& cases() {
  static const std::vector<Case> all = read_cases(std::string(SLUICE_SOURCE_DIR) + "/tests/proxy/h1_cases.txt");
  return all;
}

using FieldList = std::vector<std::pair<std::string, std::string>>;

// What a writer wrote, taken apart by other code than ours.
struct Written {
  std::string line;
  FieldList fields;
};
Written split_head(const std::string& text) {
  Written out;
  size_t at = text.find("\r\n");
  out.line = text.substr(0, at);
  at += 2;
  while (text.compare(at, 2, "\r\n") != 0) {
    const size_t end = text.find("\r\n", at), colon = text.find(": ", at);
    if (end == std::string::npos || colon == std::string::npos || colon > end)
      throw std::runtime_error("malformed head written: " + text);
    out.fields.emplace_back(text.substr(at, colon - at), text.substr(colon + 2, end - colon - 2));
    at = end + 2;
  }
  if (at + 2 != text.size()) throw std::runtime_error("bytes behind the head: " + text);
  return out;
}

bool has_name(const FieldList& fields, const std::string& name) {
  for (const auto& [n, v] : fields) {
    if (chars::equal_without_case(n, name)) return true;
  }
  return false;
}
bool has_field(const FieldList& fields, const std::string& line) {
  const size_t colon = line.find(':');
  const std::string name = line.substr(0, colon),
                    value = unescape(colon + 2 <= line.size() ? line.substr(colon + 2) : "");
  for (const auto& [n, v] : fields) {
    if (chars::equal_without_case(n, name) && v == value) return true;
  }
  return false;
}

// Details that requests and answers share.
void check_details(const Outcome& outcome, const Written& written, const Message& message, bool keep_alive) {
  std::string body;
  for (const auto& [word, rest] : outcome.details) {
    if (word == "host") EXPECT_TRUE(has_field(written.fields, "Host: " + rest)) << rest;
    else if (word == "field") EXPECT_TRUE(has_field(written.fields, rest)) << rest;
    else if (word == "no-field") EXPECT_FALSE(has_name(written.fields, rest)) << rest;
    else if (word == "length") EXPECT_TRUE(has_field(written.fields, "Content-Length: " + rest)) << rest;
    else if (word == "chunked") EXPECT_TRUE(has_field(written.fields, "Transfer-Encoding: chunked"));
    else if (word == "body") body = unescape(rest);
    else if (word == "trailer") EXPECT_TRUE(has_field(message.trailers, rest)) << rest;
    else if (word == "no-trailer") EXPECT_FALSE(has_name(message.trailers, rest)) << rest;
    else if (word == "interim")
      EXPECT_TRUE(std::count(message.interim.begin(), message.interim.end(), std::stoi(rest)) > 0);
    else if (word == "end") EXPECT_EQ(keep_alive ? "keep" : "close", rest);
    else if (word != "local-ok") ADD_FAILURE() << "unknown detail " << word;
  }
  EXPECT_EQ(message.body, body);
}

void run_request(const Case& c, size_t step) {
  std::string_view rest = c.sent;
  for (size_t i = 0; i < c.outcomes.size(); ++i) {
    const Outcome& outcome = c.outcomes[i];
    RequestRun run(rest, step);
    if (outcome.kind == "refuse") {
      const size_t space = outcome.argument.find(' ');
      EXPECT_EQ(run.word(), outcome.argument.substr(space + 1));
      EXPECT_EQ(std::to_string(describe(run.message.error.reason).status), outcome.argument.substr(0, space));
      EXPECT_FALSE(run.message.head_seen);
      return;
    }
    if (outcome.kind == "refuse-body") {
      EXPECT_TRUE(run.message.head_seen);
      EXPECT_EQ(run.word(), outcome.argument);
      return;
    }
    ASSERT_EQ(outcome.kind, "forward");
    ASSERT_EQ(run.word(), "none");
    ASSERT_TRUE(run.message.complete);
    const Framing framing = !run.head.has_body        ? Framing::none
                            : run.head.content_length ? Framing::length
                                                      : Framing::chunked;
    std::string text(max_head_size(run.head), '\0');
    uint32_t dropped = 0;
    text.resize(write_request_head(text, run.head, framing, &dropped));
    EXPECT_EQ(dropped, 0u);
    const Written written = split_head(text);
    EXPECT_EQ(written.line, unescape(outcome.argument) + " HTTP/1.1");
    check_details(outcome, written, run.message, run.message.keep_alive);
    rest.remove_prefix(run.message.consumed);
  }
}

void run_answer(const Case& c, size_t step) {
  ASSERT_EQ(c.outcomes.size(), 1u);
  const Outcome& outcome = c.outcomes[0];
  ResponseRun run(c.answered, step, method_of(c.method));
  bool whole = run.message.complete;
  Error error = run.message.error;
  if (!whole && error.reason == Reason::none && c.eof) {
    const Step step_at_end = run.reader.eof();
    whole = step_at_end.event == Event::end;
    error = step_at_end.error;
  }
  if (outcome.kind == "bad-gateway") {
    EXPECT_FALSE(run.message.head_seen);
    EXPECT_EQ(describe(error.reason).status, 502) << describe(error.reason).word;
    return;
  }
  ASSERT_TRUE(run.message.head_seen) << run.word() << " " << describe(run.detail()).word;
  if (outcome.kind == "cut") {
    EXPECT_FALSE(whole);
    EXPECT_NE(error.reason, Reason::none);
    return;
  }
  ASSERT_EQ(outcome.kind, "deliver");
  ASSERT_TRUE(whole) << describe(error.reason).word;
  ResponseOptions options;
  options.framing = !run.head.has_body ? Framing::none : run.head.content_length ? Framing::length : Framing::chunked;
  std::string text(max_head_size(run.head), '\0');
  text.resize(write_response_head(text, run.head, options));
  const Written written = split_head(text);
  EXPECT_EQ(written.line.substr(0, 13), "HTTP/1.1 " + outcome.argument + " ");
  // Bytes behind the answer are poison, whatever it said itself.
  check_details(outcome, written, run.message, run.message.keep_alive && run.message.consumed == c.answered.size());
}

TEST(Corpus, IsLargeAndCitesItsSentences) {
  std::set<std::string> ids;
  for (const Case& c : cases()) {
    EXPECT_TRUE(ids.insert(c.id).second) << c.id;
    EXPECT_FALSE(c.outcomes.empty()) << c.id;
    // "9112 6.3 sentence"
    const size_t first = c.rfc.find(' ');
    ASSERT_NE(first, std::string::npos) << c.id;
    EXPECT_GT(c.rfc.size(), c.rfc.find(' ', first + 1) + 10) << c.id;
  }
  EXPECT_GE(ids.size(), 300u);
}

TEST(Corpus, EveryCase) {
  for (const Case& c : cases()) {
    if (c.sockets_only) continue;
    const std::string& kind = c.outcomes[0].kind;
    const bool request = kind == "forward" || kind == "refuse" || kind == "refuse-body";
    ASSERT_TRUE(request ? c.answered.empty() : c.sent.empty()) << c.id;
    for (const size_t step : {0, 1, 3, 50}) {
      if (step != 0 && step < 50 && std::max(c.sent.size(), c.answered.size()) > 20000) continue;
      SCOPED_TRACE(c.id + " in pieces of " + std::to_string(step) + " (RFC " + c.rfc + ")");
      if (request) run_request(c, step);
      else run_answer(c, step);
    }
  }
}

}  // namespace
}  // namespace sluice::http::h1
