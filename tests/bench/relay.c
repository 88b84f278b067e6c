// The floor: a bare TCP relay, one upstream connection per client connection, no parsing. What it costs is the kernel's share of any proxy.
// Usage: relay PORT UPSTREAMPORT
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kBuffer = 65536 };
struct end {
  int fd, dead, stalled;
  struct end *peer, *next_dead;
  char *kept;           // what the kernel did not take
  size_t kept_size, kept_at;
};
static int g_epoll, g_one = 1;
static struct end *g_dead;
static char g_buffer[kBuffer];

static void watch(struct end *x, int op) {
  struct epoll_event e = {.events = (x->peer->stalled ? 0u : EPOLLIN) | (x->stalled ? EPOLLOUT : 0u), .data.ptr = x};
  epoll_ctl(g_epoll, op, x->fd, &e);
}
static void bury(struct end *x) {
  if (x->dead) return;
  x->dead = 1;
  close(x->fd);
  x->next_dead = g_dead;
  g_dead = x;
  bury(x->peer);
}
static void pass(struct end *to, size_t n) {
  ssize_t w = send(to->fd, g_buffer, n, MSG_NOSIGNAL);
  if (w < 0) w = 0;
  if ((size_t)w == n) return;
  to->kept = malloc(n - (size_t)w);
  to->kept_size = n - (size_t)w;
  to->kept_at = 0;
  memcpy(to->kept, g_buffer + w, to->kept_size);
  to->stalled = 1;
  watch(to, EPOLL_CTL_MOD);
  watch(to->peer, EPOLL_CTL_MOD);
}
static int drain(struct end *x) {
  ssize_t w = send(x->fd, x->kept + x->kept_at, x->kept_size - x->kept_at, MSG_NOSIGNAL);
  if (w < 0) return errno == EAGAIN ? 0 : -1;
  x->kept_at += (size_t)w;
  if (x->kept_at < x->kept_size) return 0;
  free(x->kept);
  x->kept = 0;
  x->stalled = 0;
  watch(x, EPOLL_CTL_MOD);
  watch(x->peer, EPOLL_CTL_MOD);
  return 0;
}
int main(int argc, char **argv) {
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, there = here;
  there.sin_port = htons((uint16_t)atoi(argv[2]));
  int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &g_one, sizeof g_one);
  if (bind(ls, (void *)&here, sizeof here) || listen(ls, 4096)) { perror("relay: bind"); return 1; }
  g_epoll = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, evs[256];
  epoll_ctl(g_epoll, EPOLL_CTL_ADD, ls, &e);
  for (;;) {
    int k = epoll_wait(g_epoll, evs, 256, -1);
    for (int i = 0; i < k; i++) {
      struct end *x = evs[i].data.ptr;
      if (!x) {
        int fd;
        while ((fd = accept4(ls, 0, 0, SOCK_NONBLOCK)) >= 0) {
          int up = socket(AF_INET, SOCK_STREAM, 0);
          if (connect(up, (void *)&there, sizeof there)) { close(up); close(fd); continue; }
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &g_one, sizeof g_one);
          setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &g_one, sizeof g_one);
          struct end *a = calloc(1, sizeof *a), *b = calloc(1, sizeof *b);
          a->fd = fd; b->fd = up; a->peer = b; b->peer = a;
          watch(a, EPOLL_CTL_ADD);
          watch(b, EPOLL_CTL_ADD);
        }
        continue;
      }
      if (x->dead) continue;
      if (x->stalled && (evs[i].events & (EPOLLOUT | EPOLLERR)) && drain(x) < 0) { bury(x); continue; }
      if (x->peer->stalled) { if (evs[i].events & (EPOLLERR | EPOLLHUP)) bury(x); continue; }
      ssize_t n = recv(x->fd, g_buffer, kBuffer, MSG_DONTWAIT);
      if (n > 0) pass(x->peer, (size_t)n);
      else if (n == 0 || errno != EAGAIN) bury(x);
    }
    while (g_dead) { struct end *x = g_dead; g_dead = x->next_dead; free(x->kept); free(x); }
  }
}
