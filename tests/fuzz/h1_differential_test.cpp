// The corpus of cases and 1,000,000 deterministic mutations of it through h1_differential.h.
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

std::string differ(const Seed& seed, size_t& accepted) {
  return seed.request ? fuzz::differ_request(seed.bytes, &accepted)
                      : fuzz::differ_response(seed.bytes, seed.method, &accepted);
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
  size_t accepted = 0;
  for (const Seed& seed : seeds()) {
    EXPECT_EQ(differ(seed, accepted), "") << shown(seed.bytes);
  }
  EXPECT_GT(accepted, 250u);
}

TEST(Differential, Mutations) {
  std::mt19937 random(20261124);
  size_t wrong = 0, accepted = 0;
  for (int i = 0; i < 1000000 && wrong < 5; ++i) {
    Seed seed = seeds()[random() % seeds().size()];
    seed.bytes = mutate(seed.bytes, random);
    const std::string why = differ(seed, accepted);
    EXPECT_EQ(why, "") << "mutation " << i << (seed.request ? " of a request:\n" : " of an answer:\n")
                       << shown(seed.bytes);
    wrong += why.empty() ? 0 : 1;
  }
  // Else the test would say nothing.
  EXPECT_GT(accepted, 50000u);
}

}  // namespace
}  // namespace sluice::http::h1
