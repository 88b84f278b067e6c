#include <algorithm>
#include <cstring>

#include "dataplane/http/chars.h"
#include "dataplane/http/h1/codec.h"
#include "dataplane/http/h1/line_scan.h"

namespace sluice::http::h1 {
namespace {

constexpr uint32_t kMaxInterim = 16;

struct StatusLine {
  std::string_view phrase;
  uint16_t status = 0;
  Version version = Version::http11;
};

// HTTP-version SP 3DIGIT SP [ reason-phrase ] CR LF (RFC 9112 4). The second space may be missing when the phrase is
// (servers do that, and the line is written anew anyway); nothing else may.
Parse parse_status_line(const char* p, const char* end, StatusLine& line, const char*& next, Reason& reason) {
  constexpr std::string_view kPrefix = "HTTP/1.";
  reason = Reason::bad_request_line;
  const auto size = static_cast<size_t>(end - p);
  if (std::memcmp(p, kPrefix.data(), std::min(size, kPrefix.size())) != 0) return Parse::failed;
  if (size < 13) {
    const char* stop = chars::find_stop(p, end);
    return stop == end ? Parse::incomplete : Parse::failed;
  }
  if (p[7] != '0' && p[7] != '1') {
    reason = Reason::bad_version;
    return Parse::failed;
  }
  if (p[8] != ' ') return Parse::failed;
  unsigned status = 0;
  for (int i = 9; i < 12; ++i) {
    if (!chars::is_digit(static_cast<unsigned char>(p[i]))) return Parse::failed;
    status = status * 10 + static_cast<unsigned>(p[i] - '0');
  }
  if (status < 100 || status > 599) return Parse::failed;
  if (p[12] != ' ' && p[12] != '\r') return Parse::failed;
  const char* phrase = p[12] == ' ' ? p + 13 : p + 12;
  const char* stop = chars::find_stop(phrase, end);
  if (stop == end || (*stop == '\r' && stop + 1 == end)) return Parse::incomplete;
  if (*stop != '\r' || stop[1] != '\n') {
    if (*stop == '\n' || *stop == '\r') reason = Reason::bare_cr_lf;
    return Parse::failed;
  }
  line.phrase = {phrase, static_cast<size_t>(stop - phrase)};
  line.status = static_cast<uint16_t>(status);
  line.version = p[7] == '1' ? Version::http11 : Version::http10;
  next = stop + 2;
  return Parse::complete;
}

enum class BodyKind : uint8_t { none, length, chunked, until_close };

// RFC 9112 6.3. `reusable` becomes false where the answer says something that its status forbids: what follows it
// cannot be trusted.
Reason choose_body(const FieldFacts& facts, Method method, ResponseHead& head, BodyKind& kind, bool& reusable) {
  std::optional<uint64_t> length;
  if (facts.encodings != 0) {
    if (head.version == Version::http10) return Reason::te_in_http10;
    if (facts.lengths != 0) return Reason::both_lengths;
    if (facts.encodings > 1 || !chars::equal_without_case(facts.encoding, "chunked"))
      return Reason::bad_transfer_encoding;
  } else if (facts.lengths != 0) {
    if (facts.lengths > 1) return Reason::bad_content_length;
    length = parse_length(facts.length);
    if (!length) return Reason::bad_content_length;
  }
  kind = BodyKind::none;
  if (head.status < 200) {
    // RFC 9112 6.1, RFC 9110 8.6: MUST NOT. What follows would be read as the next answer.
    if (facts.encodings != 0) return Reason::bad_transfer_encoding;
    return facts.lengths != 0 ? Reason::bad_content_length : Reason::none;
  }
  if (head.status == 204) {
    reusable = facts.encodings == 0 && length.value_or(0) == 0;
    return Reason::none;
  }
  head.content_length = length;
  if (method == Method::head || head.status == 304) return Reason::none;
  if (facts.encodings != 0) kind = BodyKind::chunked;
  else if (!length) kind = BodyKind::until_close;
  else if (*length != 0) kind = BodyKind::length;
  head.has_body = kind != BodyKind::none;
  return Reason::none;
}

void clear(ResponseHead& head) {
  head.status = 0;
  head.reason = head.upgrade = {};
  head.version = Version::http11;
  head.has_body = false;
  head.content_length.reset();
  head.fields.clear();
}

}  // namespace

void ResponseReader::reset(Method request_method) {
  *this = {};
  method_ = request_method;
}

Step ResponseReader::fail(Reason reason) {
  state_ = State::failed;
  keep_alive_ = false;
  const bool large = reason == Reason::request_line_too_long || reason == Reason::headers_too_large ||
                     reason == Reason::too_many_headers;
  error_ = {large ? Reason::response_too_large : Reason::bad_response, Side::upstream, Retry::no,
            static_cast<int16_t>(reason)};
  Step step;
  step.event = Event::error;
  step.error = error_;
  return step;
}

Step ResponseReader::next(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits) {
  Step step;
  if (state_ == State::failed) {
    step.event = Event::error;
    step.error = error_;
    return step;
  }
  if (state_ == State::body) {
    step = body_.next(in, arena, limits);
    if (step.event == Event::error) return fail(step.error.reason);
    return step;
  }
  if (in.empty()) return step;
  started_ = true;
  step = read_head(in, arena, head, limits);
  if (step.event == Event::error) clear(head);
  return step;
}

Step ResponseReader::read_head(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits) {
  if (scan_.started) {
    const LineScan found =
        continue_head(in, scan_, limits, [](const char* p, const char* end, const char*& next, Reason& reason) {
          StatusLine line;
          return parse_status_line(p, end, line, next, reason);
        });
    if (found.parse == Parse::failed) return fail(found.reason);
    if (found.parse == Parse::incomplete) return {};
  }
  return take_apart(in, arena, head, limits);
}

Step ResponseReader::take_apart(Bytes in, Arena& arena, ResponseHead& head, const Limits& limits) {
  clear(head);
  const char* const begin = in.data();
  const char* const end = begin + in.size();
  const char* fields = nullptr;
  StatusLine line;
  Reason reason = Reason::none;
  const Parse parsed = parse_status_line(begin, end, line, fields, reason);
  if (parsed == Parse::failed) return fail(reason);
  const size_t line_size = parsed == Parse::complete ? static_cast<size_t>(fields - begin) - 2 : in.size() - 1;
  if (line_size > limits.request_line) return fail(Reason::request_line_too_long);
  if (parsed == Parse::incomplete) {
    scan_ = {0, in.size(), 0, true};
    return {};
  }
  FieldFacts facts;
  const SectionResult section = parse_section(fields, end, Direction::response, limits, head.fields, facts);
  if (section.parse == Parse::failed) return fail(section.reason);
  if (section.parse == Parse::incomplete) {
    head.fields.clear();
    if (static_cast<size_t>(end - fields) > limits.header_bytes + 1) return fail(Reason::headers_too_large);
    scan_ = {static_cast<size_t>(section.next - begin), in.size(), static_cast<size_t>(fields - begin), true};
    return {};
  }
  const auto size = static_cast<size_t>(section.next - begin);
  const std::string_view copy = arena.copy({begin, size});
  const Rebase rebase(begin, copy.data());
  rebase(line.phrase);
  rebase(facts);
  rebase(head.fields);
  head.status = line.status;
  head.reason = line.phrase;
  head.version = line.version;
  BodyKind kind = BodyKind::none;
  bool reusable = true;
  reason = choose_body(facts, method_, head, kind, reusable);
  if (reason != Reason::none) return fail(reason);
  const ConnectionOptions options = apply_connection(facts, head.fields);
  if (options.reason != Reason::none) return fail(options.reason);
  if (options.upgrade && facts.upgrades == 1) head.upgrade = facts.upgrade;
  Step step;
  step.event = Event::head;
  step.consumed = size;
  if (head.status < 200 && head.status != 101) {
    if (++interim_ > kMaxInterim) return fail(Reason::too_many_headers);
    // HTTP/1.0 has no 1xx (RFC 9110 15.2): whoever says so confuses versions and is not trusted with another request.
    interim_close_ |= options.close || head.version == Version::http10;
    scan_ = {};
    return step;
  }
  keep_alive_ = reusable && !options.close && !interim_close_ && kind != BodyKind::until_close && head.status != 101 &&
                (head.version == Version::http11 || options.keep_alive);
  switch (kind) {
    case BodyKind::none:
      body_.start_none();
      break;
    case BodyKind::length:
      body_.start_length(*head.content_length);
      break;
    case BodyKind::chunked:
      body_.start_chunked();
      break;
    case BodyKind::until_close:
      body_.start_until_close();
      break;
  }
  state_ = State::body;
  step.end = !head.has_body;
  return step;
}

Step ResponseReader::eof() {
  Step step;
  keep_alive_ = false;
  if (state_ == State::failed) {
    step.event = Event::error;
    step.error = error_;
    return step;
  }
  if (state_ == State::body && (body_.until_close() || body_.done())) {
    body_.start_none();
    step.event = Event::end;
    return step;
  }
  error_ = started_ ? Error{Reason::response_cut, Side::upstream, Retry::no, 0}
                    : Error{Reason::upstream_closed, Side::upstream, Retry::if_reused, 0};
  state_ = State::failed;
  step.event = Event::error;
  step.error = error_;
  return step;
}

}  // namespace sluice::http::h1
