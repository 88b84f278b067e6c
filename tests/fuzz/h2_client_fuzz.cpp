// What servers send, against a client's session with requests of all kinds (h2_properties.h: Input). Any bytes: no
// crash, events in order, whole answers only, and what is said can be taken.
#include <cstdint>

#include "tests/fuzz/h2_properties.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::h2;
using fuzz::require;

constexpr size_t kPiece = 30 * 1024;

class Asked final : public fuzz::Watched {
 public:
  Asked(Session& session, unsigned action) : Watched(session), action_(action) {}
  // False: the session takes no more.
  bool begin() {
    RequestHead& head = *request_head();
    head.method = action_ == 1 ? Method::head : action_ < 4 ? Method::get : Method::post;
    head.method_name = name_of(head.method);
    head.host = "a.example";
    head.path = "/x";
    head.fields.add("X-Field", "value");
    const bool end = action_ < 4;
    if (!session_.submit_request(*this, head, end)) return false;
    if (!end) give(action_ < 8 ? 10 : kPiece, false);
    if (action_ >= 12 && !is_over()) {
      auto& trailers = *arena().make<Fields>(arena());
      trailers.add("X-Trailer", "value");
      session_.send_trailers(*this, trailers);
    } else if (!end) {
      give(action_ < 6 ? 0 : kPiece, action_ % 2 == 0);
    }
    return true;
  }

 private:
  void act() override {
    if (action_ == 2) reset(ErrorCode::cancel);
  }
  void body(Bytes bytes) override {
    if (action_ == 3) return;
    consume(bytes.size());
    if (action_ == 9) reset(ErrorCode::cancel);
  }
  void writable() override { give(kPiece, ++rounds_ > 3); }
  void later() override {
    if (action_ == 3) consume(100);
    if (action_ == 11 && ++rounds_ > 3) reset(ErrorCode::cancel);
  }
  void give(size_t size, bool end) {
    if (is_over()) return;
    const std::string bytes(size, 'b');
    const bool room = session_.send_body(*this, {bytes.data(), bytes.size()}, end);
    require(!attached() || room == (unsent() <= Session::kHighWater), "says whether there is room");
    require(unsent() <= Session::kHighWater + 3 * kPiece, "what waits is bounded");
  }
  unsigned action_;
  int rounds_ = 0;
};

class Owner final : public SessionOwner {
 public:
  explicit Owner(const fuzz::Input& input) : input_(input), session(Role::client, input.settings(), *this) {}
  SessionStream* open_stream() override { return nullptr; }
  void ask() {
    if (!session.can_submit() || streams.size() >= 24) return;
    streams.push_back(std::make_unique<Asked>(session, input_.action(streams.size())));
    if (!streams.back()->begin()) streams.pop_back();
  }
  void on_goaway() override {
    ask();
    require(!session.can_submit(), "no new streams after GOAWAY");
  }
  void on_settings() override { ask(); }
  void between() {
    size_t held = 0;
    for (size_t i = 0; i < streams.size(); ++i) {
      held += streams[i]->held();
      streams[i]->between();
      if (streams[i]->is_over() && i + 1 == streams.size()) ask();
    }
    const Settings settings = input_.settings();
    require(held <= settings.most_held + std::max(settings.connection_window, 65535u) + 65536,
            "what is held is bounded");
  }

 private:
  const fuzz::Input& input_;

 public:
  Session session;
  std::vector<std::unique_ptr<Asked>> streams;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size, Role::client);
  Owner owner(input);
  fuzz::Said said(Role::client);
  for (int i = 0; i < 6; ++i) owner.ask();
  (void)fuzz::feed(owner.session, input, said, [&] { owner.between(); });
  if (input.script[0] % 4 == 2) return 0;  // the session goes first
  owner.session.connection_lost({Reason::upstream_closed, Side::upstream, Retry::no, 0});
  require(owner.session.streams() == 0, "all streams were told");
  for (const auto& stream : owner.streams) require(stream->is_over() && !stream->attached(), "each once");
  require(!owner.session.can_submit(), "no new streams when it is lost");
  owner.session.pump();
  return 0;
}
