/* Several users of one file: locks, mappings, direct I/O. */
#include "cases.h"

/* Answers of a second process to locks that this one holds. */

static void try_locks(void) {
  int fd = open("file", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 50, .l_len = 100};
  SEE(flock(fd, LOCK_SH | LOCK_NB));
  SEE(fcntl(fd, F_SETLK, &lock));
  SEE(fcntl(fd, F_OFD_SETLK, &lock));
  lock.l_start = 200;
  SEE(fcntl(fd, F_SETLK, &lock));
  lock.l_start = 0;
  SEE(fcntl(fd, F_GETLK, &lock));
  printf("type %d start %lld length %lld\n", lock.l_type, (long long)lock.l_start, (long long)lock.l_len);
  lock = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 400, .l_len = 1};
  SEE(fcntl(fd, F_OFD_SETLK, &lock));
}

CASE(locks_between_two_processes) {
  int fd = make("file", "0123456789"), second = open("file", O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 100};
  SEE(flock(fd, LOCK_EX));
  SEE(flock(second, LOCK_EX | LOCK_NB));
  SEE(fcntl(fd, F_SETLK, &lock));
  lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 400, .l_len = 10};
  SEE(fcntl(second, F_OFD_SETLK, &lock));
  as_user(0, 0, try_locks);
  SEE(flock(fd, LOCK_UN));
  lock = (struct flock){.l_type = F_UNLCK, .l_whence = SEEK_SET};
  SEE(fcntl(fd, F_SETLK, &lock));
  SEE(close(second));
  as_user(0, 0, try_locks);
}

CASE(shared_mappings_and_reads_agree) {
  int fd = make("file", "");
  SEE(ftruncate(fd, 3 * 4096 + 100));
  char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  SEE(map == MAP_FAILED ? -1 : 0);
  memcpy(map + 4090, "mapped text", 11);
  show_bytes(fd, 4088, 15);
  SEE(msync(map, 4 * 4096, MS_SYNC));
  int reader = open("file", O_RDONLY);
  show_bytes(reader, 4088, 15);
  SEE(pwrite(fd, "WRITTEN", 7, 4092));
  printf("%.13s\n", map + 4090);
  int direct = open("file", O_RDWR | O_DIRECT);
  char *aligned = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(aligned, 'D', 4096);
  SEE(pwrite(direct, aligned, 4096, 4096));
  printf("%.8s\n", map + 4092);
  show_bytes(reader, 4090, 10);
  memcpy(map + 5000, "again", 5);
  SEE(pread(direct, aligned, 4096, 4096));
  printf("%.7s\n", aligned + 5000 - 4096 - 1);
  SEE(ftruncate(fd, 4096));
  SEE(ftruncate(fd, 8192));
  printf("%d\n", map[5000]);
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  printf("%d\n", map[4090]);
  char *private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  private[0] = 'p';
  show_bytes(fd, 0, 3);
  SEE(unlink("file"));
  memcpy(map, "unlinked", 8);
  SEE(msync(map, 4096, MS_SYNC));
  show_bytes(fd, 0, 10);
  munmap(map, 4 * 4096);
  close(fd);
  show_bytes(reader, 0, 10);
}

CASE(direct_writers_and_other_readers_agree) {
  close(make("file", ""));
  int direct = open("file", O_RDWR | O_DIRECT), buffered = open("file", O_RDONLY);
  char *aligned = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SEE(ftruncate(direct, 1 << 20));
  char *map = mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, buffered, 0);
  int stale = 0;
  for (int round = 1; round < 200; round++) {
    size_t length = (size_t)(1 + round % 16) * 4096;
    off_t at = (off_t)(round * 7919 % 200) * 4096;
    memset(aligned, round, length);
    if (pwrite(direct, aligned, length, at) != (ssize_t)length) stale += 1000;
    if (pread(buffered, buffer, length, at) != (ssize_t)length) stale += 1000;
    stale += buffer[0] != (char)round || buffer[length - 1] != (char)round;
    stale += map[at] != (char)round || map[at + (off_t)length - 1] != (char)round;
  }
  SEE(stale);
  SEE(pread(direct, aligned, 4096, 1 << 20));
  SEE(ftruncate(direct, 5000));
  SEE(pread(direct, aligned, 8192, 0));
}
