// The answer: what the session says of it, told to the stream at once, or kept while it is paused.
#include <utility>

#include "dataplane/upstream/exchange.h"
#include "dataplane/upstream/multiplexed.h"

namespace sluice::upstream {

using http::Reason;
using http::Retry;

// One event; a flush follows when the read is over. Not after an error told from inside of a send: the stream knows.
template <class Call>
void Exchange::tell(Call&& call) {
  if (!in_send_) flush_due_ = true;
  const bool outer = std::exchange(telling_, true);
  call(*events_);
  telling_ = outer;
  touch();
}

void Exchange::fail(const http::Error& error) {
  if (over_) return;
  if (error.reason == Reason::upstream_reset || error.reason == Reason::upstream_closed ||
      error.reason == Reason::response_cut) {
    connection_->cluster().counters().resets.add();
  }
  end();
  tell([&](http::ResponseEvents& events) { events.on_exchange_error(error); });
}

void Exchange::on_informational(http::ResponseHead& head) {
  if (over_) return;
  tell([&](http::ResponseEvents& events) { events.on_response_informational(head); });
}

void Exchange::on_response_head(http::ResponseHead& head, bool end) {
  if (over_) return;
  head_seen_ = true;
  if (end) this->end();
  tell([&](http::ResponseEvents& events) { events.on_response_head(head, end); });
  arm();
}

void Exchange::on_body(http::Bytes bytes, bool end) {
  if (over_) return;
  if (paused_ || has_kept()) {
    // Not consumed: the stream's window bounds it.
    kept_.append(bytes.data(), bytes.size());
    kept_end_ = end;
    if (end) arm();
    return;
  }
  if (end) this->end();
  tell([&](http::ResponseEvents& events) { events.on_response_body(bytes, end); });
  if (attached() && !bytes.empty()) connection_->session().consumed(*this, bytes.size());
  arm();
}

void Exchange::on_trailers(const http::Fields& trailers) {
  if (over_) return;
  if (paused_ || has_kept()) {
    kept_trailers_ = arena_->make<http::Fields>(trailers);
    kept_end_ = true;
    return arm();
  }
  end();
  tell([&](http::ResponseEvents& events) { events.on_response_trailers(trailers); });
}

void Exchange::on_writable() {
  if (over_) return;
  writable_ = true;
  touch();
}

void Exchange::on_error(const http::Error& error, bool /*answerable*/) { lost(error); }

// The stream or its whole connection failed. Once the answer is whole that concerns the rest of the request only.
void Exchange::lost(const http::Error& error) {
  if (complete()) return;
  detach();
  http::Error told = error;
  if (head_seen_) {
    if (told.reason == Reason::upstream_closed || told.reason == Reason::upstream_reset)
      told.reason = Reason::response_cut;
    told.retry = Retry::no;
  } else if (!submitted_ || connection_->writes() == writes_) {
    told.retry = Retry::yes;  // nothing left us
  } else if (told.retry == Retry::if_reused && !reused_) {
    told.retry = Retry::no;
  }
  fail(told);
}

// What came while paused, as far as the stream takes it.
void Exchange::deliver() {
  const bool last = kept_end_ && kept_trailers_ == nullptr;
  const size_t size = kept_.size();
  if (last) end();
  if (size != 0 || last) {
    const http::Bytes bytes{kept_.data(), size};
    tell([&](http::ResponseEvents& events) { events.on_response_body(bytes, last); });
    if (attached() && size != 0) {
      connection_->session().consumed(*this, size);
      connection_->wake();
    }
    flush_due_ = false;
    events_->on_response_flush();  // the bytes are valid until then
    kept_.clear();
  }
  if (!over_ && kept_trailers_ != nullptr && !paused_) {
    end();
    tell([&](http::ResponseEvents& events) { events.on_response_trailers(*kept_trailers_); });
  }
  arm();
}

void Exchange::settle() {
  if (!over_ && std::exchange(writable_, false)) events_->on_request_writable();
  if (!over_ && !paused_ && has_kept()) deliver();
  if (std::exchange(flush_due_, false)) events_->on_response_flush();
  if (over_ && !to_settle) release();
}

}  // namespace sluice::upstream
