/* Bytes: sizes, holes, allocation, copies, large offsets. */
#include "cases.h"

CASE(truncation) {
  int fd = make("file", "0123456789");
  SEE(ftruncate(fd, 4));
  SEE(ftruncate(fd, 8));
  show_bytes(fd, 0, 20);
  SEE(ftruncate(fd, 10000));
  SEE(pwrite(fd, "x", 1, 5000));
  SEE(ftruncate(fd, 5001));
  show_bytes(fd, 4990, 20);
  SEE(ftruncate(fd, 4096));
  SEE(ftruncate(fd, 9000));
  show_bytes(fd, 4995, 10);
  SEE(ftruncate(fd, -1));
  SEE(truncate("none", 0));
  SEE(truncate(".", 0));
  SEE(truncate("file", 0));
  show_fd(fd);
  SEE(ftruncate(fd, 1LL << 40));
  show_fd(fd);
  show_bytes(fd, (1LL << 40) - 4, 10);
  SEE(ftruncate(fd, LLONG_MAX));
  SEE(ftruncate(fd, 0));
}

static void show_map(int fd) {
  struct stat st;
  fstat(fd, &st);
  printf("size %lld:", (long long)st.st_size);
  for (off_t at = 0; at < st.st_size;) {
    off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) break;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    printf(" %lld-%lld", (long long)data, (long long)hole);
    at = hole;
  }
  printf("\n");
}

CASE(allocation) {
  int fd = make("file", "");
  memset(buffer, 'a', 65536);
  SEE(fallocate(fd, 0, 0, 10000));
  show_fd(fd);
  SEE(fallocate(fd, FALLOC_FL_KEEP_SIZE, 10000, 100000));
  show_fd(fd);
  SEE(pwrite(fd, buffer, 65536, 0));
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 20000));
  show_bytes(fd, 4998, 4);
  show_bytes(fd, 24998, 4);
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
  SEE(fallocate(fd, FALLOC_FL_ZERO_RANGE, 30000, 100));
  show_bytes(fd, 29998, 4);
  show_bytes(fd, 30098, 4);
  SEE(fallocate(fd, FALLOC_FL_ZERO_RANGE, 65000, 10000));
  show_fd(fd);
  SEE(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 74000, 10000));
  show_fd(fd);
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000000, 4096));
  show_fd(fd);
  SEE(fallocate(fd, 0, 0, 0));
  SEE(fallocate(fd, 0, -1, 10));
  SEE(fallocate(fd, 0, 0, -1));
  SEE(fallocate(fd, 0, LLONG_MAX - 5, 10));
  SEE(fallocate(fd, 0, LLONG_MAX - 10, 5));
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 10));
  SEE(fallocate(fd, 0x1000, 0, 10));
  int reader = open("file", O_RDONLY);
  SEE(fallocate(reader, 0, 0, 10));
  SEE(posix_fallocate(fd, 0, 100));
  int directory = open(".", O_RDONLY);
  SEE(fallocate(directory, 0, 0, 10));
}

CASE(data_and_holes) {
  int fd = make("file", "");
  SEE(ftruncate(fd, 1 << 20));
  show_map(fd);
  memset(buffer, 'h', 16384);
  SEE(pwrite(fd, buffer, 16384, 65536));
  SEE(pwrite(fd, buffer, 4096, 512 << 10));
  show_map(fd);
  SEE(fsync(fd));
  show_map(fd);
  SEE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 8192));
  show_map(fd);
  SEE(pwrite(fd, buffer, 4096, 2 << 20));
  show_map(fd);
  SEE(ftruncate(fd, 600 << 10));
  show_map(fd);
  SEE(lseek(fd, 700 << 10, SEEK_DATA));
  SEE(lseek(fd, 600 << 10, SEEK_HOLE));
  SEE(lseek(fd, 528384, SEEK_DATA));
  SEE(lseek(fd, -1, SEEK_DATA));
  SEE(lseek(fd, 0, 9));
  SEE(lseek(fd, -10, SEEK_END));
  SEE(lseek(fd, -10, SEEK_SET));
}

CASE(copy_file_range_within_and_between) {
  int a = make("a", ""), b = make("b", "");
  for (int i = 0; i < 60000; i++) buffer[i] = (char)('a' + i % 26);
  SEE(write(a, buffer, 60000));
  off64_t from = 0, to = 0;
  SEE(copy_file_range(a, &from, b, &to, 60000, 0));
  show_bytes(b, 59990, 20);
  from = 100, to = 100000;
  SEE(copy_file_range(a, &from, a, &to, 30000, 0));
  show_bytes(a, 99998, 10);
  show_fd(a);
  from = 0, to = 10;
  SEE(copy_file_range(a, &from, a, &to, 20, 0));
  from = 129990, to = 0;
  SEE(copy_file_range(a, &from, b, &to, 1000, 0));
  from = 200000;
  SEE(copy_file_range(a, &from, b, &to, 1000, 0));
  SEE(lseek(a, 5, SEEK_SET));
  SEE(lseek(b, 3, SEEK_SET));
  SEE(copy_file_range(a, NULL, b, NULL, 7, 0));
  SEE(lseek(a, 0, SEEK_CUR));
  show_bytes(b, 0, 15);
  from = 0, to = 0;
  int reader = open("b", O_RDONLY), appender = open("b", O_WRONLY | O_APPEND);
  SEE(copy_file_range(a, &from, reader, &to, 5, 0));
  SEE(copy_file_range(a, &from, appender, &to, 5, 0));
  SEE(copy_file_range(a, &from, b, &to, 5, 1));
  int directory = open(".", O_RDONLY);
  SEE(copy_file_range(directory, &from, b, &to, 5, 0));
  from = 0, to = 1LL << 32;
  SEE(copy_file_range(a, &from, b, &to, 100, 0));
  show_bytes(b, 1LL << 32, 5);
}

CASE(large_offsets) {
  int fd = make("file", "");
  const off_t at[] = {(1LL << 31) - 2, (1LL << 32) - 2, (1LL << 33) + 5, (1LL << 40) - 3, (1LL << 43) + 4095};
  for (int i = 0; i < 5; i++) {
    SEE(pwrite(fd, "mark", 4, at[i]));
    show_fd(fd);
  }
  for (int i = 0; i < 5; i++) show_bytes(fd, at[i] - 2, 8);
  SEE(fsync(fd));
  for (int i = 0; i < 5; i++) show_bytes(fd, at[i] - 2, 8);
  SEE(pwrite(fd, "x", 1, LLONG_MAX));
  SEE(pwrite(fd, "xxxx", 4, LLONG_MAX - 2));
  SEE(pwrite(fd, "x", 1, -1));
  SEE(pread(fd, buffer, 10, LLONG_MAX - 20));
  SEE(pwrite(fd, "x", 1, (16LL << 40) - 4096));
  SEE(pwrite(fd, "x", 1, (16LL << 40) - 4097));
  show_fd(fd);
  SEE(ftruncate(fd, 16LL << 40));
  SEE(ftruncate(fd, (16LL << 40) - 4096));
  SEE(fsync(fd));
  show_fd(fd);
  SEE(unlink("file"));
}
