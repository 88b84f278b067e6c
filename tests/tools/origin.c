// Origin of the drills: COUNT listeners on ADDRESS (127.0.0.1), ports PORT.. (0 = any; the ports are printed, one line). Each answers
// "INDEX COUNT GENERATION\n", where GENERATION is the request's x-generation header (0 if none). One thread, keep-alive, bodies read and dropped.
// Usage: origin PORT COUNT [ADDRESS [NAME]]     with NAME the answer is "INDEX COUNT GENERATION NAME\n"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct conn { int fd, index, listening; size_t have; char head[16384]; };

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  int base = atoi(argv[1]), count = atoi(argv[2]), one = 1, ep = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(base ? base + i : 0)), .sin_addr.s_addr = inet_addr(argc > 3 ? argv[3] : "127.0.0.1")};
    socklen_t size = sizeof a;
    struct conn *c = calloc(1, sizeof *c);
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), .index = i, .listening = 1};
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(c->fd, (void *)&a, sizeof a) || listen(c->fd, 4096) || getsockname(c->fd, (void *)&a, &size)) { perror("origin: bind"); return 1; }
    printf("%s%d", i ? " " : "", ntohs(a.sin_port));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  }
  printf("\n");
  fflush(stdout);
  struct epoll_event evs[256];
  for (;;) {
    int k = epoll_wait(ep, evs, 256, -1);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      if (c->listening) {
        int fd;
        while ((fd = accept4(c->fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          struct conn *n = calloc(1, sizeof *n);
          n->fd = fd;
          n->index = c->index;
          struct epoll_event e = {.events = EPOLLIN, .data.ptr = n};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        }
        continue;
      }
      ssize_t n = recv(c->fd, c->head + c->have, sizeof c->head - 1 - c->have, 0);
      if (n <= 0 && (n == 0 || errno != EAGAIN)) { close(c->fd); free(c); continue; }
      if (n < 0) continue;
      c->have += (size_t)n;
      c->head[c->have] = 0;
      char *end;
      while ((end = strstr(c->head, "\r\n\r\n"))) {
        unsigned long generation = 0;
        for (char *l = c->head; l < end; l = strchr(l, '\n') + 1)
          if (!strncasecmp(l, "x-generation:", 13)) generation = strtoul(l + 13, 0, 10);
        char body[96], out[256];
        int bs = snprintf(body, sizeof body, "%d %d %lu%s%s\n", c->index, count, generation, argc > 4 ? " " : "", argc > 4 ? argv[4] : "");
        int os = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", bs, body);
        if (send(c->fd, out, (size_t)os, MSG_NOSIGNAL) != os) break;
        size_t used = (size_t)(end + 4 - c->head);
        memmove(c->head, c->head + used, c->have - used + 1);
        c->have -= used;
      }
      if (c->have == sizeof c->head - 1) c->have = 0;
    }
  }
}
