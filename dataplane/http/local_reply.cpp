#include "dataplane/http/local_reply.h"

#include <algorithm>
#include <cstring>

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
  // A fixed answer may give the reason another status; then it says nothing about time.
  if (!info.retry_after.empty() && head->status == info.status)
    head->fields.add({"Retry-After", info.retry_after, Token::retry_after});
  for (const Field& field : reply.fields) head->fields.add(field);
  if (request.method == Method::head) body = {};
  head->has_body = !body.empty();
  return {head, body};
}

}  // namespace sluice::http
