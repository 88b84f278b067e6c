// Reads tests/proxy/h1_cases.txt (its format is described at its top).
#pragma once
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::http::h1 {

struct Outcome {
  std::string kind;  // refuse, refuse-body, forward, deliver, bad-gateway, cut
  std::string argument;
  std::vector<std::pair<std::string, std::string>> details;
};
struct Case {
  std::string id, rfc, method = "GET";
  std::string sent, answered;
  bool eof = false, sockets_only = false, bytewise = false;
  std::vector<Outcome> outcomes;
};

// \r \n \t \s \\ \xHH and \{c*N}.
inline std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    switch (text.at(++i)) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 's':
        out += ' ';
        break;
      case '\\':
        out += '\\';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
        break;
      case '{': {
        const size_t close = text.find('}', i);
        out.append(std::stoul(std::string(text.substr(i + 3, close - i - 3))), text[i + 1]);
        i = close;
        break;
      }
      default:
        throw std::runtime_error("bad escape in " + std::string(text.substr(0, 80)));
    }
  }
  return out;
}

inline std::vector<Case> read_cases(const std::string& file) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot read " + file);
  std::vector<Case> cases;
  std::string line, rfc;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.find(' ');
    const std::string word = line.substr(0, space), rest = space == std::string::npos ? "" : line.substr(space + 1);
    if (word == "rfc") {
      rfc = rest;
    } else if (word == "case") {
      cases.emplace_back();
      cases.back().id = rest;
      cases.back().rfc = rfc;
    } else if (cases.empty()) {
      throw std::runtime_error("no case before: " + line);
    } else if (word == "send") {
      cases.back().sent += unescape(rest);
    } else if (word == "answer") {
      cases.back().answered += unescape(rest);
    } else if (word == "method") {
      cases.back().method = rest;
    } else if (word == "eof") {
      cases.back().eof = true;
    } else if (word == "sockets-only") {
      cases.back().sockets_only = true;
    } else if (word == "bytewise") {
      cases.back().bytewise = true;
    } else if (word == "refuse" || word == "refuse-body" || word == "forward" || word == "deliver" ||
               word == "bad-gateway" || word == "cut") {
      cases.back().outcomes.push_back({word, rest, {}});
    } else if (!cases.back().outcomes.empty()) {
      cases.back().outcomes.back().details.emplace_back(word, rest);
    } else {
      throw std::runtime_error("unknown word: " + line);
    }
  }
  return cases;
}

}  // namespace sluice::http::h1
