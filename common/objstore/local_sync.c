/* local_sync.c - fsync of objects and of the directories that hold them.
 *
 * Objects that are synced together share the sync of their directories, and the disk already
 * writes all of them (local_sync_begin) while the first is waited for. */
#include "local_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint.h"
#include "fs.h"

/* --- the names of directories --- */

void settled_dirs_init(struct settled_dirs *s)
{
    memset(s->known, 0, sizeof s->known);
    pthread_mutex_init(&s->lock, NULL);
}

void settled_dirs_release(struct settled_dirs *s)
{
    pthread_mutex_destroy(&s->lock);
}

/* The birth of a directory tells it from one that had its inode's number before; 0: unknown. */
static struct settled_dir identify(int dir_fd)
{
    struct statx st;

    if (statx(dir_fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) != 0 ||
        !(st.stx_mask & STATX_BTIME))
        return (struct settled_dir){0, 0};
    return (struct settled_dir){st.stx_ino, (int64_t)st.stx_btime.tv_sec * 1000000000 +
                                                st.stx_btime.tv_nsec};
}

static bool is_settled(struct settled_dirs *s, const struct settled_dir *d)
{
    pthread_mutex_lock(&s->lock);
    const struct settled_dir known = s->known[d->inode % SETTLED_MAX];
    pthread_mutex_unlock(&s->lock);
    return d->born_ns && known.inode == d->inode && known.born_ns == d->born_ns;
}

static void settle(struct settled_dirs *s, const struct settled_dir *d)
{
    pthread_mutex_lock(&s->lock);
    s->known[d->inode % SETTLED_MAX] = *d;
    pthread_mutex_unlock(&s->lock);
}

/* Makes what `at` holds durable, and the name of `at` itself unless it is known to be; `levels`
 * directories are above the one in the root. */
static int sync_upwards(struct settled_dirs *s, int at, int levels, const char *key,
                        struct err *err)
{
    if (fsync(at) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "fsync directory of '%s'", key);
    if (levels == 0)
        return 0;
    const struct settled_dir self = identify(at);
    if (is_settled(s, &self))
        return 0;
    int above = openat(at, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open a directory above '%s'",
                             key);
    int rc = sync_upwards(s, above, levels - 1, key, err);
    close(above);
    if (!rc)
        settle(s, &self);
    return rc;
}

int local_sync_names(struct settled_dirs *s, int dir_fd, const char *key, struct err *err)
{
    int slashes = 0;

    for (const char *c = key; *c; c++)
        slashes += *c == '/';
    return sync_upwards(s, dir_fd, slashes - 1, key, err);
}

int local_sync_file(int fd, const char *key, struct err *err)
{
    if (fsync(fd) == 0)
        return 0;
    return err_set_errno(err, err_from_errno(errno), errno, "fsync '%s'", key);
}

int local_sync_begin(int fd, const char *key, struct err *err)
{
    if (sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE) == 0)
        return 0;
    switch (errno) {
    case ENOSYS:
    case EINVAL:
    case ESPIPE:
    case EOPNOTSUPP:
    case EPERM:
        return 0; /* not to be had here: the sync will begin itself */
    default:
        /* ext4 gives up pages that it has no place for, and may tell nobody else. */
        return err_set_errno(err, err_from_errno(errno), errno, "begin to write '%s'", key);
    }
}

/* --- many at once --- */

enum { TOGETHER = 32, NO_FOLDER = -1 };

/* A directory that holds some of the objects; the first of them names it. */
struct folder {
    const char *key;
    size_t len; /* of the key up to the last slash */
    int fd;
    bool is_needed; /* some object's name waits for the sync */
};

/* Up to TOGETHER of the objects. */
struct together {
    struct settled_dirs *settled;
    const char *const *keys;
    size_t count, from; /* from: the number of the first */
    objstore_lost_fn *lost;
    void *arg;
    int in[TOGETHER]; /* the folder of each whose name is not durable yet */
    struct folder folders[TOGETHER];
    int folder_count;
};

static const char *name_of(const char *key)
{
    return strrchr(key, '/') + 1;
}

/* A file that could not be synced is no object any more: a second fsync could succeed although
 * bytes are lost. */
static void give_up(const struct folder *f, const char *key)
{
    unlinkat(f->fd, name_of(key), 0);
}

static int find_folder(struct together *t, int root_fd, const char *key, struct err *err)
{
    char path[ARTIFACT_KEY_MAX];

    if (!objstore_key_is_valid(key))
        return err_set(err, -E_BAD_VALUE, "'%.300s' is no valid object key", key);
    const size_t len = (size_t)(name_of(key) - key) - 1;
    for (int i = 0; i < t->folder_count; i++) {
        if (t->folders[i].len == len && memcmp(t->folders[i].key, key, len) == 0)
            return i;
    }
    memcpy(path, key, len);
    path[len] = '\0';
    int fd = fs_open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    t->folders[t->folder_count] = (struct folder){key, len, fd, false};
    return t->folder_count++;
}

/* 1: the publish has made it durable already. Opened for writing: a file system on a network
 * may take the sync of one that is open for reading for a sync of nothing. */
static int sync_bytes(const struct folder *f, const char *key, struct err *err)
{
    struct stat st;
    int fd = openat(f->fd, name_of(key), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;

    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open '%s' to sync it", key);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        rc = err_set(err, -E_NOT_FOUND, "'%s' is not an object", key);
    } else if (st.st_size > LOCAL_SYNC_LATER_MAX) {
        rc = 1;
    } else {
        rc = local_sync_file(fd, key, err);
        if (!rc)
            rc = FAILPOINT_ERR(put_synced, -E_IO, err);
        if (rc)
            give_up(f, key);
    }
    close(fd);
    return rc;
}

static void sync_one(struct together *t, int root_fd, size_t i)
{
    struct err why = ERR_INIT;
    int folder = find_folder(t, root_fd, t->keys[i], &why);
    int rc = folder < 0 ? folder : sync_bytes(&t->folders[folder], t->keys[i], &why);

    t->in[i] = rc ? NO_FOLDER : folder;
    if (rc < 0)
        t->lost(t->from + i, &why, t->arg);
    else if (rc == 0)
        t->folders[folder].is_needed = true;
}

static void sync_folder(struct together *t, int number)
{
    const struct folder *f = &t->folders[number];
    struct err why = ERR_INIT;
    int rc = f->is_needed ? local_sync_names(t->settled, f->fd, f->key, &why) : 0;

    for (size_t i = 0; rc && i < t->count; i++) {
        if (t->in[i] != number)
            continue;
        give_up(f, t->keys[i]);
        t->lost(t->from + i, &why, t->arg);
    }
    close(f->fd);
}

static void sync_together(struct together *t, int root_fd)
{
    t->folder_count = 0;
    for (size_t i = 0; i < t->count; i++)
        sync_one(t, root_fd, i);
    for (int i = 0; i < t->folder_count; i++)
        sync_folder(t, i);
    FAILPOINT(put_durable);
}

void local_sync_all(const char *root, struct settled_dirs *s, const char *const *keys,
                    size_t count, objstore_lost_fn *lost, void *arg)
{
    struct together t = {.settled = s, .lost = lost, .arg = arg};
    struct err why = ERR_INIT;
    int root_fd = fs_open_dir(root, &why);

    for (size_t i = 0; root_fd < 0 && i < count; i++)
        lost(i, &why, arg);
    for (; root_fd >= 0 && t.from < count; t.from += t.count) {
        t.keys = keys + t.from;
        t.count = count - t.from < TOGETHER ? count - t.from : TOGETHER;
        sync_together(&t, root_fd);
    }
    if (root_fd >= 0)
        close(root_fd);
}
