#include "upload.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "names.h"
#include "sha256.h"
#include "untar.h"
#include "walk.h"

enum { QUEUE_MAX = 64, WORKERS_MAX = 64, BLOCK_BYTES = 1 << 17 };

/* A file to upload. */
struct item {
    char *path;
    uint64_t at, size; /* in the archive */
};

/* The walk fills the queue, the workers empty it; the first error ends both. */
struct upload {
    const struct upload_options *o;
    pthread_mutex_t mutex;
    pthread_cond_t has_some, has_room;
    struct item queue[QUEUE_MAX]; /* a ring */
    size_t first, count;
    bool is_walked;
    struct names there; /* what the container holds before */
    struct names names; /* of an archive, for find_stale */
    struct upload_stats stats;
    struct err err;
};

static void fail(struct upload *u, const struct err *why)
{
    pthread_mutex_lock(&u->mutex);
    if (!u->err.code)
        u->err = *why;
    pthread_cond_broadcast(&u->has_some);
    pthread_cond_broadcast(&u->has_room);
    pthread_mutex_unlock(&u->mutex);
}

/* --- the workers --- */

/* False when there is nothing left to do; else free() its path. */
static bool take_item(struct upload *u, struct item *ret)
{
    bool taken = false;

    pthread_mutex_lock(&u->mutex);
    while (u->count == 0 && !u->is_walked && !u->err.code)
        pthread_cond_wait(&u->has_some, &u->mutex);
    if (u->count > 0 && !u->err.code) {
        *ret = u->queue[u->first];
        taken = true;
        u->first = (u->first + 1) % QUEUE_MAX;
        u->count--;
        pthread_cond_signal(&u->has_room);
    }
    pthread_mutex_unlock(&u->mutex);
    return taken;
}

/* Gives each block of the file to `take`. */
typedef int take_fn(void *arg, const void *bytes, size_t len, struct err *err);

static int read_blocks(int fd, const struct item *item, take_fn *take, void *arg,
                       struct err *err)
{
    char *block = malloc(BLOCK_BYTES);
    uint64_t done = 0;
    int rc = block ? 0 : err_set(err, -E_NO_MEMORY, "no memory to upload a file");

    while (!rc && done < item->size) {
        uint64_t left = item->size - done;
        ssize_t got = pread(fd, block, left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES,
                            (off_t)(item->at + done));
        if (got > 0)
            rc = take(arg, block, (size_t)got, err);
        else if (got == 0 || errno != EINTR)
            rc = err_set(err, -E_IO, "'%.300s' could not be read to its end", item->path);
        done += got > 0 ? (uint64_t)got : 0;
    }
    free(block);
    return rc;
}

static int take_hash(void *arg, const void *bytes, size_t len, struct err *err)
{
    return sha256_add(arg, bytes, len, err);
}

static int take_put(void *arg, const void *bytes, size_t len, struct err *err)
{
    return container_put_write(arg, bytes, len, err);
}

static int digest_of(int fd, const struct item *item, char ret_hex[SHA256_TEXT_MAX],
                     struct err *err)
{
    struct sha256 hash;
    int rc = sha256_init(&hash, err);

    if (rc)
        return rc;
    rc = read_blocks(fd, item, take_hash, &hash, err);
    if (!rc)
        rc = sha256_end(&hash, ret_hex, err);
    sha256_release(&hash);
    return rc;
}

/* Is it there already? Only a file of the right size is worth reading for that. */
static int is_there(const struct upload *u, const struct item *item, int fd, bool *ret_there,
                    struct err *err)
{
    char digest[SHA256_TEXT_MAX];
    uint64_t size = 0;
    int rc = 0;

    *ret_there = false;
    if (!names_size(&u->there, item->path, &size) || size != item->size)
        return 0;
    rc = digest_of(fd, item, digest, err);
    *ret_there = !rc && names_matches(&u->there, item->path, size, digest);
    return rc;
}

/* From an archive. */
static int put_part(const struct upload *u, const struct item *item, int fd, struct err *err)
{
    struct container_put *put = NULL;
    int rc = container_put_begin(u->o->container, item->path, &put, err);

    if (!rc)
        rc = read_blocks(fd, item, take_put, put, err);
    if (!rc)
        return container_put_commit_free(put, NULL, err);
    container_put_abort_free(put);
    return rc;
}

static int upload_open(const struct upload *u, const struct item *item, int fd, bool *ret_sent,
                       struct err *err)
{
    bool there = false;
    int rc = u->o->may_hold ? is_there(u, item, fd, &there, err) : 0;

    *ret_sent = !there;
    if (rc || there)
        return rc;
    return u->o->dir_fd >= 0 ? container_put_file(u->o->container, item->path, fd, NULL, err)
                             : put_part(u, item, fd, err);
}

static int upload_one(struct upload *u, const struct item *item, struct err *err)
{
    bool sent = false;
    int fd = u->o->dir_fd < 0
                 ? u->o->tar_fd
                 : fs_open_beneath(u->o->dir_fd, item->path, O_RDONLY | O_NONBLOCK, 0, err);

    if (fd < 0)
        return fd;
    int rc = upload_open(u, item, fd, &sent, err);
    if (fd != u->o->tar_fd)
        close(fd);
    if (rc)
        return rc;
    pthread_mutex_lock(&u->mutex);
    u->stats.files++;
    u->stats.bytes += item->size;
    u->stats.sent_files += sent;
    u->stats.sent_bytes += sent ? item->size : 0;
    if (u->o->progress)
        u->o->progress(u->o->progress_arg, &u->stats);
    pthread_mutex_unlock(&u->mutex);
    return 0;
}

static void *work(void *arg)
{
    struct upload *u = arg;
    struct err err = ERR_INIT;
    struct item item;
    int rc = 0;

    while (!rc && take_item(u, &item)) {
        rc = upload_one(u, &item, &err);
        free(item.path);
    }
    if (rc)
        fail(u, &err);
    return NULL;
}

/* --- the walk --- */

static int push(struct upload *u, const char *path, uint64_t at, uint64_t size, struct err *err)
{
    char *copy = strdup(path);

    if (!copy)
        return err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    pthread_mutex_lock(&u->mutex);
    while (u->count == QUEUE_MAX && !u->err.code)
        pthread_cond_wait(&u->has_room, &u->mutex);
    int code = u->err.code;
    if (!code) {
        u->queue[(u->first + u->count++) % QUEUE_MAX] = (struct item){copy, at, size};
        copy = NULL;
        pthread_cond_signal(&u->has_some);
    }
    pthread_mutex_unlock(&u->mutex);
    free(copy);
    return code;
}

static int push_file(const char *path, const struct stat *st, void *arg, struct err *err)
{
    return push(arg, path, 0, (uint64_t)st->st_size, err);
}

static int push_part(const char *path, uint64_t at, uint64_t size, void *arg, struct err *err)
{
    struct upload *u = arg;
    int rc = u->o->may_hold ? names_add(&u->names, path, size, "", err) : 0;

    return rc ? rc : push(u, path, at, size, err);
}

static void end_walk(struct upload *u)
{
    pthread_mutex_lock(&u->mutex);
    u->is_walked = true;
    pthread_cond_broadcast(&u->has_some);
    pthread_mutex_unlock(&u->mutex);
}

static int run(struct upload *u, struct err *err)
{
    pthread_t threads[WORKERS_MAX];
    struct err why = ERR_INIT;
    unsigned started = 0;

    pthread_mutex_init(&u->mutex, NULL);
    pthread_cond_init(&u->has_some, NULL);
    pthread_cond_init(&u->has_room, NULL);
    while (started < u->o->workers && started < WORKERS_MAX &&
           pthread_create(&threads[started], NULL, work, u) == 0)
        started++;
    if (started == 0)
        err_set(&why, -E_NO_MEMORY, "no thread could be started to upload files");
    else if (u->o->dir_fd >= 0)
        walk_files(u->o->dir_fd, push_file, u, &why);
    else
        untar_files(u->o->tar_fd, push_part, u, &why);
    if (why.code)
        fail(u, &why);
    end_walk(u);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    for (; u->count > 0; u->count--, u->first = (u->first + 1) % QUEUE_MAX)
        free(u->queue[u->first].path);
    pthread_cond_destroy(&u->has_room);
    pthread_cond_destroy(&u->has_some);
    pthread_mutex_destroy(&u->mutex);
    return u->err.code ? err_set(err, u->err.code, "%s", u->err.text) : 0;
}

/* --- blobs that have no file --- */

static bool has_file(int dir_fd, const char *path)
{
    struct stat st;
    int fd = fs_open_beneath(dir_fd, path, O_PATH | O_NOFOLLOW, 0, NULL);
    bool is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

    if (fd >= 0)
        close(fd);
    return is_file;
}

/* One request for a thousand blobs, not one for each. */
static int note_there(struct upload *u, struct err *err)
{
    struct container_list *list = NULL;
    const struct blob *b = NULL;
    int rc = container_list_begin(u->o->container, "", &list, err);

    while (!rc && (rc = container_list_next(list, &b, err)) == 0 && b)
        rc = names_add(&u->there, b->name, b->size, b->sha256, err);
    container_list_free(list);
    names_sort(&u->there);
    return rc;
}

static bool is_wanted(const struct upload *u, const char *name)
{
    return u->o->dir_fd >= 0 ? has_file(u->o->dir_fd, name) : names_has(&u->names, name);
}

static int find_stale(struct upload *u, struct err *err)
{
    struct container_list *list = NULL;
    const struct blob *blob = NULL;
    int rc = container_list_begin(u->o->container, "", &list, err);

    names_sort(&u->names);
    while (!rc && (rc = container_list_next(list, &blob, err)) == 0 && blob) {
        if (is_wanted(u, blob->name))
            continue;
        u->stats.stale++;
        if (u->o->prune)
            rc = container_delete(u->o->container, blob->name, err);
        u->stats.pruned += u->o->prune && !rc;
    }
    container_list_free(list);
    return rc;
}

int upload_folder(const struct upload_options *options, struct upload_stats *ret,
                  struct err *err)
{
    struct upload u = {.o = options, .there = {BUF_INIT}, .names = {BUF_INIT}, .err = ERR_INIT};
    int rc = options->may_hold ? note_there(&u, err) : 0;

    if (!rc)
        rc = run(&u, err);
    if (!rc && options->may_hold)
        rc = find_stale(&u, err);
    if (!rc)
        rc = container_flush(options->container, err);
    buf_release(&u.there.entries);
    buf_release(&u.names.entries);
    *ret = u.stats;
    return rc;
}
