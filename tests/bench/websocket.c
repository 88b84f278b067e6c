// WebSockets (RFC 6455) against an origin that sends back what comes (backend.c): each connection has one message under way, and what comes back is compared.
//   websocket load PORT HOST SECONDS CONNECTIONS SIZE         closed loop; SIZE: 125 bytes at most, or 126 to 8192
//   websocket idle|tls-idle PORT HOST COUNT                   COUNT connections, one message each, then held until stdin closes
// Prints one JSON line: requests (messages), failed, first_failure.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { kMost = 8192 };
struct conn { int fd; SSL *ssl; size_t have; unsigned char in[kMost + 16]; };
static int g_port;
static const char *g_host;
static SSL_CTX *g_context;
static unsigned char g_frame[kMost + 16], g_back[kMost + 16];  // as sent, masked; as it must come back
static size_t g_frame_size, g_back_size;
static unsigned long g_done, g_failed;
static const char *g_words = "";

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
static int failed(const char *why) {
  if (!g_failed++) g_words = why;
  return -1;
}
static void make_frames(size_t size) {
  unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
  size_t at = 2;
  g_frame[0] = g_back[0] = 0x82;
  if (size < 126) {
    g_back[1] = (unsigned char)size;
  } else {
    g_back[1] = 126, g_back[2] = (unsigned char)(size >> 8), g_back[3] = (unsigned char)size;
    at = 4;
  }
  memcpy(g_frame, g_back, at);
  g_frame[1] |= 128;
  memcpy(g_frame + at, mask, 4);
  for (size_t i = 0; i < size; i++) {
    g_back[at + i] = (unsigned char)('a' + i % 26);
    g_frame[at + 4 + i] = g_back[at + i] ^ mask[i & 3];
  }
  g_frame_size = at + 4 + size;
  g_back_size = at + size;
}
static ssize_t take(struct conn *c, void *to, size_t n) { return c->ssl ? SSL_read(c->ssl, to, (int)n) : recv(c->fd, to, n, 0); }
static int give(struct conn *c, const void *p, size_t n) { return (c->ssl ? SSL_write(c->ssl, p, (int)n) : send(c->fd, p, n, MSG_NOSIGNAL)) == (ssize_t)n ? 0 : failed("write"); }
static int dial(struct conn *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct timeval patience = {.tv_sec = 60};
  int one = 1;
  *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM, 0)};
  if (c->fd < 0 || connect(c->fd, (void *)&a, sizeof a)) return failed("connect");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (g_context) {
    c->ssl = SSL_new(g_context);
    SSL_set_tlsext_host_name(c->ssl, g_host);
    SSL_set_fd(c->ssl, c->fd);
    if (SSL_connect(c->ssl) != 1) return failed("TLS");
  }
  char text[1024];
  int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", g_host);
  if (give(c, text, (size_t)n)) return -1;
  size_t have = 0;
  while (have < sizeof text - 1) {
    ssize_t got = take(c, text + have, sizeof text - 1 - have);
    if (got <= 0) return failed("closed instead of 101");
    have += (size_t)got;
    text[have] = 0;
    if (strstr(text, "\r\n\r\n")) break;
  }
  if (strncmp(text, "HTTP/1.1 101", 12) || !strcasestr(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")) return failed("no 101, or not its own key");
  return 0;
}
// 1 whole, 0 more, -1 broken
static int back(struct conn *c) {
  ssize_t n = take(c, c->in + c->have, sizeof c->in - c->have);
  if (n <= 0) return failed("closed");
  c->have += (size_t)n;
  if (c->have < g_back_size) return 0;
  if (c->have > g_back_size || memcmp(c->in, g_back, g_back_size)) return failed("another message came back");
  c->have = 0;
  g_done++;
  return 1;
}
static void report(void) {
  printf("{\"requests\":%lu,\"failed\":%lu,\"first_failure\":\"%s\"}\n", g_done, g_failed, g_words);
  fflush(stdout);
}
int main(int argc, char **argv) {
  if (argc < 5) return 2;
  signal(SIGPIPE, SIG_IGN);
  g_port = atoi(argv[2]);
  g_host = argv[3];
  if (strstr(argv[1], "idle")) {
    if (!strncmp(argv[1], "tls", 3)) {
      g_context = SSL_CTX_new(TLS_client_method());
      SSL_CTX_set_min_proto_version(g_context, TLS1_3_VERSION);
      SSL_CTX_set_ciphersuites(g_context, "TLS_AES_128_GCM_SHA256");
      SSL_CTX_set1_groups_list(g_context, "X25519");
    }
    make_frames(125);
    for (int i = 0, count = atoi(argv[4]); i < count && !g_failed; i++) {
      struct conn *c = malloc(sizeof *c);
      if (dial(c) || give(c, g_frame, g_frame_size)) break;
      while (back(c) == 0) {
      }
    }
    report();
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    return 0;
  }
  if (argc < 7) return 2;
  double end = now() + atof(argv[4]);
  int count = atoi(argv[5]), open = 0;
  size_t size = strtoul(argv[6], 0, 10);
  if (size > kMost) return 2;
  make_frames(size);
  int epoll = epoll_create1(0);
  struct epoll_event evs[256];
  for (int i = 0; i < count; i++) {
    struct conn *c = malloc(sizeof *c);
    if (dial(c)) continue;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    if (give(c, g_frame, g_frame_size) == 0) open++;
  }
  while (open && now() < end + 10) {
    int k = epoll_wait(epoll, evs, 256, 100);
    for (int i = 0; i < k; i++) {
      struct conn *c = evs[i].data.ptr;
      int r = back(c);
      if (r == 0 || (r == 1 && now() < end && give(c, g_frame, g_frame_size) == 0)) continue;
      close(c->fd);
      free(c);
      open--;
    }
  }
  if (open) failed("no answer in ten seconds");
  report();
  return 0;
}
