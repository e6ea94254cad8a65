/* model_objects.c - files by key, in memory. Their bytes do not matter. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

static struct object *find(struct sim *s, const char *key)
{
    for (size_t i = 0; i < s->object_count; i++) {
        if (strcmp(s->object[i].key, key) == 0)
            return &s->object[i];
    }
    return NULL;
}

bool objects_have(const struct sim *s, const char *key)
{
    for (size_t i = 0; i < s->object_count; i++) {
        if (strcmp(s->object[i].key, key) == 0)
            return true;
    }
    return false;
}

void objects_put(struct sim *s, const char *key, uint64_t size)
{
    if (s->object_count == OBJECTS || find(s, key))
        return;
    struct object *o = &s->object[s->object_count++];
    snprintf(o->key, sizeof o->key, "%s", key);
    o->size = size;
    o->made_ms = s->now;
}

static int get(struct objstore *store, const char *key, int *ret_fd, uint64_t *ret_size,
               struct err *err)
{
    const struct object *o = find(&the_sim, key);

    (void)store;
    if (!o)
        return err_set(err, -E_NOT_FOUND, "there is no object '%s'", key);
    *ret_size = o->size;
    *ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? err_set(err, -E_IO, "cannot open") : 0;
}

static int remove_object(struct objstore *store, const char *key, struct err *err)
{
    struct sim *s = &the_sim;
    struct object *o = find(s, key);

    (void)store, (void)err;
    if (o) {
        check_removed(s, key);
        *o = s->object[--s->object_count];
    }
    return 0;
}

static int list(struct objstore *store, const char *prefix, objstore_visit_fn *visit, void *arg,
                struct err *err)
{
    struct sim *s = &the_sim;

    (void)store, (void)err;
    for (size_t i = s->object_count; i-- > 0;) {
        struct object o = s->object[i]; /* the visit may delete it */
        int rc = strncmp(o.key, prefix, strlen(prefix)) == 0
                     ? visit(o.key, o.size, s->now - o.made_ms, arg)
                     : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int sweep_object(struct objstore *store, const char *key, int64_t older_than_ms,
                        bool *ret_removed, struct err *err)
{
    const struct object *o = find(&the_sim, key);

    *ret_removed = o && the_sim.now - o->made_ms >= older_than_ms;
    return *ret_removed ? remove_object(store, key, err) : 0;
}

static int sweep_parts(struct objstore *store, int64_t older_than_ms, uint64_t *ret_removed,
                       struct err *err)
{
    (void)store, (void)older_than_ms, (void)err;
    *ret_removed = 0;
    return 0;
}

static const char *root(struct objstore *store)
{
    (void)store;
    return NULL; /* no folder, so no trees */
}

void objects_open(struct sim *s)
{
    static const struct objstore_ops ops = {.get = get,
                                            .stat = objstore_stat_by_reading,
                                            .remove = remove_object,
                                            .list = list,
                                            .sweep_object = sweep_object,
                                            .sweep_parts = sweep_parts,
                                            .root = root};

    s->objects.ops = &ops;
    s->object_count = 0;
}
