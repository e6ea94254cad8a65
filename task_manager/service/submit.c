/* submit.c - accepting a task: checked, within the backlog, and durable before the answer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "failpoint.h"
#include "metrics.h"
#include "params.h"
#include "service_internal.h"
#include "sha256.h"
#include "task_type.h"

static bool is_configured_type(const struct config *config, const char *type)
{
    char word[TASK_TYPE_MAX];

    for (const char *at = config->task_types;
         (at = config_list_next(at, word, sizeof word)) != NULL;) {
        if (strcmp(word, type) == 0)
            return true;
    }
    return false;
}

static int check_key(const char *key, struct err *err)
{
    size_t len = strlen(key);

    if (len == 0 || len >= TASK_KEY_MAX)
        return err_set(err, -E_BAD_VALUE, "Idempotency-Key: must be 1 to %d characters",
                       TASK_KEY_MAX - 1);
    for (size_t i = 0; i < len; i++) {
        if (key[i] < 0x20 || key[i] > 0x7E)
            return err_set(err, -E_BAD_VALUE,
                           "Idempotency-Key: must be printable ASCII characters");
    }
    return 0;
}

static int check(struct service *s, const struct submit_request *r, struct err *err)
{
    const struct task_type *type = task_type_find(r->type);

    if (!type && !is_configured_type(s->parts.config, r->type))
        return err_set(err, -E_BAD_VALUE, "type: there is no task type '%s'", r->type);
    if (r->queue[0] && !task_word_is_valid(r->queue))
        return err_set(err, -E_BAD_VALUE,
                       "queue: must be letters, digits, '_', '.' or '-', at most %d",
                       TASK_QUEUE_MAX - 1);
    if (type && type->needs_input && !r->input.key[0])
        return err_set(err, -E_BAD_VALUE,
                       "type: '%s' works on a file; send it to /v1/data_processor/upload",
                       r->type);
    int rc = r->params ? params_check(r->type, r->params, err) : 0;
    if (!rc && r->idempotency_key)
        rc = check_key(r->idempotency_key, err);
    return rc;
}

/* Two requests are the same when everything that the client chose is the same; of a file the
 * content counts. */
static int request_digest(const struct submit_request *r, char ret[SHA256_TEXT_MAX],
                          struct err *err)
{
    struct buf text = BUF_INIT;

    buf_printf(&text, "%s\n%s\n%d\n%" PRId64 "\n%d\n%" PRId64 "\n%s\n%s\n", r->type, r->queue,
               r->priority, r->run_at_ms, r->max_attempts, r->timeout_ms,
               r->params ? r->params : "{}", r->input.sha256);
    int rc = buf_ok(&text) ? sha256_hex(text.data, text.len, ret, err)
                           : err_set(err, -E_NO_MEMORY, "no memory for a submit");
    buf_release(&text);
    return rc;
}

static void fill_task(struct service *s, const struct submit_request *r, struct task *t)
{
    const struct task_type *type = task_type_find(r->type);
    const char *queue = r->queue[0] ? r->queue : type ? type->queue : r->type;

    memset(t, 0, sizeof *t);
    id_new(t->id);
    snprintf(t->type, sizeof t->type, "%s", r->type);
    snprintf(t->queue, sizeof t->queue, "%s", queue);
    snprintf(t->input_name, sizeof t->input_name, "%s", r->input_name);
    t->priority = r->priority;
    t->run_at_ms = r->run_at_ms;
    t->timeout_ms = r->timeout_ms;
    t->max_attempts = r->max_attempts ? r->max_attempts : (int)s->parts.config->max_attempts;
    t->input = r->input;
    t->params = (char *)(uintptr_t)r->params; /* borrowed: store_submit does not keep it */
}

int service_check_backlog(struct service *s, struct err *err)
{
    if (atomic_load(&s->waiting) >= s->parts.config->max_queued)
        return err_set(err, -E_OVERLOAD, "%" PRId64 " tasks are waiting already; try later",
                       s->parts.config->max_queued);
    return 0;
}

/* A full backlog refuses what is new, but a repeat makes no task and gets its first answer. */
static int admit(struct service *s, const struct submission *item, struct submit_result *ret,
                 struct err *err)
{
    struct err ignored = ERR_INIT;

    ret->outcome = SUBMIT_ACCEPTED;
    if (service_check_backlog(s, &ignored) == 0)
        return 0;
    int rc = item->key ? store_look_up(s->parts.store, item, ret, err) : 0;
    return rc || ret->outcome != SUBMIT_ACCEPTED ? rc : service_check_backlog(s, err);
}

int service_submit(struct service *s, const struct submit_request *request,
                   struct submit_result *ret, struct err *err)
{
    struct submission item = {.client = "", .key = request->idempotency_key};
    int rc = check(s, request, err);

    if (!rc && item.key)
        rc = request_digest(request, item.request_sha256, err);
    if (!rc)
        rc = FAILPOINT_ERR(submit_checked, -E_UNAVAILABLE, err);
    if (rc)
        return rc;
    fill_task(s, request, &item.task);
    rc = admit(s, &item, ret, err);
    if (!rc && ret->outcome == SUBMIT_ACCEPTED)
        rc = store_submit(s->parts.store, &item, 1, s->announce, ret, err);
    if (rc)
        return rc;
    if (ret->outcome == SUBMIT_MISMATCH)
        return err_set(err, -E_MISMATCH,
                       "this Idempotency-Key was used for a request with other content");
    if (ret->outcome == SUBMIT_ACCEPTED) {
        metric_add(METRIC_TASKS_SUBMITTED, 1);
        service_announce(s);
        FAILPOINT(submit_announced);
    }
    return 0;
}
