/*
 * A hand that does single file operations as it is told: `hand DIRECTORY`. Each command is one `struct command` on standard
 * input, each answer one `struct answer` on standard output, followed by `bytes` bytes. Names are relative to DIRECTORY.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOTS = 16, BYTES_MAX = 4 << 20, ALIGNMENT = 4096, PAGE = 4096 };

enum op { OPEN, CLOSE, WRITE, READ, TRUNCATE, FALLOCATE, COPY, MAP_WRITE, MAP_READ, SYNC, RENAME, UNLINK, LINK, STAT, SEEK };

struct command {
  uint32_t op, slot, other, flags;
  uint64_t offset, length, offset_other;
  uint32_t seed, mode;
  char name[48], name_other[48];
};

struct answer {
  int64_t result; /* or a negated error number */
  uint64_t bytes;
};

static int fds[SLOTS];
static char *buffer;
static uint64_t answer_bytes;

/* The bytes that `seed` stands for; `fill` of the model makes the same. */
static void fill(char *to, uint64_t length, uint32_t seed) {
  uint32_t x = seed * 2654435761u | 1;
  for (uint64_t i = 0; i < length; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    to[i] = (char)(x >> 11);
  }
}

static int64_t sign(int64_t result) { return result < 0 ? -errno : result; }

static int64_t reopen(const struct command *c) {
  if (fds[c->slot] >= 0) close(fds[c->slot]);
  return sign(fds[c->slot] = open(c->name, (int)c->flags | O_CLOEXEC, 0644));
}

static int64_t give_up(const struct command *c) {
  int result = fds[c->slot] < 0 ? 0 : close(fds[c->slot]);
  fds[c->slot] = -1;
  return sign(result);
}

static int64_t write_bytes(const struct command *c) {
  fill(buffer, c->length, c->seed);
  return sign(pwrite(fds[c->slot], buffer, c->length, (off_t)c->offset));
}

static int64_t read_bytes(const struct command *c) {
  int64_t got = sign(pread(fds[c->slot], buffer, c->length, (off_t)c->offset));
  if (got > 0) answer_bytes = (uint64_t)got;
  return got;
}

static int64_t copy(const struct command *c) {
  off64_t from = (off64_t)c->offset, to = (off64_t)c->offset_other;
  return sign(copy_file_range(fds[c->slot], &from, fds[c->other], &to, c->length, 0));
}

static sigjmp_buf after_fault;

static void on_fault(int signal) {
  (void)signal;
  siglongjmp(after_fault, 1);
}

/* Through a shared mapping of exactly the pages touched. `mode` 1: msync before it goes. SIGBUS is EFAULT. */
static int64_t map(const struct command *c, int writes) {
  uint64_t start = c->offset / PAGE * PAGE, length = c->offset + c->length - start;
  char *at = mmap(NULL, length, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fds[c->slot], (off_t)start);
  if (at == MAP_FAILED) return -errno;
  madvise(at, length, MADV_RANDOM); /* no reading ahead: pages that another hand writes just now are not ours to cache */
  if (sigsetjmp(after_fault, 1) != 0) {
    munmap(at, length);
    answer_bytes = 0;
    return -EFAULT;
  }
  if (writes) {
    fill(buffer, c->length, c->seed);
    memcpy(at + (c->offset - start), buffer, c->length);
  } else {
    memcpy(buffer, at + (c->offset - start), c->length);
    answer_bytes = c->length;
  }
  int result = writes && c->mode == 1 ? msync(at, length, MS_SYNC) : 0;
  int64_t outcome = sign(result);
  munmap(at, length);
  return outcome;
}

/* The size; the answer's bytes: u64 links. */
static int64_t size_and_links(const struct command *c) {
  struct stat st;
  if (fstat(fds[c->slot], &st) < 0) return -errno;
  uint64_t links = st.st_nlink;
  memcpy(buffer, &links, sizeof links);
  answer_bytes = sizeof links;
  return st.st_size;
}

static int64_t execute(const struct command *c) {
  switch ((enum op)c->op) {
    case OPEN: return reopen(c);
    case CLOSE: return give_up(c);
    case WRITE: return write_bytes(c);
    case READ: return read_bytes(c);
    case TRUNCATE: return sign(ftruncate(fds[c->slot], (off_t)c->length));
    case FALLOCATE: return sign(fallocate(fds[c->slot], (int)c->mode, (off_t)c->offset, (off_t)c->length));
    case COPY: return copy(c);
    case MAP_WRITE: return map(c, 1);
    case MAP_READ: return map(c, 0);
    case SYNC: return sign(c->mode == 1 ? fdatasync(fds[c->slot]) : fsync(fds[c->slot]));
    case RENAME: return sign(renameat2(AT_FDCWD, c->name, AT_FDCWD, c->name_other, c->flags));
    case UNLINK: return sign(unlink(c->name));
    case LINK: return sign(link(c->name, c->name_other));
    case STAT: return size_and_links(c);
    case SEEK: return sign(lseek(fds[c->slot], (off_t)c->offset, (int)c->mode));
  }
  return -ENOSYS;
}

static void put(const void *from, size_t length) {
  if (fwrite(from, 1, length, stdout) != length) exit(1);
}

int main(int argc, char **argv) {
  struct command command;
  if (argc != 2 || chdir(argv[1]) < 0 || posix_memalign((void **)&buffer, ALIGNMENT, BYTES_MAX) != 0) {
    perror("hand");
    return 1;
  }
  signal(SIGBUS, on_fault);
  for (int i = 0; i < SLOTS; i++) fds[i] = -1;
  while (fread(&command, sizeof command, 1, stdin) == 1) {
    answer_bytes = 0;
    struct answer answer = {.result = execute(&command)};
    answer.bytes = answer_bytes;
    put(&answer, sizeof answer);
    put(buffer, answer_bytes);
    fflush(stdout);
  }
  return 0;
}
