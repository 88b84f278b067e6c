// The corpus of cases and 1,000,000 deterministic mutations of it through h1_differential.h, as connections of several
// messages.
#include <gtest/gtest.h>

#include <random>

#include "tests/fuzz/h1_differential.h"
#include "tests/unit/dataplane/http/h1/cases.h"

namespace sluice::http::h1 {
namespace {

std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text) {
    char hex[5];
    std::snprintf(hex, sizeof hex,
                  c == '\r'               ? "\\r"
                  : c == '\n'             ? "\\n\n"
                  : c >= 0x20 && c < 0x7F ? "%c"
                                          : "\\x%02x",
                  static_cast<unsigned char>(c));
    out += hex;
  }
  return out;
}

struct Seed {
  std::string bytes;
  bool request;
  Method method;
};
const std::vector<Seed>& seeds() {
  static const std::vector<Seed> all = [] {
    std::vector<Seed> out;
    for (const Case& c : read_cases(std::string(SLUICE_SOURCE_DIR) + "/tests/proxy/h1_cases.txt")) {
      const std::string& bytes = c.sent.empty() ? c.answered : c.sent;
      if (!bytes.empty() && bytes.size() < 1500) out.push_back({bytes, !c.sent.empty(), method_of(c.method)});
    }
    return out;
  }();
  return all;
}

std::string differ(const Seed& seed, uint8_t methods, fuzz::Tally& tally) {
  if (seed.request) return fuzz::differ_requests(seed.bytes, tally);
  const uint8_t first = seed.method == Method::head ? 1 : 0;
  return fuzz::differ_responses(seed.bytes, static_cast<uint8_t>((methods << 2) | first), tally);
}

void show(const fuzz::Tally& tally) {
  std::printf("%zu messages accepted, %zu of them whole, %zu followed by another, %zu ended by a close\n",
              tally.accepted, tally.complete, tally.pipelined, tally.ended);
  for (const auto& [excuse, count] : tally.excused)
    std::printf("  llhttp is the narrower one: %-18s %zu\n",
                std::string(fuzz::kExcuses[static_cast<size_t>(excuse)]).c_str(), count);
  for (const auto& [reason, count] : tally.only_ours)
    std::printf("  only we refuse: %-22s %zu\n", std::string(describe(reason).word).c_str(), count);
}

// One to three of: a byte changed, taken out, put in, doubled; a piece of another seed put in; two lines exchanged.
std::string mutate(const std::string& from, std::mt19937& random) {
  static constexpr std::string_view kPieces[] = {"\r\n",
                                                 "\r",
                                                 "\n",
                                                 " ",
                                                 "\t",
                                                 ":",
                                                 ";",
                                                 ",",
                                                 "=",
                                                 "\"",
                                                 "0",
                                                 "1",
                                                 "\0",
                                                 "\x80",
                                                 "chunked",
                                                 "Content-Length: 3\r\n",
                                                 "Transfer-Encoding: chunked\r\n",
                                                 "Connection: close\r\n",
                                                 "Host: b\r\n",
                                                 "%2e",
                                                 "../",
                                                 "#",
                                                 "?",
                                                 "HTTP/1.0",
                                                 "\r\n ",
                                                 "0\r\n\r\n",
                                                 "Upgrade: a\r\n",
                                                 "\xff",
                                                 "\x0b",
                                                 "\\"};
  std::string out = from;
  for (unsigned n = 1 + random() % 3; n > 0; --n) {
    const size_t at = out.empty() ? 0 : random() % out.size();
    switch (random() % 6) {
      case 0:
        if (!out.empty()) out[at] = static_cast<char>(random() % 256);
        break;
      case 1:
        out.erase(at, 1 + random() % 4);
        break;
      case 2: {
        const std::string_view piece = kPieces[random() % std::size(kPieces)];
        out.insert(at, piece.empty() ? std::string_view("\0", 1) : piece);
        break;
      }
      case 3:
        out.insert(at, out.substr(at, 1 + random() % 24));
        break;
      case 4: {
        const std::string& other = seeds()[random() % seeds().size()].bytes;
        out.insert(at, other.substr(random() % other.size(), 1 + random() % 32));
        break;
      }
      default: {
        const size_t line = out.find("\r\n", at);
        if (line != std::string::npos)
          out.insert(out.find("\r\n") == line ? line + 2 : 0, kPieces[random() % std::size(kPieces)]);
        break;
      }
    }
  }
  return out;
}

TEST(Differential, Cases) {
  fuzz::Tally tally;
  for (const Seed& seed : seeds()) {
    EXPECT_EQ(differ(seed, 0, tally), "") << shown(seed.bytes);
  }
  show(tally);
  EXPECT_GT(tally.accepted, 250u);
}

// A connection's messages: up to four seeds one behind the other, half of them mutated.
TEST(Differential, Mutations) {
  std::mt19937 random(20261124);
  size_t wrong = 0;
  fuzz::Tally requests, responses;
  for (int i = 0; i < 1000000 && wrong < 5; ++i) {
    // As many answers as requests, of which there are more.
    Seed seed;
    for (const bool request = i % 2 == 0; seed.bytes.empty() || seed.request != request;)
      seed = seeds()[random() % seeds().size()];
    while (random() % 3 == 0) {
      const Seed& next = seeds()[random() % seeds().size()];
      if (next.request == seed.request && seed.bytes.size() < 4096) seed.bytes += next.bytes;
    }
    if (random() % 4 != 0) seed.bytes = mutate(seed.bytes, random);
    const std::string why = differ(seed, static_cast<uint8_t>(random() % 64), seed.request ? requests : responses);
    EXPECT_EQ(why, "") << "mutation " << i << (seed.request ? " of a request:\n" : " of an answer:\n")
                       << shown(seed.bytes);
    wrong += why.empty() ? 0 : 1;
  }
  std::printf("requests: ");
  show(requests);
  std::printf("answers: ");
  show(responses);
  // Else the test would say nothing.
  EXPECT_GT(requests.accepted, 50000u);
  EXPECT_GT(responses.accepted, 50000u);
  EXPECT_GT(requests.pipelined, 20000u);
  EXPECT_GT(responses.pipelined, 10000u);
  EXPECT_GT(responses.ended, 1000u);
  // An excuse that is never needed would hide what it was not made for.
  for (size_t i = 1; i < std::size(fuzz::kExcuses); ++i) {
    const auto excuse = static_cast<fuzz::Excuse>(i);
    EXPECT_GT(requests.excused[excuse] + responses.excused[excuse], 0u) << fuzz::kExcuses[i];
  }
}

}  // namespace
}  // namespace sluice::http::h1
