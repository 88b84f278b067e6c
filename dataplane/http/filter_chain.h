// Runs the filters of one stream: requests through them in chain order, answers in reverse. Each filter may wait,
// gather a whole body, answer, start a timer or a call-out (filter.h); what comes meanwhile is held here and the source
// is asked to pause. Owned by the stream; never touches sockets.
//
//   a node and a direction:   head hook -> [wait] -> [gather the body: head held] -> body hook -> [wait] -> next node
// A body that is gathered is judged before anything of the message goes on: the head follows only when the body hook
// said proceed.
#pragma once
#include <cstdint>
#include <span>

#include "dataplane/http/environment.h"
#include "dataplane/http/fetch.h"
#include "dataplane/http/filter.h"
#include "dataplane/http/held_bytes.h"

namespace sluice::http {

enum class Direction : uint8_t { request, response };

class FilterChain {
 public:
  // The stream: what comes out of the chain.
  class Owner {
   public:
    virtual void pass_request_head(bool end) = 0;
    virtual void pass_request_body(Bytes bytes, bool end) = 0;
    virtual void pass_request_trailers(const Fields& trailers) = 0;
    virtual void pass_response_head(ResponseHead& head, bool end) = 0;
    virtual void pass_response_body(Bytes bytes, bool end) = 0;
    virtual void pass_response_trailers(const Fields& trailers) = 0;
    virtual void filter_reply(const LocalReply& reply) = 0;
    virtual void filter_blocked(Direction direction, bool blocked) = 0;  // pause or resume the source
    virtual void filter_wants_body() = 0;  // the request's body, before anything is forwarded
    virtual void filter_event_done() = 0;  // a timer or call-out was handled: flush

   protected:
    ~Owner() = default;
  };

  FilterChain(Owner& owner, StreamEnvironment& environment, Arena& arena, RequestHead& request)
      : owner_(owner), environment_(environment), arena_(arena), request_(request) {}
  FilterChain(const FilterChain&) = delete;
  FilterChain& operator=(const FilterChain&) = delete;
  ~FilterChain();

  void start(std::span<Filter* const> filters);
  [[nodiscard]] bool empty() const { return nodes_.empty(); }

  void request_head(bool end) { push_head(Direction::request, 0, end); }
  void request_body(Bytes bytes, bool end) { push_body(Direction::request, 0, bytes, end); }
  void request_trailers(Fields& trailers) { push_trailers(Direction::request, 0, trailers); }
  void response_head(ResponseHead& head, bool end);
  void response_body(Bytes bytes, bool end) { push_body(Direction::response, 0, bytes, end); }
  void response_trailers(Fields& trailers) { push_trailers(Direction::response, 0, trailers); }

  // No hook but on_local_reply and on_complete is called any more.
  void stop();
  // After stop(): the head of an answer of the gateway's own.
  void local_reply(ResponseHead& head);
  void complete(const Error& error);

 private:
  enum class Wait : uint8_t { none, head, body, trailers };
  struct Lane {
    Wait waiting = Wait::none;
    bool gathers = false, gathered = false;
    bool head_held = false;  // passed its hook, kept until the body was gathered and judged
    bool head_end = false;
    bool kept_end = false;
    bool queue_end = false;  // the end came while waiting
    size_t gather_max = 0;
    HeldBytes gathering;
    HeldBytes
        kept[2];  // the chunk that waits; two, because the one passed on may not be flushed when the next must wait
    uint8_t kept_at = 0;
    HeldBytes queue;  // what came behind it
    Fields* kept_trailers = nullptr;
    Fields* queue_trailers = nullptr;
  };
  class Node;
  friend class Node;

  // `step` counts nodes in the direction's order.
  Node& node(Direction direction, size_t step);
  void push_head(Direction direction, size_t step, bool end);
  void push_body(Direction direction, size_t step, Bytes bytes, bool end);
  void push_trailers(Direction direction, size_t step, Fields& trailers);
  void after_head(Direction direction, size_t step);
  // The gathered body goes to the hook. True if it may go on at once.
  bool judge_gathered(Direction direction, size_t step, bool end);
  // After the gathered body was judged: head, then body.
  void release(Direction direction, size_t step, Bytes bytes, bool end);
  void resume(Direction direction, size_t step);
  void drain_queue(Direction direction, size_t step);
  void wait(Direction direction, Lane& lane, Wait what);
  void keep(Lane& lane, Bytes bytes, bool end);
  void set_length(Direction direction, uint64_t size);

  Owner& owner_;
  StreamEnvironment& environment_;
  Arena& arena_;
  RequestHead& request_;
  ResponseHead* response_ = nullptr;
  std::span<Node*> nodes_{};
  uint32_t waiting_[2] = {0, 0};
  bool stopped_ = false;
};

}  // namespace sluice::http
