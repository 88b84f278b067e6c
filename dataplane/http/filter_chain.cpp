#include "dataplane/http/filter_chain.h"

#include <utility>

namespace sluice::http {

// One filter in its place: its context, timer, call-out and what it holds back.
class FilterChain::Node final : public FilterContext, private net::TimerNode, private Fetch::Owner {
 public:
  Node(FilterChain& chain, Filter& filter, size_t index) : chain_(chain), filter_(filter), index_(index) {}
  ~Node() override {
    if (fetch_ != nullptr) fetch_->~Fetch();
  }

  Filter& filter() { return filter_; }
  Lane& lane(Direction direction) { return lanes_[static_cast<size_t>(direction)]; }
  void stop() {
    net::TimerNode::cancel();
    if (fetch_ != nullptr) fetch_->cancel();
  }

  [[nodiscard]] Arena& arena() override { return chain_.arena_; }
  [[nodiscard]] RequestHead& request() override { return chain_.request_; }
  [[nodiscard]] uint64_t now_ns() const override { return chain_.environment_.now_ns(); }
  void reply(const LocalReply& reply) override {
    if (!chain_.stopped_) chain_.owner_.filter_reply(reply);
  }
  void resume() override {
    if (chain_.stopped_) return;
    const size_t count = chain_.nodes_.size();
    if (lane(Direction::request).waiting != Wait::none) chain_.resume(Direction::request, index_);
    else if (lane(Direction::response).waiting != Wait::none) chain_.resume(Direction::response, count - 1 - index_);
  }
  void buffer_request(size_t max) override { gather(Direction::request, max); }
  void buffer_response(size_t max) override { gather(Direction::response, max); }
  void timer(uint32_t milliseconds) override {
    if (!chain_.stopped_) chain_.environment_.arm(*this, chain_.environment_.now_ms() + milliseconds);
  }
  void fetch(const FetchRequest& request) override {
    if (chain_.stopped_) return;
    if (fetch_ == nullptr)
      fetch_ = chain_.arena_.make<Fetch>(static_cast<Fetch::Owner&>(*this), chain_.environment_, chain_.arena_);
    fetch_->start(request);
  }

 private:
  void gather(Direction direction, size_t max) {
    Lane& lane = this->lane(direction);
    if (lane.gathered) return;
    lane.gathers = true;
    lane.gather_max = max;
  }
  void on_timer() override {
    if (chain_.stopped_) return;
    FilterChain& chain = chain_;
    filter_.on_timer(*this);
    chain.owner_.filter_event_done();
  }
  void on_fetch_done(const FetchResult& result) override {
    if (chain_.stopped_) return;
    FilterChain& chain = chain_;
    filter_.on_fetched(*this, result);
    chain.owner_.filter_event_done();
  }

  FilterChain& chain_;
  Filter& filter_;
  size_t index_;
  Fetch* fetch_ = nullptr;
  Lane lanes_[2];
};

FilterChain::~FilterChain() {
  for (Node* node : nodes_) {
    node->filter().~Filter();
    node->~Node();
  }
}

void FilterChain::start(std::span<Filter* const> filters) {
  if (filters.empty()) return;
  nodes_ = arena_.array<Node*>(filters.size());
  for (size_t i = 0; i < filters.size(); ++i) nodes_[i] = arena_.make<Node>(*this, *filters[i], i);
}

FilterChain::Node& FilterChain::node(Direction direction, size_t step) {
  return *nodes_[direction == Direction::request ? step : nodes_.size() - 1 - step];
}

void FilterChain::stop() {
  stopped_ = true;
  for (Node* node : nodes_) node->stop();
}

void FilterChain::local_reply(ResponseHead& head) {
  for (size_t step = 0; step < nodes_.size(); ++step) {
    Node& node = this->node(Direction::response, step);
    node.filter().on_local_reply(node, head);
  }
}

void FilterChain::complete(const Error& error) {
  stop();
  for (Node* node : nodes_) node->filter().on_complete(*node, error);
}

void FilterChain::response_head(ResponseHead& head, bool end) {
  response_ = &head;
  push_head(Direction::response, 0, end);
}

void FilterChain::wait(Direction direction, Lane& lane, Wait what) {
  lane.waiting = what;
  if (what == Wait::head && direction == Direction::response) {
    // The upstream's head object may not outlive the event; its bytes and fields are in the arena.
    response_ = arena_.make<ResponseHead>(*response_);
  }
  if (waiting_[static_cast<size_t>(direction)]++ == 0) owner_.filter_blocked(direction, true);
}

void FilterChain::push_head(Direction direction, size_t step, bool end) {
  if (stopped_) return;
  if (step == nodes_.size()) {
    if (direction == Direction::request) owner_.pass_request_head(end);
    else owner_.pass_response_head(*response_, end);
    return;
  }
  Node& node = this->node(direction, step);
  Lane& lane = node.lane(direction);
  lane.head_end = end;
  const Filter::Status status = direction == Direction::request ? node.filter().on_request_head(node, end)
                                                                : node.filter().on_response_head(node, *response_, end);
  if (stopped_) return;
  if (status == Filter::Status::wait) wait(direction, lane, Wait::head);
  else after_head(direction, step);
}

void FilterChain::after_head(Direction direction, size_t step) {
  Lane& lane = node(direction, step).lane(direction);
  if (!lane.gathers || lane.head_end) {
    push_head(direction, step + 1, lane.head_end);
    return;
  }
  lane.head_held = true;
  if (direction == Direction::request) {
    owner_.filter_wants_body();
  } else {
    response_ = arena_.make<ResponseHead>(*response_);
  }
}

void FilterChain::push_body(Direction direction, size_t step, Bytes bytes, bool end) {
  if (stopped_) return;
  if (step == nodes_.size()) {
    if (direction == Direction::request) owner_.pass_request_body(bytes, end);
    else owner_.pass_response_body(bytes, end);
    return;
  }
  Node& node = this->node(direction, step);
  Lane& lane = node.lane(direction);
  if (lane.waiting != Wait::none) {
    lane.queue.append(bytes, arena_);
    lane.queue_end = end;
    return;
  }
  if (lane.gathers && !lane.gathered) {
    if (bytes.size() > lane.gather_max - std::min(lane.gather_max, lane.gathering.size())) {
      owner_.filter_reply(
          {.reason = direction == Direction::request ? Reason::body_too_large : Reason::response_too_large});
      return;
    }
    lane.gathering.append(bytes, arena_);
    if (end && judge_gathered(direction, step, true)) release(direction, step, lane.kept[lane.kept_at].view(), true);
    return;
  }
  const Filter::Status status = direction == Direction::request ? node.filter().on_request_body(node, bytes, end)
                                                                : node.filter().on_response_body(node, bytes, end);
  if (stopped_) return;
  if (status == Filter::Status::proceed) {
    push_body(direction, step + 1, bytes, end);
    return;
  }
  keep(lane, bytes, end);
  wait(direction, lane, Wait::body);
}

void FilterChain::keep(Lane& lane, Bytes bytes, bool end) {
  lane.kept_at ^= 1;
  HeldBytes& kept = lane.kept[lane.kept_at];
  kept.clear();
  kept.append(bytes, arena_);
  lane.kept_end = end;
}

bool FilterChain::judge_gathered(Direction direction, size_t step, bool end) {
  Node& node = this->node(direction, step);
  Lane& lane = node.lane(direction);
  lane.gathered = true;
  Bytes bytes = lane.gathering.view();
  const Filter::Status status = direction == Direction::request ? node.filter().on_request_body(node, bytes, end)
                                                                : node.filter().on_response_body(node, bytes, end);
  if (stopped_) return false;
  keep(lane, bytes, end);
  if (status == Filter::Status::proceed) return true;
  wait(direction, lane, Wait::body);
  return false;
}

void FilterChain::release(Direction direction, size_t step, Bytes bytes, bool end) {
  Lane& lane = node(direction, step).lane(direction);
  if (std::exchange(lane.head_held, false)) {
    // The whole body is known: its length may have been changed by the hook. With trailers it stays unknown.
    if (end) set_length(direction, bytes.size());
    push_head(direction, step + 1, false);
    if (stopped_) return;
  }
  push_body(direction, step + 1, bytes, end);
}

void FilterChain::set_length(Direction direction, uint64_t size) {
  if (direction == Direction::request) request_.content_length = size;
  else response_->content_length = size;
}

void FilterChain::push_trailers(Direction direction, size_t step, Fields& trailers) {
  if (stopped_) return;
  if (step == nodes_.size()) {
    if (direction == Direction::request) owner_.pass_request_trailers(trailers);
    else owner_.pass_response_trailers(trailers);
    return;
  }
  Node& node = this->node(direction, step);
  Lane& lane = node.lane(direction);
  if (lane.waiting == Wait::none && lane.gathers && !lane.gathered && judge_gathered(direction, step, false)) {
    release(direction, step, lane.kept[lane.kept_at].view(), false);
  }
  if (stopped_) return;
  if (lane.waiting != Wait::none) {
    // Fields of a codec may not outlive the event; their bytes are in the arena.
    lane.queue_trailers = arena_.make<Fields>(trailers);
    return;
  }
  const Filter::Status status = direction == Direction::request ? node.filter().on_request_trailers(node, trailers)
                                                                : node.filter().on_response_trailers(node, trailers);
  if (stopped_) return;
  if (status == Filter::Status::proceed) {
    push_trailers(direction, step + 1, trailers);
    return;
  }
  lane.kept_trailers = arena_.make<Fields>(trailers);
  wait(direction, lane, Wait::trailers);
}

void FilterChain::resume(Direction direction, size_t step) {
  Lane& lane = node(direction, step).lane(direction);
  const Wait what = std::exchange(lane.waiting, Wait::none);
  switch (what) {
    case Wait::head:
      after_head(direction, step);
      break;
    case Wait::body:
      if (lane.head_held) release(direction, step, lane.kept[lane.kept_at].view(), lane.kept_end);
      else push_body(direction, step + 1, lane.kept[lane.kept_at].view(), lane.kept_end);
      break;
    case Wait::trailers:
      push_trailers(direction, step + 1, *lane.kept_trailers);
      break;
    case Wait::none:
      return;
  }
  if (!stopped_ && lane.waiting == Wait::none) drain_queue(direction, step);
  if (--waiting_[static_cast<size_t>(direction)] == 0 && !stopped_) owner_.filter_blocked(direction, false);
}

void FilterChain::drain_queue(Direction direction, size_t step) {
  Lane& lane = node(direction, step).lane(direction);
  if (!lane.queue.empty() || lane.queue_end) {
    HeldBytes taken = std::exchange(lane.queue, HeldBytes{});
    push_body(direction, step, taken.view(), std::exchange(lane.queue_end, false));
    // The memory serves the next wait.
    if (lane.queue.empty()) {
      taken.clear();
      lane.queue = taken;
    }
  }
  if (stopped_ || lane.waiting != Wait::none || lane.queue_trailers == nullptr) return;
  push_trailers(direction, step, *std::exchange(lane.queue_trailers, nullptr));
}

}  // namespace sluice::http
