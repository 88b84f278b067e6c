// Upstreams that speak HTTP/2, over the socketpairs of test_kit.h: a well-behaved one (the codec's server side) and one
// that sends whatever frames a test makes up.
#pragma once
#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "dataplane/http/h2/session.h"
#include "tests/lib/h2_frames.h"
#include "tests/unit/dataplane/upstream/test_kit.h"

namespace sluice::upstream::testing {

namespace h2 = http::h2;

using tests::h2::data;
using tests::h2::frame;
using tests::h2::Frame;
using tests::h2::goaway;
using tests::h2::number;
using tests::h2::rst;
using tests::h2::settings;
using enum tests::h2::Type;
using enum tests::h2::Flag;

// ":status: 200" of HPACK's static table.
inline std::string ok_head(uint32_t stream, bool end) {
  return frame(kHeaders, static_cast<uint8_t>(kEndHeaders | (end ? kEndStream : 0)), stream, "\x88");
}
// Takes the gateway's frames apart, says nothing of its own.
class RawPeer {
 public:
  explicit RawPeer(const Peer& peer) : peer_(peer) {}
  void send(std::string_view bytes) const { peer_.send(bytes); }
  // All so far.
  const std::vector<Frame>& frames() {
    bytes_ += peer_.received();
    using tests::h2::kPreface;
    if (!prefaced_ && bytes_.size() >= kPreface.size()) {
      EXPECT_EQ(bytes_.substr(0, kPreface.size()), kPreface);
      bytes_.erase(0, kPreface.size());
      prefaced_ = true;
    }
    if (prefaced_) std::ranges::move(tests::h2::take_frames(bytes_), std::back_inserter(frames_));
    return frames_;
  }
  std::vector<Frame> of(uint8_t type) {
    std::vector<Frame> out;
    for (const Frame& one : frames()) {
      if (one.type == type) out.push_back(one);
    }
    return out;
  }

 private:
  const Peer& peer_;
  std::string bytes_;
  bool prefaced_ = false;
  std::vector<Frame> frames_;
};

class GoodPeer;

// One request that came.
struct Call final : h2::SessionStream {
  explicit Call(ChunkPool& pool) : own(pool), head(own), answer(own), trailers(own) {}
  Arena own;
  http::RequestHead head;
  http::ResponseHead answer;
  http::Fields trailers;
  std::string body, seen_trailers;
  bool has_head = false, ended = false, failed = false, closed = false, blocked = false;
  bool consumes = true;
  h2::Session* session = nullptr;
  std::string left;  // to be sent when there is room
  bool left_end = false;

  Arena& arena() override { return own; }
  http::RequestHead* request_head() override { return &head; }
  void on_request_head(bool end) override {
    has_head = true;
    ended = end;
  }
  void on_body(http::Bytes bytes, bool end) override {
    body.append(bytes.data(), bytes.size());
    ended = ended || end;
    if (consumes) session->consumed(*this, bytes.size());
  }
  void on_trailers(const http::Fields& fields) override {
    for (const http::Field& field : fields.all())
      seen_trailers += std::string(field.name) + "=" + std::string(field.value) + ";";
    ended = true;
  }
  void on_writable() override {
    blocked = false;
    push();
  }
  void on_error(const http::Error&, bool) override { failed = true; }
  void on_closed() override { closed = true; }

  void respond(uint16_t status, std::string_view text, bool end = true) {
    answer.status = status;
    answer.has_body = !text.empty() || !end;
    session->send_head(*this, answer, end && text.empty(), {});
    if (!text.empty()) send(text, end);
  }
  void send(std::string_view text, bool end) {
    left.append(text);
    left_end = end;
    if (!blocked) push();
  }
  void push() {
    while (!blocked && attached() && (!left.empty() || left_end)) {
      const size_t size = std::min<size_t>(left.size(), 16384);
      const std::string part = left.substr(0, size);
      left.erase(0, size);
      const bool end = left_end && left.empty();
      if (end) left_end = false;
      blocked = !session->send_body(*this, part, end);
    }
  }
};

// A server that follows the rules.
class GoodPeer final : public h2::SessionOwner {
 public:
  GoodPeer(const Peer& peer, ChunkPool& pool, const h2::Settings& settings = {})
      : peer_(peer), pool_(pool), session(h2::Role::server, settings, *this) {}
  ~GoodPeer() {
    for (const auto& call : calls) {
      if (call->attached()) session.reset(*call, h2::ErrorCode::cancel);
    }
  }
  void turn() {
    const std::string in = peer_.received();
    if (!in.empty()) alive = session.receive(in, monotonic_ms());
    write();
  }
  void write() {
    session.pump();
    const http::Bytes out = session.output();
    peer_.try_send({out.data(), out.size()});
    session.wrote(out.size());
  }
  Call& call(size_t i) { return *calls.at(i); }
  bool alive = true;
  bool refuses = false;
  std::vector<std::unique_ptr<Call>> calls;

 private:
  h2::SessionStream* open_stream() override {
    if (refuses) return nullptr;
    calls.push_back(std::make_unique<Call>(pool_));
    calls.back()->session = &session;
    return calls.back().get();
  }
  void on_goaway() override { said_goodbye = true; }
  const Peer& peer_;
  ChunkPool& pool_;

 public:
  bool said_goodbye = false;
  h2::Session session;
};

struct Http2Fixture : Fixture {
  static ClusterSpec h2_cluster(std::vector<EndpointSpec> endpoints = {{"10.0.0.1"}}, uint64_t hash = 1) {
    ClusterSpec spec{"c", std::move(endpoints)};
    spec.protocol = ir::UpstreamProtocol::H2;
    spec.hash = hash;
    return spec;
  }
  Http2Fixture() { apply({h2_cluster()}); }
  GoodPeer& good(size_t i = 0, const h2::Settings& settings = {}) {
    auto& one = goods[i];
    if (one == nullptr) one = std::make_unique<GoodPeer>(peer(i), pool, settings);
    return *one;
  }
  RawPeer& raw(size_t i = 0) {
    auto& one = raws[i];
    if (one == nullptr) one = std::make_unique<RawPeer>(peer(i));
    return *one;
  }
  // Both sides, for as long as bytes may be on their way.
  void play(int times = 4) {
    for (int i = 0; i < times; ++i) {
      turn();
      for (auto& [index, one] : goods) one->turn();
    }
    turn();
  }
  bool play_until(const std::function<bool()>& done) {
    for (int i = 0; i < 20000 && !done(); ++i) play(1);
    return done();
  }
  // A connection at rest that has carried one exchange.
  void warm_up() {
    Exchange& one = get();
    turn();
    good();
    play();
    good().call(0).respond(200, "ok");
    play();
    ASSERT_EQ(one.events.body, "ok");
    ASSERT_EQ(upstreams->idle_connections(), 1u);
  }
  std::map<size_t, std::unique_ptr<GoodPeer>> goods;
  std::map<size_t, std::unique_ptr<RawPeer>> raws;
};

inline std::string word(const Exchange& one) { return std::string(http::describe(one.events.error.reason).word); }

}  // namespace sluice::upstream::testing
