/* Names: links, renames, directories, listings. */
#include "cases.h"

CASE(hard_links) {
  int fd = make("a", "text");
  SEE(link("a", "b"));
  SEE(link("a", "b"));
  SEE(mkdir("d", 0755));
  SEE(link("d", "e"));
  SEE(link("a", "d/c"));
  SEE(link("none", "x"));
  SEE(symlink("a", "s"));
  SEE(linkat(AT_FDCWD, "s", AT_FDCWD, "s2", 0));
  SEE(linkat(AT_FDCWD, "s", AT_FDCWD, "s3", AT_SYMLINK_FOLLOW));
  for (const char **name = (const char *[]){"a", "b", "d/c", "s2", "s3", NULL}; *name; name++) show(*name);
  SEE(pwrite(fd, "TE", 2, 0));
  int other = open("b", O_RDONLY);
  show_bytes(other, 0, 10);
  SEE(rename("a", "b"));
  show("a");
  SEE(unlink("a"));
  show_fd(fd);
  show("b");
  SEE(unlink("b"));
  SEE(unlink("d/c"));
  SEE(unlink("s3"));
  show_fd(fd);
  SEE(pwrite(fd, "still", 5, 0));
  show_bytes(fd, 0, 10);
}

CASE(renaming) {
  close(make("a", "a"));
  close(make("b", "bb"));
  SEE(mkdir("d", 0755));
  SEE(mkdir("e", 0755));
  SEE(mkdir("full", 0755));
  close(make("full/x", "x"));
  SEE(rename("a", "b"));
  show("a");
  show("b");
  SEE(rename("b", "d"));
  SEE(rename("d", "b"));
  SEE(rename("d", "full"));
  SEE(rename("d", "e"));
  show("d");
  SEE(rename("none", "x"));
  SEE(rename("e", "e/below"));
  SEE(rename("full/x", "full"));
  SEE(rename("b", "b"));
  SEE(rename("b", "none/b"));
  SEE(rename("b", "e/"));
  SEE(rename("full", "e"));
  show("e");
  show("e/x");
  SEE(rename(".", "f"));
  SEE(rename("e/..", "f"));
}

CASE(renaming_with_flags) {
  close(make("a", "a"));
  close(make("b", "bb"));
  SEE(mkdir("d", 0755));
  close(make("d/x", "xxx"));
  SEE(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
  SEE(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE));
  SEE(renameat2(AT_FDCWD, "c", AT_FDCWD, "b", RENAME_EXCHANGE));
  show("b");
  show("c");
  SEE(renameat2(AT_FDCWD, "c", AT_FDCWD, "d", RENAME_EXCHANGE));
  show("c");
  show("d");
  show("c/x");
  SEE(renameat2(AT_FDCWD, "c/x", AT_FDCWD, "b", RENAME_EXCHANGE));
  show("c/x");
  show("b");
  SEE(renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE));
  SEE(renameat2(AT_FDCWD, "none", AT_FDCWD, "b", RENAME_EXCHANGE));
  SEE(renameat2(AT_FDCWD, "b", AT_FDCWD, "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
  SEE(renameat2(AT_FDCWD, "c", AT_FDCWD, "c/below", RENAME_EXCHANGE));
  SEE(renameat2(AT_FDCWD, "b", AT_FDCWD, "b", RENAME_NOREPLACE));
}

CASE(directories) {
  SEE(mkdir("d", 0755));
  SEE(mkdir("d", 0755));
  SEE(mkdir("d/e", 0755));
  SEE(mkdir("none/e", 0755));
  show(".");
  show("d");
  SEE(rmdir("d"));
  SEE(unlink("d"));
  SEE(rmdir("d/e"));
  SEE(rmdir("d/."));
  SEE(rmdir("d/.."));
  close(make("file", ""));
  SEE(rmdir("file"));
  SEE(rmdir("none"));
  int fd = open("d", O_RDONLY | O_DIRECTORY);
  SEE(rmdir("d"));
  show_fd(fd);
  OPENS(openat(fd, "x", O_RDWR | O_CREAT, 0644));
  SEE(mkdirat(fd, "x", 0755));
  DIR *listing = fdopendir(fd);
  SEE(readdir(listing) == NULL ? 0 : 1);
  SEE(mkdir("gone", 0755));
  SEE(chdir("gone"));
  SEE(rmdir("../gone"));
  OPENS(open("x", O_RDWR | O_CREAT, 0644));
  OPENS(open("../x", O_RDWR | O_CREAT, 0644));
  SEE(getcwd(buffer, 100) == NULL ? -1 : 0);
}

CASE(symbolic_links) {
  memset(buffer, 0, 5000);
  SEE(symlink("target", "s"));
  SEE(symlink("target", "s"));
  SEE(readlink("s", buffer, 100));
  printf("%s\n", buffer);
  SEE(readlink("s", buffer, 3));
  SEE(readlink(".", buffer, 100));
  SEE(symlink("", "empty"));
  SEE(symlink("loop2", "loop1"));
  SEE(symlink("loop1", "loop2"));
  OPENS(open("loop1", O_RDONLY));
  static char target[5000];
  memset(target, 't', 4095);
  SEE(symlink(target, "long"));
  SEE(readlink("long", buffer, 5000));
  target[4095] = 't';
  SEE(symlink(target, "longer"));
  SEE(symlink("\xff\xfe\x01", "bytes"));
  SEE(readlink("bytes", buffer, 100));
  printf("%d\n", memcmp(buffer, "\xff\xfe\x01", 3));
  SEE(mkdir("d", 0755));
  close(make("d/f", "found"));
  SEE(symlink("d/f", "tofile"));
  SEE(symlink("d", "todir"));
  int fd = open("todir/../tofile", O_RDONLY);
  show_bytes(fd, 0, 10);
  SEE(rmdir("todir"));
  SEE(unlink("todir"));
  show("s");
  SEE(truncate("tofile", 2));
  show("d/f");
  SEE(rename("tofile", "d/f"));
  show("d/f");
}

CASE(special_files) {
  SEE(mkfifo("fifo", 0644));
  SEE(mknod("null", S_IFCHR | 0666, 259));
  SEE(mknod("block", S_IFBLK | 0600, 1792));
  SEE(mknod("regular", S_IFREG | 0640, 0));
  SEE(mknod("directory", S_IFDIR | 0640, 0));
  for (const char **name = (const char *[]){"fifo", "null", "block", "regular", NULL}; *name; name++) show(*name);
  struct stat st;
  SEE(lstat("null", &st));
  SEE(st.st_rdev);
  OPENS(open("fifo", O_WRONLY | O_NONBLOCK));
  int reader = open("fifo", O_RDONLY | O_NONBLOCK), writer = open("fifo", O_WRONLY | O_NONBLOCK);
  SEE(write(writer, "through", 7));
  SEE(read(reader, buffer, 100));
  int bound = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
  SEE(bind(bound, (struct sockaddr *)&address, sizeof address));
  SEE(listen(bound, 1));
  SEE(connect(client, (struct sockaddr *)&address, sizeof address));
  OPENS(open("socket", O_RDONLY));
  SEE(chmod("socket", 0600));
  show("socket");
  SEE(truncate("fifo", 0));
  SEE(link("fifo", "fifo2"));
  SEE(rename("fifo2", "regular"));
  show("regular");
  SEE(unlink("socket"));
}

/* How many of the names f0 to f(count-1) a listing shows, and how often it shows one twice. */

static void show_listing(const char *path, int count) {
  static unsigned char seen[20000];
  memset(seen, 0, sizeof seen);
  DIR *listing = opendir(path);
  int found = 0, twice = 0, others = 0, n;
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
    if (sscanf(entry->d_name, "f%d", &n) != 1 || n >= count) {
      others++;
      continue;
    }
    found++;
    twice += seen[n]++ != 0;
  }
  closedir(listing);
  printf("found %d twice %d others %d\n", found, twice, others);
}

static int make_numbered(int from, int to) {
  char name[64];
  for (int i = from; i < to; i++) {
    snprintf(name, sizeof name, "d/f%d", i);
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) return -1;
    close(fd);
  }
  return to - from;
}

CASE(listings_of_many_names) {
  SEE(mkdir("d", 0755));
  SEE(make_numbered(0, 3000));
  show_listing("d", 3000);
  /* Names that stay are seen exactly once although others come and go. */
  DIR *listing = opendir("d");
  static unsigned char seen[3000];
  int n, twice = 0, missed = 0, read = 0;
  for (struct dirent *entry; (entry = readdir(listing)) != NULL; read++) {
    char name[64];
    if (read % 10 == 0 && read < 2500) {
      snprintf(name, sizeof name, "d/g%d", read);
      close(open(name, O_WRONLY | O_CREAT, 0644));
      snprintf(name, sizeof name, "d/f%d", 2999 - read / 10);
      unlink(name);
    }
    if (sscanf(entry->d_name, "f%d", &n) == 1 && n < 2700) twice += seen[n]++ != 0;
  }
  for (int i = 0; i < 2700; i++) missed += seen[i] == 0;
  printf("twice %d missed %d\n", twice, missed);
  rewinddir(listing);
  int again = 0;
  while (readdir(listing) != NULL) again++;
  SEE(again);
  rewinddir(listing);
  for (int i = 0; i < 1000; i++) readdir(listing);
  long at = telldir(listing);
  char name[300];
  strcpy(name, readdir(listing)->d_name);
  for (int i = 0; i < 500; i++) readdir(listing);
  seekdir(listing, at);
  SEE(strcmp(name, readdir(listing)->d_name) == 0);
  closedir(listing);
  int removed = 0;
  listing = opendir("d");
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(name, sizeof name, "d/%s", entry->d_name);
    removed += unlink(name) == 0;
  }
  SEE(removed);
  SEE(rmdir("d"));
}

CASE(names) {
  char name[400];
  memset(name, 'n', sizeof name);
  name[255] = 0;
  OPENS(open(name, O_RDWR | O_CREAT, 0644));
  SEE(unlink(name));
  SEE(mkdir(name, 0755));
  SEE(rmdir(name));
  memset(name, 'n', sizeof name);
  name[256] = 0;
  OPENS(open(name, O_RDWR | O_CREAT, 0644));
  SEE(mkdir(name, 0755));
  SEE(symlink("x", name));
  SEE(rename("x", name));
  SEE(stat(name, &(struct stat){0}));
  const char *odd[] = {"\xff\xfe\xfd", "\xc3\x28", "new\nline", "\x01", " ", "...", "\xe2\x98\x83", "a\\b", "*", "-f"};
  for (int i = 0; i < 10; i++) {
    int fd = open(odd[i], O_RDWR | O_CREAT | O_EXCL, 0644);
    SEE(fd < 0 ? -1 : 0);
    close(fd);
  }
  DIR *listing = opendir(".");
  int found = 0;
  for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
    for (int i = 0; i < 10; i++) found += strcmp(entry->d_name, odd[i]) == 0;
  SEE(found);
  for (int i = 0; i < 10; i++) SEE(rename(odd[i], "\xff"));
  show("\xff");
  SEE(mkdir("", 0755));
  OPENS(open("", O_RDONLY));
}
