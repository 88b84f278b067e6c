// How long a request head takes to read and to write, beside llhttp in the same run (the machine's load cancels out of
// the ratio). Not a test: prints nanoseconds, the best of many rounds. Build: hack/build release h1_codec_bench (where
// llhttp's sources are installed).
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include <llhttp.h>

#include "common/base/arena.h"
#include "common/base/clock.h"
#include "dataplane/http/h1/codec.h"

namespace {

using namespace sluice;

const std::string kHead =
    "GET /static/app/main.4f3c2a.js?version=20260101&lang=en HTTP/1.1\r\n"
    "Host: shop.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Referer: https://shop.example.com/catalogue/shoes?page=3\r\n"
    "Connection: keep-alive\r\n"
    "Cookie: sid=8b1f2c3d4e5f60718293a4b5c6d7e8f9; theme=dark; cart=3\r\n"
    "X-Forwarded-For: 203.0.113.7\r\n"
    "Cache-Control: no-cache\r\n"
    "\r\n";

constexpr int kBatch = 20000;
constexpr int kRounds = 40;
uint64_t g_sum = 0;  // keeps the compiler honest

double own_read(ChunkPool& pool) {
  http::h1::RequestReader reader;
  const http::h1::Limits limits;
  const uint64_t begin = monotonic_ns();
  for (int i = 0; i < kBatch; ++i) {
    Arena arena(pool);
    http::RequestHead head(arena);
    reader.reset();
    const http::h1::Step step = reader.next({kHead.data(), kHead.size()}, arena, head, limits);
    g_sum += step.consumed + head.fields.size() + head.path.size();
  }
  return static_cast<double>(monotonic_ns() - begin) / kBatch;
}

double own_write(const http::RequestHead& head) {
  char out[2048];
  const uint64_t begin = monotonic_ns();
  for (int i = 0; i < kBatch; ++i) g_sum += http::h1::write_request_head(out, head, http::h1::Framing::none);
  return static_cast<double>(monotonic_ns() - begin) / kBatch;
}

// llhttp gives pieces of names and values; a proxy has to gather them, so the callbacks do the least of that: note
// where each begins.
struct Gathered {
  const char* views[64];
  size_t sizes[64];
  size_t count = 0;
};
int on_piece(llhttp_t* parser, const char* at, size_t size) {
  auto* gathered = static_cast<Gathered*>(parser->data);
  if (gathered->count < 64) {
    gathered->views[gathered->count] = at;
    gathered->sizes[gathered->count++] = size;
  }
  return 0;
}

double llhttp_read() {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = settings.on_header_field = settings.on_header_value = on_piece;
  const uint64_t begin = monotonic_ns();
  for (int i = 0; i < kBatch; ++i) {
    Gathered gathered;
    llhttp_t parser;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = &gathered;
    g_sum += static_cast<uint64_t>(llhttp_execute(&parser, kHead.data(), kHead.size())) + gathered.count;
  }
  return static_cast<double>(monotonic_ns() - begin) / kBatch;
}

}  // namespace

int main() {
  ChunkPool pool;
  Arena arena(pool);
  http::RequestHead head(arena);
  http::h1::RequestReader reader;
  if (reader.next({kHead.data(), kHead.size()}, arena, head, {}).event != http::h1::Event::head) return 1;
  double read = 1e9, write = 1e9, other = 1e9;
  for (int i = 0; i < kRounds; ++i) {
    read = std::min(read, own_read(pool));
    other = std::min(other, llhttp_read());
    write = std::min(write, own_write(head));
  }
  std::printf(
      "head of %zu fields, %zu bytes: read %.0f ns (validated, normalised, copied), llhttp %.0f ns, ratio %.2f; write "
      "%.0f ns (checksum %llu)\n",
      head.fields.size() + 2, kHead.size(), read, other, read / other, write, static_cast<unsigned long long>(g_sum));
  return 0;
}
