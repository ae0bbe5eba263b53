/* Owners, modes, access of others, attributes and times. */
#include "cases.h"

CASE(modes_and_umask) {
  umask(027);
  OPENS(open("file", O_RDWR | O_CREAT, 07777));
  SEE(mkdir("directory", 07777));
  SEE(mknod("fifo", S_IFIFO | 0666, 0));
  SEE(symlink("x", "link"));
  for (const char **name = (const char *[]){"file", "directory", "fifo", "link", NULL}; *name; name++) show(*name);
  umask(022);
  SEE(chmod("file", 06755));
  SEE(chmod("directory", 01777));
  SEE(chmod("link", 0600));
  SEE(fchmodat(AT_FDCWD, "fifo", 0604, 0));
  for (const char **name = (const char *[]){"file", "directory", "fifo", "link", NULL}; *name; name++) show(*name);
  SEE(chown("file", 1234, 5678));
  show("file");
  SEE(chmod("file", 06755));
  SEE(chown("file", -1, 99));
  show("file");
  SEE(lchown("link", 7, 8));
  show("link");
  SEE(chown("directory", 42, 43));
  show("directory");
}

static void make_some(void) {
  umask(022);
  OPENS(open("shared/file", O_RDWR | O_CREAT, 0666));
  SEE(mkdir("shared/below", 0755));
  SEE(symlink("x", "shared/link"));
  SEE(mknod("shared/fifo", S_IFIFO | 0666, 0));
  SEE(link("shared/file", "shared/hard"));
}

CASE(owners_and_the_setgid_directory) {
  SEE(mkdir("shared", 0777));
  SEE(chown("shared", 0, 777));
  SEE(chmod("shared", 02777));
  as_user(1001, 1002, make_some);
  for (const char **name = (const char *[]){"file", "below", "link", "fifo", "hard", NULL}; *name; name++) {
    snprintf(buffer, 64, "shared/%s", *name);
    char path[64];
    strcpy(path, buffer);
    show(path);
  }
}

static void meddle(void) {
  SEE(unlink("sticky/theirs"));
  SEE(rename("sticky/theirs", "sticky/mine"));
  SEE(rmdir("sticky/directory"));
  OPENS(open("sticky/own", O_RDWR | O_CREAT, 0644));
  SEE(unlink("sticky/own"));
}

CASE(the_sticky_directory) {
  SEE(mkdir("sticky", 0777));
  SEE(chmod("sticky", 01777));
  close(make("sticky/theirs", "x"));
  SEE(mkdir("sticky/directory", 0777));
  as_user(1001, 1002, meddle);
  show("sticky/theirs");
}

static void try_access(void) {
  OPENS(open("private", O_RDONLY));
  OPENS(open("readable", O_RDONLY));
  OPENS(open("readable", O_WRONLY));
  OPENS(open("readable", O_RDONLY | O_TRUNC));
  SEE(access("private", R_OK));
  SEE(access("readable", R_OK));
  SEE(access("readable", W_OK));
  SEE(access("readable", X_OK));
  SEE(access("closed/inside", F_OK));
  SEE(truncate("readable", 0));
  SEE(chmod("readable", 0777));
  SEE(chown("readable", 1001, 1002));
  SEE(unlink("readable"));
  SEE(utimensat(AT_FDCWD, "readable", NULL, 0));
  SEE(utimensat(AT_FDCWD, "writable", NULL, 0));
  SEE(setxattr("readable", "user.x", "1", 1, 0));
  SEE(setxattr("writable", "user.x", "1", 1, 0));
  SEE(getxattr("private", "user.x", buffer, 10));
  OPENS(open("writable", O_WRONLY));
  SEE(write(opened, "theirs", 6));
  SEE(mkdir("new", 0755));
  SEE(link("private", "writable-directory/link"));
  SEE(mkdir("writable-directory/new", 0755));
}

CASE(access_by_another_user) {
  close(make("private", "x"));
  close(make("readable", "x"));
  close(make("writable", "x"));
  SEE(chmod("private", 0600));
  SEE(chmod("readable", 0644));
  SEE(chmod("writable", 0666));
  SEE(mkdir("closed", 0700));
  SEE(mkdir("writable-directory", 0777));
  SEE(chmod("writable-directory", 0777));
  close(make("closed/inside", "x"));
  as_user(1001, 1002, try_access);
  show("writable");
  show("writable-directory/new");
}

static void write_theirs(void) {
  OPENS(open("program", O_WRONLY));
  SEE(write(opened, "x", 1));
}

static void truncate_theirs(void) { SEE(truncate("program", 0)); }

CASE(set_user_id_goes_at_a_write_by_others) {
  close(make("program", "binary"));
  SEE(chown("program", 0, 1002));
  SEE(chmod("program", 06777));
  show("program");
  as_user(1001, 1001, write_theirs);
  show("program");
  SEE(chmod("program", 06777));
  as_user(1001, 1001, truncate_theirs);
  show("program");
  /* Without group execute, FUSE leaves the set-group-id bit (FUSE_HANDLE_KILLPRIV_V2), Linux elsewhere takes it: not compared. */
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Names of extended attributes, sorted; those that security modules add are left out. */

static void show_attributes(const char *path) {
  ssize_t length = listxattr(path, buffer, sizeof buffer);
  char *names[64];
  int count = 0;
  for (char *at = buffer; at < buffer + length; at += strlen(at) + 1)
    if (strncmp(at, "security.", 9) != 0) names[count++] = at;
  qsort(names, (size_t)count, sizeof *names, compare);
  printf("%d attributes:", count);
  for (int i = 0; i < count; i++) printf(" %s", names[i]);
  printf("\n");
}

CASE(extended_attributes) {
  int fd = make("file", "x");
  SEE(mkdir("d", 0755));
  SEE(symlink("file", "link"));
  show_attributes("file");
  SEE(setxattr("file", "user.one", "1", 1, 0));
  SEE(setxattr("file", "user.one", "2", 1, XATTR_CREATE));
  SEE(setxattr("file", "user.two", "2", 1, XATTR_REPLACE));
  SEE(setxattr("file", "user.two", "", 0, 0));
  SEE(setxattr("file", "user.\xff\xfe", "bytes", 5, 0));
  SEE(removexattr("file", "user.\xff\xfe"));
  SEE(setxattr("d", "user.dir", "d", 1, 0));
  SEE(lsetxattr("link", "user.link", "l", 1, 0));
  SEE(setxattr("link", "user.through", "t", 1, 0));
  SEE(setxattr("file", "trusted.t", "t", 1, 0));
  SEE(setxattr("file", "nonsense", "t", 1, 0));
  SEE(setxattr("file", "nonsense.x", "t", 1, 0));
  SEE(setxattr("file", "user.", "t", 1, 0));
  show_attributes("file");
  show_attributes("d");
  SEE(getxattr("file", "user.one", buffer, 100));
  SEE(getxattr("file", "user.one", NULL, 0));
  SEE(getxattr("file", "user.two", buffer, 100));
  SEE(getxattr("file", "user.none", buffer, 100));
  memset(buffer, 'v', 3000);
  SEE(setxattr("file", "user.large", buffer, 3000, 0));
  SEE(getxattr("file", "user.large", buffer, 100));
  SEE(getxattr("file", "user.large", buffer, 4000));
  SEE(setxattr("file", "user.huge", buffer, 65537, 0));
  SEE(listxattr("file", buffer, 3));
  SEE(removexattr("file", "user.one"));
  SEE(removexattr("file", "user.one"));
  SEE(fsetxattr(fd, "user.fd", "1", 1, 0));
  SEE(rename("file", "moved"));
  show_attributes("moved");
  SEE(unlink("moved"));
  SEE(fgetxattr(fd, "user.fd", buffer, 100));
  SEE(fsetxattr(fd, "user.held", "1", 1, 0));
  SEE(fgetxattr(fd, "user.held", buffer, 100));
}

static void show_times(const char *name) {
  struct stat st;
  if (lstat(name, &st) < 0) printf("%s: %s\n", name, error_name(errno));
  else
    printf("%s: atime %lld.%09ld mtime %lld.%09ld\n", name, (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
           (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static int same_times(const char *a, const struct stat *before) {
  struct stat st;
  stat(a, &st);
  return st.st_mtim.tv_sec == before->st_mtim.tv_sec && st.st_mtim.tv_nsec == before->st_mtim.tv_nsec;
}

CASE(times) {
  int fd = make("file", "x");
  SEE(symlink("file", "link"));
  struct timespec times[2] = {{1000, 1}, {2000, 999999999}};
  SEE(utimensat(AT_FDCWD, "file", times, 0));
  show_times("file");
  SEE(fsync(fd));
  show_times("file");
  times[0].tv_nsec = UTIME_OMIT;
  times[1].tv_sec = 3000;
  SEE(utimensat(AT_FDCWD, "file", times, 0));
  show_times("file");
  times[1].tv_nsec = UTIME_OMIT;
  SEE(utimensat(AT_FDCWD, "file", times, 0));
  show_times("file");
  times[0] = (struct timespec){-5, 7};
  times[1] = (struct timespec){5000000000, 3};
  SEE(futimens(fd, times));
  show_times("file");
  times[0] = times[1] = (struct timespec){77, 1};
  SEE(utimensat(AT_FDCWD, "link", times, AT_SYMLINK_NOFOLLOW));
  show_times("link");
  times[0].tv_nsec = 1000000000;
  SEE(utimensat(AT_FDCWD, "file", times, 0));
  struct stat before;
  times[0] = times[1] = (struct timespec){99, 1};
  SEE(futimens(fd, times));
  SEE(stat("file", &before));
  SEE(pwrite(fd, "y", 1, 0));
  SEE(same_times("file", &before));
  SEE(futimens(fd, times));
  SEE(ftruncate(fd, 0));
  SEE(same_times("file", &before));
  SEE(futimens(fd, times));
  SEE(fallocate(fd, 0, 0, 10));
  SEE(same_times("file", &before));
  SEE(futimens(fd, times));
  SEE(chmod("file", 0600));
  SEE(same_times("file", &before));
  SEE(mkdir("d", 0755));
  SEE(utimensat(AT_FDCWD, "d", times, 0));
  show_times("d");
  SEE(stat("d", &before));
  close(make("d/new", ""));
  SEE(same_times("d", &before));
}

CASE(statistics_of_the_filesystem) {
  struct statvfs a, b;
  int fd = make("file", "x");
  SEE(statvfs(".", &a));
  SEE(fstatvfs(fd, &b));
  SEE(a.f_bsize);
  SEE(a.f_frsize);
  SEE(a.f_namemax);
  SEE(a.f_blocks);
  SEE(a.f_files);
  SEE(a.f_bfree <= a.f_blocks && a.f_bavail <= a.f_bfree);
  SEE(b.f_blocks == a.f_blocks);
}
