/* local_sync.h - making objects of a local store durable: one at its commit, or many that
 * were published before. Private to this room. Any thread; all of it blocks on the disk. */
#ifndef LOCAL_SYNC_H
#define LOCAL_SYNC_H

#include <pthread.h>

#include "objstore.h"

/* What a publish leaves to the sync: more than this takes a disk so long that others, whose
 * objects are synced in the same call, would wait for it. */
enum { LOCAL_SYNC_LATER_MAX = 256 << 10 };

enum { SETTLED_MAX = 1024 };

/* Directories whose own names are durable: they need not be synced again for each object. By
 * inode; the last one found at a place. */
struct settled_dirs {
    pthread_mutex_t lock;
    struct settled_dir {
        uint64_t inode;
        int64_t born_ns;
    } known[SETTLED_MAX];
};

void settled_dirs_init(struct settled_dirs *s);
void settled_dirs_release(struct settled_dirs *s);

/* fsync of an object's file. */
int local_sync_file(int fd, const char *key, struct err *err);

/* Has the disk begin with the bytes that it does not have, without a wait. What fails here
 * counts as a failed fsync. */
int local_sync_begin(int fd, const char *key, struct err *err);

/* Makes the name of the object in `dir_fd` durable, and those of the directories above it up to
 * the topmost of the key, which may be as new. */
int local_sync_names(struct settled_dirs *s, int dir_fd, const char *key, struct err *err);

/* objstore_sync of the store at `root`. */
void local_sync_all(const char *root, struct settled_dirs *s, const char *const *keys,
                    size_t count, objstore_lost_fn *lost, void *arg);

#endif
