#include "dataplane/http/h1/body_reader.h"

#include <algorithm>
#include <cstring>

#include "dataplane/http/chars.h"
#include "dataplane/http/h1/field_section.h"
#include "dataplane/http/h1/line_scan.h"
#include "dataplane/http/trailers.h"

namespace sluice::http::h1 {
namespace {

constexpr size_t kMaxChunkLine = 512;               // size and extensions
constexpr size_t kMaxSizeDigits = 15;               // below 2^60: no sum can overflow
constexpr uint32_t kMaxExtensionBytes = 16 * 1024;  // over one body
constexpr std::string_view kEnd = "\r\n0\r\n\r\n";

Step failed(Reason reason) {
  Step step;
  step.event = Event::error;
  step.error = {reason, Side::client, Retry::no, 0};
  return step;
}

// *( ";" token [ "=" ( token / quoted-string ) ] ), RFC 9112 7.1.1. The BWS that the RFC lets a recipient accept is
// refused: nobody sends it but those who look for parsers that disagree.
bool good_extensions(const char* p, const char* end) {
  while (p != end) {
    if (*p++ != ';') return false;
    const char* name = p;
    p = chars::skip_token(p, end);
    if (p == name) return false;
    if (p == end || *p != '=') continue;
    ++p;
    if (p != end && *p == '"') {
      for (++p; p != end && *p != '"'; ++p) {
        if (chars::is_stop(*p)) return false;
        if (*p == '\\' && (++p == end || chars::is_stop(*p))) return false;
      }
      if (p == end) return false;
      ++p;
    } else {
      const char* value = p;
      p = chars::skip_token(p, end);
      if (p == value) return false;
    }
  }
  return true;
}

}  // namespace

Step BodyReader::next(Bytes in, Arena& arena, const Limits& limits) {
  Step step;
  size_t at = 0;
  switch (state_) {
    case State::done:
      return step;
    case State::length: {
      if (in.empty()) return step;
      const auto size = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size()));
      remaining_ -= size;
      step.event = Event::body;
      step.consumed = size;
      step.body = in.first(size);
      step.end = remaining_ == 0;
      if (step.end) state_ = State::done;
      return step;
    }
    case State::until_close:
      if (in.empty()) return step;
      step.event = Event::body;
      step.consumed = in.size();
      step.body = in;
      return step;
    case State::trailers:
      return trailer_section(in, 0, arena, limits);
    default:
      break;
  }
  if (state_ == State::chunk_end) {
    if (in.empty()) return step;
    if (in[0] != '\r' || (in.size() > 1 && in[1] != '\n')) return failed(Reason::bad_chunk);
    if (in.size() < 2) return step;
    at = 2;
    state_ = State::chunk_size;
  }
  if (state_ == State::chunk_size && !chunk_size(in, at, step)) return step;
  if (state_ == State::trailers) return trailer_section(in, at, arena, limits);
  const auto size = static_cast<size_t>(std::min<uint64_t>(remaining_, in.size() - at));
  step.consumed = at + size;
  if (size == 0) return step;
  remaining_ -= size;
  step.event = Event::body;
  step.body = in.subspan(at, size);
  if (remaining_ != 0) return step;
  state_ = State::chunk_end;
  // The usual end in the same read: saves the caller two more steps and tells it that this was all.
  if (in.size() - step.consumed >= kEnd.size() &&
      std::memcmp(in.data() + step.consumed, kEnd.data(), kEnd.size()) == 0) {
    step.consumed += kEnd.size();
    step.end = true;
    state_ = State::done;
  }
  return step;
}

bool BodyReader::chunk_size(Bytes in, size_t& at, Step& step) {
  step.consumed = at;
  const char* const begin = in.data() + at;
  const char* const end = in.data() + in.size();
  const char* p = begin;
  uint64_t size = 0;
  for (int digit; p != end && (digit = chars::hex_value(*p)) >= 0; ++p) {
    if (static_cast<size_t>(p - begin) == kMaxSizeDigits) {
      step = failed(Reason::bad_chunk);
      return false;
    }
    size = size << 4 | static_cast<uint64_t>(digit);
  }
  const char* const digits_end = p;
  if (p != end && *p == ';') p = chars::find_stop(p, end);
  if (p == end || (*p == '\r' && p + 1 == end)) {
    if (static_cast<size_t>(p - begin) > kMaxChunkLine || (p != end && digits_end == begin))
      step = failed(Reason::bad_chunk);
    return false;
  }
  const auto extensions = static_cast<size_t>(p - digits_end);
  if (digits_end == begin || *p != '\r' || p[1] != '\n' || static_cast<size_t>(p - begin) > kMaxChunkLine ||
      !good_extensions(digits_end, p) || extension_bytes_ + extensions > kMaxExtensionBytes) {
    step = failed(Reason::bad_chunk);
    return false;
  }
  extension_bytes_ += static_cast<uint32_t>(extensions);
  at += static_cast<size_t>(p - begin) + 2;
  remaining_ = size;
  state_ = size == 0 ? State::trailers : State::chunk_data;
  scan_ = {};
  return true;
}

Step BodyReader::trailer_section(Bytes in, size_t at, Arena& arena, const Limits& limits) {
  Step step;
  step.consumed = at;
  const Bytes section = in.subspan(at);
  if (section.empty()) return step;
  const char* const begin = section.data();
  const char* const end = begin + section.size();
  if (section.size() >= 2 && begin[0] == '\r' && begin[1] == '\n') {
    state_ = State::done;
    step.event = Event::end;
    step.consumed += 2;
    return step;
  }
  if (scan_.started) {
    const LineScan found = scan_lines(section, scan_);
    if (found.parse == Parse::failed) return failed(found.reason);
    if (found.parse == Parse::incomplete) {
      if (section.size() > limits.header_bytes) return failed(Reason::headers_too_large);
      return step;
    }
  }
  auto* kept = arena.make<Fields>(arena);
  Field field;
  const char* p = begin;
  Reason reason = Reason::none;
  uint32_t count = 0;
  while (true) {
    if (p != end && *p == '\r' && p + 1 != end && p[1] == '\n') break;
    const char* line = p;
    const bool lone_cr = p != end && *p == '\r' && p + 1 == end;
    const Parse parse = lone_cr ? Parse::incomplete : parse_field_line(p, end, field, p, reason);
    if (parse == Parse::failed) return failed(reason);
    if (parse == Parse::incomplete) {
      if (section.size() > limits.header_bytes) return failed(Reason::headers_too_large);
      scan_ = {static_cast<size_t>(line - begin), section.size(), 0, true};
      return step;
    }
    if (++count > limits.header_count) return failed(Reason::too_many_headers);
    field.token = token_of(field.name);
    const Trailer verdict = judge_trailer(field);
    if (verdict == Trailer::refuse) return failed(Reason::bad_trailer);
    if (verdict == Trailer::keep) kept->add(field);
  }
  const auto size = static_cast<size_t>(p - begin);
  if (size > limits.header_bytes) return failed(Reason::headers_too_large);
  state_ = State::done;
  step.consumed = at + size + 2;
  if (kept->size() == 0) {
    step.event = Event::end;
    return step;
  }
  const std::string_view copy = arena.copy({begin, size});
  Rebase rebase(begin, copy.data());
  rebase(*kept);
  trailers_ = kept;
  step.event = Event::trailers;
  step.end = true;
  return step;
}

}  // namespace sluice::http::h1
