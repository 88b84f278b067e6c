// The gateway speaks HTTP/1 behind HTTP/2 and the other way round. What one codec reads and the other writes must be
// read as the same head, with nothing in it that was not there.
// The first byte: bit 0 an answer, bit 1 HTTP/1 text that goes to HTTP/2; else fields, each with a byte for the length
// of its name, one for that of its value, and both. Bit 2: nothing follows the head; bit 3: extended CONNECT is spoken,
// answers are to HEAD.
#include <cstdint>

#include "dataplane/http/chars.h"
#include "dataplane/http/h2/head_reader.h"
#include "dataplane/http/h2/head_writer.h"
#include "tests/fuzz/h1_properties.h"

namespace {

using namespace sluice;
using namespace sluice::http;
using h1::fuzz::require;

const h1::Limits kLimits{4096, 40, 1024};
const h1::Limits kMore{65536, 500, 65536};  // room for the framing fields that are made anew

// Names without case, cookies as one (RFC 9113 8.2.3).
std::string text_of(const Fields& fields) {
  std::string out, cookies;
  for (const Field& field : fields.all()) {
    std::string name(field.name);
    for (char& c : name) c = chars::lower(c);
    if (name == "cookie") cookies.append(cookies.empty() ? "" : "; ").append(field.value);
    else out.append(name).append(": ").append(field.value).append("\n");
  }
  return out + cookies;
}

void same(const RequestHead& one, const RequestHead& two, bool upgrade) {
  require(text_of(one.fields) == text_of(two.fields), "fields stay");
  require(one.method_name == two.method_name && one.method == two.method, "methods stay");
  require(one.path == two.path && one.query == two.query && one.has_query == two.has_query, "targets stay");
  require(one.host == two.host && one.port == two.port, "hosts stay");
  require(one.has_body == two.has_body && one.wants_trailers == two.wants_trailers, "framing stays");
  require(!one.has_body || one.content_length == two.content_length, "lengths stay");
  require(!upgrade || one.upgrade == two.upgrade, "upgrades stay");
}
void same(const ResponseHead& one, const ResponseHead& two) {
  require(text_of(one.fields) == text_of(two.fields), "fields stay");
  require(one.status == two.status, "status stays");
  require(one.has_body == two.has_body, "framing stays");
  require(!one.has_body || one.content_length == two.content_length, "lengths stay");
}

template <class Head>
void write_as_http1(const Head& head, bool is_request, Method method, Arena& arena) {
  const h1::Framing framing = !head.has_body        ? h1::Framing::none
                              : head.content_length ? h1::Framing::length
                                                    : h1::Framing::chunked;
  std::string text(h1::max_head_size(head), '\0');
  uint32_t dropped = 0;
  Head again(arena);
  h1::Step step;
  if constexpr (requires { head.status; }) {
    h1::ResponseOptions options;
    options.framing = framing;
    text.resize(h1::write_response_head(text, head, options, &dropped));
    h1::ResponseReader reader;
    reader.reset(method);
    step = reader.next({text.data(), text.size()}, arena, again, kMore);
  } else {
    text.resize(h1::write_request_head(text, head, framing, &dropped));
    h1::RequestReader reader;
    step = reader.next({text.data(), text.size()}, arena, again, kMore);
  }
  require(!text.empty() && dropped == 0, "what was read can be written");
  h1::fuzz::require_clean(text, head.fields.size() + (is_request ? 7 : 6));
  require(step.event == h1::Event::head && step.consumed == text.size(), "one head and nothing behind it");
  if constexpr (requires { head.status; }) same(head, again);
  else same(head, again, true);
}

bool add(h2::HeadReader& reader, std::span<const nghttp2_nv> pairs) {
  for (const nghttp2_nv& pair : pairs) {
    if (!reader.add({reinterpret_cast<const char*>(pair.name), pair.namelen},
                    {reinterpret_cast<const char*>(pair.value), pair.valuelen}))
      return false;
  }
  return true;
}

void write_as_http2(const RequestHead& head, Arena& arena) {
  h2::HeadReader reader(arena, kMore, 1 << 20);
  require(add(reader, h2::write_request(head, Scheme::https, arena)), "no bomb is made");
  RequestHead again(arena);
  require(reader.finish(again, !head.has_body, false) == Reason::none, "what is written is read");
  same(head, again, false);
}
void write_as_http2(const ResponseHead& head, Method method, Arena& arena) {
  h2::HeadReader reader(arena, kMore, 1 << 20);
  require(add(reader, h2::write_response(head, {}, false, arena)), "no bomb is made");
  ResponseHead again(arena);
  const bool end = head.status >= 200 && !head.has_body;
  require(reader.finish(again, end, method) == Reason::none, "what is written is read");
  same(head, again);
}

void from_http1(std::string_view text, bool answer, Method method, Arena& arena) {
  if (answer) {
    h1::ResponseReader reader;
    reader.reset(method);
    ResponseHead head(arena);
    const h1::Step step = reader.next({text.data(), text.size()}, arena, head, kLimits);
    if (step.event == h1::Event::head && head.status != 101) write_as_http2(head, method, arena);
    return;
  }
  h1::RequestReader reader;
  RequestHead head(arena);
  const h1::Step step = reader.next({text.data(), text.size()}, arena, head, kLimits);
  // HTTP/1.0 may come without Host: a route decides then.
  if (step.event == h1::Event::head && !head.host.empty()) write_as_http2(head, arena);
}

void from_http2(std::string_view in, bool answer, bool end, bool other, Arena& arena) {
  h2::HeadReader reader(arena, kLimits, 64 * 1024);
  while (in.size() >= 2) {
    const size_t name = std::min<size_t>(static_cast<uint8_t>(in[0]), in.size() - 2);
    const size_t value = std::min<size_t>(static_cast<uint8_t>(in[1]), in.size() - 2 - name);
    if (!reader.add(in.substr(2, name), in.substr(2 + name, value))) return;
    in.remove_prefix(2 + name + value);
  }
  if (answer) {
    const Method method = other ? Method::head : Method::get;
    ResponseHead head(arena);
    if (reader.finish(head, end, method) != Reason::none) return;
    if (head.status >= 200) require(!end || !head.has_body, "the end has no body");
    write_as_http2(head, method, arena);
    // As the sink does it: what ends here and says no length is empty.
    const bool bodyless = other || head.status < 200 || head.status == 204 || head.status == 304;
    if (!head.has_body && !bodyless && !head.content_length) head.content_length = 0;
    write_as_http1(head, false, method, arena);
    return;
  }
  RequestHead head(arena);
  if (reader.finish(head, end, other) != Reason::none) return;
  require(!end || !head.has_body, "the end has no body");
  require(head.upgrade.empty() || (other && !head.has_body), "a tunnel has no body");
  write_as_http1(head, true, Method::get, arena);
  if (head.upgrade.empty()) write_as_http2(head, arena);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t flags = data[0];
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  ChunkPool pool;
  Arena arena(pool);
  const bool answer = (flags & 1) != 0, other = (flags & 8) != 0;
  if ((flags & 2) != 0) from_http1(rest, answer, other ? Method::head : Method::get, arena);
  else from_http2(rest, answer, (flags & 4) != 0, other, arena);
  return 0;
}
