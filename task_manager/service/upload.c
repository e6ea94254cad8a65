/* upload.c - a file on its way from a client into the object store and a task. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "service_internal.h"

enum {
    SPACE_CHECK_EVERY = 16 << 20,
    YOUNG_MS = 500, /* below the least SWEEP_AFTER */
};

struct service_upload {
    struct service *service;
    struct objstore_put *put;
    uint64_t size, checked_at;

    /* Once the bytes are there and the task is being made: */
    char key[ARTIFACT_KEY_MAX]; /* "" while there is no object */
    int hold;
    struct submit_reply reply;
};

static int check_space(struct service *s, int64_t expected, struct err *err)
{
    uint64_t left = 0;
    uint64_t needed =
        (uint64_t)s->parts.config->min_free_bytes + (expected > 0 ? (uint64_t)expected : 0);
    struct err why = ERR_INIT;
    int rc = objstore_free_bytes(s->parts.objects, &left, &why);

    if (rc == -E_NOT_FOUND)
        return 0; /* the folder is gone: the put makes it again, or says why it cannot */
    if (rc)
        return err_set(err, rc, "%s", why.text);
    if (left < needed)
        rc = err_set(err, -E_NO_SPACE,
                     "the object store has %" PRIu64 " bytes left; this upload needs %" PRIu64,
                     left, needed);
    return rc;
}

int service_upload_begin(struct service *s, int64_t expected_size, bool has_key,
                         struct service_upload **ret, struct err *err)
{
    char id[ID_TEXT_MAX], key[ARTIFACT_KEY_MAX];
    int rc = has_key ? 0 : service_check_backlog(s, err);

    if (!rc)
        rc = check_space(s, expected_size, err);
    if (rc)
        return rc;

    struct service_upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_set(err, -E_NO_MEMORY, "no memory for an upload");
    u->service = s;
    id_new(id);
    snprintf(key, sizeof key, "raw_data/raw_%s.csv", id);
    rc = objstore_put_begin(s->parts.objects, key, &u->put, err);
    if (rc) {
        free(u);
        return rc;
    }
    *ret = u;
    FAILPOINT(upload_begun);
    return 0;
}

int service_upload_write(struct service_upload *u, const void *bytes, size_t len,
                         struct err *err)
{
    if (u->size - u->checked_at >= SPACE_CHECK_EVERY) {
        int rc = check_space(u->service, 0, err);
        if (rc)
            return rc;
        u->checked_at = u->size;
    }
    u->size += len;
    return objstore_put_write(u->put, bytes, len, err);
}

void service_upload_abort_free(struct service_upload *u)
{
    if (!u)
        return;
    objstore_put_abort_free(u->put);
    free(u);
}

/* The file of a task that was not made. After an unknown outcome the task may exist, so the
 * file stays. */
static void drop_input(struct service *s, const char *key)
{
    struct err why = ERR_INIT;

    if (objstore_delete(s->parts.objects, key, &why))
        log_warn("upload.not_removed", LOG_S("key", key), LOG_S("reason", why.text));
}

/* A sweep that asked before there was a task must find the file young. One that has been young
 * all the time is in no sweep's list: that spares it a second change to make durable. */
static void let_go(int hold)
{
    struct stat st;

    if (hold < 0)
        return;
    bool is_known = fstat(hold, &st) == 0;
    int64_t written_ms =
        is_known ? (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 : 0;
    if (clock_wall_ms() - written_ms > YOUNG_MS)
        futimens(hold, NULL);
    close(hold);
}

static void answer_upload(void *arg, int rc, const struct submit_result *result,
                          const struct err *err)
{
    struct service_upload *u = arg;
    bool is_replay = !rc && result->outcome == SUBMIT_REPLAYED;

    if (is_replay)
        FAILPOINT(upload_replayed);
    if (u->key[0] && rc != -E_UNKNOWN_OUTCOME && (rc || is_replay))
        drop_input(u->service, u->key);
    let_go(u->hold);
    u->reply.answer(u->reply.arg, rc, result, err);
    free(u);
}

/* The object is there for all to see, and durable before its task is recorded. */
static int publish(struct service_upload *u, struct artifact *ret, struct err *err)
{
    struct objstore_put *put = u->put;

    u->put = NULL;
    if (u->size == 0) {
        objstore_put_abort_free(put);
        return err_set(err, -E_BAD_VALUE, "the uploaded file is empty");
    }
    u->hold = objstore_put_hold(put); /* no sweep takes the file before its task names it */
    int rc = objstore_put_publish_free(put, ret, err);
    if (rc)
        return rc;
    memcpy(u->key, ret->key, sizeof u->key);
    return FAILPOINT_ERR(upload_stored, -E_UNAVAILABLE, err);
}

void service_upload_submit_later(struct service *s, struct service_upload *u,
                                 struct submit_request *request, char *params_take,
                                 const struct submit_reply *reply)
{
    const struct submit_reply then = {answer_upload, u};
    struct err why = ERR_INIT;

    u->reply = *reply;
    u->hold = -1;
    if (publish(u, &request->input, &why) == 0) {
        service_submit_later(s, request, params_take, &then);
        return;
    }
    free(params_take);
    answer_upload(u, why.code, NULL, &why);
}
