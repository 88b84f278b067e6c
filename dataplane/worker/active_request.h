// One request in this worker: the stream and its environment, where the protocol-free stream meets tables, clusters and
// the log. Made when a request's first byte arrives, from the worker's free list; given back when the batch of events
// in which it ended is over.
#pragma once
#include <memory>

#include "dataplane/http/stream.h"
#include "dataplane/route/router.h"
#include "dataplane/worker/body_rate.h"
#include "dataplane/worker/client_link.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/identity.h"
#include "dataplane/worker/route_runtime.h"

namespace sluice::worker {

class ActiveRequest final : public http::StreamEnvironment, private net::Deferred {
 public:
  [[nodiscard]] static ActiveRequest* make(Context& context, ClientLink& client, http::ResponseSink& sink);
  // The connection is done with it; the memory goes back after this batch of events.
  void release();

  [[nodiscard]] http::Stream& stream() { return stream_; }
  [[nodiscard]] const upstream::Attempts& attempts() const { return attempts_; }
  [[nodiscard]] BodyRate& body_rate() { return body_rate_; }

  void plan(http::RequestHead& head, http::StreamPlan& plan) override;
  [[nodiscard]] bool act(http::RequestHead& head, http::LocalReply& reply) override;
  [[nodiscard]] std::expected<http::RequestSink*, http::Error> start_attempt(http::ResponseEvents& events) override;
  [[nodiscard]] bool attempt_reused() const override { return attempts_.reused; }
  [[nodiscard]] std::expected<http::RequestSink*, http::Error> start_fetch(std::string_view cluster,
                                                                           http::ResponseEvents& events,
                                                                           uint32_t timeout_ms) override;
  [[nodiscard]] std::string_view request_id() override;
  [[nodiscard]] uint64_t now_ns() const override { return context_.reactor.now_ns(); }
  [[nodiscard]] uint64_t now_ms() const override { return context_.reactor.now_ms(); }
  void arm(net::TimerNode& timer, uint64_t deadline_ms) override { context_.reactor.timers().arm(timer, deadline_ms); }
  void settle_later() override;
  void keep(http::TextKeeper& keeper) override;
  void complete(const http::StreamSummary& summary) override;

 private:
  ActiveRequest(Context& context, ClientLink& client, http::ResponseSink& sink);
  ~ActiveRequest() = default;
  void destroy() override;

  // What a route's policies answer before anything else. True: `plan` holds it.
  bool refuse(http::RequestHead& head, const ir::Route& route, http::StreamPlan& plan);
  void redirect_to_https(const http::RequestHead& head, http::StreamPlan& plan);
  void defer();
  // One Location field, in the arena.
  [[nodiscard]] std::span<const http::Field> location(std::string_view target);
  [[nodiscard]] http::LocalReply redirect(const http::RequestHead& head, const ir::Redirect& to);
  [[nodiscard]] bool forward(http::LocalReply& reply);
  [[nodiscard]] size_t covered(const http::RequestHead& head) const;
  void count(const http::StreamSummary& summary);
  void log(const http::StreamSummary& summary);

  Context& context_;
  ClientLink& client_;
  Identity identity_;
  bool has_query_ = false;
  bool deferred_ = false;  // destroy() comes: the end if it was released, else a tunnel settles
  bool released_ = false;
  route::Match match_;
  RouteRuntime* runtime_ = nullptr;
  std::shared_ptr<upstream::Cluster> cluster_;
  upstream::Attempts attempts_;
  BodyRate body_rate_;
  uint64_t sequence_;  // of the state that decided
  std::string_view request_id_;
  // As asked for, before filters changed them: for the log.
  std::string_view host_, path_, query_;
  filters::Notes notes_;
  http::Stream stream_;  // last: its end uses the rest
};

}  // namespace sluice::worker
