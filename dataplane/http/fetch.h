// A filter's call-out: one small request to a cluster, its whole answer gathered up to a bound, within a time. Lives in
// the stream's arena. No retries here; never streams.
#pragma once
#include <cstdint>

#include "dataplane/http/environment.h"
#include "dataplane/http/held_bytes.h"

namespace sluice::http {

class Fetch final : private ResponseEvents, private net::TimerNode {
 public:
  class Owner {
   public:
    virtual void on_fetch_done(const FetchResult& result) = 0;

   protected:
    ~Owner() = default;
  };
  Fetch(Owner& owner, StreamEnvironment& environment, Arena& arena)
      : owner_(owner), environment_(environment), arena_(arena) {}
  ~Fetch() override { cancel(); }

  // The result never comes before this returns: it is told in an event of its own. False: one is under way already.
  bool start(const FetchRequest& request);
  void cancel();
  [[nodiscard]] bool active() const { return active_; }

 private:
  void on_response_informational(ResponseHead&) override {}
  void on_response_head(ResponseHead& head, bool end) override;
  void on_response_body(Bytes bytes, bool end) override;
  void on_response_trailers(const Fields&) override { ended(); }
  void on_response_flush() override {}
  void on_request_writable() override {}
  void on_exchange_error(const Error& error) override;
  void on_timer() override;
  void send(const FetchRequest& request);
  void ended();
  void done(const Error& error);

  Owner& owner_;
  StreamEnvironment& environment_;
  Arena& arena_;
  RequestSink* sink_ = nullptr;
  HeldBytes body_;
  uint32_t max_body_ = 0;
  uint16_t status_ = 0;
  bool active_ = false;
  bool starting_ = false;
  Error early_error_{};  // failed within start()
};

}  // namespace sluice::http
