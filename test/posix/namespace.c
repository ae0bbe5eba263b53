/*
 * Makes, links, renames and removes names for a while and checks every answer against what it knows: `namespace DIRECTORY
 * PREFIX SECONDS SEED`. Its names begin with PREFIX and lie in d0 to d3 of DIRECTORY, which others use at the same time. In
 * the end it prints what must be there, one name a line: path, kind, links, number within.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 48, DIRECTORIES = 4, FILES_MAX = 1 << 20 };
enum kind { NONE, REGULAR, DIRECTORY, FULL, LINK };

static struct {
  char path[64];
  enum kind kind;
  uint32_t file; /* of a regular file, and of the one in a FULL directory */
} names[NAMES];

static uint32_t links[FILES_MAX];
static uint32_t files;
static uint32_t state;
static long operations;

static uint32_t below(uint32_t end) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (state >> 4) % end;
}

/* `result` is that of a call that should have failed with `wanted`, or succeeded if that is 0. */
static void expect(int result, int wanted, const char *what, int a, int b) {
  int error = result < 0 ? errno : 0;
  operations++;
  if (error == wanted) return;
  fprintf(stderr, "%s %s %s: %s instead of %s\n", what, names[a].path, names[b].path, strerrorname_np(error), wanted ? strerrorname_np(wanted) : "0");
  exit(1);
}

static uint32_t make_file(const char *path, int a) {
  uint32_t file = ++files % FILES_MAX;
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
  expect(fd, 0, "create", a, a);
  if (write(fd, &file, sizeof file) != sizeof file) expect(-1, 0, "write", a, a);
  close(fd);
  links[file] = 1;
  return file;
}

static void create(int a) {
  if (names[a].kind == NONE) {
    names[a].file = make_file(names[a].path, a);
    names[a].kind = REGULAR;
  } else {
    expect(open(names[a].path, O_RDWR | O_CREAT | O_EXCL, 0644), EEXIST, "create", a, a);
  }
}

static void make_temporary(int a) {
  if (names[a].kind != NONE) return;
  uint32_t file = ++files % FILES_MAX;
  char directory[64], path[64];
  strcpy(directory, names[a].path);
  *strrchr(directory, '/') = 0;
  int fd = open(directory, O_RDWR | O_TMPFILE, 0644);
  expect(fd, 0, "temporary", a, a);
  if (write(fd, &file, sizeof file) != sizeof file) expect(-1, 0, "write", a, a);
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  expect(linkat(AT_FDCWD, path, AT_FDCWD, names[a].path, AT_SYMLINK_FOLLOW), 0, "name", a, a);
  close(fd);
  links[file] = 1;
  names[a].file = file;
  names[a].kind = REGULAR;
}

static void make_directory(int a) {
  expect(mkdir(names[a].path, 0755), names[a].kind == NONE ? 0 : EEXIST, "mkdir", a, a);
  if (names[a].kind == NONE) names[a].kind = DIRECTORY;
}

static void fill(int a) {
  char path[80];
  snprintf(path, sizeof path, "%s/x", names[a].path);
  if (names[a].kind == DIRECTORY) {
    names[a].file = make_file(path, a);
    names[a].kind = FULL;
  } else if (names[a].kind == FULL) {
    expect(unlink(path), 0, "empty", a, a);
    links[names[a].file]--;
    names[a].kind = DIRECTORY;
  }
}

static void make_symlink(int a) {
  expect(symlink("target", names[a].path), names[a].kind == NONE ? 0 : EEXIST, "symlink", a, a);
  if (names[a].kind == NONE) names[a].kind = LINK;
}

static void make_link(int a, int b) {
  if (names[a].kind == DIRECTORY || names[a].kind == FULL || names[a].kind == LINK) return;
  int wanted = names[a].kind == NONE ? ENOENT : names[b].kind == NONE ? 0 : EEXIST;
  expect(link(names[a].path, names[b].path), wanted, "link", a, b);
  if (wanted != 0) return;
  names[b].kind = REGULAR;
  names[b].file = names[a].file;
  links[names[a].file]++;
}

static void remove_name(int a) {
  enum kind kind = names[a].kind;
  if (kind == DIRECTORY || kind == FULL) {
    expect(unlink(names[a].path), EISDIR, "unlink", a, a);
    return;
  }
  expect(unlink(names[a].path), kind == NONE ? ENOENT : 0, "unlink", a, a);
  if (kind == REGULAR) links[names[a].file]--;
  names[a].kind = NONE;
}

static void remove_directory(int a) {
  static const int wanted[] = {ENOENT, ENOTDIR, 0, ENOTEMPTY, ENOTDIR};
  expect(rmdir(names[a].path), wanted[names[a].kind], "rmdir", a, a);
  if (names[a].kind == DIRECTORY) names[a].kind = NONE;
}

static int is_directory(int a) { return names[a].kind == DIRECTORY || names[a].kind == FULL; }

static int same_file(int a, int b) {
  return a == b || (names[a].kind == REGULAR && names[b].kind == REGULAR && names[a].file == names[b].file);
}

static int rename_result(int a, int b, unsigned flags) {
  if (names[a].kind == NONE) return ENOENT;
  if (flags == RENAME_EXCHANGE) return names[b].kind == NONE ? ENOENT : 0;
  if (flags == RENAME_NOREPLACE && names[b].kind != NONE) return EEXIST;
  if (same_file(a, b) || names[b].kind == NONE) return 0;
  if (is_directory(a) && !is_directory(b)) return ENOTDIR;
  if (!is_directory(a) && is_directory(b)) return EISDIR;
  return names[b].kind == FULL ? ENOTEMPTY : 0;
}

static void move(int a, int b) {
  const unsigned flags = (const unsigned[]){0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE}[below(4)];
  int wanted = rename_result(a, b, flags);
  expect(renameat2(AT_FDCWD, names[a].path, AT_FDCWD, names[b].path, flags), wanted, "rename", a, b);
  if (wanted != 0 || same_file(a, b)) return;
  enum kind kind = names[b].kind;
  uint32_t file = names[b].file;
  names[b].kind = names[a].kind;
  names[b].file = names[a].file;
  names[a].kind = NONE;
  if (flags == RENAME_EXCHANGE) {
    names[a].kind = kind;
    names[a].file = file;
  } else if (kind == REGULAR) {
    links[file]--;
  }
}

static void look(int a) {
  struct stat st;
  expect(lstat(names[a].path, &st), names[a].kind == NONE ? ENOENT : 0, "stat", a, a);
  if (names[a].kind != REGULAR || st.st_nlink == links[names[a].file]) return;
  fprintf(stderr, "%s: %lu links instead of %u\n", names[a].path, (unsigned long)st.st_nlink, links[names[a].file]);
  exit(1);
}

static void act(void) {
  int a = (int)below(NAMES), b = (int)below(NAMES);
  switch (below(12)) {
    case 0: case 1: create(a); return;
    case 2: make_temporary(a); return;
    case 3: make_directory(a); return;
    case 4: fill(a); return;
    case 5: make_symlink(a); return;
    case 6: make_link(a, b); return;
    case 7: remove_name(a); return;
    case 8: remove_directory(a); return;
    case 9: case 10: move(a, b); return;
    default: look(a);
  }
}

static void tell(int a) {
  static const char *const kinds[] = {"none", "file", "directory", "directory", "link"};
  if (names[a].kind == NONE) return;
  int regular = names[a].kind == REGULAR;
  printf("%s %s %u %u\n", names[a].path, kinds[names[a].kind], regular ? links[names[a].file] : 0, regular ? names[a].file : 0);
  if (names[a].kind == FULL) printf("%s/x file 1 %u\n", names[a].path, names[a].file);
}

int main(int argc, char **argv) {
  if (argc != 5 || chdir(argv[1]) < 0) return 2;
  time_t end = time(NULL) + atoi(argv[3]);
  state = (uint32_t)atoi(argv[4]) * 2654435761u | 1;
  for (int i = 0; i < NAMES; i++) snprintf(names[i].path, sizeof names[i].path, "d%d/%s%d", i % DIRECTORIES, argv[2], i);
  while (time(NULL) < end) act();
  for (int i = 0; i < NAMES; i++) tell(i);
  fprintf(stderr, "%ld\n", operations);
  return 0;
}
