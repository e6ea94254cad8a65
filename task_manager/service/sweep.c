/* sweep.c - removing files that no task needs.
 *
 * What crashes leave behind: an upload whose task was never recorded, outputs of attempts that
 * were lost, files of tasks that are gone. Only what has one of our own names is ever looked
 * at, raw_data/raw_<uuid>.csv, processed_data/<task>/<attempt>/... and
 * processed_data/<xx>/<task>.<attempt>.<name>; anything else is somebody's and stays. A file is
 * needed while a task names it as input or output, while its task's result names it (the
 * rejects), and while its attempt runs. An upload that is about to get its task is held
 * (objstore_put_hold). Files are listed before the database is asked, so what it does not know
 * yet is too young or held. A walk over everything leaves alone what is older than the
 * database: a store that another database has filled, before somebody mistyped a URL, loses
 * nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"
#include "tree.h"

enum { BATCH = 128, PAUSE_MS = 5, SAME_AGE_MS = 1000, SHARD_LEN = 2 };

struct sweep {
    struct service *s;
    int64_t older_than_ms;
    int64_t database_age_ms, asked_ms; /* when that was asked, monotonic */
    bool
        is_paced; /* a walk over everything leaves room for others, and ends with the service */
    size_t count;
    int64_t removed;
    struct err *err;
    struct key_use batch[BATCH];
};

/* --- the keys of attempts --- */

static const char outputs[] = "processed_data/";

/* The last two digits of an id, which are random. */
static const char *shard_of(const char *task_id)
{
    return task_id + ID_TEXT_MAX - 1 - SHARD_LEN;
}

void attempt_folder(const char *task_id, int attempt, char ret_prefix[ARTIFACT_KEY_MAX])
{
    if (attempt)
        snprintf(ret_prefix, ARTIFACT_KEY_MAX, "%s%s/%d/", outputs, task_id, attempt);
    else
        snprintf(ret_prefix, ARTIFACT_KEY_MAX, "%s%s/", outputs, task_id);
}

void attempt_stem(const char *task_id, int attempt, char ret_prefix[ARTIFACT_KEY_MAX])
{
    if (attempt)
        snprintf(ret_prefix, ARTIFACT_KEY_MAX, "%s%s/%s.%d.", outputs, shard_of(task_id),
                 task_id, attempt);
    else
        snprintf(ret_prefix, ARTIFACT_KEY_MAX, "%s%s/%s.", outputs, shard_of(task_id), task_id);
}

/* Where the task's id stands in a key of either form, and what ends it and the attempt's
 * number; NULL for another key. */
static const char *find_id(const char *key, char *ret_end)
{
    const char *id = key + sizeof outputs - 1;

    if (strncmp(key, outputs, sizeof outputs - 1) != 0)
        return NULL;
    *ret_end = '/';
    if (strcspn(id, "/") == SHARD_LEN && id[SHARD_LEN] == '/') {
        id += SHARD_LEN + 1;
        *ret_end = '.';
    }
    if (strlen(id) < ID_TEXT_MAX || id[ID_TEXT_MAX - 1] != *ret_end)
        return NULL;
    return *ret_end == '/' || strncmp(key + sizeof outputs - 1, shard_of(id), SHARD_LEN) == 0
               ? id
               : NULL;
}

int attempt_of_key(const char *key, char ret_task_id[ID_TEXT_MAX])
{
    char *end, ending = '/';
    const char *id = find_id(key, &ending);

    if (!id)
        return 0;
    memcpy(ret_task_id, id, ID_TEXT_MAX - 1);
    ret_task_id[ID_TEXT_MAX - 1] = '\0';
    if (!id_is_valid(ret_task_id))
        return 0;
    const char *digits = id + ID_TEXT_MAX;
    long number = *digits >= '1' && *digits <= '9' ? strtol(digits, &end, 10) : 0;
    return number > 0 && number < INT32_MAX && *end == ending ? (int)number : 0;
}

/* --- files --- */

static bool is_upload(const char *key)
{
    static const char before[] = "raw_data/raw_", after[] = ".csv";
    const size_t id_len = ID_TEXT_MAX - 1;
    char id[ID_TEXT_MAX];

    if (strlen(key) != sizeof before - 1 + id_len + sizeof after - 1 ||
        strncmp(key, before, sizeof before - 1) != 0 ||
        strcmp(key + sizeof before - 1 + id_len, after) != 0)
        return false;
    memcpy(id, key + sizeof before - 1, id_len);
    id[id_len] = '\0';
    return id_is_valid(id);
}

static bool is_needed(const struct key_use *use)
{
    char id[ID_TEXT_MAX];

    return use->is_named || (use->exists && use->state == TASK_PROCESSING &&
                             attempt_of_key(use->key, id) >= use->attempt);
}

/* Asks about the batch and removes what nobody needs. */
static int flush(struct sweep *w)
{
    struct objstore *objects = w->s->parts.objects;
    int rc = store_key_uses(w->s->parts.store, w->batch, w->count, w->err);

    for (size_t i = 0; !rc && i < w->count; i++) {
        bool gone = false;
        if (is_needed(&w->batch[i]))
            continue;
        rc = objstore_sweep_object(objects, w->batch[i].key, w->older_than_ms, &gone, w->err);
        w->removed += gone;
        if (gone)
            log_debug("sweep.removed", LOG_S("key", w->batch[i].key));
    }
    w->count = 0;
    return rc;
}

static int add(struct sweep *w, const char *key, const char *task_id)
{
    struct key_use *use = &w->batch[w->count++];

    snprintf(use->key, sizeof use->key, "%s", key);
    snprintf(use->task_id, sizeof use->task_id, "%s", task_id);
    return w->count == BATCH ? flush(w) : 0;
}

/* Clocks of files and databases are not the same to the millisecond. */
static bool is_before_database(const struct sweep *w, int64_t age_ms)
{
    return age_ms - SAME_AGE_MS - (clock_mono_ms() - w->asked_ms) > w->database_age_ms;
}

/* 1 ends the walk without an error. */
static int visit(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    struct sweep *w = arg;
    char task_id[ID_TEXT_MAX] = "";

    (void)size;
    if (age_ms < w->older_than_ms || is_before_database(w, age_ms) ||
        (!is_upload(key) && !attempt_of_key(key, task_id)))
        return 0;
    int rc = add(w, key, attempt_of_key(key, task_id) ? task_id : "");
    if (!rc && w->count == 0 && w->is_paced && !rounds_wait(&w->s->house, PAUSE_MS))
        rc = 1;
    return rc;
}

/* --- folders of files (tree.h) --- */

/* One at a time: there are few, and each is a lot to remove. The rules are those of files; an
 * attempt's folder is needed while the result names it, or while the attempt runs. */
static int visit_tree(const char *key, const char *task_id, int attempt, int64_t age_ms,
                      void *arg)
{
    struct sweep *w = arg;
    struct key_use use = {.key = ""};
    bool gone = false;

    if (age_ms < w->older_than_ms || is_before_database(w, age_ms))
        return 0;
    snprintf(use.key, sizeof use.key, "%s", key);
    snprintf(use.task_id, sizeof use.task_id, "%s", task_id);
    int rc = store_key_uses(w->s->parts.store, &use, 1, w->err);
    if (rc || use.is_named ||
        (use.exists && use.state == TASK_PROCESSING && attempt >= use.attempt))
        return rc;
    rc = tree_sweep(w->s->parts.objects, task_id, attempt, w->older_than_ms, &gone, w->err);
    w->removed += gone;
    if (gone)
        log_debug("sweep.removed", LOG_S("key", key));
    return rc || !w->is_paced || rounds_wait(&w->s->house, PAUSE_MS) ? rc : 1;
}

static struct sweep *sweep_new(struct service *s, int64_t older_than_ms, struct err *err)
{
    struct sweep *w = calloc(1, sizeof *w);

    if (!w) {
        err_set(err, -E_NO_MEMORY, "no memory for a sweep");
        return NULL;
    }
    w->s = s;
    w->older_than_ms = older_than_ms;
    w->database_age_ms = INT64_MAX;
    w->err = err;
    return w;
}

static int sweep_end_free(struct sweep *w, int rc)
{
    if (!rc)
        rc = flush(w);
    metric_add(METRIC_FILES_SWEPT, w->removed);
    if (w->removed && w->is_paced)
        log_info("sweep.files_removed", LOG_I("count", w->removed));
    free(w);
    return rc < 0 ? rc : 0;
}

int sweep_orphans(struct service *s, int64_t older_than_ms, struct err *err)
{
    static const char *const folders[] = {"raw_data/", "processed_data/"};
    struct sweep *w = sweep_new(s, older_than_ms, err);
    int rc = 0;

    if (!w)
        return -E_NO_MEMORY;
    w->is_paced = true;
    w->asked_ms = clock_mono_ms();
    rc = store_age(s->parts.store, &w->database_age_ms, err);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && !rc; i++)
        rc = objstore_list(s->parts.objects, folders[i], visit, w, err);
    if (!rc)
        rc = tree_list(s->parts.objects, NULL, visit_tree, w, err);
    return sweep_end_free(w, rc);
}

/* What an attempt has written, or all attempts of a task (0). */
static int list_attempts(struct sweep *w, const char *task_id, int attempt)
{
    struct objstore *objects = w->s->parts.objects;
    char prefix[ARTIFACT_KEY_MAX];

    attempt_folder(task_id, attempt, prefix);
    int rc = objstore_list(objects, prefix, visit, w, w->err);
    if (rc)
        return rc;
    attempt_stem(task_id, attempt, prefix);
    return objstore_list(objects, prefix, visit, w, w->err);
}

int sweep_attempt(struct service *s, const char *task_id, int attempt, struct err *err)
{
    struct sweep *w = sweep_new(s, 0, err);

    if (!w)
        return -E_NO_MEMORY;
    return sweep_end_free(w, list_attempts(w, task_id, attempt));
}

int sweep_purged(struct service *s, const struct purged *items, size_t count, struct err *err)
{
    struct sweep *w = sweep_new(s, 0, err);
    int rc = 0;

    if (!w)
        return -E_NO_MEMORY;
    for (size_t i = 0; i < count && !rc; i++) {
        if (artifact_key_is_valid(items[i].input_key))
            rc = add(w, items[i].input_key, "");
        if (!rc && artifact_key_is_valid(items[i].output_key))
            rc = add(w, items[i].output_key, ""); /* of a foreign worker it may lie anywhere */
        if (!rc)
            rc = list_attempts(w, items[i].id, 0);
        if (!rc)
            rc = tree_list(s->parts.objects, items[i].id, visit_tree, w, err);
    }
    return sweep_end_free(w, rc);
}
