// LD_PRELOAD of the master: its workers, and nothing else, are started under the command in WORKER_UNDER (words parted by single spaces), which must keep
// the process id and the descriptors. For counts of instructions and system calls (instructions.py).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *, char *const[], char *const[]);

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes, char *const argv[], char *const environ[]) {
  spawn_fn next = (spawn_fn)dlsym(RTLD_NEXT, "posix_spawn");
  spawn_fn search = (spawn_fn)dlsym(RTLD_NEXT, "posix_spawnp");
  const char *under = getenv("WORKER_UNDER");
  int worker = 0, count = 0;
  for (; argv[count]; count++) worker |= !strcmp(argv[count], "--role=worker");
  if (!worker || !under) return next(pid, path, actions, attributes, argv, environ);
  char self[PATH_MAX] = "", words[4096], *list[128 + 64], *rest = NULL;
  if (count > 128 || readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 2;
  strncpy(words, under, sizeof words - 1);
  words[sizeof words - 1] = 0;
  int n = 0;
  for (char *word = strtok_r(words, " ", &rest); word && n < 60; word = strtok_r(NULL, " ", &rest)) list[n++] = word;
  list[n++] = self;
  for (int i = 1; i < count; i++) list[n++] = argv[i];
  list[n] = NULL;
  return search(pid, list[0], actions, attributes, list, environ);
}
