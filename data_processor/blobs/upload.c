#include "upload.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "sha256.h"
#include "walk.h"

enum { QUEUE_MAX = 64, WORKERS_MAX = 64 };

/* The walk fills the queue, the workers empty it; the first error ends both. */
struct upload {
    const struct upload_options *o;
    pthread_mutex_t mutex;
    pthread_cond_t has_some, has_room;
    char *queue[QUEUE_MAX]; /* a ring of paths */
    size_t first, count;
    bool is_walked;
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

/* NULL when there is nothing left to do; else free() it. */
static char *take_path(struct upload *u)
{
    char *path = NULL;

    pthread_mutex_lock(&u->mutex);
    while (u->count == 0 && !u->is_walked && !u->err.code)
        pthread_cond_wait(&u->has_some, &u->mutex);
    if (u->count > 0 && !u->err.code) {
        path = u->queue[u->first];
        u->first = (u->first + 1) % QUEUE_MAX;
        u->count--;
        pthread_cond_signal(&u->has_room);
    }
    pthread_mutex_unlock(&u->mutex);
    return path;
}

static int is_there(const struct upload *u, const char *path, int fd, bool *ret_there,
                    uint64_t *ret_size, struct err *err)
{
    struct blob *found = malloc(sizeof *found);
    char digest[SHA256_TEXT_MAX];

    *ret_there = false;
    if (!found)
        return err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    int rc = container_stat(u->o->container, path, found, err);
    if (!rc)
        rc = sha256_of_fd(fd, digest, ret_size, err);
    if (!rc)
        *ret_there = found->size == *ret_size && strcmp(found->sha256, digest) == 0;
    free(found);
    return rc == -E_NOT_FOUND ? 0 : rc;
}

static int upload_open(const struct upload *u, const char *path, int fd, bool *ret_sent,
                       uint64_t *ret_size, struct err *err)
{
    bool there = false;
    int rc = u->o->may_hold ? is_there(u, path, fd, &there, ret_size, err) : 0;

    *ret_sent = !there;
    if (rc || there)
        return rc;
    struct blob *blob = malloc(sizeof *blob);
    rc = blob ? container_put_file(u->o->container, path, fd, blob, err)
              : err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    if (!rc)
        *ret_size = blob->size;
    free(blob);
    return rc;
}

static int upload_one(struct upload *u, const char *path, struct err *err)
{
    uint64_t size = 0;
    bool sent = false;
    int fd = fs_open_beneath(u->o->dir_fd, path, O_RDONLY | O_NONBLOCK, 0, err);

    if (fd < 0)
        return fd;
    int rc = upload_open(u, path, fd, &sent, &size, err);
    close(fd);
    if (rc)
        return rc;
    pthread_mutex_lock(&u->mutex);
    u->stats.files++;
    u->stats.bytes += size;
    u->stats.sent_files += sent;
    u->stats.sent_bytes += sent ? size : 0;
    if (u->o->progress)
        u->o->progress(u->o->progress_arg, &u->stats);
    pthread_mutex_unlock(&u->mutex);
    return 0;
}

static void *work(void *arg)
{
    struct upload *u = arg;
    struct err err = ERR_INIT;
    char *path;
    int rc = 0;

    while (!rc && (path = take_path(u))) {
        rc = upload_one(u, path, &err);
        free(path);
    }
    if (rc)
        fail(u, &err);
    return NULL;
}

/* --- the walk --- */

static int push_path(const char *path, const struct stat *st, void *arg, struct err *err)
{
    struct upload *u = arg;
    char *copy = strdup(path);

    (void)st;
    if (!copy)
        return err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    pthread_mutex_lock(&u->mutex);
    while (u->count == QUEUE_MAX && !u->err.code)
        pthread_cond_wait(&u->has_room, &u->mutex);
    int code = u->err.code;
    if (!code) {
        u->queue[(u->first + u->count++) % QUEUE_MAX] = copy;
        copy = NULL;
        pthread_cond_signal(&u->has_some);
    }
    pthread_mutex_unlock(&u->mutex);
    free(copy);
    return code;
}

static void end_walk(struct upload *u)
{
    pthread_mutex_lock(&u->mutex);
    u->is_walked = true;
    pthread_cond_broadcast(&u->has_some);
    pthread_mutex_unlock(&u->mutex);
}

static void run(struct upload *u)
{
    pthread_t threads[WORKERS_MAX];
    struct err why = ERR_INIT;
    unsigned started = 0;

    while (started < u->o->workers && started < WORKERS_MAX &&
           pthread_create(&threads[started], NULL, work, u) == 0)
        started++;
    if (started == 0)
        err_set(&why, -E_NO_MEMORY, "no thread could be started to upload files");
    else
        walk_files(u->o->dir_fd, push_path, u, &why);
    if (why.code)
        fail(u, &why);
    end_walk(u);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    for (; u->count > 0; u->count--, u->first = (u->first + 1) % QUEUE_MAX)
        free(u->queue[u->first]);
}

/* --- blobs that the folder does not have --- */

static bool has_file(int dir_fd, const char *path)
{
    struct stat st;
    int fd = fs_open_beneath(dir_fd, path, O_PATH | O_NOFOLLOW, 0, NULL);
    bool is_file = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

    if (fd >= 0)
        close(fd);
    return is_file;
}

static int find_stale(struct upload *u, struct err *err)
{
    struct container_list *list = NULL;
    const struct blob *blob = NULL;
    int rc = container_list_begin(u->o->container, "", &list, err);

    while (!rc && (rc = container_list_next(list, &blob, err)) == 0 && blob) {
        if (has_file(u->o->dir_fd, blob->name))
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
    struct upload u = {.o = options, .err = ERR_INIT};

    pthread_mutex_init(&u.mutex, NULL);
    pthread_cond_init(&u.has_some, NULL);
    pthread_cond_init(&u.has_room, NULL);
    run(&u);
    pthread_cond_destroy(&u.has_room);
    pthread_cond_destroy(&u.has_some);
    pthread_mutex_destroy(&u.mutex);
    int rc = u.err.code ? err_set(err, u.err.code, "%s", u.err.text) : 0;
    if (!rc && options->may_hold)
        rc = find_stale(&u, err);
    if (!rc)
        rc = container_flush(options->container, err);
    *ret = u.stats;
    return rc;
}
