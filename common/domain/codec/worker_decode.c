/* worker_decode.c - the messages of worker_protocol.h read back, strictly. What our own
 * programs write, worker_scan.c has read before it comes to that. */
#include "worker_protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "worker_scan.h"

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for a message");
}

/* -- pieces that several messages share -- */

bool sha256_is_valid(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static int artifact_from_json(const json_t *object, const char *path, struct artifact *ret,
                              struct err *err)
{
    struct artifact a = {{0}, 0, {0}};
    int64_t size = 0;
    const struct json_field fields[] = {
        {"key", JSON_FIELD_STRING, true, a.key, sizeof a.key, 0, 0},
        {"size", JSON_FIELD_INT, true, &size, 0, 0, INT64_MAX},
        {"sha256", JSON_FIELD_STRING, false, a.sha256, sizeof a.sha256, 0, 0},
        {0},
    };
    int rc = object ? json_read_object(object, path, fields, err) : 0;

    if (rc)
        return rc;
    if (object && !artifact_key_is_valid(a.key))
        return err_set(err, -E_BAD_VALUE, "%s.key: is no valid key", path);
    if (a.sha256[0] && !sha256_is_valid(a.sha256))
        return err_set(err, -E_BAD_VALUE, "%s.sha256: must be 64 lower-case hex digits", path);
    a.size = (uint64_t)size;
    *ret = a;
    return 0;
}

static int check_ids(const char *path, const char *task_id, const char *token, struct err *err)
{
    if (!id_is_valid(task_id))
        return err_set(err, -E_BAD_VALUE, "%stask_id: is no task id", path);
    if (token && !token_is_valid(token))
        return err_set(err, -E_BAD_VALUE, "%stoken: must be 32 lower-case hex digits", path);
    return 0;
}

bool worker_name_is_valid(const char *worker)
{
    const char *c = worker;

    while ((unsigned char)*c >= 0x20 && *c != 0x7F)
        c++;
    return *worker && !*c;
}

static int check_worker(const char *worker, struct err *err)
{
    if (!worker[0])
        return err_set(err, -E_BAD_VALUE, "worker: must not be empty");
    if (!worker_name_is_valid(worker))
        return err_set(err, -E_BAD_VALUE, "worker: must not hold control characters");
    return 0;
}

/* Decodes `{"<list>": [...], "worker": …}`: every element by `one` into an array of `size`d
 * structs. On failure `drop` has released what had been decoded. */
struct list_reader {
    const char *name;
    size_t size, max;
    bool has_worker; /* a request; else an answer, which may have members unknown to us */
    int (*one)(const json_t *object, const char *path, void *ret, struct err *err);
    void (*drop)(void *item);
    bool deep; /* `one` sees to the depth of its element */
};

static int list_items(const struct list_reader *r, const json_t *array, void **ret,
                      size_t *ret_count, struct err *err)
{
    size_t count = json_array_size(array), done = 0;
    char *items = calloc(count ? count : 1, r->size);
    int rc = items ? 0 : no_memory(err);

    while (!rc && done < count) {
        char path[64];
        snprintf(path, sizeof path, "%s[%zu]", r->name, done);
        rc = r->one(json_array_get(array, done), path, items + done * r->size, err);
        done += !rc;
    }
    if (rc) {
        for (size_t i = 0; r->drop && i < done; i++)
            r->drop(items + i * r->size);
        free(items);
        return rc;
    }
    *ret = items;
    *ret_count = count;
    return 0;
}

static int list_decode(const struct list_reader *r, const char *text, size_t len,
                       char *ret_worker, void **ret, size_t *ret_count, struct err *err)
{
    json_t *root = NULL, *array = NULL;
    char worker[TASK_WORKER_MAX] = "";
    const struct json_field fields[] = {
        {r->name, JSON_FIELD_ARRAY, true, &array, 0, 0, (int64_t)r->max},
        {r->has_worker ? "worker" : NULL, JSON_FIELD_STRING, true, worker, sizeof worker, 0, 0},
        {0},
    };
    int rc = r->deep ? json_read_deep_text(text, len, &root, err)
                     : json_read_text(text, len, &root, err);

    if (!rc)
        rc = r->has_worker ? json_read_object(root, "", fields, err)
                           : json_read_object_open(root, "", fields, err);
    if (!rc && r->has_worker)
        rc = check_worker(worker, err);
    if (!rc)
        rc = list_items(r, array, ret, ret_count, err);
    if (!rc && ret_worker)
        memcpy(ret_worker, worker, sizeof worker);
    json_decref(root);
    return rc;
}

/* -- claim -- */

static bool has_queue(const struct claim_request *r, const char *name)
{
    for (size_t i = 0; i < r->queue_count; i++) {
        if (strcmp(r->queues[i], name) == 0)
            return true;
    }
    return false;
}

/* A name that comes again adds nothing: each queue is looked into once. */
static int read_queues(const json_t *array, struct claim_request *ret, struct err *err)
{
    size_t i;
    json_t *value;

    json_array_foreach(array, i, value)
    {
        const char *name = json_string_value(value);
        if (!name || !task_word_is_valid(name))
            return err_set(err, -E_BAD_VALUE, "queues[%zu]: is no queue name", i);
        if (!has_queue(ret, name))
            snprintf(ret->queues[ret->queue_count++], sizeof ret->queues[0], "%s", name);
    }
    return 0;
}

int claim_request_decode(const char *text, size_t len, struct claim_request *ret,
                         struct err *err)
{
    json_t *root = NULL, *queues = NULL;
    int64_t limit = 1;
    const struct json_field fields[] = {
        {"worker", JSON_FIELD_STRING, true, ret->worker, sizeof ret->worker, 0, 0},
        {"queues", JSON_FIELD_ARRAY, false, &queues, 0, 0, WORKER_QUEUES_MAX},
        {"task_id", JSON_FIELD_STRING, false, ret->task_id, sizeof ret->task_id, 0, 0},
        {"limit", JSON_FIELD_INT, false, &limit, 0, 1, WORKER_BATCH_MAX},
        {"wait_ms", JSON_FIELD_INT, false, &ret->wait_ms, 0, 0, WORKER_WAIT_MAX_MS},
        {0},
    };

    memset(ret, 0, sizeof *ret);
    int rc = json_read_text(text, len, &root, err);
    if (!rc)
        rc = json_read_object(root, "", fields, err);
    if (!rc)
        rc = check_worker(ret->worker, err);
    if (!rc)
        rc = read_queues(queues, ret, err);
    if (!rc && ret->task_id[0])
        rc = check_ids("", ret->task_id, NULL, err);
    if (!rc && !ret->task_id[0] && ret->queue_count == 0)
        rc = err_set(err, -E_BAD_VALUE, "queues: at least one is needed");
    ret->limit = (int)limit;
    json_decref(root);
    return rc;
}

void work_release(struct work *w)
{
    if (!w)
        return;
    free(w->params);
    memset(w, 0, sizeof *w);
}

/* Sums of leases and times must never overflow, whatever an answer says. */
static int64_t capped_lease(int64_t lease_ms)
{
    return lease_ms < WORKER_LEASE_MAX_MS ? lease_ms : WORKER_LEASE_MAX_MS;
}

static int work_from_json(const json_t *object, const char *path, void *out, struct err *err)
{
    struct work *ret = out;
    json_t *params = NULL, *input = NULL;
    int64_t attempt = 0, max_attempts = 0, lease_ms = 0;
    char dotted[80] = "", input_path[96];
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, ret->task_id, sizeof ret->task_id, 0, 0},
        {"type", JSON_FIELD_STRING, true, ret->type, sizeof ret->type, 0, 0},
        {"queue", JSON_FIELD_STRING, true, ret->queue, sizeof ret->queue, 0, 0},
        {"attempt", JSON_FIELD_INT, true, &attempt, 0, 1, INT32_MAX},
        {"max_attempts", JSON_FIELD_INT, true, &max_attempts, 0, 1, INT32_MAX},
        {"token", JSON_FIELD_STRING, true, ret->token, sizeof ret->token, 0, 0},
        {"lease_ms", JSON_FIELD_INT, true, &lease_ms, 0, 1, INT64_MAX},
        {"timeout_ms", JSON_FIELD_INT, false, &ret->timeout_ms, 0, 0, INT64_MAX},
        {"output_prefix", JSON_FIELD_STRING, true, ret->output_prefix,
         sizeof ret->output_prefix, 0, 0},
        {"output_stem", JSON_FIELD_STRING, false, ret->output_stem, sizeof ret->output_stem, 0,
         0},
        {"input_name", JSON_FIELD_STRING, false, ret->input_name, sizeof ret->input_name, 0, 0},
        {"input", JSON_FIELD_OBJECT, false, &input, 0, 0, 0},
        {"params", JSON_FIELD_OBJECT, false, &params, 0, 0, 0},
        {0},
    };

    memset(ret, 0, sizeof *ret);
    if (*path)
        snprintf(dotted, sizeof dotted, "%s.", path);
    snprintf(input_path, sizeof input_path, "%sinput", dotted);
    int rc = json_read_object_open(object, path, fields, err);
    if (!rc)
        rc = check_ids(dotted, ret->task_id, ret->token, err);
    if (!rc)
        rc = artifact_from_json(input, input_path, &ret->input, err);
    if (rc)
        return rc;
    ret->lease_ms = capped_lease(lease_ms);
    ret->attempt = (int)attempt;
    ret->max_attempts = (int)max_attempts;
    ret->params = params ? json_text(params, JSON_COMPACT) : strdup("{}");
    return ret->params ? 0 : no_memory(err);
}

int work_decode(const char *text, size_t len, struct work *ret, struct err *err)
{
    json_t *root = NULL;

    if (work_scan(text, len, ret))
        return 0;
    int rc = json_read_text(text, len, &root, err);
    if (!rc)
        rc = work_from_json(root, "", ret, err);
    json_decref(root);
    return rc;
}

/* What can be told of whose attempt it was; nothing by halves. */
static void salvage_ids(const json_t *object, struct work *ret)
{
    const char *task_id = json_string_value(json_object_get(object, "task_id"));
    const char *token = json_string_value(json_object_get(object, "token"));

    memset(ret, 0, sizeof *ret);
    if (!task_id || !id_is_valid(task_id) || !token || !token_is_valid(token))
        return;
    snprintf(ret->task_id, sizeof ret->task_id, "%s", task_id);
    snprintf(ret->token, sizeof ret->token, "%s", token);
}

static int claimed_from_json(const json_t *object, const char *path, void *out, struct err *err)
{
    struct claim_item *ret = out;
    int rc = json_is_deeper(object, JSON_DEPTH_LIMIT)
                 ? err_set(&ret->fault, -E_BAD_VALUE, "%s: nested deeper than %d levels", path,
                           JSON_DEPTH_LIMIT)
                 : work_from_json(object, path, &ret->work, &ret->fault);

    if (rc == -E_NO_MEMORY)
        return no_memory(err);
    if (rc)
        salvage_ids(object, &ret->work);
    return 0;
}

static void claimed_drop(void *item)
{
    work_release(&((struct claim_item *)item)->work);
}

int work_list_decode(const char *text, size_t len, struct claim_item **ret, size_t *ret_count,
                     struct err *err)
{
    static const struct list_reader reader = {.name = "tasks",
                                              .size = sizeof(struct claim_item),
                                              .max = WORKER_BATCH_MAX,
                                              .one = claimed_from_json,
                                              .drop = claimed_drop,
                                              .deep = true};
    void *items = NULL;

    if (work_list_scan(text, len, ret, ret_count))
        return 0;
    int rc = list_decode(&reader, text, len, NULL, &items, ret_count, err);
    if (!rc)
        *ret = items;
    return rc;
}

/* -- heartbeat -- */

static int heartbeat_from_json(const json_t *object, const char *path, void *out,
                               struct err *err)
{
    struct heartbeat *ret = out;
    char dotted[80];
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, ret->task_id, sizeof ret->task_id, 0, 0},
        {"token", JSON_FIELD_STRING, true, ret->token, sizeof ret->token, 0, 0},
        {"progress", JSON_FIELD_NUMBER, false, &ret->progress, 0, 0, 1},
        {0},
    };

    ret->progress = -1;
    snprintf(dotted, sizeof dotted, "%s.", path);
    int rc = json_read_object(object, path, fields, err);
    return rc ? rc : check_ids(dotted, ret->task_id, ret->token, err);
}

int heartbeat_list_decode(const char *text, size_t len, char *ret_worker,
                          struct heartbeat **ret, size_t *ret_count, struct err *err)
{
    static const struct list_reader reader = {
        "attempts", sizeof(struct heartbeat), WORKER_BATCH_MAX, true, heartbeat_from_json, NULL,
        false};
    void *items = NULL;
    int rc = list_decode(&reader, text, len, ret_worker, &items, ret_count, err);

    if (!rc)
        *ret = items;
    return rc;
}

static int heartbeat_verdict_from_json(const json_t *object, const char *path, void *out,
                                       struct err *err)
{
    struct heartbeat_verdict *ret = out;
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, ret->task_id, sizeof ret->task_id, 0, 0},
        {"held", JSON_FIELD_BOOL, true, &ret->held, 0, 0, 0},
        {"lease_ms", JSON_FIELD_INT, false, &ret->lease_ms, 0, 0, INT64_MAX},
        {"state", JSON_FIELD_STRING, false, ret->state, sizeof ret->state, 0, 0},
        {0},
    };
    int rc = json_read_object_open(object, path, fields, err);

    ret->lease_ms = capped_lease(ret->lease_ms);
    return rc;
}

int heartbeat_verdicts_decode(const char *text, size_t len, struct heartbeat_verdict **ret,
                              size_t *ret_count, struct err *err)
{
    static const struct list_reader reader = {
        "attempts", sizeof(struct heartbeat_verdict), WORKER_BATCH_MAX,
        false,      heartbeat_verdict_from_json,      NULL,
        false};
    void *items = NULL;
    int rc = list_decode(&reader, text, len, NULL, &items, ret_count, err);

    if (!rc)
        *ret = items;
    return rc;
}

/* -- report -- */

static const char *const report_words[REPORT_WORD__COUNT] = {
    [REPORT_RECORDED] = "recorded", [REPORT_REPEATED] = "repeated", [REPORT_STALE] = "stale",
    [REPORT_UNKNOWN] = "unknown",   [REPORT_REFUSED] = "refused",
};

const char *report_word_name(enum report_word word)
{
    return report_words[word];
}

void report_release(struct report *r)
{
    if (!r)
        return;
    free(r->result);
    memset(r, 0, sizeof *r);
}

static int error_from_json(const json_t *object, const char *path, struct task_error *ret,
                           struct err *err)
{
    char class[16] = "";
    const struct json_field fields[] = {
        {"class", JSON_FIELD_STRING, true, class, sizeof class, 0, 0},
        {"code", JSON_FIELD_STRING, false, ret->code, sizeof ret->code, 0, 0},
        {"message", JSON_FIELD_STRING, true, ret->message, sizeof ret->message, 0, 0},
        {0},
    };
    int rc = json_read_object(object, path, fields, err);

    if (!rc && (!error_class_parse(class, &ret->class) || ret->class == ERROR_NONE))
        rc = err_set(err, -E_BAD_VALUE,
                     "%s.class: must be input, transient, crash, timeout or cancelled", path);
    return rc;
}

static int usage_from_json(const json_t *object, const char *path, struct attempt_usage *ret,
                           struct err *err)
{
    int64_t exit_code = 0, signal = 0;
    const struct json_field fields[] = {
        {"wall_ms", JSON_FIELD_INT, false, &ret->wall_ms, 0, 0, INT64_MAX},
        {"cpu_ms", JSON_FIELD_INT, false, &ret->cpu_ms, 0, 0, INT64_MAX},
        {"peak_rss_bytes", JSON_FIELD_INT, false, &ret->peak_rss_bytes, 0, 0, INT64_MAX},
        {"exit_code", JSON_FIELD_INT, false, &exit_code, 0, 0, 255},
        {"signal", JSON_FIELD_INT, false, &signal, 0, 0, 64},
        {0},
    };
    int rc = json_read_object(object, path, fields, err);

    ret->exit_code = (int)exit_code;
    ret->signal = (int)signal;
    return rc;
}

/* A report says one of three things, and only what belongs to it. */
static int check_outcome(const char *path, const char *outcome, const json_t *error,
                         struct report *r, struct err *err)
{
    if (!attempt_outcome_parse(outcome, &r->outcome) ||
        (r->outcome != ATTEMPT_DONE && r->outcome != ATTEMPT_FAILED &&
         r->outcome != ATTEMPT_RELEASED))
        return err_set(err, -E_BAD_VALUE, "%soutcome: must be done, failed or released", path);
    if ((r->outcome == ATTEMPT_FAILED) != (error != NULL))
        return err_set(err, -E_BAD_VALUE,
                       "%serror: belongs to the outcome failed, and only to it", path);
    return 0;
}

static int report_parts(const char *path, const json_t *output, const json_t *error,
                        const json_t *usage, const json_t *result, struct report *ret,
                        struct err *err)
{
    char name[96];
    int rc = 0;

    snprintf(name, sizeof name, "%soutput", path);
    rc = artifact_from_json(output, name, &ret->output, err);
    snprintf(name, sizeof name, "%serror", path);
    if (!rc && error)
        rc = error_from_json(error, name, &ret->error, err);
    snprintf(name, sizeof name, "%susage", path);
    if (!rc && usage)
        rc = usage_from_json(usage, name, &ret->usage, err);
    if (rc || !result)
        return rc;
    ret->result = json_text(result, JSON_COMPACT);
    if (!ret->result)
        return no_memory(err);
    if (strlen(ret->result) > RESULT_TEXT_MAX) {
        report_release(ret);
        return err_set(err, -E_TOO_BIG, "%sresult: longer than %d bytes", path,
                       RESULT_TEXT_MAX);
    }
    return 0;
}

static int report_from_json(const json_t *object, const char *path, void *out, struct err *err)
{
    struct report *ret = out;
    json_t *output = NULL, *error = NULL, *usage = NULL, *result = NULL;
    char outcome[16] = "", dotted[80] = "";
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, ret->task_id, sizeof ret->task_id, 0, 0},
        {"token", JSON_FIELD_STRING, true, ret->token, sizeof ret->token, 0, 0},
        {"outcome", JSON_FIELD_STRING, true, outcome, sizeof outcome, 0, 0},
        {"output", JSON_FIELD_OBJECT, false, &output, 0, 0, 0},
        {"error", JSON_FIELD_OBJECT, false, &error, 0, 0, 0},
        {"usage", JSON_FIELD_OBJECT, false, &usage, 0, 0, 0},
        {"result", JSON_FIELD_OBJECT, false, &result, 0, 0, 0},
        {0},
    };

    memset(ret, 0, sizeof *ret);
    if (*path)
        snprintf(dotted, sizeof dotted, "%s.", path);
    int rc = json_read_object(object, path, fields, err);
    if (!rc)
        rc = check_ids(dotted, ret->task_id, ret->token, err);
    if (!rc)
        rc = check_outcome(dotted, outcome, error, ret, err);
    return rc ? rc : report_parts(dotted, output, error, usage, result, ret, err);
}

int report_decode(const char *text, size_t len, struct report *ret, struct err *err)
{
    json_t *root = NULL;

    if (report_scan(text, len, ret))
        return 0;
    int rc = json_read_text(text, len, &root, err);
    if (!rc)
        rc = report_from_json(root, "", ret, err);
    json_decref(root);
    return rc;
}

static void report_drop(void *item)
{
    report_release(item);
}

int report_list_decode(const char *text, size_t len, char *ret_worker, struct report **ret,
                       size_t *ret_count, struct err *err)
{
    static const struct list_reader reader = {
        "reports", sizeof(struct report), WORKER_BATCH_MAX, true, report_from_json, report_drop,
        false};
    void *items = NULL;

    if (report_list_scan(text, len, ret_worker, ret, ret_count))
        return 0;
    int rc = list_decode(&reader, text, len, ret_worker, &items, ret_count, err);
    if (!rc)
        *ret = items;
    return rc;
}

static int report_verdict_from_json(const json_t *object, const char *path, void *out,
                                    struct err *err)
{
    struct report_verdict *ret = out;
    char word[16] = "";
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, ret->task_id, sizeof ret->task_id, 0, 0},
        {"status", JSON_FIELD_STRING, true, word, sizeof word, 0, 0},
        {"state", JSON_FIELD_STRING, false, ret->state, sizeof ret->state, 0, 0},
        {"detail", JSON_FIELD_STRING, false, ret->detail, sizeof ret->detail, 0, 0},
        {0},
    };
    int rc = json_read_object_open(object, path, fields, err);

    if (rc)
        return rc;
    for (int i = 0; i < REPORT_WORD__COUNT; i++) {
        if (strcmp(word, report_words[i]) == 0) {
            ret->word = (enum report_word)i;
            return 0;
        }
    }
    return err_set(err, -E_BAD_VALUE, "%s.status: unknown word '%s'", path, word);
}

int report_verdicts_decode(const char *text, size_t len, struct report_verdict **ret,
                           size_t *ret_count, struct err *err)
{
    static const struct list_reader reader = {
        "reports", sizeof(struct report_verdict), WORKER_BATCH_MAX,
        false,     report_verdict_from_json,      NULL,
        false};
    void *items = NULL;

    if (report_verdicts_scan(text, len, ret, ret_count))
        return 0;
    int rc = list_decode(&reader, text, len, NULL, &items, ret_count, err);
    if (!rc)
        *ret = items;
    return rc;
}
