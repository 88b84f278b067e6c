#include "dataplane/observe/log_line.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>

#include <unistd.h>

#include "common/base/access_log_names.h"

namespace sluice::observe {
namespace {

constexpr char kHex[] = "0123456789abcdef";

// Two digits at a time.
struct Pairs {
  char digits[200];
  constexpr Pairs() : digits() {
    for (int i = 0; i < 100; ++i) {
      digits[2 * i] = static_cast<char>('0' + i / 10);
      digits[2 * i + 1] = static_cast<char>('0' + i % 10);
    }
  }
};
constexpr Pairs kPairs;

// Bytes that need no escape in either form; the rest is looked at one by one.
struct Plain {
  bool is[256];
  constexpr Plain() : is() {
    for (int c = 0x20; c < 0x7f; ++c) is[c] = c != '"' && c != '\\';
  }
};
constexpr Plain kPlain;

// True if all eight bytes are plain: none below 0x20, none above 0x7e, no quote, no backslash.
bool eight_plain(const char* at) {
  uint64_t x;
  std::memcpy(&x, at, 8);
  constexpr uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
  const uint64_t low = (x - ones * 0x20) & ~x;
  const uint64_t del = x + ones;  // 0x7f becomes 0x80; bytes from 0x80 on are caught by x itself
  const uint64_t quote = ((x ^ ones * '"') - ones) & ~(x ^ ones * '"');
  const uint64_t slash = ((x ^ ones * '\\') - ones) & ~(x ^ ones * '\\');
  return ((low | del | x | quote | slash) & tops) == 0;
}

// Length of the UTF-8 sequence at `at`, 0 if there is none (RFC 3629 section 4).
size_t utf8_length(const unsigned char* at, size_t left) {
  const unsigned char lead = at[0];
  const size_t n = lead >= 0xC2 && lead < 0xE0   ? 2
                   : lead >= 0xE0 && lead < 0xF0 ? 3
                   : lead >= 0xF0 && lead < 0xF5 ? 4
                                                 : 0;
  if (n == 0 || n > left) return 0;
  for (size_t i = 1; i < n; ++i) {
    if ((at[i] & 0xC0) != 0x80) return 0;
  }
  if ((lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F) || (lead == 0xF0 && at[1] < 0x90) ||
      (lead == 0xF4 && at[1] > 0x8F))
    return 0;
  return n;
}

enum class Escape : uint8_t { json, text };

}  // namespace

// Most escaped bytes of a value.
struct LineFormat::Limits {
  size_t path, query, agent, host, word;
};
namespace {
constexpr size_t kWide[] = {4096, 4096, 1024, 256, 256};
constexpr size_t kNarrow[] = {468, 352, 192, 192, 112};
}  // namespace

// Appends within a bound; what does not fit is cut.
class LineFormat::Writer {
 public:
  Writer(char* out, size_t bound) : at_(out), end_(out + bound) {}
  [[nodiscard]] char* at() const { return at_; }

  void text(std::string_view text) {
    const size_t n = std::min(text.size(), room());
    std::memcpy(at_, text.data(), n);
    at_ += n;
  }
  // A literal: its size is known, and a copy of a few known bytes is a store or two.
  template <size_t N>
  void label(const char (&literal)[N]) {
    if (room() < N - 1) return text({literal, N - 1});
    std::memcpy(at_, literal, N - 1);
    at_ += N - 1;
  }
  void byte(char c) {
    if (at_ != end_) *at_++ = c;
  }
  void number(uint64_t value) {
    char digits[20];
    char* from = digits + sizeof digits;
    while (value >= 100) {
      from -= 2;
      std::memcpy(from, kPairs.digits + value % 100 * 2, 2);
      value /= 100;
    }
    if (value >= 10) {
      from -= 2;
      std::memcpy(from, kPairs.digits + value * 2, 2);
    } else {
      *--from = static_cast<char>('0' + value);
    }
    text({from, digits + sizeof digits});
  }
  void address(const net::Address& address) {
    if (room() < 46) return;
    at_ += address.format(at_);
  }
  void endpoint(const net::Address& address) {
    const bool v4 = address.is_v4();
    if (!v4) byte('[');
    this->address(address);
    if (!v4) byte(']');
    byte(':');
    number(address.port);
  }
  // At most `limit` bytes; an escape or a UTF-8 sequence is written whole or not at all.
  void escaped(std::string_view value, size_t limit, Escape form) {
    const char* from = value.data();
    const char* const last = from + value.size();
    char* const stop = at_ + std::min(limit, room());
    while (from != last) {
      if (last - from >= 8 && stop - at_ >= 8 && eight_plain(from)) {
        std::memcpy(at_, from, 8);
        at_ += 8;
        from += 8;
        continue;
      }
      const auto c = static_cast<unsigned char>(*from);
      if (kPlain.is[c]) {
        if (at_ == stop) return;
        *at_++ = static_cast<char>(c);
        ++from;
        continue;
      }
      const size_t sequence =
          form == Escape::json && c >= 0x80
              ? utf8_length(reinterpret_cast<const unsigned char*>(from), static_cast<size_t>(last - from))
              : 0;
      if (sequence != 0) {
        if (static_cast<size_t>(stop - at_) < sequence) return;
        std::memcpy(at_, from, sequence);
        at_ += sequence;
        from += sequence;
        continue;
      }
      char escape[6] = {'\\', static_cast<char>(c)};
      size_t n = 2;
      if (c != '"' && c != '\\') {
        n = form == Escape::json ? 6 : 4;
        std::memcpy(escape, form == Escape::json ? "\\u00" : "\\x", n - 2);
        escape[n - 2] = kHex[c >> 4];
        escape[n - 1] = kHex[c & 15];
      }
      if (static_cast<size_t>(stop - at_) < n) return;
      std::memcpy(at_, escape, n);
      at_ += n;
      ++from;
    }
  }

 private:
  [[nodiscard]] size_t room() const { return static_cast<size_t>(end_ - at_); }
  char* at_;
  char* end_;
};

std::string LineFormat::configure(std::string_view format) {
  pid_ = std::to_string(::getpid());
  if (format == "json") {
    json_ = true;
    pieces_.clear();
    return {};
  }
  std::vector<Piece> made;
  auto on_text = [&](std::string_view text) { made.push_back({-1, std::string(text)}); };
  auto on_name = [&](size_t name) { made.push_back({static_cast<int>(name), {}}); };
  if (std::string problem = parse_access_log_template(format, on_text, on_name); !problem.empty()) return problem;
  json_ = false;
  pieces_ = std::move(made);
  return {};
}

size_t LineFormat::build(const StreamRecord& record, char* out, size_t bound) {
  static_assert(std::size(kWide) == 5 && std::size(kNarrow) == 5);
  auto with = [&](const size_t(&of)[5]) {
    const Limits limits{of[0], of[1], of[2], of[3], of[4]};
    // One byte is kept for the line feed.
    Writer writer(out, bound - 1);
    if (json_) json(record, writer, limits);
    else pieces(record, writer, limits);
    *writer.at() = '\n';
    return static_cast<size_t>(writer.at() + 1 - out);
  };
  // Nearly every line is short: only one that reached the bound, and may have been cut there, is built again with
  // limits whose sum is below it.
  if (const size_t size = with(kWide); size < bound) return size;
  return with(kNarrow);
}

void LineFormat::time(int64_t wall_us, Writer& writer) {
  const int64_t us = wall_us < 0 ? 0 : wall_us;
  if (const int64_t second = us / 1'000'000; second != second_) {
    second_ = second;
    const time_t seconds = second;
    tm utc{};
    gmtime_r(&seconds, &utc);
    // A year past 9999 does not fit and gives an empty text, not a wrong one.
    if (strftime(stamp_, sizeof stamp_, "%Y-%m-%dT%H:%M:%S.", &utc) == 0) stamp_[0] = '\0';
  }
  const auto fraction = static_cast<uint32_t>(us % 1'000'000);
  char text[7];
  std::memcpy(text, kPairs.digits + fraction / 10'000 * 2, 2);
  std::memcpy(text + 2, kPairs.digits + fraction / 100 % 100 * 2, 2);
  std::memcpy(text + 4, kPairs.digits + fraction % 100 * 2, 2);
  text[6] = 'Z';
  writer.text(stamp_);
  writer.text({text, sizeof text});
}

void LineFormat::json(const StreamRecord& r, Writer& w, const Limits& limits) {
  auto words = [&](const auto& label, std::string_view value, size_t limit) {
    w.label(label);
    w.escaped(value, limit, Escape::json);
    w.byte('"');
  };
  auto words_if = [&](const auto& label, std::string_view value, size_t limit) {
    if (!value.empty()) words(label, value, limit);
  };
  auto number = [&](const auto& label, uint64_t value) {
    w.label(label);
    w.number(value);
  };
  w.label("{\"time\":\"");
  time(r.start_wall_us, w);
  w.byte('"');
  words(",\"request_id\":\"", r.request_id, limits.word);
  w.label(",\"client\":\"");
  w.address(r.client);
  w.byte('"');
  if (r.peer.bytes != r.client.bytes) {
    w.label(",\"peer\":\"");
    w.address(r.peer);
    w.byte('"');
  }
  words(",\"method\":\"", r.method, limits.word);
  words(",\"scheme\":\"", r.scheme, limits.word);
  words(",\"host\":\"", r.host, limits.host);
  words(",\"path\":\"", r.path, limits.path);
  if (r.has_query) words(",\"query\":\"", r.query, limits.query);
  words(",\"protocol\":\"", r.protocol, limits.word);
  number(",\"status\":", r.status);
  if (r.grpc_status) number(",\"grpc_status\":", *r.grpc_status);
  number(",\"duration_us\":", r.duration_us);
  number(",\"bytes_in\":", r.bytes_in);
  number(",\"bytes_out\":", r.bytes_out);
  if (r.reason != http::Reason::none) words(",\"reason\":\"", http::describe(r.reason).word, limits.word);
  words_if(",\"rate_limit\":\"", r.rate_limit, limits.word);
  if (r.attempts != 0) {
    if (r.upstream.port != 0) {
      w.label(",\"upstream\":\"");
      w.endpoint(r.upstream);
      w.byte('"');
    }
    number(",\"upstream_us\":", r.upstream_us);
    number(",\"connect_us\":", r.connect_us);
    number(",\"attempts\":", r.attempts);
  }
  words_if(",\"cluster\":\"", r.cluster, limits.word);
  if (!r.origin_kind.empty()) {
    words(",\"origin_kind\":\"", r.origin_kind, limits.word);
    words(",\"origin_namespace\":\"", r.origin_namespace, limits.word);
    words(",\"origin_name\":\"", r.origin_name, limits.word);
    words_if(",\"origin_rule\":\"", r.origin_rule, limits.word);
    w.label(",\"origin_generation\":");
    if (r.origin_generation < 0) w.byte('-');
    w.number(r.origin_generation < 0 ? 0 - static_cast<uint64_t>(r.origin_generation)
                                     : static_cast<uint64_t>(r.origin_generation));
  }
  number(",\"state_sequence\":", r.state_sequence);
  words_if(",\"tls_version\":\"", r.tls_version, limits.word);
  words_if(",\"tls_cipher\":\"", r.tls_cipher, limits.word);
  if (r.sni != r.host) words_if(",\"sni\":\"", r.sni, limits.host);
  words_if(",\"user_agent\":\"", r.user_agent, limits.agent);
  words_if(",\"referer\":\"", r.referer, limits.agent);
  w.byte('}');
}

void LineFormat::pieces(const StreamRecord& record, Writer& writer, const Limits& limits) {
  for (const Piece& piece : pieces_) {
    if (piece.name < 0) writer.text(piece.text);
    else value(static_cast<size_t>(piece.name), record, writer, limits);
  }
}

void LineFormat::value(size_t name, const StreamRecord& r, Writer& w, const Limits& limits) {
  auto words = [&](std::string_view value, size_t limit) {
    if (value.empty()) w.byte('-');
    else w.escaped(value, limit, Escape::text);
  };
  // In the order of kAccessLogNames.
  switch (name) {
    case 0:
      return time(r.start_wall_us, w);
    case 1:
      return w.number(static_cast<uint64_t>(std::max<int64_t>(r.start_wall_us, 0)));
    case 2:
      return w.number(r.duration_us);
    case 3:
      return w.number(r.upstream_us);
    case 4:
      return w.number(r.connect_us);
    case 5:
      return w.address(r.client);
    case 6:
      return w.address(r.peer);
    case 7:
      return words(r.request_id, limits.word);
    case 8:
      return words(r.method, limits.word);
    case 9:
      return words(r.scheme, limits.word);
    case 10:
      return words(r.host, limits.host);
    case 11:
      return words(r.path, limits.path);
    case 12:
      return words(r.query, limits.query);
    case 13:
      return words(r.user_agent, limits.agent);
    case 14:
      return words(r.referer, limits.agent);
    case 15:
      return words(r.protocol, limits.word);
    case 16:
      return w.number(r.status);
    case 17:
      return w.number(r.bytes_in);
    case 18:
      return w.number(r.bytes_out);
    case 19:
      return r.upstream.port == 0 ? w.byte('-') : w.endpoint(r.upstream);
    case 20:
      return words(r.cluster, limits.word);
    case 21:
      return w.number(r.attempts);
    case 22:
      return words(r.reason == http::Reason::none ? std::string_view() : http::describe(r.reason).word, limits.word);
    case 23:
      return words(r.origin_kind, limits.word);
    case 24:
      return words(r.origin_namespace, limits.word);
    case 25:
      return words(r.origin_name, limits.word);
    case 26:
      return words(r.origin_rule, limits.word);
    case 27:
      return w.number(static_cast<uint64_t>(std::max<int64_t>(r.origin_generation, 0)));
    case 28:
      return w.number(r.state_sequence);
    case 29:
      return words(r.tls_version, limits.word);
    case 30:
      return words(r.tls_cipher, limits.word);
    case 31:
      return words(r.sni, limits.host);
    case 32:
      return w.text(pid_);
    case 33:
      return words(r.rate_limit, limits.word);
    case 34:
    default:  // a format holds no other
      return r.grpc_status ? w.number(*r.grpc_status) : w.byte('-');
  }
}
static_assert(kAccessLogNames.size() == 35 && kAccessLogNames[13] == "user_agent" && kAccessLogNames[22] == "reason" &&
              kAccessLogNames[28] == "state_sequence");

}  // namespace sluice::observe
