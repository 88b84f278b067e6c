// HTTP/2 load, closed loop: CONNECTIONS connections of STREAMS streams each, over TLS (ALPN h2) or in the clear by prior knowledge. Frames are put together
// here, heads of answers are decoded by nghttp2: it costs less than what it measures. Every answer is checked: status 200, the exact size, for gRPC
// grpc-status 0 in the trailers.
//   h2_load get|tls PORT HOST PATH SECONDS CONNECTIONS STREAMS             GET, one after the other on each stream's place
//   h2_load unary PORT HOST PATH SECONDS CONNECTIONS STREAMS SIZE          gRPC calls of one message of SIZE bytes, which comes back (h2_origin.c)
//   h2_load stream PORT HOST PATH SECONDS CONNECTIONS STREAMS SIZE         gRPC streams that stay; on each, one message to and fro at a time
//   h2_load idle|tls-idle PORT HOST PATH COUNT                             COUNT connections, one GET each, then held until stdin closes
// Prints one JSON line: requests (of streams: messages), failed, first_failure, terms (what was negotiated).
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kFrame = 16384, kIn = 4 * (kFrame + 9), kMostStreams = 1000, kWindow = 1 << 30 };
enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, WITH_PRIORITY = 32 };

struct stream { uint32_t id, credit; int status, good, waits; int64_t window, got; };  // good: grpc-status 0; waits: a message for the window
struct conn {
  int fd, want_write, began, busy;
  SSL *ssl;
  nghttp2_hd_inflater *inflater;
  uint32_t next_id, credit;
  int64_t window, initial;
  uint8_t *in, *out;
  size_t in_have, out_have, out_at, out_room;
  struct stream *streams;
};
static int g_port, g_tls, g_grpc, g_stays, g_idle, g_streams = 1, g_epoll;
static const char *g_host;
static SSL_CTX *g_context;
static uint8_t g_first[1024], g_next[1024], *g_message;  // header blocks: of a connection's first request, of all others
static size_t g_first_size, g_next_size, g_message_size, g_expect;
static uint64_t g_done, g_failed, g_end;
static char g_words[200], g_terms[200] = "h2c";

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
__attribute__((format(printf, 1, 2))) static void failed(const char *format, ...) {
  if (g_failed++) return;
  va_list args;
  va_start(args, format);
  vsnprintf(g_words, sizeof g_words, format, args);
  va_end(args);
}
static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3]; }
static void put32(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 24), p[1] = (uint8_t)(v >> 16), p[2] = (uint8_t)(v >> 8), p[3] = (uint8_t)v; }
static void put(struct conn *c, const void *p, size_t n) {
  if (c->out_have + n > c->out_room) c->out = realloc(c->out, c->out_room = c->out_have + n + 4096);
  memcpy(c->out + c->out_have, p, n);
  c->out_have += n;
}
static void frame(struct conn *c, int type, int flags, uint32_t id, const void *p, size_t n) {
  uint8_t head[9] = {(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, (uint8_t)type, (uint8_t)flags};
  put32(head + 5, id);
  put(c, head, sizeof head);
  put(c, p, n);
}
static void window_update(struct conn *c, uint32_t id, uint32_t size) {
  uint8_t p[4];
  put32(p, size);
  frame(c, WINDOW_UPDATE, 0, id, p, 4);
}

// The encoder is a real client's; what it makes of the same fields is the same from the second request on, and for every connection.
static void make_blocks(const char *path) {
  const char *fields[][2] = {{":method", g_grpc ? "POST" : "GET"}, {":scheme", g_tls ? "https" : "http"}, {":path", path}, {":authority", g_host}, {"user-agent", "h2_load"},
                             {g_grpc ? "content-type" : "accept", g_grpc ? "application/grpc" : "*/*"}, {"te", "trailers"}};
  nghttp2_nv nv[7];
  size_t n = g_grpc ? 7 : 6;
  for (size_t i = 0; i < n; i++) nv[i] = (nghttp2_nv){(uint8_t *)fields[i][0], (uint8_t *)fields[i][1], strlen(fields[i][0]), strlen(fields[i][1]), NGHTTP2_NV_FLAG_NONE};
  nghttp2_hd_deflater *deflater;
  uint8_t third[1024];
  nghttp2_hd_deflate_new(&deflater, 4096);
  g_first_size = (size_t)nghttp2_hd_deflate_hd(deflater, g_first, sizeof g_first, nv, n);
  g_next_size = (size_t)nghttp2_hd_deflate_hd(deflater, g_next, sizeof g_next, nv, n);
  if ((size_t)nghttp2_hd_deflate_hd(deflater, third, sizeof third, nv, n) != g_next_size || memcmp(third, g_next, g_next_size)) {
    fprintf(stderr, "h2_load: header blocks that differ\n");
    exit(2);
  }
  nghttp2_hd_deflate_del(deflater);
}

static void say(struct conn *c, struct stream *s) {  // the message, if the windows take it
  s->waits = c->window < (int64_t)g_message_size || s->window < (int64_t)g_message_size;
  if (s->waits) return;
  c->window -= (int64_t)g_message_size;
  s->window -= (int64_t)g_message_size;
  frame(c, DATA, g_stays ? 0 : END_STREAM, s->id, g_message, g_message_size);
}
static void ask(struct conn *c, struct stream *s) {
  *s = (struct stream){.id = c->next_id, .window = c->initial};
  c->next_id += 2;
  c->busy++;
  int end = g_grpc ? 0 : END_STREAM;
  if (c->began) frame(c, HEADERS, END_HEADERS | end, s->id, g_next, g_next_size);
  else frame(c, HEADERS, END_HEADERS | end, s->id, g_first, g_first_size);
  c->began = 1;
  if (g_grpc) say(c, s);
}
static void finish(struct conn *c, struct stream *s) {
  c->busy--;
  uint32_t id = s->id;
  int64_t got = s->got, want = g_stays ? 0 : (int64_t)g_expect;
  if (s->status != 200 || got != want || (g_grpc && !s->good)) failed("stream %u: status %d, %ld of %ld bytes, grpc-status %s", id, s->status, (long)got, (long)want, s->good ? "0" : "another or none");
  else if (!g_stays) g_done++;
  s->id = 0;
  if (!g_idle && now_ns() < g_end) ask(c, s);
}
// A message is back.
static void back(struct conn *c, struct stream *s) {
  g_done++;
  s->got = 0;
  if (now_ns() < g_end) say(c, s);
  else frame(c, DATA, END_STREAM, s->id, "", 0);
}
static struct stream *find(struct conn *c, uint32_t id) {
  for (int i = 0; i < g_streams; i++)
    if (c->streams[i].id == id) return &c->streams[i];
  return 0;
}
static int on_headers(struct conn *c, int flags, struct stream *s, const uint8_t *p, size_t n) {
  if (!(flags & END_HEADERS)) return failed("a header block in pieces"), -1;
  size_t pad = 0, skip = 0;
  if (flags & PADDED) pad = p[0], skip = 1;
  if (flags & WITH_PRIORITY) skip += 5;
  if (skip + pad > n) return failed("padding"), -1;
  p += skip;
  n -= skip + pad;
  for (int more = 1; more;) {
    nghttp2_nv nv;
    int what = 0;
    ssize_t used = nghttp2_hd_inflate_hd2(c->inflater, &nv, &what, p, n, 1);
    if (used < 0) return failed("HPACK: %s", nghttp2_strerror((int)used)), -1;
    p += used;
    n -= (size_t)used;
    if (s && (what & NGHTTP2_HD_INFLATE_EMIT)) {
      if (nv.namelen == 7 && !memcmp(nv.name, ":status", 7)) s->status = atoi((const char *)nv.value);
      if (nv.namelen == 11 && !memcmp(nv.name, "grpc-status", 11)) s->good = nv.valuelen == 1 && *nv.value == '0';
    }
    more = !(what & NGHTTP2_HD_INFLATE_FINAL) && (n || (what & NGHTTP2_HD_INFLATE_EMIT));
  }
  nghttp2_hd_inflate_end_headers(c->inflater);
  if (s && (flags & END_STREAM)) finish(c, s);
  return 0;
}
static int on_data(struct conn *c, int flags, struct stream *s, const uint8_t *p, size_t n) {
  c->credit += (uint32_t)n;
  if (c->credit > kWindow / 2) window_update(c, 0, c->credit), c->credit = 0;
  if (!s) return failed("DATA on a stream that is over"), -1;
  s->credit += (uint32_t)n;
  if (s->credit > kWindow / 2) window_update(c, s->id, s->credit), s->credit = 0;
  if ((flags & PADDED) && n) n -= 1u + p[0] < n ? 1u + p[0] : n;
  s->got += (int64_t)n;
  if (s->got > (int64_t)g_expect) return failed("%ld bytes instead of %lu", (long)s->got, (unsigned long)g_expect), -1;
  if (g_stays && s->got == (int64_t)g_expect) back(c, s);
  if (flags & END_STREAM) finish(c, s);
  return 0;
}
static int on_settings(struct conn *c, int flags, const uint8_t *p, size_t n) {
  if (flags & ACK) return 0;
  for (; n >= 6; p += 6, n -= 6) {
    uint32_t key = (uint32_t)p[0] << 8 | p[1], value = get32(p + 2);
    if (key == NGHTTP2_SETTINGS_HEADER_TABLE_SIZE && value < 4096) return failed("a header table of %u bytes: the blocks here are not for that", value), -1;
    if (key == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS && value < (uint32_t)g_streams) return failed("the peer takes %u streams", value), -1;
    if (key != NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) continue;
    for (int i = 0; i < g_streams; i++) c->streams[i].window += (int64_t)value - c->initial;
    c->initial = value;
  }
  frame(c, SETTINGS, ACK, 0, "", 0);
  return 0;
}
static int on_frame(struct conn *c, int type, int flags, uint32_t id, const uint8_t *p, size_t n) {
  if (type == DATA) return on_data(c, flags, find(c, id), p, n);
  if (type == HEADERS) return on_headers(c, flags, find(c, id), p, n);
  if (type == SETTINGS && on_settings(c, flags, p, n)) return -1;
  if (type == PING && !(flags & ACK)) frame(c, PING, ACK, 0, p, n);
  if (type == GOAWAY) return failed("GOAWAY, code %u", n >= 8 ? get32(p + 4) : 0), -1;
  if (type == RST_STREAM) return failed("RST_STREAM, code %u", n >= 4 ? get32(p) : 0), -1;
  if (type == WINDOW_UPDATE && n == 4) {
    struct stream *s = id ? find(c, id) : 0;
    if (!id) c->window += get32(p);
    else if (s) s->window += get32(p);
  }
  if (type == WINDOW_UPDATE || type == SETTINGS)
    for (int i = 0; i < g_streams; i++)
      if (c->streams[i].id && c->streams[i].waits) say(c, &c->streams[i]);
  return 0;
}
static int feed(struct conn *c) {
  size_t at = 0;
  while (c->in_have - at >= 9) {
    const uint8_t *p = c->in + at;
    size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (n > kFrame) return failed("a frame of %lu bytes", (unsigned long)n), -1;
    if (c->in_have - at < 9 + n) break;
    at += 9 + n;
    if (on_frame(c, p[3], p[4], get32(p + 5) & 0x7fffffff, p + 9, n)) return -1;
  }
  memmove(c->in, c->in + at, c->in_have - at);
  c->in_have -= at;
  return 0;
}
// 0 more may come, -1 over
static int read_all(struct conn *c) {
  for (;;) {
    ssize_t n = c->ssl ? SSL_read(c->ssl, c->in + c->in_have, (int)(kIn - c->in_have)) : recv(c->fd, c->in + c->in_have, kIn - c->in_have, 0);
    if (n <= 0) {
      if (c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ : n < 0 && errno == EAGAIN) return 0;
      if (c->busy || g_idle) failed("closed");
      return -1;
    }
    c->in_have += (size_t)n;
    if (feed(c)) return -1;
    if (!c->ssl) return 0;
  }
}
static int write_all(struct conn *c) {
  while (c->out_at < c->out_have) {
    size_t left = c->out_have - c->out_at;
    ssize_t n = c->ssl ? SSL_write(c->ssl, c->out + c->out_at, (int)left) : send(c->fd, c->out + c->out_at, left, MSG_NOSIGNAL);
    if (n <= 0) {
      if (!(c->ssl ? SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_WRITE : n < 0 && errno == EAGAIN)) return failed("write"), -1;
      break;
    }
    c->out_at += (size_t)n;
  }
  int waits = c->out_at < c->out_have;
  if (!waits) c->out_at = c->out_have = 0;
  if (waits != c->want_write) {
    struct epoll_event e = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(g_epoll, EPOLL_CTL_MOD, c->fd, &e);
    c->want_write = waits;
  }
  return 0;
}
static int dial(struct conn *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval patience = {.tv_sec = 20};
  int one = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (c->fd < 0 || connect(c->fd, (void *)&a, sizeof a)) return -1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (!g_tls) return 0;
  c->ssl = SSL_new(g_context);
  SSL_set_tlsext_host_name(c->ssl, g_host);
  SSL_set_fd(c->ssl, c->fd);
  const unsigned char *alpn = 0;
  unsigned size = 0;
  if (SSL_connect(c->ssl) != 1) return -1;
  SSL_get0_alpn_selected(c->ssl, &alpn, &size);
  snprintf(g_terms, sizeof g_terms, "%s %s ALPN %.*s", SSL_get_version(c->ssl), SSL_get_cipher_name(c->ssl), (int)size, (const char *)alpn);
  return size == 2 && !memcmp(alpn, "h2", 2) ? 0 : -1;
}
static void begin(struct conn *c) {
  *c = (struct conn){.next_id = 1, .window = 65535, .initial = 65535, .in = malloc(kIn), .streams = calloc((size_t)g_streams, sizeof(struct stream))};
  nghttp2_hd_inflate_new(&c->inflater);
  if (dial(c)) {
    failed("connect: %s, %s", strerror(errno), g_terms);
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    return;
  }
  fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(g_epoll, EPOLL_CTL_ADD, c->fd, &e);
  uint8_t settings[12] = {0, NGHTTP2_SETTINGS_ENABLE_PUSH, 0, 0, 0, 0, 0, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE};
  put32(settings + 8, kWindow);
  put(c, NGHTTP2_CLIENT_MAGIC, NGHTTP2_CLIENT_MAGIC_LEN);
  frame(c, SETTINGS, 0, 0, settings, sizeof settings);
  window_update(c, 0, kWindow);
  for (int i = 0; i < g_streams; i++) ask(c, &c->streams[i]);
  if (write_all(c)) return;
}
static void handle(struct conn *c) {
  if (read_all(c) == 0 && write_all(c) == 0) return;
  epoll_ctl(g_epoll, EPOLL_CTL_DEL, c->fd, 0);
  close(c->fd);
  c->fd = -1;
  c->busy = 0;
}
int main(int argc, char **argv) {
  if (argc < 6) return 2;
  signal(SIGPIPE, SIG_IGN);
  const char *mode = argv[1];
  g_tls = !strncmp(mode, "tls", 3);
  g_stays = !strcmp(mode, "stream");
  g_grpc = g_stays || !strcmp(mode, "unary");
  g_idle = strstr(mode, "idle") != 0;
  if (argc < (g_idle ? 6 : g_grpc ? 9 : 8)) return 2;
  g_port = atoi(argv[2]);
  g_host = argv[3];
  int connections = atoi(argv[g_idle ? 5 : 6]);
  if (!g_idle) g_streams = atoi(argv[7]);
  size_t size = g_grpc ? strtoul(argv[8], 0, 10) : 0;
  if (g_streams < 1 || g_streams > kMostStreams || connections < 1 || size > kFrame - 5) return 2;
  g_expect = g_grpc ? size + 5 : strtoul(argv[4] + 1, 0, 10);
  g_message_size = size + 5;
  g_message = calloc(1, g_message_size);
  put32(g_message + 1, (uint32_t)size);
  memset(g_message + 5, 'x', size);
  make_blocks(argv[4]);
  g_epoll = epoll_create1(0);
  if (g_tls) {
    g_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(g_context, TLS1_3_VERSION);
    SSL_CTX_set_ciphersuites(g_context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set1_groups_list(g_context, "X25519");
    SSL_CTX_set_alpn_protos(g_context, (const unsigned char *)"\2h2", 3);
    SSL_CTX_set_mode(g_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  g_end = now_ns() + (g_idle ? 60000000000u : (uint64_t)(atof(argv[5]) * 1e9));
  uint64_t grace = g_end + 10000000000u;
  struct conn *cs = calloc((size_t)connections, sizeof *cs);
  struct epoll_event evs[256];
  for (int i = 0; i < connections && !g_failed; i++) begin(&cs[i]);
  for (int told = 0;;) {
    int busy = 0;
    for (int i = 0; i < connections; i++) busy += cs[i].busy;
    if ((!busy || now_ns() > grace) && !told) {
      if (busy) failed("%d requests without an answer", busy);
      printf("{\"requests\":%lu,\"failed\":%lu,\"first_failure\":\"%s\",\"terms\":\"%s\"}\n", g_done, g_failed, g_words, g_terms);
      fflush(stdout);
      if (!g_idle) return 0;
      told = 1;  // held from here on; who holds says so by stdin
      struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0};
      epoll_ctl(g_epoll, EPOLL_CTL_ADD, 0, &e);
    }
    int k = epoll_wait(g_epoll, evs, 256, told ? -1 : 100);
    for (int i = 0; i < k; i++) {
      if (evs[i].data.ptr) handle(evs[i].data.ptr);
      else if (read(0, g_words, 1) <= 0) return 0;
    }
  }
}
