/* What the cases share. Each file of cases has its own `opened` and `buffer`. */
#ifndef CASES_H
#define CASES_H
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static inline const char *error_name(int error) {
  const char *name = strerrorname_np(error);
  return name != NULL ? name : "?";
}

/* Prints an expression and what it gave. */
#define SEE(expression)                                                        \
  do {                                                                         \
    errno = 0;                                                                 \
    long long seen_ = (long long)(expression);                                 \
    if (seen_ < 0) printf("%s: %s\n", #expression, error_name(errno));         \
    else printf("%s: %lld\n", #expression, seen_);                             \
  } while (0)

/* Of a descriptor only whether there is one. */
#define OPENS(expression) SEE((opened = (expression)) < 0 ? -1 : 0)
/* Defines a case and enters it into the table of cases.c. */
#define CASE(name)                                                             \
  static void name(void);                                                      \
  __attribute__((constructor)) static void enter_##name(void) { enter_case(#name, name); } \
  static void name(void)

void enter_case(const char *name, void (*run)(void));

static int opened __attribute__((unused));
static char buffer[1 << 20];

static inline int make(const char *name, const char *text) {
  int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) printf("make %s: %s\n", name, error_name(errno));
  return fd;
}

static inline void show(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) {
    printf("%s: %s\n", name, error_name(errno));
    return;
  }
  long long size = S_ISDIR(st.st_mode) ? 0 : (long long)st.st_size;
  printf("%s: mode %o uid %u gid %u links %lu size %lld\n", name, st.st_mode, st.st_uid, st.st_gid, (unsigned long)st.st_nlink, size);
}

static inline void show_fd(int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0) printf("fstat: %s\n", error_name(errno));
  else printf("fd: mode %o links %lu size %lld\n", st.st_mode, (unsigned long)st.st_nlink, (long long)st.st_size);
}

/* Bytes at `offset`, unprintable ones as dots. */
static inline void show_bytes(int fd, off_t offset, size_t length) {
  ssize_t got = pread(fd, buffer, length, offset);
  printf("%lld: %zd \"", (long long)offset, got);
  for (ssize_t i = 0; i < got; i++) putchar(buffer[i] >= ' ' && buffer[i] <= '~' ? buffer[i] : '.');
  printf("\"\n");
}

/* Runs `body` in a child with other ids; its output comes in order. */
static inline void as_user(uid_t uid, gid_t gid, void (*body)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0) perror("cases");
    body();
    fflush(stdout);
    _exit(0);
  }
  waitpid(child, NULL, 0);
}

#endif
