// What a stream does for a gRPC request beside what it does for every one: its deadline, its status, its retries.
#include <algorithm>

#include "dataplane/http/chars.h"
#include "dataplane/http/grpc.h"
#include "dataplane/http/stream.h"

namespace sluice::http {
namespace {

Field* find_timeout(RequestHead& head) {
  for (Field& field : head.fields.all()) {
    if (chars::equal_without_case(field.name, grpc::kTimeoutField)) return &field;
  }
  return nullptr;
}

}  // namespace

// The client's deadline is the request's, unless the route's comes first. One that is malformed or told twice is
// refused like every other field that is (INTERNAL, as gRPC's own servers answer): a request without a limit is not
// what its client asked for. False: answered.
bool Stream::begin_grpc() {
  const Field* const field = find_timeout(head_);
  if (field == nullptr) return true;
  const auto fields = head_.fields.all();
  const bool again = std::any_of(fields.begin(), fields.end(), [&](const Field& other) {
    return &other != field && chars::equal_without_case(other.name, grpc::kTimeoutField);
  });
  const std::optional<uint64_t> timeout = again ? std::nullopt : grpc::parse_timeout(field->value);
  if (!timeout) {
    fail({Reason::bad_header_value, Side::client, Retry::no, 0});
    return false;
  }
  if (*timeout == 0) {
    fail({Reason::request_timeout, Side::client, Retry::no, 0});
    return false;
  }
  course_->grpc_deadline_us = environment_.now_ns() / 1000 + *timeout;
  const uint64_t in_ms = environment_.now_ms() + (*timeout + 999) / 1000;
  if (course_->request_deadline == 0 || in_ms <= course_->request_deadline) {
    course_->request_deadline = in_ms;
  } else {
    course_->grpc_deadline_us = environment_.now_ns() / 1000 + uint64_t{course_->plan.request_ms} * 1000;
  }
  return true;
}

// Each attempt is told what is left. False: nothing is.
bool Stream::write_grpc_timeout() {
  const uint64_t now_us = environment_.now_ns() / 1000;
  if (now_us >= course_->grpc_deadline_us) return false;
  Field* const field = find_timeout(head_);
  if (field == nullptr) return true;  // a filter took it out
  // Memory of its own: the head of the attempt before may not be written yet.
  char* const text = static_cast<char*>(arena_.allocate(grpc::kMaxTimeout, 1));
  field->value = grpc::write_timeout(course_->grpc_deadline_us - now_us,
                                     std::span<char, grpc::kMaxTimeout>(text, grpc::kMaxTimeout));
  return true;
}

// The upstream counts down the same deadline, and may come to its end a moment before us: what it resets then has not
// become unavailable.
bool Stream::ended_by_deadline() const {
  constexpr uint64_t kAheadUs = 10'000;
  return course_->grpc_deadline_us != 0 && environment_.now_ns() / 1000 + kAheadUs >= course_->grpc_deadline_us;
}

// An answer without a message that says UNAVAILABLE is gRPC's 503, and tried again where the route says so of that:
// the request may have been delivered, so only with the route's word for a method like POST.
bool Stream::is_grpc_unavailable(const ResponseHead& head, bool end) const {
  return end && grpc::status_in(head.fields) == grpc::Status::unavailable && is_retried(503);
}

void Stream::note_grpc_status(const Fields& fields) {
  if (const auto status = grpc::status_in(fields)) summary_.grpc_status = static_cast<uint8_t>(*status);
}

// `error`: what cut the answer, if it was cut; then what it said before is not what the client has.
void Stream::conclude_grpc(const Error& error) {
  if (error.reason != Reason::none)
    summary_.grpc_status = static_cast<uint8_t>(grpc::status_of(error.reason, describe(error.reason).status));
  else if (summary_.grpc_status == StreamSummary::kNoGrpc)
    summary_.grpc_status = static_cast<uint8_t>(grpc::status_of(summary_.status));
}

}  // namespace sluice::http
