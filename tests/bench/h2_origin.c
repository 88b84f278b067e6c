// Origin in HTTP/2 by prior knowledge, for the benchmarks: one thread, nghttp2. "GET /N" answers N bytes; a gRPC call is echoed: /bench.Echo/Unary when its
// message is whole, /bench.Echo/Stream piece by piece. Counts finished requests, of streams finished messages, in the shared file of backend.c.
// Usage: h2_origin PORT COUNTERFILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kScratch = 262144, kMaxBody = 8 << 20, kMessage = 1 << 20 };
struct conn { int fd, want_write; nghttp2_session *session; uint8_t *kept; size_t kept_size, kept_at; };
struct stream {
  int grpc, flows, whole, deferred;  // flows: what comes is sent back at once; whole: the client's side has ended
  uint64_t plain;                    // bytes of a plain answer still to be sent
  uint8_t *echo;
  size_t have, at, room;
  size_t message;                    // bytes of the message under way that are still to come
  uint8_t prefix[5];
  size_t prefix_have;
};
static char *g_payload;
static uint8_t g_in[kScratch], g_out[kScratch];
static volatile uint64_t *g_count;
static int g_epoll;

#define FIELD(n, v) {(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, NGHTTP2_NV_FLAG_NONE}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t size, uint32_t *flags, nghttp2_data_source *source, void *user) {
  (void)user;
  struct stream *s = source->ptr;
  if (!s->grpc) {
    size_t n = s->plain < size ? s->plain : size;
    memcpy(to, g_payload, n);
    s->plain -= n;
    if (!s->plain) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
  }
  size_t n = s->have - s->at < size ? s->have - s->at : size;
  memcpy(to, s->echo + s->at, n);
  s->at += n;
  if (s->at == s->have) {
    s->at = s->have = 0;
    if (s->whole) {
      nghttp2_nv trailers[] = {FIELD("grpc-status", "0")};
      *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
      nghttp2_submit_trailer(session, id, trailers, 1);
    } else if (!n) {
      s->deferred = 1;
      return NGHTTP2_ERR_DEFERRED;
    }
  }
  return (ssize_t)n;
}
static void answer(nghttp2_session *session, int32_t id, struct stream *s) {
  nghttp2_data_provider body = {.source.ptr = s, .read_callback = read_body};
  if (s->grpc) {
    nghttp2_nv head[] = {FIELD(":status", "200"), FIELD("content-type", "application/grpc")};
    nghttp2_submit_response(session, id, head, 2, &body);
    return;
  }
  char length[24];
  int n = snprintf(length, sizeof length, "%lu", (unsigned long)s->plain);
  nghttp2_nv head[] = {FIELD(":status", "200"), FIELD("content-type", "application/octet-stream"), {(uint8_t *)"content-length", (uint8_t *)length, 14, (size_t)n, NGHTTP2_NV_FLAG_NONE}};
  nghttp2_submit_response(session, id, head, 3, s->plain ? &body : 0);
}
static int on_begin(nghttp2_session *session, const nghttp2_frame *f, void *user) {
  (void)user;
  if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) nghttp2_session_set_stream_user_data(session, f->hd.stream_id, calloc(1, sizeof(struct stream)));
  return 0;
}
static int on_header(nghttp2_session *session, const nghttp2_frame *f, const uint8_t *name, size_t n, const uint8_t *value, size_t v, uint8_t flags, void *user) {
  (void)flags;
  (void)user;
  (void)v;
  struct stream *s = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
  if (!s || n != 5 || memcmp(name, ":path", 5)) return 0;
  s->grpc = !strncmp((const char *)value, "/bench.Echo/", 12);
  s->flows = !strcmp((const char *)value, "/bench.Echo/Stream");
  s->plain = strtoul((const char *)value + 1, 0, 10);
  if (s->plain > kMaxBody) s->plain = kMaxBody;
  return 0;
}
// Counts the messages that these bytes complete.
static void count(struct stream *s, const uint8_t *p, size_t n) {
  while (n) {
    if (s->prefix_have < 5) {
      s->prefix[s->prefix_have++] = *p++;
      n--;
      if (s->prefix_have < 5) continue;
      s->message = (size_t)s->prefix[1] << 24 | (size_t)s->prefix[2] << 16 | (size_t)s->prefix[3] << 8 | s->prefix[4];
    }
    size_t take = n < s->message ? n : s->message;
    p += take;
    n -= take;
    s->message -= take;
    if (s->message) continue;
    s->prefix_have = 0;
    *g_count += 1;
  }
}
static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *user) {
  (void)flags;
  (void)user;
  struct stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (!s || !s->grpc || s->have + n > kMessage) return s && s->grpc ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
  if (s->have + n > s->room) {
    s->room = s->have + n + 2048;
    s->echo = realloc(s->echo, s->room);
  }
  memcpy(s->echo + s->have, p, n);
  s->have += n;
  if (!s->flows) return 0;
  count(s, p, n);
  if (s->deferred) {
    s->deferred = 0;
    nghttp2_session_resume_data(session, id);
  }
  return 0;
}
static int on_frame(nghttp2_session *session, const nghttp2_frame *f, void *user) {
  (void)user;
  if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) return 0;
  struct stream *s = nghttp2_session_get_stream_user_data(session, f->hd.stream_id);
  if (!s) return 0;
  if (s->flows && f->hd.type == NGHTTP2_HEADERS && !s->whole) answer(session, f->hd.stream_id, s);
  if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
  s->whole = 1;
  if (!s->flows) {
    *g_count += 1;
    answer(session, f->hd.stream_id, s);
  } else if (s->deferred) {
    s->deferred = 0;
    nghttp2_session_resume_data(session, f->hd.stream_id);
  }
  return 0;
}
static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
  (void)code;
  (void)user;
  struct stream *s = nghttp2_session_get_stream_user_data(session, id);
  if (s) free(s->echo);
  free(s);
  nghttp2_session_set_stream_user_data(session, id, 0);
  return 0;
}

static void watch(struct conn *c, int op) {
  struct epoll_event e = {.events = c->want_write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  epoll_ctl(g_epoll, op, c->fd, &e);
}
// Sends what there is; what the kernel does not take is kept, and nothing is read before it is gone. 0 good, -1 over.
static int flush_out(struct conn *c) {
  for (;;) {
    if (!c->kept) {
      size_t have = 0;
      const uint8_t *piece;
      ssize_t n;
      while (have < kScratch - 32768 && (n = nghttp2_session_mem_send(c->session, &piece)) != 0) {
        if (n < 0) return -1;
        memcpy(g_out + have, piece, (size_t)n);
        have += (size_t)n;
      }
      if (!have) break;
      ssize_t w = send(c->fd, g_out, have, MSG_NOSIGNAL);
      if (w < 0 && errno != EAGAIN) return -1;
      if (w < 0) w = 0;
      if ((size_t)w == have) continue;
      c->kept_size = have - (size_t)w;
      c->kept_at = 0;
      c->kept = malloc(c->kept_size);
      memcpy(c->kept, g_out + w, c->kept_size);
    }
    ssize_t w = send(c->fd, c->kept + c->kept_at, c->kept_size - c->kept_at, MSG_NOSIGNAL);
    if (w < 0) {
      if (errno != EAGAIN) return -1;
      if (!c->want_write) {
        c->want_write = 1;
        watch(c, EPOLL_CTL_MOD);
      }
      return 0;
    }
    c->kept_at += (size_t)w;
    if (c->kept_at < c->kept_size) continue;
    free(c->kept);
    c->kept = 0;
  }
  if (c->want_write) {
    c->want_write = 0;
    watch(c, EPOLL_CTL_MOD);
  }
  return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session) ? 0 : -1;
}
static void begin(int fd, nghttp2_session_callbacks *callbacks) {
  struct conn *c = calloc(1, sizeof *c);
  c->fd = fd;
  nghttp2_session_server_new(&c->session, callbacks, c);
  nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
  nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2);
  nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
  watch(c, EPOLL_CTL_ADD);
}
static void end(struct conn *c) {
  nghttp2_session_del(c->session);  // streams that are left are a leak of a benchmark's end
  close(c->fd);
  free(c->kept);
  free(c);
}
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  int f = open(argv[2], O_RDWR | O_CREAT, 0600), one = 1;
  if (f < 0 || ftruncate(f, 4096)) return 1;
  g_count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
  g_payload = malloc(kMaxBody);
  memset(g_payload, 'x', kMaxBody);
  nghttp2_session_callbacks *callbacks;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) {
    perror("h2_origin: bind");
    return 1;
  }
  g_epoll = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, evs[256];
  epoll_ctl(g_epoll, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(g_epoll, evs, 256, -1);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      if (!c) {
        int fd;
        while ((fd = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          begin(fd, callbacks);
        }
        continue;
      }
      if (!c->want_write) {
        ssize_t n = recv(c->fd, g_in, kScratch, 0);
        if (n > 0 ? nghttp2_session_mem_recv(c->session, g_in, (size_t)n) != n : n == 0 || errno != EAGAIN) {
          end(c);
          continue;
        }
      }
      if (flush_out(c) < 0) end(c);
    }
  }
}
