#include "worker_scan.h"

#include <stdlib.h>
#include <string.h>

#include "json_read.h"

/* Every function below moves `at` past what it has read, or returns false. */
struct scan {
    const char *at, *end;
};

/* -- pieces -- */

static bool scan_word(struct scan *s, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return false;
    s->at += len;
    return true;
}

/* What may stand between quotes and means itself. */
static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* From after the opening quote to after the closing one. */
static bool scan_text(struct scan *s, char *ret, size_t size)
{
    const char *from = s->at;

    while (s->at < s->end && is_plain((unsigned char)*s->at))
        s->at++;
    size_t len = (size_t)(s->at - from);
    if (len >= size || !scan_word(s, "\""))
        return false;
    memcpy(ret, from, len);
    ret[len] = '\0';
    return true;
}

static bool scan_string(struct scan *s, const char *before, char *ret, size_t size)
{
    return scan_word(s, before) && scan_text(s, ret, size);
}

/* Up to 18 digits, so that it cannot overflow; what comes after them is the caller's to see. */
static bool scan_int(struct scan *s, const char *before, int64_t min, int64_t max, int64_t *ret)
{
    int64_t number = 0;

    if (!scan_word(s, before))
        return false;
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9' && s->at - from < 18)
        number = number * 10 + (*s->at++ - '0');
    if (s->at == from || (*from == '0' && s->at - from > 1) || number < min || number > max)
        return false;
    *ret = number;
    return true;
}

static bool scan_small(struct scan *s, const char *before, int64_t min, int64_t max, int *ret)
{
    int64_t number = 0;

    if (!scan_int(s, before, min, max, &number))
        return false;
    *ret = (int)number;
    return true;
}

/* From after the opening quote to after the closing one, escapes and all. */
static bool skip_string(struct scan *s)
{
    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"')
            return true;
        if (c == '\\' && s->at < s->end)
            s->at++;
    }
    return false;
}

/* To the bracket that closes the one at `at`, as far as brackets tell. */
static bool skip_object(struct scan *s)
{
    int depth = 0;

    while (s->at < s->end) {
        char c = *s->at++;
        if (c == '"' && !skip_string(s))
            return false;
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (depth == 0)
            return c == '}';
    }
    return false;
}

/* An object of somebody's own, as compact text. It is jansson's to judge, unless it is empty.
 */
static bool scan_object(struct scan *s, const char *before, char **ret)
{
    json_t *value = NULL;

    if (!scan_word(s, before))
        return false;
    const char *from = s->at;
    if (s->at == s->end || *from != '{' || !skip_object(s))
        return false;
    if (s->at - from == 2) {
        *ret = strdup("{}");
        return *ret != NULL;
    }
    /* Messages add up to three levels to what their limit is for. */
    if (json_read_deep_text(from, (size_t)(s->at - from), &value, NULL) != 0)
        return false;
    *ret = json_is_deeper(value, JSON_DEPTH_LIMIT - 3) ? NULL : json_text(value, JSON_COMPACT);
    json_decref(value);
    return *ret != NULL;
}

static bool scan_artifact(struct scan *s, const char *before, struct artifact *ret)
{
    int64_t size = 0;

    if (!scan_word(s, before))
        return false;
    if (scan_word(s, "null"))
        return true;
    if (!scan_string(s, "{\"key\":\"", ret->key, sizeof ret->key) ||
        !scan_int(s, ",\"size\":", 0, INT64_MAX, &size) ||
        !scan_string(s, ",\"sha256\":\"", ret->sha256, sizeof ret->sha256) ||
        !scan_word(s, "}"))
        return false;
    ret->size = (uint64_t)size;
    return artifact_key_is_valid(ret->key) && (!ret->sha256[0] || sha256_is_valid(ret->sha256));
}

static bool scan_ids(struct scan *s, char *ret_id, char *ret_token)
{
    return scan_string(s, "{\"task_id\":\"", ret_id, ID_TEXT_MAX) && id_is_valid(ret_id) &&
           scan_string(s, ",\"token\":\"", ret_token, TOKEN_TEXT_MAX) &&
           token_is_valid(ret_token);
}

/* -- lists -- */

struct scan_list {
    const char *open; /* up to and with the bracket */
    size_t size;
    bool (*one)(struct scan *s, void *ret); /* ret is zeroed; nothing is left on failure */
    void (*drop)(void *item);
};

static size_t count_items(const struct scan *s)
{
    static const char mark[] = "{\"task_id\":";
    size_t count = 0;
    const char *at = s->at, *found;

    while ((found = memmem(at, (size_t)(s->end - at), mark, sizeof mark - 1)) != NULL) {
        count++;
        at = found + sizeof mark - 1;
    }
    return count;
}

/* From after the opening bracket to after the closing one; at most `max` items. */
static bool scan_items(struct scan *s, const struct scan_list *l, char *items, size_t max,
                       size_t *ret_count)
{
    if (scan_word(s, "]"))
        return true;
    do {
        if (*ret_count == max || !l->one(s, items + *ret_count * l->size))
            return false;
        ++*ret_count;
    } while (scan_word(s, ","));
    return scan_word(s, "]");
}

/* The rest of the text from the list's name on. */
static bool scan_list(struct scan *s, const struct scan_list *l, void **ret, size_t *ret_count)
{
    size_t max = count_items(s), count = 0;

    if (max > WORKER_BATCH_MAX || !scan_word(s, l->open))
        return false;
    char *items = calloc(max ? max : 1, l->size);
    if (!items)
        return false;
    if (scan_items(s, l, items, max, &count) && scan_word(s, "}") && s->at == s->end) {
        *ret = items;
        *ret_count = count;
        return true;
    }
    for (size_t i = 0; l->drop && i < count; i++)
        l->drop(items + i * l->size);
    free(items);
    return false;
}

/* -- claims -- */

/* Written only if there is one. */
static bool scan_stem(struct scan *s, char *ret, size_t size)
{
    return !scan_word(s, ",\"output_stem\":\"") || scan_text(s, ret, size);
}

static bool scan_work(struct scan *s, struct work *w)
{
    return scan_string(s, "{\"task_id\":\"", w->task_id, sizeof w->task_id) &&
           scan_string(s, ",\"type\":\"", w->type, sizeof w->type) &&
           scan_string(s, ",\"queue\":\"", w->queue, sizeof w->queue) &&
           scan_small(s, ",\"attempt\":", 1, INT32_MAX, &w->attempt) &&
           scan_small(s, ",\"max_attempts\":", 1, INT32_MAX, &w->max_attempts) &&
           scan_string(s, ",\"token\":\"", w->token, sizeof w->token) &&
           scan_int(s, ",\"lease_ms\":", 1, WORKER_LEASE_MAX_MS, &w->lease_ms) &&
           scan_int(s, ",\"timeout_ms\":", 0, INT64_MAX, &w->timeout_ms) &&
           scan_string(s, ",\"output_prefix\":\"", w->output_prefix, sizeof w->output_prefix) &&
           scan_stem(s, w->output_stem, sizeof w->output_stem) &&
           scan_string(s, ",\"input_name\":\"", w->input_name, sizeof w->input_name) &&
           scan_artifact(s, ",\"input\":", &w->input) && id_is_valid(w->task_id) &&
           token_is_valid(w->token) && scan_object(s, ",\"params\":", &w->params);
}

static bool scan_whole_work(struct scan *s, struct work *w)
{
    if (scan_work(s, w) && scan_word(s, "}"))
        return true;
    work_release(w);
    return false;
}

static bool scan_claimed(struct scan *s, void *ret)
{
    return scan_whole_work(s, &((struct claim_item *)ret)->work);
}

static void drop_claimed(void *item)
{
    work_release(&((struct claim_item *)item)->work);
}

bool work_scan(const char *text, size_t len, struct work *ret)
{
    struct scan s = {text, text + len};

    memset(ret, 0, sizeof *ret);
    if (!scan_whole_work(&s, ret))
        return false;
    if (s.at == s.end)
        return true;
    work_release(ret);
    return false;
}

bool work_list_scan(const char *text, size_t len, struct claim_item **ret, size_t *ret_count)
{
    static const struct scan_list list = {"{\"tasks\":[", sizeof(struct claim_item),
                                          scan_claimed, drop_claimed};
    struct scan s = {text, text + len};
    void *items = NULL;

    if (!scan_list(&s, &list, &items, ret_count))
        return false;
    *ret = items;
    return true;
}

/* -- reports -- */

static bool scan_error(struct scan *s, struct task_error *ret)
{
    char class[16];

    if (scan_word(s, ",\"error\":null"))
        return true;
    return scan_string(s, ",\"error\":{\"class\":\"", class, sizeof class) &&
           error_class_parse(class, &ret->class) && ret->class != ERROR_NONE &&
           scan_string(s, ",\"code\":\"", ret->code, sizeof ret->code) &&
           scan_string(s, ",\"message\":\"", ret->message, sizeof ret->message) &&
           scan_word(s, "}");
}

static bool scan_usage(struct scan *s, struct attempt_usage *ret)
{
    return scan_int(s, ",\"usage\":{\"wall_ms\":", 0, INT64_MAX, &ret->wall_ms) &&
           scan_int(s, ",\"cpu_ms\":", 0, INT64_MAX, &ret->cpu_ms) &&
           scan_int(s, ",\"peak_rss_bytes\":", 0, INT64_MAX, &ret->peak_rss_bytes) &&
           scan_small(s, ",\"exit_code\":", 0, 255, &ret->exit_code) &&
           scan_small(s, ",\"signal\":", 0, 64, &ret->signal) && scan_word(s, "}");
}

static bool scan_outcome(struct scan *s, struct report *r)
{
    char outcome[16];

    return scan_string(s, ",\"outcome\":\"", outcome, sizeof outcome) &&
           attempt_outcome_parse(outcome, &r->outcome) &&
           (r->outcome == ATTEMPT_DONE || r->outcome == ATTEMPT_FAILED ||
            r->outcome == ATTEMPT_RELEASED);
}

static bool scan_result(struct scan *s, char **ret)
{
    if (scan_word(s, ",\"result\":null"))
        return true;
    return scan_object(s, ",\"result\":", ret) && strlen(*ret) <= RESULT_TEXT_MAX;
}

static bool scan_report(struct scan *s, void *out)
{
    struct report *r = out;

    if (scan_ids(s, r->task_id, r->token) && scan_outcome(s, r) &&
        scan_artifact(s, ",\"output\":", &r->output) && scan_error(s, &r->error) &&
        (r->outcome == ATTEMPT_FAILED) == (r->error.class != ERROR_NONE) &&
        scan_usage(s, &r->usage) && scan_result(s, &r->result) && scan_word(s, "}"))
        return true;
    report_release(r);
    return false;
}

static void drop_report(void *item)
{
    report_release(item);
}

bool report_scan(const char *text, size_t len, struct report *ret)
{
    struct scan s = {text, text + len};

    memset(ret, 0, sizeof *ret);
    if (!scan_report(&s, ret))
        return false;
    if (s.at == s.end)
        return true;
    report_release(ret);
    return false;
}

bool report_list_scan(const char *text, size_t len, char *ret_worker, struct report **ret,
                      size_t *ret_count)
{
    static const struct scan_list list = {",\"reports\":[", sizeof(struct report), scan_report,
                                          drop_report};
    struct scan s = {text, text + len};
    char worker[TASK_WORKER_MAX];
    void *items = NULL;

    if (!scan_string(&s, "{\"worker\":\"", worker, sizeof worker) ||
        !worker_name_is_valid(worker) || !scan_list(&s, &list, &items, ret_count))
        return false;
    if (ret_worker)
        memcpy(ret_worker, worker, sizeof worker);
    *ret = items;
    return true;
}

static bool scan_verdict(struct scan *s, void *out)
{
    struct report_verdict *v = out;
    char word[16];
    int i = 0;

    if (!scan_string(s, "{\"task_id\":\"", v->task_id, sizeof v->task_id) ||
        !scan_string(s, ",\"status\":\"", word, sizeof word) ||
        !scan_string(s, ",\"state\":\"", v->state, sizeof v->state) ||
        !scan_string(s, ",\"detail\":\"", v->detail, sizeof v->detail) || !scan_word(s, "}"))
        return false;
    while (i < REPORT_WORD__COUNT && strcmp(word, report_word_name((enum report_word)i)) != 0)
        i++;
    v->word = (enum report_word)i;
    return i < REPORT_WORD__COUNT;
}

bool report_verdicts_scan(const char *text, size_t len, struct report_verdict **ret,
                          size_t *ret_count)
{
    static const struct scan_list list = {"{\"reports\":[", sizeof(struct report_verdict),
                                          scan_verdict, NULL};
    struct scan s = {text, text + len};
    void *items = NULL;

    if (!scan_list(&s, &list, &items, ret_count))
        return false;
    *ret = items;
    return true;
}
