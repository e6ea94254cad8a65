/* fs.h - files that are whole or not there, and paths that cannot escape.
 *
 * Everything opens with O_CLOEXEC. "Beneath" means: resolved by the kernel with
 * RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS (openat2(2)), so neither
 * `..`, an absolute path nor a symlink leaves the directory. All calls block on the disk;
 * all are safe from any thread. */
#ifndef BASE_FS_H
#define BASE_FS_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Creates `path` and its missing parents (mode 0750 less umask), fsyncing each parent that
 * gained an entry. An existing directory is success. */
int fs_make_dirs(const char *path, struct err *err);

/* The same below `root_fd`, for a relative path, and without an fsync: names of new directories
 * are as durable as the caller makes them. */
int fs_make_dirs_beneath(int root_fd, const char *path, struct err *err);

/* A directory file descriptor, or a negative code. The caller closes it. */
int fs_open_dir(const char *path, struct err *err);

/* Opens `path` below `root_fd` with O_* flags and mode. A file descriptor or a negative
 * code (E_NOT_FOUND, E_EXISTS, E_BAD_VALUE when the path would escape, ...). */
int fs_open_beneath(int root_fd, const char *path, int flags, unsigned mode, struct err *err);

/* fsync of the directory that holds `path` (below root_fd). */
int fs_sync_parent(int root_fd, const char *path, struct err *err);

/* Writes everything, through short writes and EINTR. `what` names the file in errors. */
int fs_write_all(int fd, const void *bytes, size_t len, const char *what, struct err *err);

/* The whole of a small file as a NUL-terminated string (free() it); E_TOO_BIG past max. */
int fs_read_small(const char *path, size_t max_bytes, char **ret_text, struct err *err);

/* A new file in `dir` that has no name and goes when it is closed, for reading and writing. A
 * file descriptor or a negative code: E_NO_SPACE, else E_IO. */
int fs_open_nameless(const char *dir, struct err *err);

/* Bytes an unprivileged writer can still use on the file system of the open `fd`. */
int fs_free_bytes(int fd, uint64_t *ret_bytes, struct err *err);

#endif
