// What must hold for HTTP/2 sessions whatever the peer's bytes, checked with abort(): streams that follow a small
// script and watch the order of events, and a reader of what the session says.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/arena.h"
#include "dataplane/http/h2/session.h"
#include "tests/lib/h2_frames.h"

namespace sluice::http::h2::fuzz {

inline void require(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "property broken: %s\n", what);
  std::abort();
}

// What the session is to be told. Four bytes, then:
//   raw        the peer's bytes as they are, behind preface and SETTINGS if kHello is set
//   assembled  records: type, flags, stream, length and so many bytes. Type bit 7: the payload 64 times; bit 6: a
//   header
//              block is written from fields, each name and value ended by 0xFE. The rest of the type is modulo 12
struct Input {
  enum : uint8_t { kAssembled = 1, kHello = 2, kExtended = 4, kSmall = 8, kRefuses = 16 };
  Input(const uint8_t* data, size_t size, Role role) {
    if (size < 4) return;
    flags = data[0];
    pieces = data[1];
    script[0] = data[2];
    script[1] = data[3];
    const std::string_view rest(reinterpret_cast<const char*>(data) + 4, size - 4);
    if ((flags & (kAssembled | kHello)) != 0) {
      if (role == Role::server) bytes = tests::h2::kPreface;
      bytes += tests::h2::settings() + tests::h2::frame(tests::h2::kSettings, tests::h2::kAck, 0, "");
    }
    if ((flags & kAssembled) != 0) assemble(rest);
    else bytes += rest;
  }
  [[nodiscard]] Settings settings() const {
    Settings of;
    of.extended_connect = (flags & kExtended) != 0;
    of.limits = {4096, 40, 1024};
    of.flood.header_bytes_decoded = 16 * 1024;
    if ((flags & kSmall) != 0) {
      of.connection_window = 100 * 1000;
      of.most_held = 80 * 1000;
      of.concurrent_streams = 4;
    }
    return of;
  }
  // How many bytes come next.
  [[nodiscard]] size_t next_piece() {
    if (pieces == 0) return SIZE_MAX;
    turn = static_cast<uint8_t>(turn * 5 + 3);
    return 1 + (pieces < 8 ? 0 : turn % pieces);
  }
  [[nodiscard]] unsigned action(size_t stream) const { return (script[stream % 2] >> (stream / 2 % 2 * 4)) & 15u; }

  uint8_t flags = 0, pieces = 0, script[2] = {}, turn = 0;
  std::string bytes;

 private:
  void assemble(std::string_view in) {
    static constexpr uint8_t kTypes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 0xAB};
    const size_t most = pieces == 0 ? 1024 * 1024 : 128 * 1024;  // small pieces take their time
    while (in.size() >= 4 && bytes.size() < most) {
      const auto type = static_cast<uint8_t>(in[0]);
      const size_t size = std::min<size_t>(static_cast<uint8_t>(in[3]), in.size() - 4);
      std::string payload(in.substr(4, size));
      if ((type & 64) != 0) payload = tests::h2::block(fields_of(payload));
      if ((type & 128) != 0) {
        const std::string once = payload;
        for (int i = 1; i < 64; ++i) payload += once;
      }
      bytes += tests::h2::frame(kTypes[(type & 63) % std::size(kTypes)], static_cast<uint8_t>(in[1]),
                                static_cast<uint8_t>(in[2]), payload);
      in.remove_prefix(4 + size);
    }
  }
  static tests::h2::Pairs fields_of(std::string_view text) {
    tests::h2::Pairs out;
    auto word = [&] {
      const size_t end = text.find('\xFE');
      std::string one(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      return one;
    };
    while (!text.empty()) {
      std::string name = word();
      out.emplace_back(std::move(name), word());
    }
    return out;
  }
};

// What the session says is a sequence of frames that a peer with default settings can take.
class Said {
 public:
  explicit Said(Role role) : role_(role) {}
  void take(Session& session) {
    const Bytes out = session.output();
    rest_.append(out.data(), out.size());
    session.wrote(out.size());
    if (role_ == Role::client && !begun_ && rest_.starts_with(tests::h2::kPreface))
      rest_.erase(0, tests::h2::kPreface.size());
    size_t content = 0;
    for (const tests::h2::Frame& frame : tests::h2::take_frames(rest_)) {
      content += frame.type == tests::h2::kData ? frame.payload.size() : 0;
      check(frame);
    }
    require(rest_.empty(), "output holds whole frames");
    require(content <= Session::kMostOutput, "DATA in the output is bounded");
  }
  [[nodiscard]] bool goaway() const { return goaway_; }

 private:
  void check(const tests::h2::Frame& frame) {
    require(frame.payload.size() <= 16384, "frames have legal sizes");
    require(begun_ || frame.type == tests::h2::kSettings, "SETTINGS are first");
    begun_ = true;
    require(block_ == 0 || (frame.type == tests::h2::kContinuation && frame.stream == block_), "blocks are contiguous");
    switch (frame.type) {
      case tests::h2::kData:
      case tests::h2::kHeaders:
        require(frame.stream != 0 && frame.stream % 2 == 1, "messages are on the client's streams");
        require(!over_[frame.stream], "nothing follows the end or a reset");
        over_[frame.stream] = (frame.flags & tests::h2::kEndStream) != 0;
        if (frame.type == tests::h2::kHeaders && (frame.flags & tests::h2::kEndHeaders) == 0) block_ = frame.stream;
        break;
      case tests::h2::kContinuation:
        require(block_ != 0, "CONTINUATION continues");
        if ((frame.flags & tests::h2::kEndHeaders) != 0) block_ = 0;
        break;
      case tests::h2::kRstStream:
        require(frame.stream != 0 && frame.payload.size() == 4, "RST_STREAM is well-formed");
        over_[frame.stream] = true;
        break;
      case tests::h2::kWindowUpdate:
        require(frame.payload.size() == 4 && (tests::h2::number_at(frame.payload, 0) & 0x7FFFFFFF) != 0,
                "WINDOW_UPDATE is well-formed");
        break;
      case tests::h2::kGoaway:
        require(frame.stream == 0 && frame.payload.size() >= 8, "GOAWAY is well-formed");
        goaway_ = true;
        break;
      default:
        require(frame.type == tests::h2::kSettings || frame.type == tests::h2::kPing, "no other frames");
        require(frame.stream == 0, "of the connection");
    }
  }
  Role role_;
  std::string rest_;
  std::map<uint32_t, bool> over_;
  uint32_t block_ = 0;
  bool begun_ = false, goaway_ = false;
};

// A stream that watches the order of its events.
class Watched : public SessionStream {
 public:
  explicit Watched(Session& session) : session_(session), head_(std::make_unique<RequestHead>(*arena_)) {}
  virtual ~Watched() = default;

  Arena& arena() override { return *arena_; }
  RequestHead* request_head() override { return head_.get(); }
  void on_request_head(bool end) override {
    const bool tunnel = !head_->upgrade.empty();
    head(head_->content_length, end && !tunnel);
    act();
  }
  void on_informational(ResponseHead& of) override {
    require(stage_ == Stage::none && of.status >= 100 && of.status < 200, "1xx come before the head");
    require(++informational_ <= Session::kMaxInformational, "1xx are bounded");
  }
  void on_response_head(ResponseHead& of, bool end) override {
    require(of.status >= 200 && of.status < 600, "a final head");
    head(of.has_body ? of.content_length : std::nullopt, end);
    if (!of.has_body) may_have_content_ = false;
    act();
  }
  void on_body(Bytes bytes, bool end) override {
    require(stage_ == Stage::body, "bodies follow heads and end once");
    require(bytes.empty() || may_have_content_, "no body where none may be");
    got_ += bytes.size();
    held_ += bytes.size();
    require(!length_ || got_ <= *length_, "no more than was said");
    if (end) ended();
    body(bytes);
  }
  void on_trailers(const Fields& of) override {
    require(stage_ == Stage::body && of.size() != 0, "trailers follow the head and end the message");
    for (const Field& field : of.all()) require(!field.name.empty() && field.name[0] != ':', "trailers are fields");
    ended();
    body({});
  }
  void on_writable() override {
    require(stage_ != Stage::over, "nothing after the end");
    writable();
  }
  void on_error(const Error& error, bool answerable) override {
    require(stage_ != Stage::over && error.reason != Reason::none, "an error, once");
    if (answerable) {
      require(stage_ == Stage::none, "only heads are answerable");
      stage_ = Stage::refused;
      return refused();
    }
    over();
  }
  void on_closed() override {
    require(stage_ != Stage::over, "closed once");
    over();
  }
  [[nodiscard]] bool is_over() const { return stage_ == Stage::over; }
  [[nodiscard]] size_t held() const { return held_; }
  // Between two calls: whoever is over frees its memory.
  void between() {
    if (!is_over()) return later();
    head_.reset();
    arena_.reset();
  }

 protected:
  virtual void act() = 0;
  virtual void body(Bytes bytes) = 0;
  virtual void writable() {}
  virtual void refused() {}
  virtual void later() {}
  void consume(size_t size) {
    size = std::min(size, held_);
    held_ -= size;
    session_.consumed(*this, size);
  }
  void reset(ErrorCode code) {
    over();
    session_.reset(*this, code);
  }
  [[nodiscard]] bool ended_in() const { return stage_ == Stage::ended; }
  void over() {
    stage_ = Stage::over;
    held_ = 0;
  }
  Session& session_;

 private:
  enum class Stage : uint8_t { none, refused, body, ended, over };
  void head(std::optional<uint64_t> length, bool end) {
    require(stage_ == Stage::none, "one head");
    stage_ = Stage::body;
    length_ = length;
    if (end) ended();
  }
  void ended() {
    require(!length_ || got_ == *length_, "as much as was said");
    stage_ = Stage::ended;
  }
  static ChunkPool& pool() {
    static ChunkPool none(0);
    return none;
  }
  std::unique_ptr<Arena> arena_ = std::make_unique<Arena>(pool());
  std::unique_ptr<RequestHead> head_;
  std::optional<uint64_t> length_;
  uint64_t got_ = 0;
  size_t held_ = 0;
  int informational_ = 0;
  bool may_have_content_ = true;
  Stage stage_ = Stage::none;
};

// Feeds the input in its pieces, from memory of exactly their size; `between` after each.
template <class Between>
bool feed(Session& session, Input& input, Said& said, Between between) {
  uint64_t now_ms = 1000;
  std::string_view in = input.bytes;
  bool alive = true;
  said.take(session);
  while (!in.empty()) {
    const size_t size = std::min(in.size(), input.next_piece());
    std::unique_ptr<char[]> exact(new char[size]);
    std::copy_n(in.data(), size, exact.get());
    const bool good = session.receive({exact.get(), size}, now_ms++);
    require(alive || !good, "dead sessions stay dead");
    if (alive && !good) {
      require(session.streams() == 0, "all streams were told");
      said.take(session);
      require(session.finished(), "it has said its last");
    }
    alive = good;
    said.take(session);
    between();
    session.pump();
    said.take(session);
    in.remove_prefix(size);
  }
  return alive;
}

}  // namespace sluice::http::h2::fuzz
