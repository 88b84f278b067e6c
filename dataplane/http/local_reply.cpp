#include "dataplane/http/local_reply.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <utility>

#include "dataplane/http/grpc.h"

namespace sluice::http {
namespace {

bool has_no_content(uint16_t status) { return status < 200 || status == 204 || status == 304; }

// Concatenates into the arena.
template <size_t N>
std::string_view join(Arena& arena, const std::string_view (&parts)[N]) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  char* to = static_cast<char*>(arena.allocate(size, 1));
  char* at = to;
  for (const std::string_view part : parts) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  }
  return {to, size};
}

// Request ids come from us or a trusted proxy; one that would need escaping is left out rather than escaped.
bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F && c != '"' && c != '\\'; });
}

// Retry-After by the reason, and what the reply brings with it. A fixed answer may give the reason another status; then
// the reason says nothing about time.
void add_fields(const LocalReply& reply, const ReasonInfo& info, uint16_t status, ResponseHead& head) {
  if (!info.retry_after.empty() && status == info.status)
    head.fields.add({"Retry-After", info.retry_after, Token::retry_after});
  for (const Field& field : reply.fields) head.fields.add(field);
}

RenderedReply render_grpc(const LocalReply& reply, const ReasonInfo& info, ResponseHead& head, Arena& arena) {
  const uint16_t status = std::exchange(head.status, uint16_t{200});
  head.fields.add({"Content-Type", grpc::kContentType, Token::content_type});
  head.fields.add({grpc::kStatusField, grpc::digits(grpc::status_of(reply.reason, status)), Token::none});
  char number[5];
  const std::string_view code(number, static_cast<size_t>(std::to_chars(number, number + 5, status).ptr - number));
  const std::string_view sentence =
      info.sentence.empty() ? join(arena, {"The route answers with status ", code, "."}) : info.sentence;
  const std::string_view message = join(arena, {sentence, " (", info.word, ")"});
  head.fields.add({grpc::kMessageField, grpc::encode_message(message, arena), Token::none});
  add_fields(reply, info, status, head);
  return {&head, {}};
}

}  // namespace

bool prefers_text(const RequestHead& request) {
  const Field* accept = request.fields.find(Token::accept);
  if (accept == nullptr) return false;
  const size_t json = accept->value.find("json");
  const size_t text = accept->value.find("text/");
  return text != std::string_view::npos && text < json;
}

RenderedReply render_reply(const LocalReply& reply, const RequestHead& request, std::string_view request_id,
                           Arena& arena) {
  const ReasonInfo& info = describe(reply.reason);
  auto* head = arena.make<ResponseHead>(arena);
  head->status = reply.status != 0 ? reply.status : info.status != 0 ? info.status : uint16_t{500};
  if (request.grpc && grpc::is_told_as_status(reply.reason, head->status))
    return render_grpc(reply, info, *head, arena);
  std::string_view body = reply.body;
  std::string_view type = reply.content_type;
  if (body.empty() && type.empty() && !info.sentence.empty() && !has_no_content(head->status)) {
    const std::string_view id = is_plain(request_id) ? request_id : std::string_view();
    if (prefers_text(request)) {
      type = "text/plain; charset=utf-8";
      body = join(arena, {info.sentence, " (", info.word, ")\n", "request id: ", id, "\n"});
    } else {
      type = "application/json";
      body = join(arena,
                  {"{\"error\":\"", info.sentence, "\",\"reason\":\"", info.word, "\",\"request_id\":\"", id, "\"}\n"});
    }
  }
  if (has_no_content(head->status)) body = {};
  else head->content_length = body.size();
  if (!type.empty() && !body.empty()) head->fields.add({"Content-Type", type, Token::content_type});
  add_fields(reply, info, head->status, *head);
  if (request.method == Method::head) body = {};
  head->has_body = !body.empty();
  return {head, body};
}

}  // namespace sluice::http
