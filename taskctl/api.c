/* api.c - see api.h. */
#include "api.h"

#include <assert.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backoff.h"
#include "id.h"

enum { TIMEOUT_MS = 30000, RETRY_BASE_MS = 200, RETRY_CAP_MS = 5000, RETRY_AFTER_MAX_S = 30 };
enum { ANSWER_MAX = 16 << 20, KEY_MAX = 255 };

static atomic_bool stop_wanted;

/* The second Ctrl-C ends the program at once. */
static void on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&stop_wanted, true);
}

static int connect_once(struct cli *cli, struct err *err)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    if (cli->http)
        return 0;
    int rc = http_client_global_init(err);
    if (!rc)
        rc = http_client_new(cli->url, &cli->http, err);
    if (rc)
        return rc;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return 0;
}

void api_close(struct cli *cli)
{
    http_client_free(cli->http);
    cli->http = NULL;
}

bool api_sleep_ms(int64_t ms)
{
    struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};

    if (!atomic_load(&stop_wanted))
        nanosleep(&ts, NULL); /* a signal ends it early */
    return !atomic_load(&stop_wanted);
}

/* The sentence of a problem answer (RFC 9457), or what the status alone tells. */
static int explain_refusal(const struct http_answer *answer, struct err *err)
{
    static const struct {
        int status, code;
    } codes[] = {
        {404, -E_NOT_FOUND}, {409, -E_BAD_STATE}, {413, -E_TOO_BIG},
        {415, -E_BAD_TYPE},  {422, -E_MISMATCH},  {429, -E_OVERLOAD},
    };
    static const char *const members[] = {"detail", "title", "error"};
    int code = answer->status >= 500 ? -E_UNAVAILABLE : -E_BAD_INPUT;

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].status == answer->status)
            code = codes[i].code;
    }
    json_t *problem = json_loadb(answer->body.data, answer->body.len, 0, NULL);
    const char *text = NULL;
    for (size_t i = 0; i < sizeof members / sizeof members[0] && !text; i++)
        text = json_string_value(json_object_get(problem, members[i]));
    int rc = text ? err_set(err, code, "%s (HTTP %d)", text, answer->status)
                  : err_set(err, code, "the server answered HTTP %d", answer->status);
    json_decref(problem);
    return rc;
}

static int call_once(struct cli *cli, const struct http_call *call, struct http_answer *ret,
                     struct err *err)
{
    int rc = http_client_call(cli->http, call, ret, err);

    if (!rc && ret->status / 100 != 2)
        rc = explain_refusal(ret, err);
    if (rc)
        buf_release(&ret->body);
    return rc;
}

/* Where the body and the sink stood before the first try. */
struct places {
    off_t body, sink;
};

static struct places places_of(const struct http_call *call)
{
    return (struct places){
        call->body_fd > 0 ? lseek(call->body_fd, 0, SEEK_CUR) : 0,
        call->sink_fd > 0 ? lseek(call->sink_fd, 0, SEEK_CUR) : 0,
    };
}

static bool go_back(const struct http_call *call, struct places start)
{
    struct places now = places_of(call);

    if (start.body < 0 || now.sink < 0 || now.sink != start.sink)
        return false;
    return call->body_fd <= 0 || lseek(call->body_fd, start.body, SEEK_SET) == start.body;
}

static bool may_work_later(int code)
{
    return code == -E_UNAVAILABLE || code == -E_OVERLOAD;
}

int api_call(struct cli *cli, struct http_call *call, enum api_patience patience,
             struct http_answer *ret, struct err *err)
{
    static const unsigned tries[] = {[API_ONCE] = 1, [API_FEW] = 5, [API_MANY] = 10};
    int rc = connect_once(cli, err);

    if (rc)
        return rc;
    call->stop = &stop_wanted;
    call->max_answer_bytes = ANSWER_MAX;
    if (call->body_fd <= 0 && call->sink_fd <= 0)
        call->timeout_ms = TIMEOUT_MS;
    struct places start = places_of(call);
    for (unsigned i = 1;; i++) {
        rc = call_once(cli, call, ret, err);
        if (!may_work_later(rc) || i >= tries[patience] || !go_back(call, start))
            return rc;
        int64_t wait_ms = backoff_ms(RETRY_BASE_MS, RETRY_CAP_MS, i - 1);
        if (ret->retry_after_s > 0 && ret->retry_after_s <= RETRY_AFTER_MAX_S)
            wait_ms += ret->retry_after_s * 1000;
        if (!api_sleep_ms(wait_ms))
            return err_set(err, -E_CANCELLED, "stopped");
    }
}

int api_json(struct cli *cli, struct http_call *call, enum api_patience patience, json_t **ret,
             struct err *err)
{
    struct http_answer answer;
    int rc = api_call(cli, call, patience, &answer, err);

    if (rc)
        return rc;
    json_t *value = json_loadb(answer.body.data, answer.body.len, JSON_REJECT_DUPLICATES, NULL);
    buf_release(&answer.body);
    if (!json_is_object(value)) {
        json_decref(value);
        return err_set(err, -E_UNAVAILABLE, "'%s' did not answer like a task manager",
                       cli->url);
    }
    *ret = value;
    return 0;
}

int api_get(struct cli *cli, json_t **ret, struct err *err, const char *fmt, ...)
{
    char path[2048];
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(path, sizeof path, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, -E_BAD_VALUE, "the arguments are too long");
    struct http_call call = {.method = "GET", .path = path};
    return api_json(cli, &call, API_FEW, ret, err);
}

static int read_new_id(json_t *answer, char ret_id[], struct err *err)
{
    const char *id = json_string_value(json_object_get(answer, "task_id"));

    if (!id)
        id = json_string_value(json_object_get(answer, "run_id"));
    if (!id || !id_is_valid(id))
        return err_set(err, -E_UNAVAILABLE, "the server's answer holds no id");
    memcpy(ret_id, id, ID_TEXT_MAX);
    return 0;
}

int api_create(struct cli *cli, struct http_call *call, const char *key, char ret_id[],
               json_t **ret, struct err *err)
{
    char made[ID_TEXT_MAX], header[KEY_MAX + 32];

    if (!key)
        id_new(made);
    if (key && (*key == '\0' || strlen(key) > KEY_MAX))
        return err_set(err, -E_BAD_VALUE, "an idempotency key has 1 to %d characters", KEY_MAX);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key ? key : made);
    const char *headers[] = {header, NULL};
    call->headers = headers;
    int rc = api_json(cli, call, API_FEW, ret, err);
    call->headers = NULL;
    if (may_work_later(rc) || rc == -E_TIMEOUT || rc == -E_CANCELLED) {
        struct err why = err ? *err : (struct err)ERR_INIT;
        return err_set(err, rc,
                       "%s; whether it was accepted is unknown: the same command with "
                       "--idempotency-key %s finds out and never makes two",
                       why.text, key ? key : made);
    }
    if (rc)
        return rc;
    rc = read_new_id(*ret, ret_id, err);
    if (rc) {
        json_decref(*ret);
        *ret = NULL;
    }
    return rc;
}
