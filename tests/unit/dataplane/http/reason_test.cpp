#include <gtest/gtest.h>

#include <set>

#include "common/ir/table_reason.h"
#include "dataplane/http/error.h"

namespace sluice::http {
namespace {

TEST(Reason, EveryRowIsUsable) {
  std::set<std::string_view> words;
  for (size_t i = 0; i < static_cast<size_t>(Reason::kCount); ++i) {
    const ReasonInfo& info = describe(static_cast<Reason>(i));
    EXPECT_TRUE(words.insert(info.word).second) << info.word;
    EXPECT_FALSE(info.word.empty());
    for (const char c : info.word)
      EXPECT_TRUE((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_') << info.word;
    // The sentence goes into JSON as it is.
    EXPECT_EQ(info.sentence.find_first_of("\"\\\n"), std::string_view::npos);
    EXPECT_TRUE(info.status == 0 || (info.status >= 200 && info.status <= 599)) << info.word;
    if (info.status >= 400) {
      EXPECT_FALSE(info.sentence.empty()) << info.word;
    }
  }
}

// RFC 9110 10.2.3: only with statuses that mean "later", and never far away.
TEST(Reason, RetryAfter) {
  for (size_t i = 0; i < static_cast<size_t>(Reason::kCount); ++i) {
    const ReasonInfo& info = describe(static_cast<Reason>(i));
    if (info.retry_after.empty()) continue;
    EXPECT_EQ(info.status, 503) << info.word;
    const int seconds = std::stoi(std::string(info.retry_after));
    EXPECT_EQ(std::to_string(seconds), info.retry_after) << info.word;
    EXPECT_TRUE(seconds >= 1 && seconds <= 30) << info.word;
  }
  for (const Reason reason : {Reason::no_endpoints, Reason::overloaded, Reason::draining})
    EXPECT_FALSE(describe(reason).retry_after.empty()) << describe(reason).word;
  EXPECT_TRUE(describe(Reason::service_not_found).retry_after.empty()) << "an object has to change first";
}

// The two planes' lists must not drift: what translation puts into a table is told by the same word here.
TEST(Reason, KnowsEveryWordOfATable) {
  for (const char* word : ir::kTableReasonWords) {
    const Reason reason = reason_of(word);
    EXPECT_NE(reason, Reason::none) << word;
    EXPECT_EQ(describe(reason).word, word);
  }
  EXPECT_EQ(reason_of("no_such_word"), Reason::none);
  EXPECT_EQ(reason_of(""), Reason::none);
}

TEST(Reason, Statuses) {
  auto status = [](Reason reason) { return describe(reason).status; };
  EXPECT_EQ(status(Reason::bad_header_name), 400);
  EXPECT_EQ(status(Reason::bad_version), 505);
  EXPECT_EQ(status(Reason::unsupported_expect), 417);
  EXPECT_EQ(status(Reason::connect_refused), 501);
  EXPECT_EQ(status(Reason::misdirected), 421);
  EXPECT_EQ(status(Reason::request_line_too_long), 414);
  EXPECT_EQ(status(Reason::headers_too_large), 431);
  EXPECT_EQ(status(Reason::body_too_large), 413);
  EXPECT_EQ(status(Reason::request_header_timeout), 408);
  EXPECT_EQ(status(Reason::no_endpoints), 503);
  EXPECT_EQ(status(Reason::response_timeout), 504);
  EXPECT_EQ(status(Reason::bad_response), 502);
  EXPECT_EQ(status(Reason::client_closed), 0);
  EXPECT_EQ(describe(static_cast<Reason>(250)).word, "internal");
}

}  // namespace
}  // namespace sluice::http
