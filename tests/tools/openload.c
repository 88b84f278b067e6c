// Load client that never retries and checks every answer: status 200 and the exact body size.
//   openload rate PORT HOST PATH RATE SECONDS CONNECTIONS     open loop: latency counts from the scheduled time of each request
//   openload swap PORT HOST PATH RATE SECONDS CONNECTIONS     open loop against tests/tools/origin.c through a route that changes: answer header
//                                                             x-generation, the request header the origin saw and the origin's index must belong together
//   openload over PORT HOST PATH RATE SECONDS CONNECTIONS SKIP     open loop against a gateway that may refuse: 503 with Retry-After is an answer, too.
//                                                             Also printed: served and refused, bare (503 without Retry-After: failures), and of what
//                                                             was answered between the first SKIP seconds and the end served/s, refused/s and the
//                                                             quantiles of both from when they were sent: a request that finds no free connection waits
//   openload busy PORT HOST PATH SECONDS CONNECTIONS          closed loop on kept connections: how much the other side can do
//   openload new  PORT HOST PATH SECONDS CONNECTIONS          a new connection for each request (closed loop)
//   openload idle PORT HOST PATH COUNT                        COUNT connections, one request each, then held until stdin closes
// SIGTERM ends it before its time, as if that were over. Prints one JSON line: requests, failed (of them: mixed), first_failure (what went wrong first, and when), issued (how many requests were due and
// sent: fewer than rate x seconds means that this client could not keep its rate), p50/p90/p99/p99.9 in microseconds, seconds, and for swap how many
// generations were seen.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

struct conn { int fd, busy, next_free, refused, closing; uint64_t due, sent, got, want; int head_done, hl; char head[2048]; char body[256]; };
static uint64_t now_ns(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec; }
static int g_port, g_epoll, g_one = 1;
static char g_request[512], g_buffer[1 << 18];
static size_t g_request_size;
static uint64_t g_expect, g_failed, g_done, *g_lat, g_cap, g_mixed, g_last, g_changes, g_issued;
static int g_swap, g_over, g_busy;
static uint64_t g_served, g_refused, g_bare, g_skip, g_until, g_steady, *g_wait, g_waits;
static char g_first[160];
static uint64_t g_start;
static volatile sig_atomic_t g_enough;
static void enough(int signal) { (void)signal; g_enough = 1; }
// How long an answer is waited for at the end: it makes a hang a failure and is no measure.
#define GRACE_NS 60000000000u

// Counts a failure; the first one is kept in words. They are our own or made of printable characters, so that they need no escape in JSON.
__attribute__((format(printf, 1, 2))) static void failed(const char *format, ...) {
  if (g_failed++) return;
  va_list args;
  va_start(args, format);
  int n = snprintf(g_first, sizeof g_first, "after %.3f s: ", (double)(now_ns() - g_start) / 1e9);
  vsnprintf(g_first + n, sizeof g_first - (size_t)n, format, args);
  va_end(args);
  for (char *p = g_first; *p; p++) if (*p < ' ' || *p > '~' || *p == '"' || *p == '\\') *p = '.';
}
static const char *g_why = "";  // why take() said -1
static char g_words[120];
static int broken(const char *why) { g_why = why; return -1; }
static int dial(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  if (connect(fd, (void *)&a, sizeof a)) { int e = errno; close(fd); errno = e; return -1; }
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &g_one, sizeof g_one);
  return fd;
}
static void open_conn(struct conn *c) {
  c->fd = dial();
  if (c->fd < 0) { failed("connect: %s", strerror(errno)); return; }
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(g_epoll, EPOLL_CTL_ADD, c->fd, &e);
}
static void ask(struct conn *c, uint64_t due) {
  g_issued++;
  c->busy = 1; c->due = due; c->got = 0; c->want = 0; c->head_done = 0; c->hl = 0; c->refused = 0; c->closing = 0;
  if (c->fd < 0) open_conn(c);
  if (c->fd < 0) return;
  if (g_over) c->sent = now_ns();
  if (send(c->fd, g_request, g_request_size, MSG_NOSIGNAL) != (ssize_t)g_request_size) failed("send: %s", strerror(errno));
}
// The origin answers "INDEX COUNT GENERATION": its own index, of how many, and the x-generation header of the request as it came through.
static int check_swap(struct conn *c) {
  unsigned index = 0, count = 0;
  unsigned long seen = 0;
  char *h = strcasestr(c->head, "\r\nx-generation:");
  if (!h || sscanf(c->body, "%u %u %lu", &index, &count, &seen) != 3 || !count) return broken("an answer without x-generation, or another body than the origin's");
  unsigned long generation = strtoul(h + 15, 0, 10);
  if (generation != seen || generation % count != index) {
    g_mixed++;
    snprintf(g_words, sizeof g_words, "mixed: answer of generation %lu, the origin saw %lu and is %u of %u", generation, seen, index, count);
    return broken(g_words);
  }
  if (generation != g_last) { g_last = generation; g_changes++; }
  return 1;
}
// 1 = answer complete, 0 = more, -1 = broken
static int take(struct conn *c) {
  ssize_t n = recv(c->fd, g_buffer, sizeof g_buffer, MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN ? 0 : broken(strerror(errno));
  if (n == 0) return broken(!c->busy ? "closed while idle" : c->head_done ? "closed inside a body" : c->hl ? "closed inside a head" : "closed instead of an answer");
  const char *p = g_buffer;
  if (!c->head_done) {
    size_t k = (size_t)n < sizeof c->head - 1 - (size_t)c->hl ? (size_t)n : sizeof c->head - 1 - (size_t)c->hl;
    int before = c->hl;
    memcpy(c->head + c->hl, p, k);
    c->hl += (int)k;
    c->head[c->hl] = 0;
    char *e = strstr(c->head, "\r\n\r\n");
    if (!e) return c->hl >= (int)sizeof c->head - 1 ? broken("a head of 2 KiB") : 0;
    if (g_over) {
      c->refused = !strncmp(c->head, "HTTP/1.1 503", 12);
      c->closing = strcasestr(c->head, "\r\nconnection: close") != 0;
      if (c->refused && !strcasestr(c->head, "\r\nretry-after:")) { g_bare++; return broken("503 without Retry-After"); }
    }
    if (!c->refused && strncmp(c->head, "HTTP/1.1 200", 12)) {
      snprintf(g_words, sizeof g_words, "%.*s", (int)strcspn(c->head, "\r"), c->head);
      return broken(g_words);
    }
    char *l = strcasestr(c->head, "content-length:");
    c->want = l ? strtoul(l + 15, 0, 10) : 0;
    if (!g_swap && !c->refused && c->want != g_expect) return broken("another content-length than asked for");
    c->head_done = 1;
    p += (e + 4 - c->head) - before;
    n -= (e + 4 - c->head) - before;
  }
  if (g_swap && n > 0) {
    if (c->got + (uint64_t)n >= sizeof c->body) return broken("a body longer than the origin's");
    memcpy(c->body + c->got, p, (size_t)n);
    c->body[c->got + (uint64_t)n] = 0;
  }
  c->got += (uint64_t)n;
  if (c->got > c->want) return broken("bytes behind the body");
  if (c->got < c->want) return 0;
  return g_swap ? check_swap(c) : 1;
}
static void release(struct conn *cs, int i, int *head, int *tail) {
  cs[i].next_free = -1;
  if (*head < 0) *head = i; else cs[*tail].next_free = i;
  *tail = i;
}
static int by_value(const void *a, const void *b) { uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b; return x < y ? -1 : x > y; }
static void lat(uint64_t ns) { if (g_done < g_cap) g_lat[g_done] = ns; g_done++; }
// What is answered between the first seconds and the end counts, from when it was sent: more is due than connections can carry. Served ones are in g_lat.
static void over(struct conn *c, uint64_t now) {
  if (c->refused) g_refused++; else g_served++;
  if (now < g_skip || now > g_until) return;
  if (!c->refused) { g_steady++; lat(now - c->sent); }
  else if (g_waits < g_cap) g_wait[g_waits++] = now - c->sent;
}
static void report_over(double seconds) {
  qsort(g_wait, g_waits, sizeof *g_wait, by_value);
  double q[4] = {.5, .9, .99, 1}, v[4] = {0};
  for (int i = 0; i < 4 && g_waits; i++) v[i] = (double)g_wait[(uint64_t)(q[i] * (double)(g_waits - 1))] / 1000.0;
  printf("{\"served\":%lu,\"refused\":%lu,\"bare\":%lu,\"served_rate\":%.1f,\"refused_rate\":%.1f,\"refused_p50\":%.1f,\"refused_p90\":%.1f,\"refused_p99\":%.1f,\"refused_most\":%.1f,", g_served, g_refused, g_bare,
         (double)g_steady / seconds, (double)g_waits / seconds, v[0], v[1], v[2], v[3]);
}
static void report(double seconds) {
  uint64_t n = g_done < g_cap ? g_done : g_cap;
  qsort(g_lat, n, sizeof *g_lat, by_value);
  double q[4] = {.5, .9, .99, .999}, v[4] = {0};
  for (int i = 0; i < 4 && n; i++) v[i] = (double)g_lat[(uint64_t)(q[i] * (double)(n - 1))] / 1000.0;
  printf("%s\"requests\":%lu,\"failed\":%lu,\"mixed\":%lu,\"first_failure\":\"%s\",\"issued\":%lu,\"generations\":%lu,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"seconds\":%.3f}\n", g_over ? "" : "{", g_done, g_failed, g_mixed, g_first, g_issued, g_changes, v[0], v[1], v[2], v[3], seconds);
  fflush(stdout);
}
int main(int argc, char **argv) {
  if (argc < 6) return 2;
  signal(SIGPIPE, SIG_IGN);
  if (strcmp(argv[1], "idle")) signal(SIGTERM, enough);
  g_port = atoi(argv[2]);
  int fresh = !strcmp(argv[1], "new"), idle = !strcmp(argv[1], "idle");
  g_busy = !strcmp(argv[1], "busy");
  g_over = !strcmp(argv[1], "over");
  g_swap = !strcmp(argv[1], "swap");
  g_expect = strtoul(argv[4] + 1, 0, 10);
  g_request_size = (size_t)snprintf(g_request, sizeof g_request, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: openload\r\nAccept: */*\r\n%s\r\n", argv[4], argv[3], fresh ? "Connection: close\r\n" : "");
  g_start = now_ns();
  g_epoll = epoll_create1(0);
  g_cap = 8000000;
  g_lat = malloc(g_cap * sizeof *g_lat);
  if (g_over) g_wait = malloc(g_cap * sizeof *g_wait);
  int closed = fresh || g_busy;  // loop
  struct epoll_event evs[256];
  if (idle) {
    int n = atoi(argv[5]);
    for (int i = 0; i < n; i++) {
      struct conn c = {.fd = dial()};
      if (c.fd < 0) { failed("connect: %s", strerror(errno)); continue; }
      c.busy = 1;
      g_issued++;
      if (send(c.fd, g_request, g_request_size, MSG_NOSIGNAL) < 0) { failed("send: %s", strerror(errno)); continue; }
      struct timeval tv = {.tv_sec = 60}; setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
      int r = 0;
      while (r == 0) { ssize_t k = recv(c.fd, g_buffer, 1, MSG_PEEK); if (k <= 0) { r = broken(k ? strerror(errno) : "closed instead of an answer"); break; } r = take(&c); }
      if (r < 0) failed("%s", g_why); else g_done++;
    }
    report(0);
    while (read(0, g_buffer, 1) > 0) {}
    return 0;
  }
  double rate = closed ? 0 : atof(argv[5]), seconds = atof(argv[closed ? 5 : 6]), skip = g_over && argc > 8 ? atof(argv[8]) : 0;
  int n = atoi(argv[closed ? 6 : 7]);
  struct conn *cs = calloc((size_t)n, sizeof *cs);
  // Idle connections are taken oldest first: each one is in use all the time, and none is closed by the gateway because it never asked for anything.
  int free_head = -1, free_tail = -1;
  uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
  for (int i = 0; i < n; i++) { cs[i].fd = -1; if (!fresh) open_conn(&cs[i]); release(cs, i, &free_head, &free_tail); }
  if (closed) for (int i = 0; i < n; i++) ask(&cs[i], now_ns());
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event te = {.events = EPOLLIN, .data.ptr = 0};
  if (!closed) {
    epoll_ctl(g_epoll, EPOLL_CTL_ADD, timer, &te);
    start = now_ns(); end = start + (uint64_t)(seconds * 1e9);
    g_skip = start + (uint64_t)(skip * 1e9);
    g_until = end;
  }
  uint64_t in_flight = closed ? (uint64_t)n : 0, grace = end + GRACE_NS;
  for (;;) {
    uint64_t t = now_ns();
    if (g_enough && t < end) { end = t; grace = end + GRACE_NS; }
    if (t >= grace || (t >= end && !in_flight)) break;
    if (!closed && t < end) {
      uint64_t should = (uint64_t)((double)(t - start) * rate / 1e9);
      while (g_issued < should && free_head >= 0) {
        struct conn *c = &cs[free_head];
        free_head = c->next_free;
        ask(c, start + (uint64_t)((double)(g_issued + 1) * 1e9 / rate));
        in_flight++;
      }
      uint64_t next = start + (uint64_t)((double)(g_issued + 1) * 1e9 / rate);
      if (free_head >= 0) {
        struct itimerspec its = {.it_value = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)}};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &its, 0);
      }
    }
    int k = epoll_wait(g_epoll, evs, 256, 100);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      if (!c) { uint64_t x; if (read(timer, &x, 8) < 0) {} continue; }
      int r = take(c);
      if (r == 0) continue;
      if (r < 0 && g_over && !c->busy) { close(c->fd); c->fd = -1; continue; }  // it may end a connection that nobody uses
      if (r < 0) { failed("%s", g_why); close(c->fd); c->fd = -1; if (!c->busy) continue; }
      else if (g_over) over(c, now_ns());
      else lat(now_ns() - c->due);
      if (c->closing && c->fd >= 0) { close(c->fd); c->fd = -1; }
      c->busy = 0; in_flight--;
      if (fresh) {
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
        if (now_ns() < end) { ask(c, now_ns()); in_flight++; }
      } else if (g_busy) {
        if (now_ns() < end) { ask(c, now_ns()); in_flight++; }
      } else release(cs, (int)(c - cs), &free_head, &free_tail);
    }
  }
  for (uint64_t i = 0; i < in_flight; i++) failed("no answer in the minute after the end");
  if (g_over) report_over((double)(end - g_skip) / 1e9);
  report((double)(now_ns() - start) / 1e9);
  free(cs);
  return 0;
}
