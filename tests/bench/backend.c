// Origin for the benchmarks: one thread, level-triggered epoll, keep-alive. "GET /N" answers N bytes; any body sent is read and dropped. A WebSocket
// (RFC 6455, the key of websocket.c) sends back what comes. Counts finished requests and messages in a shared file, so that a proxy's CPU can be divided by
// work really done.
// Usage: backend PORT COUNTERFILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { kHead = 16384, kScratch = 262144, kMaxBody = 8 << 20 };
struct conn {
  int fd, want_write, websocket;
  size_t have;         // bytes of an incomplete head, or frame
  uint64_t body_left;  // request body still to come
  uint64_t answer;     // size of the answer owed after it
  const char *out_head;
  size_t head_left, out_left;
  char head_out[160];
  char head[kHead];
};
static char *g_payload;
static char g_scratch[kScratch];
static volatile uint64_t *g_count;
static int g_epoll;

static void watch(struct conn *c, int op) {
  struct epoll_event e = {.events = c->want_write ? EPOLLOUT : EPOLLIN, .data.ptr = c};
  epoll_ctl(g_epoll, op, c->fd, &e);
}
static int flush_out(struct conn *c) {  // 1 done, 0 more to send, -1 dead
  while (c->head_left || c->out_left) {
    struct iovec v[2] = {{(char *)c->out_head, c->head_left}, {g_payload, c->out_left}};
    struct msghdr m = {.msg_iov = c->head_left ? v : v + 1, .msg_iovlen = c->head_left ? 2 : 1};
    ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno != EAGAIN) return -1;
      if (!c->want_write) {
        c->want_write = 1;
        watch(c, EPOLL_CTL_MOD);
      }
      return 0;
    }
    size_t h = (size_t)n < c->head_left ? (size_t)n : c->head_left;
    c->out_head += h;
    c->head_left -= h;
    c->out_left -= (size_t)n - h;
  }
  if (c->want_write) {
    c->want_write = 0;
    watch(c, EPOLL_CTL_MOD);
  }
  return 1;
}
static int answer(struct conn *c) {
  c->head_left = (size_t)snprintf(c->head_out, sizeof c->head_out, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %lu\r\n\r\n",
                                  (unsigned long)c->answer);
  c->out_head = c->head_out;
  c->out_left = c->answer;
  *g_count += 1;
  return flush_out(c);
}
// Sends back each whole frame, unmasked: messages of at most 8 KiB in one frame, one under way at a time.
static int echo(struct conn *c, const char *p, size_t n) {
  if (c->have + n > kHead) return -1;
  memcpy(c->head + c->have, p, n);
  c->have += n;
  for (;;) {
    unsigned char *f = (unsigned char *)c->head;
    size_t size = c->have >= 2 ? f[1] & 127 : 0, at = 2;
    if (size == 126) at = 4, size = c->have >= 4 ? (size_t)f[2] << 8 | f[3] : 0;
    if (c->have < at + 4 || c->have < at + 4 + size) return 1;
    if (!(f[1] & 128) || (f[0] & 15) > 2 || size > 8192) return -1;  // Close too
    unsigned char *key = f + at, *to = f + at;  // the masked frame is four bytes longer
    unsigned char mask[4] = {key[0], key[1], key[2], key[3]};
    for (size_t i = 0; i < size; i++) to[i] = (unsigned char)(key[4 + i] ^ mask[i & 3]);
    f[1] &= 127;
    if (send(c->fd, f, at + size, MSG_NOSIGNAL) != (ssize_t)(at + size)) return -1;
    *g_count += 1;
    c->have -= at + 4 + size;
    memmove(f, f + at + 4 + size, c->have);
  }
}
static int feed(struct conn *c, const char *p, size_t n) {
  if (c->websocket) return echo(c, p, n);
  if (c->body_left) {
    c->body_left -= n < c->body_left ? n : c->body_left;
    return c->body_left ? 1 : answer(c);
  }
  size_t take = n < kHead - c->have ? n : kHead - c->have;
  memcpy(c->head + c->have, p, take);
  c->have += take;
  char *end = memmem(c->head, c->have, "\r\n\r\n", 4);
  if (!end) return c->have == kHead ? -1 : 1;
  char *slash = memchr(c->head, '/', (size_t)(end - c->head));
  c->answer = slash ? strtoul(slash + 1, 0, 10) : 0;
  if (c->answer > kMaxBody) c->answer = kMaxBody;
  uint64_t length = 0;
  for (char *l = c->head; l < end; l = (char *)memchr(l, '\n', (size_t)(end + 2 - l)) + 1) {
    if (!strncasecmp(l, "content-length:", 15)) length = strtoul(l + 15, 0, 10);
    if (!strncasecmp(l, "upgrade: websocket", 18)) c->websocket = 1;
  }
  if (c->websocket) {
    static const char kSwitch[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    c->have = 0;
    return send(c->fd, kSwitch, sizeof kSwitch - 1, MSG_NOSIGNAL) < 0 ? -1 : 1;
  }
  uint64_t extra = c->have - (size_t)(end + 4 - c->head) + (n - take);
  c->have = 0;
  c->body_left = length > extra ? length - extra : 0;
  return c->body_left ? 1 : answer(c);
}
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  int f = open(argv[2], O_RDWR | O_CREAT, 0600);
  if (f < 0 || ftruncate(f, 4096)) return 1;
  g_count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
  g_payload = malloc(kMaxBody);
  memset(g_payload, 'x', kMaxBody);
  int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) {
    perror("backend: bind");
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
          c = calloc(1, sizeof *c);
          c->fd = fd;
          watch(c, EPOLL_CTL_ADD);
        }
        continue;
      }
      int r = 1;
      if (c->want_write) {
        r = flush_out(c);
      } else {
        ssize_t n = recv(c->fd, g_scratch, sizeof g_scratch, 0);
        if (n > 0) r = feed(c, g_scratch, (size_t)n);
        else if (n == 0 || errno != EAGAIN) r = -1;
      }
      if (r < 0) {
        close(c->fd);
        free(c);
      }
    }
  }
}
