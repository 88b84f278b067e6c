#include <charconv>
#include <cstring>

#include "dataplane/http/chars.h"
#include "dataplane/http/h1/codec.h"
#include "dataplane/http/written_field.h"

namespace sluice::http::h1 {
namespace {

// Appends while there is room; once it does not fit, nothing more is written and size() is 0.
class Out {
 public:
  explicit Out(std::span<char> to) : begin_(to.data()), at_(to.data()), end_(to.data() + to.size()) {}
  void put(std::string_view text) {
    if (static_cast<size_t>(end_ - at_) < text.size()) {
      end_ = at_;
      full_ = true;
      return;
    }
    if (!text.empty()) std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  void put_number(uint64_t value) {
    char digits[20];
    const auto result = std::to_chars(digits, digits + sizeof digits, value);
    put({digits, static_cast<size_t>(result.ptr - digits)});
  }
  void put_field(std::string_view name, std::string_view value) {
    const size_t need = name.size() + value.size() + 4;
    if (static_cast<size_t>(end_ - at_) < need) {
      end_ = at_;
      full_ = true;
      return;
    }
    std::memcpy(at_, name.data(), name.size());
    at_ += name.size();
    *at_++ = ':';
    *at_++ = ' ';
    if (!value.empty()) std::memcpy(at_, value.data(), value.size());
    at_ += value.size();
    *at_++ = '\r';
    *at_++ = '\n';
  }
  // A path or query; what no target may hold is percent-encoded.
  void put_target(std::string_view text, uint8_t allowed) {
    if (is_written_target(text, allowed)) return put(text);
    write_escaped(text, allowed, [this](std::string_view piece) { put(piece); });
  }
  [[nodiscard]] size_t size() const { return full_ ? 0 : static_cast<size_t>(at_ - begin_); }

 private:
  char* begin_;
  char* at_;
  char* end_;
  bool full_ = false;
};

// Returns whether a Date is among them.
bool put_fields(Out& out, const Fields& fields, Written kind, uint32_t* dropped) {
  bool date = false;
  for (const Field& field : fields.all()) {
    const Token token = field.token != Token::none ? field.token : token_of(field.name);
    if (!is_written(field, token, kind)) {
      if (dropped != nullptr) ++*dropped;
      continue;
    }
    date |= token == Token::date;
    out.put_field(field.name, field.value);
  }
  return date;
}

size_t fields_size(const Fields& fields) {
  size_t size = 0;
  for (const Field& field : fields.all()) size += field.name.size() + field.value.size() + 4;
  return size;
}

bool is_protocol(std::string_view text) {
  for (const char c : text) {
    if (!chars::is(c, chars::kToken) && c != '/' && c != ',' && c != ' ') return false;
  }
  return !text.empty();
}

void put_length(Out& out, uint64_t length) {
  out.put("Content-Length: ");
  out.put_number(length);
  out.put("\r\n");
}

}  // namespace

size_t max_head_size(const RequestHead& head) {
  return head.method_name.size() + 3 * (head.path.size() + head.query.size()) + head.host.size() + head.upgrade.size() +
         fields_size(head.fields) + 192;
}

size_t max_head_size(const ResponseHead& head) {
  return head.reason.size() + head.upgrade.size() + fields_size(head.fields) + 320;
}

size_t write_request_head(std::span<char> to, const RequestHead& head, Framing framing, uint32_t* dropped) {
  Out out(to);
  if (head.method != Method::other) {
    out.put(name_of(head.method));
  } else {
    for (const char c : head.method_name) out.put(chars::is(c, chars::kToken) ? std::string_view(&c, 1) : "_");
  }
  out.put(" ");
  if (head.path != "*" && !head.path.starts_with('/')) out.put("/");
  out.put_target(head.path, chars::kPath);
  if (head.has_query) {
    out.put("?");
    out.put_target(head.query, chars::kQuery);
  }
  out.put(" HTTP/1.1\r\nHost: ");
  if (is_written_host(head.host)) out.put(head.host);
  else if (dropped != nullptr) ++*dropped;
  if (head.port != 0) {
    out.put(":");
    out.put_number(head.port);
  }
  out.put("\r\n");
  put_fields(out, head.fields, Written::request, dropped);
  const bool wants_length = head.method == Method::post || head.method == Method::put || head.method == Method::patch;
  switch (framing) {
    case Framing::length:
      put_length(out, head.content_length.value_or(0));
      break;
    case Framing::chunked:
      out.put("Transfer-Encoding: chunked\r\n");
      break;
    case Framing::none:
    case Framing::until_close:  // there is no such request
      if (wants_length || head.content_length == 0u) out.put("Content-Length: 0\r\n");
      break;
  }
  const bool upgrade = is_protocol(head.upgrade);
  if (head.wants_trailers)
    out.put(upgrade ? "TE: trailers\r\nConnection: TE, Upgrade\r\n" : "TE: trailers\r\nConnection: TE\r\n");
  else if (upgrade) out.put("Connection: Upgrade\r\n");
  if (upgrade) out.put_field("Upgrade", head.upgrade);
  out.put("\r\n");
  return out.size();
}

size_t write_response_head(std::span<char> to, const ResponseHead& head, const ResponseOptions& options,
                           uint32_t* dropped) {
  Out out(to);
  out.put("HTTP/1.1 ");
  const char status[3] = {static_cast<char>('0' + head.status / 100 % 10),
                          static_cast<char>('0' + head.status / 10 % 10), static_cast<char>('0' + head.status % 10)};
  out.put({status, 3});
  out.put(" ");
  // A phrase with control bytes is left away: it means nothing.
  if (head.reason.empty() || !chars::is_field_value(head.reason)) out.put(reason_phrase(head.status));
  else out.put(head.reason);
  out.put("\r\n");
  const bool interim = head.status < 200;
  const bool has_date = put_fields(out, head.fields, Written::response, dropped);
  // RFC 9110 6.6.1: a recipient with a clock adds it before forwarding; not needed in 1xx.
  if (!has_date && !interim && !options.date.empty()) out.put_field("Date", options.date);
  bool close = options.close;
  switch (options.framing) {
    case Framing::length:
      put_length(out, head.content_length.value_or(0));
      break;
    case Framing::chunked:
      out.put("Transfer-Encoding: chunked\r\n");
      break;
    case Framing::until_close:
      close = true;
      break;
    case Framing::none:
      // RFC 9110 8.6: never with 1xx and 204.
      if (head.content_length && !interim && head.status != 204) put_length(out, *head.content_length);
      break;
  }
  const bool upgrade = is_protocol(options.upgrade);
  if (upgrade) {
    out.put(close && !interim ? "Connection: close, Upgrade\r\n" : "Connection: Upgrade\r\n");
    out.put_field("Upgrade", options.upgrade);
  } else if (interim) {
    // Says nothing about the connection: the final answer does.
  } else if (close) {
    out.put("Connection: close\r\n");
  } else if (options.keep_alive_10 && options.client_version == Version::http10) {
    out.put("Connection: keep-alive\r\n");
  }
  out.put("\r\n");
  return out.size();
}

size_t write_chunk_head(std::span<char> out, uint64_t size) {
  if (out.size() < 18) return 0;
  const auto result = std::to_chars(out.data(), out.data() + 16, size, 16);
  result.ptr[0] = '\r';
  result.ptr[1] = '\n';
  return static_cast<size_t>(result.ptr - out.data()) + 2;
}

size_t write_trailers(std::span<char> to, const Fields& trailers, uint32_t* dropped) {
  Out out(to);
  out.put("0\r\n");
  put_fields(out, trailers, Written::trailers, dropped);
  out.put("\r\n");
  return out.size();
}

}  // namespace sluice::http::h1
