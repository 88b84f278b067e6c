// Fakes on both sides of a stream, and an environment with a clock of its own.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/http/stream.h"

namespace sluice::http {

inline std::string text_of(Bytes bytes) { return {bytes.data(), bytes.size()}; }

// Towards the client: writes down what it is told.
struct FakeClient final : ResponseSink {
  std::string log;  // "100 head:200 body:abc end flush"
  std::string body;
  uint16_t status = 0;
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<uint64_t> content_length;
  bool has_body = false;
  bool ended = false, aborted = false, paused = false, tunnel = false;
  bool room = true;
  void note(const std::string& word) { log += (log.empty() ? "" : " ") + word; }
  void send_informational(const ResponseHead& head) override { note(std::to_string(head.status)); }
  void send_head(const ResponseHead& head, bool end) override {
    status = head.status;
    content_length = head.content_length;
    has_body = head.has_body;
    for (const Field& field : head.fields.all()) fields.emplace_back(field.name, field.value);
    note("head:" + std::to_string(head.status));
    if (end) finish();
  }
  bool send_body(Bytes bytes, bool end) override {
    body += text_of(bytes);
    note("body:" + text_of(bytes));
    if (end) finish();
    return room;
  }
  void send_trailers(const Fields& trailers) override {
    note("trailers:" + std::to_string(trailers.size()));
    finish();
  }
  bool flush() override {
    note("flush");
    return room;
  }
  void abort(const Error&) override {
    aborted = true;
    note("abort");
  }
  void pause_request() override { paused = true; }
  void resume_request() override { paused = false; }
  void become_tunnel() override { tunnel = true; }
  bool resting = true;
  bool at_rest() const override { return resting; }
  void finish() {
    ended = true;
    note("end");
  }
  std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return "";
  }
};

// One attempt's request side.
struct FakeExchange final : RequestSink {
  ResponseEvents* events = nullptr;
  std::string log, body, path, host;
  std::vector<std::pair<std::string, std::string>> fields;
  std::optional<uint64_t> content_length;
  bool ended = false, cancelled = false, paused = false, flushed = false, room = true;
  bool fail_in_head = false;
  void send_head(const RequestHead& head, bool end) override {
    log += "head";
    path = head.path;
    host = head.host;
    content_length = head.content_length;
    for (const Field& field : head.fields.all()) fields.emplace_back(field.name, field.value);
    ended = end;
    if (fail_in_head) events->on_exchange_error({Reason::upstream_closed, Side::upstream, Retry::if_reused, 0});
  }
  bool send_body(Bytes bytes, bool end) override {
    log += " body:" + text_of(bytes);
    body += text_of(bytes);
    ended = end;
    return room;
  }
  void send_trailers(const Fields& trailers) override {
    log += " trailers:" + std::to_string(trailers.size());
    ended = true;
  }
  void flush() override { flushed = true; }
  void pause_response() override { paused = true; }
  void resume_response() override { paused = false; }
  void cancel() override { cancelled = true; }
  std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return "";
  }
};

struct FakeEnvironment final : StreamEnvironment {
  StreamPlan next_plan;
  std::optional<LocalReply> action;
  std::deque<std::unique_ptr<FakeExchange>> exchanges;  // made so far
  std::optional<Error> start_error;
  bool reused = false;
  bool next_fails_in_head = false;
  uint64_t now = 1000;
  net::TimerWheel wheel{1000};
  std::vector<StreamSummary> summaries;

  void plan(RequestHead&, StreamPlan& plan) override { plan = next_plan; }
  bool act(RequestHead&, LocalReply& reply) override {
    if (!action) return false;
    reply = *action;
    return true;
  }
  std::expected<RequestSink*, Error> start_attempt(ResponseEvents& events) override {
    if (start_error) return std::unexpected(*start_error);
    exchanges.push_back(std::make_unique<FakeExchange>());
    exchanges.back()->events = &events;
    exchanges.back()->fail_in_head = std::exchange(next_fails_in_head, false);
    return exchanges.back().get();
  }
  bool attempt_reused() const override { return reused; }
  std::expected<RequestSink*, Error> start_fetch(std::string_view, ResponseEvents& events, uint32_t) override {
    return start_attempt(events);
  }
  std::string_view request_id() override { return "0123456789abcdef"; }
  uint64_t now_ns() const override { return now * 1'000'000u; }
  uint64_t now_ms() const override { return now; }
  size_t tunnels = 0;
  std::string_view kept;  // asked for again when a tunnel settles
  void settle_later() override { ++tunnels; }
  void keep(TextKeeper& keeper) override { keeper.keep(kept); }
  void arm(net::TimerNode& timer, uint64_t deadline) override { wheel.arm(timer, deadline); }
  void complete(const StreamSummary& summary) override { summaries.push_back(summary); }
  void pass(uint64_t milliseconds) {
    now += milliseconds;
    wheel.advance(now);
  }
  FakeExchange& last() { return *exchanges.back(); }
};

// A stream with its two sides; requests and answers in words.
struct StreamRig {
  ChunkPool chunks;
  FakeEnvironment environment;
  FakeClient client;
  Stream stream{chunks, environment, client};
  Arena answers{chunks};

  void request(Method method = Method::get, bool has_body = false) {
    stream.begin();
    RequestHead& head = stream.head();
    head.method = method;
    head.method_name = name_of(method);
    head.host = "a.example";
    head.path = "/x";
    head.has_body = has_body;
    stream.on_request_head(!has_body);
    if (!has_body) stream.on_request_flush();
  }
  void body(std::string_view text, bool end, bool flush = true) {
    stream.on_request_body({text.data(), text.size()}, end);
    if (flush) stream.on_request_flush();
  }
  void answer(uint16_t status, std::string_view text = {}) {
    auto* events = environment.last().events;
    ResponseHead head(answers);
    head.status = status;
    head.has_body = !text.empty();
    head.content_length = text.size();
    events->on_response_head(head, text.empty());
    if (!text.empty()) events->on_response_body({text.data(), text.size()}, true);
    events->on_response_flush();
  }
  void fail(Reason reason, Retry retry, Side side = Side::upstream) {
    auto* events = environment.last().events;
    events->on_exchange_error({reason, side, retry, 0});
    events->on_response_flush();
  }
  const StreamSummary& summary() { return environment.summaries.back(); }
};

// A tunnel of a request without a body.
struct TunnelRig : StreamRig {
  ResponseEvents* events = nullptr;
  explicit TunnelRig(std::string_view protocol = "echo") {
    environment.next_plan.tunnel_idle_ms = 1000;
    stream.head().upgrade = protocol;
    request();
    events = environment.last().events;
    ResponseHead head(answers);
    head.status = 101;
    head.upgrade = protocol;
    events->on_response_head(head, false);
    events->on_response_flush();
  }
};

}  // namespace sluice::http
