#include "common/base/log.h"

#include <cstring>

#include <time.h>
#include <unistd.h>

#include "common/base/clock.h"

namespace sluice::log {
namespace {
constexpr size_t kMaxLine = 8192;
std::atomic<Level> g_level{Level::info};
std::string& component() {
  static std::string name = "sluice";
  return name;
}
constexpr std::string_view kNames[] = {"debug", "info", "warning", "error", "off"};
}  // namespace

void set_level(Level level) { g_level.store(level, std::memory_order_relaxed); }
Level level() { return g_level.load(std::memory_order_relaxed); }
std::string_view level_name(Level level) { return kNames[static_cast<size_t>(level)]; }
void set_component(std::string_view name) { component() = name; }

bool parse_level(std::string_view text, Level& out) {
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (kNames[i] == text) {
      out = static_cast<Level>(i);
      return true;
    }
  }
  return false;
}

namespace {
// Length of the valid UTF-8 sequence at text[i], 0 if none.
size_t utf8_length(std::string_view text, size_t i) {
  auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char lead = byte(i);
  size_t n = lead < 0x80                   ? 1
             : lead >= 0xC2 && lead < 0xE0 ? 2
             : lead >= 0xE0 && lead < 0xF0 ? 3
             : lead >= 0xF0 && lead < 0xF5 ? 4
                                           : 0;
  if (n == 0 || i + n > text.size()) return 0;
  for (size_t k = 1; k < n; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
  }
  if (lead == 0xE0 && byte(i + 1) < 0xA0) return 0;  // overlong
  if (lead == 0xED && byte(i + 1) > 0x9F) return 0;  // surrogate
  if (lead == 0xF0 && byte(i + 1) < 0x90) return 0;
  if (lead == 0xF4 && byte(i + 1) > 0x8F) return 0;
  return n;
}
}  // namespace

void append_json_escaped(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
      ++i;
    } else if (c < 0x20 || c == 0x7F) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
      ++i;
    } else if (size_t n = utf8_length(text, i)) {
      out.append(text, i, n);
      i += n;
    } else {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
      ++i;
    }
  }
}

namespace {
// At most `room` bytes of it, never a part of an escape.
void append_bounded(std::string& out, std::string_view text, size_t room) {
  const size_t before = out.size();
  append_json_escaped(out, text.substr(0, room));
  if (out.size() - before <= room) return;
  // Six bytes are the longest escape of one.
  out.resize(before);
  append_json_escaped(out, text.substr(0, room / 6));
}
}  // namespace

void write(Level at, std::string_view message, std::initializer_list<Field> fields) {
  if (at < level() || at == Level::off) return;
  const int64_t now = wall_us();
  const time_t seconds = now / 1'000'000;
  tm utc{};
  gmtime_r(&seconds, &utc);
  char stamp[32];
  const size_t stamp_size = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
  std::string line = fmt::format(R"({{"ts":"{}.{:06}Z","level":"{}","component":")",
                                 std::string_view(stamp, stamp_size), now % 1'000'000, kNames[static_cast<size_t>(at)]);
  append_bounded(line, component(), 64);
  line += "\",\"msg\":\"";
  append_bounded(line, message, kMaxLine / 2);
  line += '"';
  for (const Field& field : fields) {
    if (line.size() > kMaxLine - 256) break;
    line += ",\"";
    append_bounded(line, field.name, 128);
    line += "\":\"";
    append_bounded(line, field.value, kMaxLine - line.size() - 3);  // 3: quote, brace, line feed
    line += '"';
  }
  line += "}\n";
  // A full or closed stderr must not stop the process.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace sluice::log
