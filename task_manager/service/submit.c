/* submit.c - accepting a task: checked, within the backlog, and durable before the answer. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call_rules.h"
#include "call_spec.h"
#include "failpoint.h"
#include "params.h"
#include "service_internal.h"
#include "sha256.h"
#include "task_type.h"

bool submit_is_type(const struct config *config, const char *type)
{
    char word[TASK_TYPE_MAX];

    for (const char *at = config->task_types;
         (at = config_list_next(at, word, sizeof word)) != NULL;) {
        if (strcmp(word, type) == 0)
            return true;
    }
    return false;
}

int submit_check_key(const char *key, struct err *err)
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

static int check_repository(const struct config *config, const char *params, struct err *err)
{
    struct params *opened = NULL;
    struct repo_url url;
    int rc = params_open(params, &opened, err);

    if (!rc)
        rc = call_rules_read_repo(config, params_word(opened, "repository", ""),
                                  "params.repository", &url, err);
    params_close(opened);
    return rc;
}

static int check_call(const struct config *config, const char *params, struct err *err)
{
    struct call_spec *spec = NULL;
    struct web_url url;
    int rc = call_spec_open(params, &spec, err);

    if (!rc)
        rc = call_rules_read_url(config, call_spec_url(spec), "params.url", &url, err);
    call_spec_close(spec);
    return rc;
}

/* What the worker would refuse for being written wrongly, or for leading where it may not go,
 * is refused at once. */
static const struct {
    const char *type;
    int (*check)(const struct config *config, const char *params, struct err *err);
} readers[] = {
    {"http_call", check_call},
    {"repo_download", check_repository},
};

int submit_check_meaning(const struct config *config, const char *type, const char *params,
                         struct err *err)
{
    for (size_t i = 0; i < sizeof readers / sizeof readers[0]; i++) {
        if (strcmp(readers[i].type, type) == 0)
            return readers[i].check(config, params, err);
    }
    return 0;
}

static int check(struct service *s, const struct submit_request *r, struct err *err)
{
    const struct task_type *type = task_type_find(r->type);

    if (!type && !submit_is_type(s->parts.config, r->type))
        return err_set(err, -E_BAD_VALUE, "type: there is no task type '%s'", r->type);
    if (r->queue[0] && !task_word_is_valid(r->queue))
        return err_set(err, -E_BAD_VALUE,
                       "queue: must be letters, digits, '_', '.' or '-', at most %d",
                       TASK_QUEUE_MAX - 1);
    if (type && type->needs_input && !r->input.key[0])
        return err_set(err, -E_BAD_VALUE,
                       "type: '%s' works on a file; send it to /v1/data_processor/upload",
                       r->type);
    int rc = params_check(r->type, r->params, err);
    if (!rc)
        rc = submit_check_meaning(s->parts.config, r->type, r->params, err);
    if (!rc && r->idempotency_key)
        rc = submit_check_key(r->idempotency_key, err);
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

static int check_room(struct service *s, int64_t count, struct err *err)
{
    if (atomic_load(&s->waiting) + count > s->parts.config->max_queued)
        return err_set(err, -E_OVERLOAD, "%" PRId64 " tasks are waiting already; try later",
                       s->parts.config->max_queued);
    return 0;
}

int service_check_backlog(struct service *s, struct err *err)
{
    return check_room(s, 1, err);
}

/* The same request has the same digest, so secrets are sealed, each time in another way, after
 * that. */
static int prepare(struct service *s, const struct submit_request *request,
                   struct submission *item, char **ret_sealed, struct err *err)
{
    *item = (struct submission){.client = "", .key = request->idempotency_key};
    *ret_sealed = NULL;
    int rc = check(s, request, err);

    if (!rc && item->key)
        rc = request_digest(request, item->request_sha256, err);
    if (!rc)
        rc = FAILPOINT_ERR(submit_checked, -E_UNAVAILABLE, err);
    if (!rc)
        rc = secrets_seal(s, request->type, request->params, ret_sealed, err);
    if (!rc)
        fill_task(s, request, &item->task);
    if (!rc && *ret_sealed)
        item->task.params = *ret_sealed;
    return rc;
}

/* Fills the job, with room for it behind `ahead` others. A full backlog refuses what is new,
 * but a repeat makes no task and gets its first answer: 1, and the job is done. */
static int admit(struct service *s, const struct submit_request *request, int64_t ahead,
                 struct submit_job *job)
{
    struct err ignored = ERR_INIT;
    int rc = prepare(s, request, &job->item, &job->sealed_params, &job->err);

    if (rc || check_room(s, ahead + 1, &ignored) == 0)
        return rc;
    job->result.outcome = SUBMIT_ACCEPTED;
    rc = job->item.key ? store_look_up(s->parts.store, &job->item, &job->result, &job->err) : 0;
    if (!rc && job->result.outcome == SUBMIT_ACCEPTED)
        return check_room(s, ahead + 1, &job->err);
    if (!rc)
        submit_settle(s, job);
    return rc ? rc : 1;
}

int service_submit(struct service *s, const struct submit_request *request,
                   struct submit_result *ret, struct err *err)
{
    struct submit_job job = {.err = ERR_INIT};
    int rc = admit(s, request, 0, &job);

    if (rc == 0)
        submit_group_wait(s, &job);
    else if (rc < 0)
        job.rc = rc;
    free(job.sealed_params);
    *ret = job.result;
    return job.rc ? err_set(err, job.rc, "%s", job.err.text) : 0;
}

/* -- without waiting -- */

struct later {
    struct submit_job job;
    struct submit_reply reply;
    char *params;
};

static void answer_later(struct submit_job *job)
{
    struct later *l = (struct later *)(void *)((char *)job - offsetof(struct later, job));

    l->reply.answer(l->reply.arg, job->rc, &job->result, &job->err);
    free(job->sealed_params);
    free(l->params);
    free(l);
}

void service_submit_later(struct service *s, const struct submit_request *request,
                          char *params_take, const struct submit_reply *reply)
{
    struct err why = ERR_INIT;
    struct later *l = calloc(1, sizeof *l);

    if (!l) {
        err_set(&why, -E_NO_MEMORY, "no memory for a submit");
        reply->answer(reply->arg, why.code, NULL, &why);
        free(params_take);
        return;
    }
    *l = (struct later){.job = {.err = ERR_INIT, .answer = answer_later},
                        .reply = *reply,
                        .params = params_take};
    int rc = admit(s, request, 0, &l->job);
    if (rc == 0) {
        submit_group_add(s, &l->job);
        return;
    }
    if (rc < 0)
        l->job.rc = rc;
    answer_later(&l->job);
}

/* -- many -- */

enum { BULK_MAX = 256 };

/* Checks each and records the good ones together. */
static void submit_part(struct service *s, struct submit_one *items, size_t count,
                        struct submit_job *jobs)
{
    struct submit_job *ready[BULK_MAX];
    size_t ready_count = 0;

    for (size_t i = 0; i < count; i++) {
        jobs[i] = (struct submit_job){.rc = items[i].rc, .err = items[i].err};
        if (jobs[i].rc)
            continue;
        int rc = admit(s, &items[i].request, (int64_t)ready_count, &jobs[i]);
        if (rc == 0)
            ready[ready_count++] = &jobs[i];
        else if (rc < 0)
            jobs[i].rc = rc;
    }
    if (ready_count)
        submit_record(s, ready, ready_count);
    for (size_t i = 0; i < count; i++) {
        items[i].rc = jobs[i].rc;
        items[i].err = jobs[i].err;
        items[i].result = jobs[i].result;
        free(jobs[i].sealed_params);
    }
}

int service_submit_many(struct service *s, struct submit_one *items, size_t count,
                        struct err *err)
{
    struct submit_job *jobs = calloc(BULK_MAX, sizeof *jobs);

    if (!jobs)
        return err_set(err, -E_NO_MEMORY, "no memory for %zu submits", count);
    for (size_t from = 0; from < count; from += BULK_MAX) {
        submit_part(s, items + from, count - from < BULK_MAX ? count - from : BULK_MAX, jobs);
        service_announce_submits(s);
    }
    free(jobs);
    return 0;
}
