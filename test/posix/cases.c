/*
 * What POSIX and Linux promise of files, as cases that print what they see: `cases DIRECTORY NAME` runs one in an empty
 * directory. Run on a plain directory and on a mount, the output must be the same. Nothing is printed that may differ for a
 * good reason: no inode numbers, no times of the clock, no free space.
 */
#include "cases.h"

/* Not compared, because the kernel's FUSE decides it: what is mapped beyond a file's end; alignment of memory for O_DIRECT. */

enum { CASES_MAX = 100 };

static struct {
  const char *name;
  void (*run)(void);
} cases[CASES_MAX];
static int count;

void enter_case(const char *name, void (*run)(void)) {
  if (count == CASES_MAX) abort();
  cases[count].name = name;
  cases[count++].run = run;
}

int main(int argc, char **argv) {
  umask(022);
  if (argc != 3 || chdir(argv[1]) < 0) {
    fprintf(stderr, "usage: cases DIRECTORY NAME\n");
    return 2;
  }
  for (int i = 0; i < count; i++) {
    if (strcmp(cases[i].name, argv[2]) != 0) continue;
    cases[i].run();
    return 0;
  }
  fprintf(stderr, "no case %s\n", argv[2]);
  return 2;
}
