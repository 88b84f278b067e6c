// Sessions without a transport: streams that write down what happens to them, a server against a client in memory, and
// a server or client against bytes made by hand.
#pragma once
#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/http/h2/session.h"
#include "tests/lib/h2_frames.h"

namespace sluice::http::h2 {

inline Bytes bytes_of(std::string_view text) { return {text.data(), text.size()}; }

// Events as words: "head", "head!" (with the end), "100", "body", "end", "trailers", "writable", "error:word",
// "refused:word" (answerable), "closed". Bodies are one "body" however many pieces they come in.
class TestStream final : public SessionStream {
 public:
  using SessionStream::id;
  TestStream() : arena_(std::make_unique<Arena>(pool())), head_(std::make_unique<RequestHead>(*arena_)) {}

  Arena& arena() override { return *arena_; }
  RequestHead* request_head() override { return head_.get(); }
  void on_request_head(bool end) override { note(end ? "head!" : "head"); }
  void on_informational(ResponseHead& head) override { note(std::to_string(head.status)); }
  void on_response_head(ResponseHead& head, bool end) override {
    status = head.status;
    fields = text_of(head.fields);
    length = head.content_length;
    note(end ? "head!" : "head");
  }
  void on_body(Bytes bytes, bool end) override {
    body.append(bytes.data(), bytes.size());
    if (consumes) session->consumed(*this, bytes.size());
    if (!bytes.empty()) note("body");
    if (end) note("end");
  }
  void on_trailers(const Fields& of) override {
    trailers = text_of(of);
    note("trailers");
  }
  void on_writable() override { note("writable"); }
  void on_error(const Error& of, bool answerable) override {
    error = of;
    note(std::string(answerable ? "refused:" : "error:") + std::string(describe(of.reason).word));
  }
  void on_closed() override { note("closed"); }

  // What its owner would do after the end: all views into the arena are dead.
  void free_memory() {
    head_.reset();
    arena_.reset();
  }
  [[nodiscard]] RequestHead& head() { return *head_; }
  [[nodiscard]] bool is_over() const { return over_; }
  [[nodiscard]] std::string events() const {
    std::string out;
    for (const std::string& event : events_) out.append(out.empty() ? "" : " ").append(event);
    return out;
  }

  Session* session = nullptr;
  std::function<void(const std::string&)> then;  // after each event
  bool consumes = true;                          // what it is given, at once
  int status = 0;
  std::optional<uint64_t> length;
  std::string body, fields, trailers;
  Error error;

 private:
  static ChunkPool& pool() {
    static ChunkPool all(0);  // nothing is kept, so that a sanitizer sees what is used too late
    return all;
  }
  static std::string text_of(const Fields& of) {
    std::string out;
    for (const Field& field : of.all()) out.append(field.name).append(": ").append(field.value).append("\n");
    return out;
  }
  void note(const std::string& event) {
    if (over_) events_.push_back("AFTER-THE-END");
    if (event == "closed" || event.starts_with("error:")) over_ = true;
    if (event != "body" || events_.empty() || events_.back() != "body") events_.push_back(event);
    if (then) then(event);
  }
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<RequestHead> head_;
  std::vector<std::string> events_;
  bool over_ = false;
};

// One end.
class End final : public SessionOwner {
 public:
  explicit End(Role role, const Settings& settings = {}) : session(role, settings, *this) {}

  SessionStream* open_stream() override {
    if (refuses) return nullptr;
    return &add();
  }
  void on_goaway() override { ++goaways; }
  void on_settings() override { ++settings_seen; }
  void on_ping_answer() override { ++ping_answers; }

  TestStream& add() {
    streams.push_back(std::make_unique<TestStream>());
    streams.back()->session = &session;
    if (prepare) prepare(*streams.back());
    return *streams.back();
  }
  // A client's.
  TestStream& request(bool end = true, const std::function<void(RequestHead&)>& fill = {}) {
    TestStream& stream = add();
    RequestHead& head = stream.head();
    head.method_name = "GET";
    head.host = "a.example";
    head.path = "/";
    if (fill) fill(head);
    submitted = session.submit_request(stream, head, end);
    return stream;
  }
  // A server's.
  void answer(TestStream& stream, int status = 200, bool end = true,
              const std::function<void(ResponseHead&)>& fill = {}) {
    auto& head = *stream.arena().make<ResponseHead>(stream.arena());
    head.status = static_cast<uint16_t>(status);
    if (fill) fill(head);
    if (status < 200 && status != 101) session.send_informational(stream, head);
    else session.send_head(stream, head, end, {});
  }
  TestStream& at(size_t index) { return *streams.at(index); }

  // From memory of exactly its size, in pieces.
  bool receive(std::string_view in, size_t step = 0) {
    bool good = true;
    do {
      const size_t size = step == 0 ? in.size() : std::min(step, in.size());
      std::unique_ptr<char[]> exact(new char[size]);
      std::copy_n(in.data(), size, exact.get());
      good = session.receive({exact.get(), size}, now_ms);
      in.remove_prefix(size);
    } while (!in.empty());
    return good;
  }
  std::string take() {
    std::string out(session.output().data(), session.output().size());
    session.wrote(out.size());
    return out;
  }
  // Frames, the preface cut away.
  std::vector<tests::h2::Frame> frames() {
    rest_ += take();
    if (rest_.starts_with(tests::h2::kPreface)) rest_.erase(0, tests::h2::kPreface.size());
    return tests::h2::take_frames(rest_);
  }

  Session session;
  std::deque<std::unique_ptr<TestStream>> streams;
  std::function<void(TestStream&)> prepare;  // each new stream
  bool refuses = false, submitted = false;
  int goaways = 0, settings_seen = 0, ping_answers = 0;
  uint64_t now_ms = 1;

 private:
  std::string rest_;
};

// Two ends and the bytes between them.
struct Link {
  explicit Link(const Settings& of_server = {}, const Settings& of_client = {}, size_t step = 0)
      : server(Role::server, of_server), client(Role::client, of_client), step(step) {}

  // Until nothing moves any more.
  void run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (const bool up : {true, false}) {
        End& from = up ? client : server;
        End& to = up ? server : client;
        from.session.pump();
        const std::string bytes = from.take();
        if (bytes.empty()) continue;
        moved = true;
        most_output = std::max(most_output, bytes.size());
        if (!(up ? server_alive : client_alive)) continue;
        const bool alive = to.receive(bytes, step);
        (up ? server_alive : client_alive) = alive;
      }
    }
  }
  End server, client;
  size_t step;
  size_t most_output = 0;
  bool server_alive = true, client_alive = true;
};

// A session against bytes made by hand, settings exchanged.
struct Alone {
  explicit Alone(Role role, const Settings& settings = {}) : end(role, settings) {
    std::string hello;
    if (role == Role::server) hello = tests::h2::kPreface;
    alive = end.receive(hello + tests::h2::settings() + tests::h2::frame(tests::h2::kSettings, tests::h2::kAck, 0, ""));
    (void)end.frames();
  }
  void receive(std::string_view in, size_t step = 0) {
    alive = end.receive(in, step) && alive;
    for (tests::h2::Frame& frame : end.frames()) said.push_back(std::move(frame));
  }
  // The code of the GOAWAY or RST_STREAM that was said last, or -1.
  [[nodiscard]] int64_t code_of(uint8_t type, uint32_t stream = 0) const {
    int64_t code = -1;
    for (const tests::h2::Frame& frame : said) {
      if (frame.type != type || frame.stream != stream) continue;
      code = tests::h2::number_at(frame.payload, type == tests::h2::kGoaway ? 4 : 0);
    }
    return code;
  }
  [[nodiscard]] int64_t goaway() const { return code_of(tests::h2::kGoaway); }
  [[nodiscard]] int64_t reset_of(uint32_t stream) const { return code_of(tests::h2::kRstStream, stream); }
  [[nodiscard]] size_t count(uint8_t type) const {
    return static_cast<size_t>(std::count_if(said.begin(), said.end(), [&](auto& of) { return of.type == type; }));
  }

  End end;
  std::vector<tests::h2::Frame> said;
  bool alive = true;
};

inline const tests::h2::Pairs kGet = {
    {":method", "GET"}, {":scheme", "http"}, {":authority", "a.example"}, {":path", "/"}};
inline const tests::h2::Pairs kPost = {
    {":method", "POST"}, {":scheme", "http"}, {":authority", "a.example"}, {":path", "/"}};
inline tests::h2::Pairs plus(tests::h2::Pairs pairs, const tests::h2::Pairs& more) {
  pairs.insert(pairs.end(), more.begin(), more.end());
  return pairs;
}

}  // namespace sluice::http::h2
