// Answers the gateway makes itself: a head and the standard error body (JSON, or text if the client prefers it). Says a
// reason code and the request id, never internals. A gRPC request gets the same as a status, in a head without a body
// (Trailers-Only in gRPC's PROTOCOL-HTTP2.md; which answers: grpc.h). Everything is put into the stream's arena.
#pragma once
#include <string_view>

#include "dataplane/http/filter.h"
#include "dataplane/http/message.h"

namespace sluice::http {

struct RenderedReply {
  ResponseHead* head = nullptr;
  std::string_view body;  // already empty for HEAD
};
[[nodiscard]] RenderedReply render_reply(const LocalReply& reply, const RequestHead& request,
                                         std::string_view request_id, Arena& arena);

// Whether Accept asks for text/plain or text/html rather than JSON (RFC 9110 12.5.1, without weights: the first of them
// that is named decides).
[[nodiscard]] bool prefers_text(const RequestHead& request);

}  // namespace sluice::http
