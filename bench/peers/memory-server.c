/*
 * The yardstick: one file in memory, served by libfuse 3 as fast as plain libfuse allows.
 *
 *   memory-server MOUNTPOINT BYTES copy|splice      the file is MOUNTPOINT/image; ends at unmount or SIGTERM
 *
 * One thread. Like hypegear: requests of 1 MiB, direct_io with parallel direct writes, memory on huge pages.
 * libfuse's loop has two ways. `copy`: one read() a request into one buffer, then memcpy to the file. `splice`, taken when
 * the server has `write_buf`: the client's pages go through a pipe and are copied once, straight into the file, for one
 * more system call. Which is faster depends on size and host, so the bench runs both.
 */
#define FUSE_USE_VERSION 314
#define _GNU_SOURCE
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { IMAGE_INODE = 2, REQUEST_BYTES = 1 << 20, BACKGROUND_REQUESTS = 256 };
static const double ATTRIBUTES_VALID_S = 3600;

static char *memory;
static size_t image_bytes;

static void describe(struct stat *st, fuse_ino_t ino)
{
	memset(st, 0, sizeof *st);
	st->st_ino = ino;
	st->st_nlink = ino == FUSE_ROOT_ID ? 2 : 1;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_size = ino == FUSE_ROOT_ID ? 0 : (off_t)image_bytes;
	st->st_blocks = st->st_size / 512;
	st->st_blksize = 4096;
}

static void on_init(void *data, struct fuse_conn_info *connection)
{
	(void)data;
	connection->max_write = REQUEST_BYTES;
	connection->max_background = BACKGROUND_REQUESTS;
	connection->congestion_threshold = BACKGROUND_REQUESTS * 3 / 4;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = { .ino = IMAGE_INODE,
					  .attr_timeout = ATTRIBUTES_VALID_S,
					  .entry_timeout = ATTRIBUTES_VALID_S };
	if (parent != FUSE_ROOT_ID || strcmp(name, "image") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	describe(&entry.attr, IMAGE_INODE);
	fuse_reply_entry(req, &entry);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct stat st;
	(void)file;
	describe(&st, ino);
	fuse_reply_attr(req, &st, ATTRIBUTES_VALID_S);
}

/* libfuse before 3.15 has no name for parallel direct writes, so the reply is made by hand. */
static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES | FOPEN_NOFLUSH };
	(void)ino;
	(void)file;
	fuse_reply_buf(req, (const char *)&out, sizeof out);
}

static size_t within_image(size_t size, off_t offset)
{
	if ((size_t)offset >= image_bytes)
		return 0;
	return size < image_bytes - offset ? size : image_bytes - offset;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
	(void)ino;
	(void)file;
	fuse_reply_buf(req, memory + offset, within_image(size, offset));
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
		     struct fuse_file_info *file)
{
	(void)ino;
	(void)file;
	if (within_image(size, offset) < size) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	memcpy(memory + offset, bytes, size);
	fuse_reply_write(req, size);
}

static void on_write_buf(fuse_req_t req, fuse_ino_t ino, struct fuse_bufvec *in, off_t offset,
			 struct fuse_file_info *file)
{
	struct fuse_bufvec out = FUSE_BUFVEC_INIT(fuse_buf_size(in));
	ssize_t copied;
	(void)ino;
	(void)file;
	if (within_image(out.buf[0].size, offset) < out.buf[0].size) {
		fuse_reply_err(req, ENOSPC);
		return;
	}
	out.buf[0].mem = memory + offset;
	copied = fuse_buf_copy(&out, in, 0);
	if (copied < 0)
		fuse_reply_err(req, (int)-copied);
	else
		fuse_reply_write(req, copied);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *file)
{
	(void)ino;
	(void)datasync;
	(void)file;
	fuse_reply_err(req, 0);
}

static struct fuse_lowlevel_ops operations = {
	.init = on_init, .lookup = on_lookup, .getattr = on_getattr, .open = on_open,
	.read = on_read, .write = on_write,   .fsync = on_fsync,
};

/* Allocates the image on huge pages where the host has them and touches all of it, so that no page fault is timed. */
static int allocate_image(void)
{
	memory = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return -1;
	madvise(memory, image_bytes, MADV_HUGEPAGE);
	memset(memory, 1, image_bytes);
	return 0;
}

static int serve(const char *mountpoint)
{
	char *argv[] = { "memory-server", "-o", "fsname=memory-server,nosuid,nodev,default_permissions", NULL };
	struct fuse_args arguments = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
	int result;
	if (!session)
		return 1;
	if (fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, mountpoint) != 0)
		return 1;
	result = fuse_session_loop(session);
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&arguments);
	return result < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc != 4 || (image_bytes = strtoull(argv[2], NULL, 10)) == 0) {
		fprintf(stderr, "usage: memory-server MOUNTPOINT BYTES copy|splice\n");
		return 2;
	}
	if (strcmp(argv[3], "splice") == 0)
		operations.write_buf = on_write_buf;
	if (allocate_image() != 0) {
		perror("memory-server: mmap");
		return 1;
	}
	return serve(argv[1]);
}
