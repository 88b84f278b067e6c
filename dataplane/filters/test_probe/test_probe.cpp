#include "dataplane/filters/test_probe/test_probe.h"

#include <charconv>
#include <string>

#include "dataplane/filters/header_edits.h"

namespace sluice::filters {
namespace {
using http::Bytes;
using http::FilterContext;

// "word" or "word:argument", separated by commas.
struct Mode {
  bool upper = false;           // streamed bodies, both ways, in upper case
  bool trailers = false;        // adds x-probe to trailers
  bool deny = false;            // local reply at the head
  bool deny_response = false;   // local reply at the answer's head
  bool slow_body = false;       // waits 1 ms at each chunk of the request
  uint32_t gather_request = 0;  // gathers the request's body, up to so many bytes, and says its size in x-probe-size
  uint32_t gather_response = 0;
  uint32_t timer_ms = 0;  // waits at the head
  std::string fetch;      // cluster: x-probe-fetch says the status of GET /probe there
};

uint32_t number(std::string_view text) {
  uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

void read_word(std::string_view word, std::string_view argument, Mode& mode) {
  if (word == "upper") mode.upper = true;
  else if (word == "trailers") mode.trailers = true;
  else if (word == "deny") mode.deny = true;
  else if (word == "deny-response") mode.deny_response = true;
  else if (word == "slow-body") mode.slow_body = true;
  else if (word == "gather-request") mode.gather_request = number(argument);
  else if (word == "gather-response") mode.gather_response = number(argument);
  else if (word == "timer") mode.timer_ms = number(argument);
  else if (word == "fetch") mode.fetch = argument;
}

Mode parse(std::string_view text) {
  Mode mode;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const size_t colon = item.find(':');
    read_word(item.substr(0, colon), colon == std::string_view::npos ? std::string_view() : item.substr(colon + 1),
              mode);
  }
  return mode;
}

std::string_view decimal(uint64_t value, Arena& arena) {
  char text[20];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return arena.copy({text, static_cast<size_t>(end - text)});
}

Bytes upper_case(Bytes bytes, Arena& arena) {
  const std::span<char> to = arena.array<char>(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i)
    to[i] = bytes[i] >= 'a' && bytes[i] <= 'z' ? static_cast<char>(bytes[i] - 32) : bytes[i];
  return to;
}

class TestProbe final : public http::Filter {
 public:
  explicit TestProbe(const Mode& mode) : mode_(mode) {}

  Status on_request_head(FilterContext& context, bool) override {
    if (mode_.deny) {
      context.reply({.reason = http::Reason::filter_denied});
      return Status::proceed;
    }
    if (mode_.gather_request != 0) context.buffer_request(mode_.gather_request);
    if (mode_.timer_ms != 0) {
      context.timer(mode_.timer_ms);
      return Status::wait;
    }
    return fetch(context);
  }
  Status on_request_body(FilterContext& context, Bytes& bytes, bool) override {
    if (mode_.gather_request != 0) context.request().fields.add("x-probe-size", decimal(bytes.size(), context.arena()));
    if (mode_.upper) bytes = upper_case(bytes, context.arena());
    if (!mode_.slow_body) return Status::proceed;
    in_body_ = true;
    context.timer(1);
    return Status::wait;
  }
  Status on_request_trailers(FilterContext&, http::Fields& fields) override { return add_trailer(fields); }
  Status on_response_head(FilterContext& context, http::ResponseHead& head, bool) override {
    if (mode_.deny_response) {
      context.reply({.reason = http::Reason::filter_denied, .status = 451});
      return Status::proceed;
    }
    if (mode_.gather_response != 0) context.buffer_response(mode_.gather_response);
    head.fields.add("x-probe", "seen");
    return Status::proceed;
  }
  Status on_response_body(FilterContext& context, Bytes& bytes, bool) override {
    if (mode_.upper) bytes = upper_case(bytes, context.arena());
    return Status::proceed;
  }
  Status on_response_trailers(FilterContext&, http::Fields& fields) override { return add_trailer(fields); }
  void on_timer(FilterContext& context) override {
    if (in_body_) {
      in_body_ = false;
      context.resume();
      return;
    }
    context.request().fields.add("x-probe-timer", "fired");
    if (fetch(context) == Status::proceed) context.resume();
  }
  void on_fetched(FilterContext& context, const http::FetchResult& result) override {
    context.request().fields.add("x-probe-fetch", result.error.reason == http::Reason::none
                                                      ? decimal(result.status, context.arena())
                                                      : http::describe(result.error.reason).word);
    context.resume();
  }

 private:
  Status fetch(FilterContext& context) {
    if (mode_.fetch.empty()) return Status::proceed;
    http::FetchRequest request;
    request.cluster = mode_.fetch;
    request.method = "GET";
    request.path = "/probe";
    request.host = "probe.invalid";
    context.fetch(request);
    return Status::wait;
  }
  Status add_trailer(http::Fields& fields) {
    if (mode_.trailers) fields.add("x-probe", "seen");
    return Status::proceed;
  }

  const Mode& mode_;
  bool in_body_ = false;
};

class TestProbeFactory final : public Factory {
 public:
  explicit TestProbeFactory(Mode mode) : mode_(std::move(mode)) {}
  [[nodiscard]] http::Filter* make(Arena& arena, const MatchFacts&) const override {
    return arena.make<TestProbe>(mode_);
  }

 private:
  Mode mode_;
};

}  // namespace

std::unique_ptr<Factory> prepare_test_probe(const ir::Filter& config, const Environment&) {
  const auto* probe = config.config_as_TestProbe();
  if (probe == nullptr) return nullptr;
  return std::make_unique<TestProbeFactory>(parse(view_of(probe->mode())));
}

}  // namespace sluice::filters
