/* How files are opened, written at their end, and seen through several descriptors. */
#include "cases.h"

CASE(open_flags) {
  OPENS(open("none", O_RDONLY));
  OPENS(open("file", O_RDWR | O_CREAT, 0644));
  SEE(write(opened, "hello", 5));
  OPENS(open("file", O_RDWR | O_CREAT | O_EXCL, 0644));
  OPENS(open("file", O_RDONLY | O_DIRECTORY));
  OPENS(open("file/", O_RDONLY));
  OPENS(open("file/below", O_RDONLY));
  OPENS(open(".", O_RDWR));
  OPENS(open(".", O_RDONLY | O_CREAT, 0644));
  OPENS(open("file", O_RDONLY));
  SEE(write(opened, "x", 1));
  SEE(ftruncate(opened, 0));
  OPENS(open("file", O_WRONLY));
  SEE(read(opened, buffer, 1));
  OPENS(open("file", O_RDONLY | O_TRUNC));
  show("file");
  OPENS(open("file", O_WRONLY | O_APPEND));
  SEE(write(opened, "one", 3));
  SEE(pwrite(opened, "two", 3, 0));
  SEE(lseek(opened, 0, SEEK_CUR));
  OPENS(open("file", O_RDONLY));
  show_bytes(opened, 0, 20);
  SEE(symlink("file", "link"));
  OPENS(open("link", O_RDONLY | O_NOFOLLOW));
  OPENS(open("link", O_PATH | O_NOFOLLOW));
  SEE(symlink("nowhere", "dangling"));
  OPENS(open("dangling", O_RDONLY | O_CREAT | O_EXCL, 0644));
  OPENS(open("dangling", O_RDONLY | O_CREAT, 0644));
  show("nowhere");
}

static void append_much(void) {
  int fd = open("log", O_WRONLY | O_APPEND);
  for (int i = 0; i < 500; i++)
    if (write(fd, "0123456789abcdef", 16) != 16) _exit(1);
}

CASE(appending_by_four_processes) {
  close(make("log", ""));
  fflush(stdout);
  for (int i = 0; i < 4; i++)
    if (fork() == 0) {
      append_much();
      _exit(0);
    }
  int status, bad = 0;
  while (wait(&status) > 0) bad += status != 0;
  SEE(bad);
  show("log");
  int fd = open("log", O_RDONLY), torn = 0;
  while (read(fd, buffer, 16) == 16) torn += memcmp(buffer, "0123456789abcdef", 16) != 0;
  SEE(torn);
}

CASE(synchronous_writes) {
  const int flags[] = {O_SYNC, O_DSYNC, O_SYNC | O_APPEND, O_DSYNC | O_DIRECT};
  char *aligned = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(aligned, 's', 4096);
  for (int i = 0; i < 4; i++) {
    int fd = open("file", O_RDWR | O_CREAT | flags[i], 0644);
    SEE(write(fd, aligned, 4096));
    SEE(fdatasync(fd));
    SEE(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE));
    show_fd(fd);
    close(fd);
  }
  SEE(fsync(open("file", O_RDONLY)));
}

CASE(temporary_files_get_names) {
  SEE(mkdir("d", 0755));
  int fd = open("d", O_RDWR | O_TMPFILE, 0640);
  SEE(fd < 0 ? -1 : 0);
  SEE(write(fd, "hidden", 6));
  show_fd(fd);
  SEE(rmdir("d"));
  int second = open(".", O_RDWR | O_TMPFILE | O_EXCL, 0640);
  SEE(second < 0 ? -1 : 0);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  SEE(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  show("named");
  show_fd(fd);
  SEE(pwrite(fd, "H", 1, 0));
  int named = open("named", O_RDONLY);
  show_bytes(named, 0, 10);
  SEE(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
  SEE(linkat(fd, "", AT_FDCWD, "second-name", AT_EMPTY_PATH));
  show("second-name");
  SEE(unlink("named"));
  SEE(unlink("second-name"));
  show_fd(fd);
  OPENS(open(".", O_RDONLY | O_TMPFILE, 0640));
  OPENS(open("none", O_RDWR | O_TMPFILE, 0640));
}

CASE(an_open_file_lives_on_without_its_name) {
  int fd = make("file", "some text");
  int direct = open("file", O_RDWR | O_DIRECT);
  SEE(unlink("file"));
  show("file");
  show_fd(fd);
  show_bytes(fd, 0, 20);
  SEE(pwrite(fd, "SOME", 4, 0));
  SEE(ftruncate(fd, 6));
  show_fd(direct);
  SEE(pwrite(fd, "end", 3, 100000));
  show_bytes(fd, 99998, 10);
  SEE(fchmod(fd, 0600));
  SEE(fsync(fd));
  SEE(fallocate(fd, 0, 0, 200000));
  show_fd(fd);
  SEE(flock(fd, LOCK_EX));
  SEE(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH));
  int again = make("file", "another");
  show_fd(again);
  show_bytes(fd, 0, 6);
  SEE(close(fd));
  show_bytes(direct, 0, 6);
  int replaced = make("old", "old text");
  close(make("new", "new"));
  SEE(rename("new", "old"));
  show_fd(replaced);
  show_bytes(replaced, 0, 20);
  SEE(pwrite(replaced, "OLD", 3, 0));
  show_bytes(replaced, 0, 20);
  show("old");
}

CASE(descriptors_survive_what_happens_to_names) {
  int directory = open(".", O_RDONLY);
  SEE(mkdir("d", 0755));
  int below = open("d", O_RDONLY | O_DIRECTORY);
  SEE(rename("d", "moved"));
  OPENS(openat(below, "file", O_RDWR | O_CREAT, 0644));
  show("moved/file");
  SEE(write(opened, "text", 4));
  SEE(mkdir("deeper", 0755));
  SEE(renameat(directory, "moved", directory, "deeper/again"));
  show("deeper/again/file");
  SEE(faccessat(below, "file", R_OK, 0));
  SEE(unlinkat(below, "file", 0));
  show_fd(opened);
  SEE(fsync(below));
  SEE(fsync(directory));
  SEE(syncfs(directory));
  SEE(read(directory, buffer, 10));
  SEE(fchdir(below));
  close(make("here", ""));
  SEE(chdir("../.."));
  show("deeper/again/here");
}
