#include <cstring>

#include "dataplane/http/authority.h"
#include "dataplane/http/chars.h"
#include "dataplane/http/h1/codec.h"
#include "dataplane/http/h1/line_scan.h"
#include "dataplane/http/target.h"

namespace sluice::http::h1 {
namespace {

struct RequestLine {
  std::string_view method, target;
  Version version = Version::http11;
};

// method SP request-target SP HTTP/1.x CR LF, with exactly these two spaces (RFC 9112 3).
Parse parse_request_line(const char* p, const char* end, RequestLine& line, const char*& next, Reason& reason) {
  const char* method_end = chars::skip_token(p, end);
  if (method_end == end) return Parse::incomplete;
  reason = Reason::bad_request_line;
  if (*method_end != ' ' || method_end == p) {
    if (*method_end == '\r' && method_end + 1 == end) return Parse::incomplete;
    if (*method_end == '\n' || (*method_end == '\r' && method_end[1] != '\n')) reason = Reason::bare_cr_lf;
    else if (*method_end != '\r') reason = Reason::bad_method;
    return Parse::failed;
  }
  const char* target = method_end + 1;
  const char* target_end = chars::find_space_or_control(target, end);
  if (target_end == end) return Parse::incomplete;
  if (*target_end != ' ' || target_end == target) {
    if (*target_end == '\r' && target_end + 1 == end) return Parse::incomplete;
    if (*target_end == '\n' || (*target_end == '\r' && target_end[1] != '\n')) reason = Reason::bare_cr_lf;
    else if (target_end != target && *target_end != '\r') reason = Reason::bad_target;
    return Parse::failed;
  }
  const char* version = target_end + 1;
  constexpr std::string_view kPrefix = "HTTP/";
  if (end - version < 10) {
    const char* stop = chars::find_stop(version, end);
    if (stop == end || (*stop == '\r' && stop + 1 == end)) return Parse::incomplete;
    if (*stop != '\r' || stop[1] != '\n') reason = Reason::bare_cr_lf;
    return Parse::failed;
  }
  if (std::memcmp(version, kPrefix.data(), kPrefix.size()) != 0) return Parse::failed;
  const bool digits = chars::is_digit(static_cast<unsigned char>(version[5])) && version[6] == '.' &&
                      chars::is_digit(static_cast<unsigned char>(version[7]));
  if (!digits) return Parse::failed;
  if (version[8] != '\r' || version[9] != '\n') {
    if (version[8] == '\n' || version[8] == '\r') reason = Reason::bare_cr_lf;
    return Parse::failed;
  }
  if (version[5] != '1' || version[7] > '1') {
    reason = Reason::bad_version;
    return Parse::failed;
  }
  line.method = {p, static_cast<size_t>(method_end - p)};
  line.target = {target, static_cast<size_t>(target_end - target)};
  line.version = version[7] == '1' ? Version::http11 : Version::http10;
  next = version + 10;
  return Parse::complete;
}

// RFC 9112 3.2: origin-form, absolute-form, or "*" for OPTIONS. `authority` is set for absolute-form.
Reason set_target(std::string_view target, RequestHead& head, Arena& arena, std::string_view& authority) {
  if (target.front() != '/') {
    if (target == "*") {
      head.path = target;
      return head.method == Method::options ? Reason::none : Reason::bad_target;
    }
    const size_t scheme = target.find("://");
    if (scheme == std::string_view::npos) return Reason::bad_target;
    const std::string_view name = target.substr(0, scheme);
    if (!chars::equal_without_case(name, "http") && !chars::equal_without_case(name, "https"))
      return Reason::bad_target;
    const size_t begin = scheme + 3;
    const size_t stop = target.find_first_of("/?#", begin);
    authority = target.substr(begin, stop - begin);
    if (authority.empty()) return Reason::bad_host;
    if (stop == std::string_view::npos) {
      // RFC 9112 3.2.4: OPTIONS with an empty path and no query asks about the server.
      head.path = head.method == Method::options ? "*" : "/";
      return Reason::none;
    }
    target.remove_prefix(stop);
  }
  if (target.empty() || target.front() == '?') {
    // An absolute-form without a path means the root.
    char* root = static_cast<char*>(arena.allocate(target.size() + 1, 1));
    root[0] = '/';
    if (!target.empty()) std::memcpy(root + 1, target.data(), target.size());
    target = {root, target.size() + 1};
  }
  return set_path_and_query(target, head, arena);
}

// RFC 9112 3.2: exactly one Host in HTTP/1.1, and it must be well-formed even if the target's authority replaces it
// (3.2.2).
Reason set_host(const FieldFacts& facts, std::string_view authority, RequestHead& head, Arena& arena) {
  if (facts.hosts > 1) return Reason::duplicate_host;
  if (facts.hosts == 0 && head.version == Version::http11) return Reason::missing_host;
  if (facts.hosts == 1) {
    const Authority host = parse_authority(facts.host, arena);
    if (host.reason != Reason::none) return host.reason;
    head.host = host.host;
    head.port = host.port;
  }
  if (!authority.empty()) {
    const Authority host = parse_authority(authority, arena);
    if (host.reason != Reason::none) return host.reason;
    head.host = host.host;
    head.port = host.port;
  }
  return Reason::none;
}

// RFC 9112 6.1 to 6.3.
Reason set_framing(const FieldFacts& facts, RequestHead& head) {
  if (facts.encodings != 0) {
    if (head.version == Version::http10) return Reason::te_in_http10;
    if (facts.lengths != 0) return Reason::both_lengths;
    if (facts.encodings > 1 || !chars::equal_without_case(facts.encoding, "chunked"))
      return Reason::bad_transfer_encoding;
    head.has_body = true;
  } else if (facts.lengths != 0) {
    if (facts.lengths > 1) return Reason::bad_content_length;
    head.content_length = parse_length(facts.length);
    if (!head.content_length) return Reason::bad_content_length;
    head.has_body = *head.content_length != 0;
  }
  return Reason::none;
}

// 1#( token [ "/" token ] ), RFC 9110 7.8.
bool is_protocol_list(std::string_view list) {
  bool any = false;
  return chars::for_each_element(
             list,
             [&](std::string_view element) {
               any = true;
               const size_t slash = element.find('/');
               return chars::is_token(element.substr(0, slash)) &&
                      (slash == std::string_view::npos || chars::is_token(element.substr(slash + 1)));
             }) &&
         any;
}

Reason set_options(const FieldFacts& facts, RequestHead& head, bool& keep_alive) {
  const ConnectionOptions options = apply_connection(facts, head.fields);
  if (options.reason != Reason::none) return options.reason;
  const bool http11 = head.version == Version::http11;
  keep_alive = !options.close && (http11 || options.keep_alive);
  // RFC 9110 7.8: ignored in HTTP/1.0 and without the connection option; which of several would be meant is unclear.
  if (options.upgrade && http11 && facts.upgrades == 1) {
    if (!is_protocol_list(facts.upgrade)) return Reason::bad_header_value;
    head.upgrade = facts.upgrade;
  }
  head.wants_trailers = facts.wants_trailers && http11;
  if (facts.expects != 0) {
    // RFC 9110 10.1.1: the only expectation there is; ignored in HTTP/1.0, and pointless without content.
    if (facts.expects > 1 || !chars::equal_without_case(facts.expect, "100-continue"))
      return Reason::unsupported_expect;
    head.expect_continue = http11 && head.has_body;
  }
  return Reason::none;
}

void clear(RequestHead& head) {
  head.method = Method::get;
  head.method_name = head.host = head.path = head.query = head.upgrade = {};
  head.version = Version::http11;
  head.port = 0;
  head.has_query = head.has_body = head.expect_continue = head.wants_trailers = false;
  head.content_length.reset();
  head.fields.clear();
}

Reason fill(const RequestLine& line, const FieldFacts& facts, RequestHead& head, Arena& arena, bool& keep_alive) {
  head.method_name = line.method;
  head.method = method_of(line.method);
  head.version = line.version;
  if (head.method == Method::connect) return Reason::connect_refused;
  std::string_view authority;
  if (Reason reason = set_target(line.target, head, arena, authority); reason != Reason::none) return reason;
  if (Reason reason = set_host(facts, authority, head, arena); reason != Reason::none) return reason;
  if (Reason reason = set_framing(facts, head); reason != Reason::none) return reason;
  return set_options(facts, head, keep_alive);
}

}  // namespace

void RequestReader::reset() { *this = {}; }

Step RequestReader::fail(Reason reason) {
  state_ = State::failed;
  keep_alive_ = false;
  error_ = {reason, Side::client, Retry::no, 0};
  Step step;
  step.event = Event::error;
  step.error = error_;
  return step;
}

Step RequestReader::next(Bytes in, Arena& arena, RequestHead& head, const Limits& limits) {
  if (state_ == State::failed) return fail(error_.reason);
  if (state_ == State::body) {
    Step step = body_.next(in, arena, limits);
    if (step.event == Event::error) return fail(step.error.reason);
    return step;
  }
  size_t skipped = 0;
  if (state_ == State::start) {
    if (!skipped_empty_line_ && !in.empty() && in[0] == '\r') {
      if (in.size() == 1) return {};
      if (in[1] != '\n') return fail(Reason::bare_cr_lf);
      skipped_empty_line_ = true;
      skipped = 2;
      in = in.subspan(2);
    }
    if (in.empty()) {
      Step step;
      step.consumed = skipped;
      return step;
    }
    state_ = State::head;
  }
  Step step = read_head(in, arena, head, limits);
  if (step.event != Event::head) {
    if (step.event == Event::error) clear(head);
    // RFC 9110 9.3.2: the answer to HEAD has no content, whatever else is wrong with the request or missing.
    if (std::string_view(in.data(), in.size()).starts_with("HEAD ")) {
      head.method = Method::head;
      head.method_name = name_of(Method::head);
    }
    if (step.event == Event::error) return step;
  }
  step.consumed += skipped;
  return step;
}

Step RequestReader::read_head(Bytes in, Arena& arena, RequestHead& head, const Limits& limits) {
  if (scan_.started) {
    const LineScan found =
        continue_head(in, scan_, limits, [](const char* p, const char* end, const char*& next, Reason& reason) {
          RequestLine line;
          return parse_request_line(p, end, line, next, reason);
        });
    if (found.parse == Parse::failed) return fail(found.reason);
    if (found.parse == Parse::incomplete) return {};
  }
  return take_apart(in, arena, head, limits);
}

Step RequestReader::take_apart(Bytes in, Arena& arena, RequestHead& head, const Limits& limits) {
  clear(head);
  const char* const begin = in.data();
  const char* const end = begin + in.size();
  const char* fields = nullptr;
  RequestLine line;
  Reason reason = Reason::none;
  const Parse parsed = parse_request_line(begin, end, line, fields, reason);
  const size_t line_size = parsed == Parse::complete ? static_cast<size_t>(fields - begin) - 2 : in.size() - 1;
  if (parsed != Parse::failed && line_size > limits.request_line) return fail(Reason::request_line_too_long);
  if (parsed == Parse::failed) return fail(reason);
  if (parsed == Parse::incomplete) {
    scan_ = {0, in.size(), 0, true};
    return {};
  }
  FieldFacts facts;
  const SectionResult section = parse_section(fields, end, Direction::request, limits, head.fields, facts);
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
  rebase(line.method);
  rebase(line.target);
  rebase(facts);
  rebase(head.fields);
  reason = fill(line, facts, head, arena, keep_alive_);
  if (reason != Reason::none) return fail(reason);
  if (!head.has_body) body_.start_none();
  else if (head.content_length) body_.start_length(*head.content_length);
  else body_.start_chunked();
  state_ = State::body;
  Step step;
  step.event = Event::head;
  step.end = !head.has_body;
  step.consumed = size;
  return step;
}

}  // namespace sluice::http::h1
