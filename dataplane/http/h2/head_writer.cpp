#include "dataplane/http/h2/head_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "dataplane/http/chars.h"
#include "dataplane/http/written_field.h"

namespace sluice::http::h2 {
namespace {

constexpr uint8_t kViews = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
constexpr uint8_t kNoIndex = NGHTTP2_NV_FLAG_NO_INDEX;

// Secrets, and what would push out of the table what is worth its place.
bool is_kept_out(Token token) {
  switch (token) {
    case Token::authorization:
    case Token::proxy_authorization:
    case Token::cookie:
    case Token::set_cookie:
    case Token::date:
    case Token::etag:
    case Token::location:
    case Token::range:
    case Token::referer:
    case Token::traceparent:
    case Token::x_request_id:
    case Token::x_forwarded_for:
    case Token::x_real_ip:
    case Token::forwarded:
      return true;
    default:
      return false;
  }
}

class Pairs {
 public:
  Pairs(Arena& arena, size_t most) : arena_(arena), pairs_(arena.array<nghttp2_nv>(most)) {}
  void put(std::string_view name, std::string_view value, uint8_t flags = 0) {
    pairs_[count_++] = {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                        reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                        static_cast<uint8_t>(kViews | flags)};
  }
  void put_number(std::string_view name, uint64_t value) {
    char* const to = static_cast<char*>(arena_.allocate(20, 1));
    const auto result = std::to_chars(to, to + 20, value);
    put(name, {to, static_cast<size_t>(result.ptr - to)}, NGHTTP2_NV_FLAG_NO_INDEX);
  }
  // Says whether a Date was among them.
  bool put_fields(const Fields& fields, Written kind) {
    bool date = false;
    for (const Field& field : fields.all()) {
      const Token token = field.token != Token::none ? field.token : token_of(field.name);
      if (!is_written(field, token, kind)) continue;
      date |= token == Token::date;
      put(lower(field.name), chars::trim(field.value), is_kept_out(token) ? kNoIndex : uint8_t{0});
    }
    return date;
  }
  [[nodiscard]] std::span<const nghttp2_nv> all() const { return pairs_.first(count_); }

 private:
  std::string_view lower(std::string_view name) {
    if (std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; })) return name;
    char* const copy = static_cast<char*>(arena_.allocate(name.size(), 1));
    for (size_t i = 0; i < name.size(); ++i) copy[i] = chars::lower(name[i]);
    return {copy, name.size()};
  }
  Arena& arena_;
  std::span<nghttp2_nv> pairs_;
  size_t count_ = 0;
};

std::string_view write_target(const RequestHead& head, Arena& arena) {
  // As it is, where nothing has to be put together or escaped.
  if (head.path == "*") return head.path;
  if (!head.has_query && head.path.starts_with('/') && is_written_target(head.path, chars::kPath)) return head.path;
  char* const to = static_cast<char*>(arena.allocate(3 * (head.path.size() + head.query.size()) + 2, 1));
  size_t at = 0;
  const auto put = [&](std::string_view piece) {
    std::memcpy(to + at, piece.data(), piece.size());
    at += piece.size();
  };
  if (!head.path.starts_with('/')) put("/");
  write_escaped(head.path, chars::kPath, put);
  if (head.has_query) {
    put("?");
    write_escaped(head.query, chars::kQuery, put);
  }
  return {to, at};
}

std::string_view write_authority(const RequestHead& head, Arena& arena) {
  if (!is_written_host(head.host)) return {};
  if (head.port == 0) return head.host;
  char* const to = static_cast<char*>(arena.allocate(head.host.size() + 6, 1));
  if (!head.host.empty()) std::memcpy(to, head.host.data(), head.host.size());
  to[head.host.size()] = ':';
  const auto result = std::to_chars(to + head.host.size() + 1, to + head.host.size() + 6, head.port);
  return {to, static_cast<size_t>(result.ptr - to)};
}

}  // namespace

std::span<const nghttp2_nv> write_request(const RequestHead& head, Scheme scheme, Arena& arena) {
  Pairs pairs(arena, head.fields.size() + 6);
  const std::string_view method = head.method == Method::other ? head.method_name : name_of(head.method);
  pairs.put(":method", chars::is_token(method) ? method : std::string_view("_"));
  pairs.put(":scheme", scheme == Scheme::https ? "https" : "http");
  if (const std::string_view authority = write_authority(head, arena); !authority.empty())
    pairs.put(":authority", authority);
  pairs.put(":path", write_target(head, arena));
  pairs.put_fields(head.fields, Written::request);
  if (head.content_length) pairs.put_number("content-length", *head.content_length);
  if (head.wants_trailers) pairs.put("te", "trailers");
  return pairs.all();
}

std::span<const nghttp2_nv> write_response(const ResponseHead& head, std::string_view date, bool tunnel, Arena& arena) {
  Pairs pairs(arena, head.fields.size() + 3);
  char* const status = static_cast<char*>(arena.allocate(3, 1));
  const unsigned code = tunnel && head.status == 101 ? 200 : head.status;
  status[0] = static_cast<char>('0' + code / 100 % 10);
  status[1] = static_cast<char>('0' + code / 10 % 10);
  status[2] = static_cast<char>('0' + code % 10);
  pairs.put(":status", {status, 3});
  const bool has_date = pairs.put_fields(head.fields, Written::response);
  if (head.status < 200) return pairs.all();
  if (!has_date && !date.empty()) {
    // Its text changes under us; the frame may be made later.
    pairs.put("date", arena.copy(date), NGHTTP2_NV_FLAG_NO_INDEX);
  }
  if (head.content_length && head.status != 204) pairs.put_number("content-length", *head.content_length);
  return pairs.all();
}

std::span<const nghttp2_nv> write_trailers(const Fields& trailers, Arena& arena) {
  Pairs pairs(arena, trailers.size());
  pairs.put_fields(trailers, Written::trailers);
  return pairs.all();
}

}  // namespace sluice::http::h2
