// What clients send, against a server's session whose streams answer by a script (h2_properties.h: Input). Any bytes:
// no crash, events in order, no more held than may be, and what is said can be taken.
#include <cstdint>

#include "tests/fuzz/h2_properties.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::h2;
using fuzz::require;

constexpr size_t kLargest = 100 * 1024;

class Served final : public fuzz::Watched {
 public:
  Served(Session& session, unsigned action) : Watched(session), action_(action) {}

 private:
  void act() override {
    switch (action_) {
      case 0:
        return send(200, true);
      case 1:
        return reset(ErrorCode::cancel);
      case 2:
        send(103, false);
        send(100, false);
        return;
      case 3:
        send(200, false);
        return give(10, true);
      case 4:
        send(200, false);
        return give(kLargest, false);
      case 5:
        send(request_head()->upgrade.empty() ? 200 : 101, false);
        return give(100, false);
      case 6:
        send(204, true);
        return reset(ErrorCode::internal_error);
      default:
        return;
    }
  }
  void body(Bytes bytes) override {
    // Some hold what they get; 8 answers in the middle of a body, 9 gives up there.
    if (action_ != 10 && action_ != 11) consume(bytes.size());
    if (action_ == 8 && !answered_) return send(413, true);
    if (action_ == 9) return reset(ErrorCode::protocol_error);
    if (action_ == 5) return give(bytes.size(), ended_in());
    if (ended_in() && !answered_) answer();
  }
  void answer() {
    send(200, false);
    if (action_ % 2 == 0) return give(20000, true);
    give(5, false);
    if (is_over()) return;
    auto& trailers = *arena().make<Fields>(arena());
    trailers.add("Grpc-Status", "0");
    if (action_ == 15) trailers.add("content-length", "7");
    session_.send_trailers(*this, trailers);
  }
  void writable() override { give(50000, ++rounds_ > 3); }
  void refused() override {
    if (action_ == 7) return reset(ErrorCode::cancel);
    send(400, false);
    give(30, true);
  }
  void later() override {
    if (action_ == 10) consume(1000);
    if (action_ == 12 && ++rounds_ > 5) reset(ErrorCode::cancel);
    if (action_ == 13 && attached() && !answered_ && ++rounds_ > 2) {
      send(200, false);
      give(3, true);
    }
  }
  void send(uint16_t status, bool end) {
    if (is_over()) return;
    auto& head = *arena().make<ResponseHead>(arena());
    head.status = status;
    head.fields.add("X-Field", "value");
    if (status < 200 && status != 101) return session_.send_informational(*this, head);
    answered_ = true;
    session_.send_head(*this, head, end, "Sun, 06 Nov 1994 08:49:37 GMT");
  }
  void give(size_t size, bool end) {
    if (is_over()) return;
    const std::string bytes(size, 'b');
    const bool room = session_.send_body(*this, {bytes.data(), bytes.size()}, end);
    require(!attached() || room == (unsent() <= Session::kHighWater), "says whether there is room");
    require(unsent() <= Session::kHighWater + kLargest, "what waits is bounded");
  }
  unsigned action_;
  int rounds_ = 0;
  bool answered_ = false;
};

class Owner final : public SessionOwner {
 public:
  explicit Owner(const fuzz::Input& input) : input_(input), session(Role::server, input.settings(), *this) {}
  SessionStream* open_stream() override {
    if ((input_.flags & fuzz::Input::kRefuses) != 0 && streams.size() % 3 == 2) return nullptr;
    streams.push_back(std::make_unique<Served>(session, input_.action(streams.size())));
    return streams.back().get();
  }
  void between() {
    size_t held = 0;
    for (size_t i = 0; i < streams.size(); ++i) {
      held += streams[i]->held();
      streams[i]->between();
    }
    const Settings settings = input_.settings();
    require(held <= settings.most_held + std::max(settings.connection_window, 65535u) + 65536,
            "what is held is bounded");
  }

 private:
  const fuzz::Input& input_;

 public:
  Session session;
  std::vector<std::unique_ptr<Served>> streams;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size, Role::server);
  Owner owner(input);
  fuzz::Said said(Role::server);
  const bool alive = fuzz::feed(owner.session, input, said, [&] { owner.between(); });
  if (alive && input.script[0] % 4 == 1) {
    owner.session.begin_shutdown();
    said.take(owner.session);
    owner.session.shutdown(ErrorCode::no_error);
    said.take(owner.session);
    require(said.goaway(), "a shutdown is said");
  }
  if (input.script[0] % 4 == 2) return 0;  // the session goes first
  owner.session.connection_lost({Reason::client_closed, Side::client, Retry::no, 0});
  require(owner.session.streams() == 0, "all streams were told");
  for (const auto& stream : owner.streams) require(stream->is_over() && !stream->attached(), "each once");
  owner.session.pump();
  return 0;
}
