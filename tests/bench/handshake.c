// TLS connection load: CLIENTS loops of connect, handshake, one GET, close. Checks every answer and prints what was negotiated, as seen on the wire by
// this client: version, group, cipher, certificate chain length, session tickets received; so that proxies are compared at equal terms.
//   handshake full|resume PORT SNI PATH SECONDS CLIENTS         each connection a full / a resumed handshake
//   handshake idle PORT SNI PATH COUNT                          COUNT connections, one request each, then held until stdin closes
// Full handshakes offer no session; resumed ones offer the newest ticket and count as failed if the server did a full one.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int g_port, g_resume;
static const char *g_sni;
static char g_request[512];
static int g_request_size;
static uint64_t g_expect;
static double g_end;
static volatile uint64_t g_ok, g_failed, g_resumed;
static char g_terms[256];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
struct loop { SSL_CTX *ctx; SSL_SESSION *session; int tickets; };
static int on_session(SSL *ssl, SSL_SESSION *session) {
  struct loop *l = SSL_get_app_data(ssl);
  l->tickets++;
  if (!g_resume) return 0;
  if (l->session) SSL_SESSION_free(l->session);
  l->session = session;
  return 1;
}
static SSL *open_one(struct loop *l, int *fd_out) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)g_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct timeval tv = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  *fd_out = fd;
  if (connect(fd, (void *)&a, sizeof a)) return 0;
  SSL *ssl = SSL_new(l->ctx);
  SSL_set_app_data(ssl, l);
  SSL_set_tlsext_host_name(ssl, g_sni);
  SSL_set_fd(ssl, fd);
  if (g_resume && l->session) SSL_set_session(ssl, l->session);
  if (SSL_connect(ssl) != 1 || SSL_write(ssl, g_request, g_request_size) != g_request_size) {
    SSL_free(ssl);
    return 0;
  }
  char buf[65536];
  int have = 0, n;
  char *e = 0;
  uint64_t want = 0;
  while (have < (int)sizeof buf - 1 && (n = SSL_read(ssl, buf + have, (int)sizeof buf - 1 - have)) > 0) {
    have += n;
    buf[have] = 0;
    if (!e && (e = strstr(buf, "\r\n\r\n"))) {
      char *c = strcasestr(buf, "content-length:");
      want = c ? strtoul(c + 15, 0, 10) : 0;
    }
    if (e && (uint64_t)(have - (e + 4 - buf)) >= want) break;
  }
  if (!e || strncmp(buf, "HTTP/1.1 200", 12) || want != g_expect) {
    SSL_free(ssl);
    return 0;
  }
  return ssl;
}
static struct loop make_loop(void) {
  struct loop l = {.ctx = SSL_CTX_new(TLS_client_method())};
  SSL_CTX_set_verify(l.ctx, SSL_VERIFY_NONE, 0);
  SSL_CTX_set_min_proto_version(l.ctx, TLS1_3_VERSION);
  SSL_CTX_set1_groups_list(l.ctx, "X25519");
  SSL_CTX_set_ciphersuites(l.ctx, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_session_cache_mode(l.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(l.ctx, on_session);
  return l;
}
static void *run(void *arg) {
  struct loop l = make_loop();
  int first = 1;
  while (now() < g_end) {
    int fd;
    l.tickets = 0;
    SSL *ssl = open_one(&l, &fd);
    if (!ssl) {
      __sync_fetch_and_add(&g_failed, 1);
    } else {
      if (arg && first) {
        STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
        snprintf(g_terms, sizeof g_terms, "%s X25519 %s chain %d tickets %d", SSL_get_version(ssl), SSL_get_cipher_name(ssl), chain ? sk_X509_num(chain) : 0, l.tickets);
      }
      int reused = SSL_session_reused(ssl);
      if (reused) __sync_fetch_and_add(&g_resumed, 1);
      if (g_resume && !first && !reused) __sync_fetch_and_add(&g_failed, 1);
      else __sync_fetch_and_add(&g_ok, 1);
      SSL_set_quiet_shutdown(ssl, 1);
      SSL_shutdown(ssl);
      SSL_free(ssl);
    }
    first = 0;
    close(fd);
  }
  return 0;
}
int main(int argc, char **argv) {
  if (argc < 6) return 2;
  signal(SIGPIPE, SIG_IGN);
  g_resume = !strcmp(argv[1], "resume");
  int idle = !strcmp(argv[1], "idle");
  g_port = atoi(argv[2]);
  g_sni = argv[3];
  g_expect = strtoul(argv[4] + 1, 0, 10);
  g_request_size = snprintf(g_request, sizeof g_request, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", argv[4], g_sni, idle ? "" : "Connection: close\r\n");
  if (idle) {
    struct loop l = make_loop();
    for (int i = 0, n = atoi(argv[5]), fd; i < n; i++) {
      if (open_one(&l, &fd)) g_ok++;
      else g_failed++;
    }
    printf("{\"requests\":%lu,\"failed\":%lu}\n", g_ok, g_failed);
    fflush(stdout);
    char c;
    while (read(0, &c, 1) > 0) {
    }
    return 0;
  }
  if (argc < 7) return 2;
  double start = now();
  g_end = start + atof(argv[5]);
  int n = atoi(argv[6]);
  pthread_t t[64];
  for (int i = 0; i < n && i < 64; i++) pthread_create(&t[i], 0, run, i == 0 ? (void *)1 : 0);
  for (int i = 0; i < n && i < 64; i++) pthread_join(t[i], 0);
  printf("{\"requests\":%lu,\"failed\":%lu,\"resumed\":%lu,\"seconds\":%.3f,\"terms\":\"%s\"}\n", g_ok, g_failed, g_resumed, now() - start, g_terms);
  return 0;
}
