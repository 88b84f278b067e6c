#include "dataplane/http/fetch.h"

namespace sluice::http {
namespace {
// A head and content of our own making are small: what a sink cannot take at once it copies, so its back-pressure is of
// no interest here.
void fill_head(RequestHead& head, const FetchRequest& request, Arena& arena) {
  head.method_name = arena.copy(request.method.empty() ? std::string_view("GET") : request.method);
  head.method = method_of(head.method_name);
  head.host = arena.copy(request.host);
  std::string_view path = arena.copy(request.path.empty() ? std::string_view("/") : request.path);
  const size_t mark = path.find('?');
  head.path = path.substr(0, mark);
  if (mark != std::string_view::npos) {
    head.has_query = true;
    head.query = path.substr(mark + 1);
  }
  if (!request.body.empty()) {
    head.has_body = true;
    head.content_length = request.body.size();
  }
  for (const Field& field : request.fields) head.fields.add(arena.copy(field.name), arena.copy(field.value));
}
}  // namespace

bool Fetch::start(const FetchRequest& request) {
  if (active_) return false;
  active_ = true;
  status_ = 0;
  body_.clear();
  max_body_ = request.max_body;
  starting_ = true;
  send(request);
  starting_ = false;
  return true;
}

void Fetch::send(const FetchRequest& request) {
  auto sink = environment_.start_fetch(request.cluster, *this, request.timeout_ms);
  if (!sink) {
    done(sink.error());
    return;
  }
  sink_ = *sink;
  auto* head = arena_.make<RequestHead>(arena_);
  fill_head(*head, request, arena_);
  environment_.arm(*this, environment_.now_ms() + request.timeout_ms);
  const bool has_body = !request.body.empty();
  sink_->send_head(*head, !has_body);
  // A sink may fail within a send.
  if (sink_ != nullptr && has_body) sink_->send_body(request.body, true);
  if (sink_ != nullptr) sink_->flush();
}

void Fetch::cancel() {
  net::TimerNode::cancel();
  active_ = false;
  if (sink_ != nullptr) std::exchange(sink_, nullptr)->cancel();
}

void Fetch::on_response_head(ResponseHead& head, bool end) {
  if (!active_) return;
  status_ = head.status;
  if (end) ended();
}

void Fetch::on_response_body(Bytes bytes, bool end) {
  if (!active_) return;
  if (bytes.size() > max_body_ - body_.size()) {
    cancel();
    active_ = true;
    done({Reason::response_too_large, Side::upstream, Retry::no, 0});
    return;
  }
  body_.append(bytes, arena_);
  if (end) ended();
}

void Fetch::on_exchange_error(const Error& error) {
  sink_ = nullptr;
  if (active_) done(error);
}

void Fetch::on_timer() {
  const Error error = early_error_.reason != Reason::none
                          ? early_error_
                          : Error{Reason::response_timeout, Side::upstream, Retry::no, 0};
  cancel();
  active_ = true;
  done(error);
}

void Fetch::ended() {
  sink_ = nullptr;
  if (active_) done({});
}

void Fetch::done(const Error& error) {
  net::TimerNode::cancel();
  if (starting_) {
    early_error_ = error.reason != Reason::none ? error : Error{Reason::internal, Side::internal, Retry::no, 0};
    environment_.arm(*this, environment_.now_ms());
    return;
  }
  early_error_ = {};
  active_ = false;
  FetchResult result;
  result.error = error;
  result.status = error.reason == Reason::none ? status_ : uint16_t{0};
  const Bytes body = body_.view();
  if (error.reason == Reason::none) result.body = {body.data(), body.size()};
  owner_.on_fetch_done(result);
}

}  // namespace sluice::http
