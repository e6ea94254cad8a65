#include "manager.h"

#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "clock.h"
#include "log.h"

enum {
    PAUSE_BASE_MS = 100,
    PAUSE_CAP_MS = 3000,
    RETRY_AFTER_MAX_S = 3600,
    ANSWER_MAX = 64 << 20,
    EXCERPT = 300
};

int manager_open(struct manager *m, const char *url, const char *use, const atomic_bool *stop,
                 struct err *err)
{
    *m = (struct manager){.use = use, .stop = stop, .retry_after_ms = -1};
    return http_client_new(url, &m->http, err);
}

void manager_close(struct manager *m)
{
    http_client_free(m->http);
    m->http = NULL;
}

static bool is_worth_a_retry(int status)
{
    return status >= 500 || status == 429 || status == 408;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int judge(struct manager *m, const char *path, const struct http_answer *a,
                 struct err *err)
{
    m->status = a->status;
    if (a->status / 100 == 2)
        return 0;
    if (a->retry_after_s >= 0)
        m->retry_after_ms = least(a->retry_after_s, RETRY_AFTER_MAX_S) * 1000;
    int code = a->status == 429              ? -E_OVERLOAD
               : is_worth_a_retry(a->status) ? -E_UNAVAILABLE
                                             : -E_BAD_VALUE;
    return err_set(err, code, "the task manager answered %d to %s: %.*s", a->status, path,
                   EXCERPT, a->body.data);
}

static void count_failure(struct manager *m)
{
    if (m->failures++ == 0)
        atomic_store(&m->failing_ms, clock_mono_ms());
}

static void note_failure(struct manager *m, const struct err *err)
{
    count_failure(m);
    if (!m->away)
        log_warn("manager.away", LOG_S("use", m->use), LOG_S("error", err->text));
    m->away = true;
}

void manager_trust(struct manager *m)
{
    if (m->away)
        log_info("manager.back", LOG_S("use", m->use), LOG_I("failures", m->failures));
    m->away = false;
    m->failures = 0;
    atomic_store(&m->failing_ms, 0);
    atomic_store(&m->answered_ms, clock_mono_ms());
}

int manager_post(struct manager *m, const char *path, char *body_take, int timeout_ms,
                 struct buf *ret, struct err *err)
{
    struct http_answer answer;
    struct err why = ERR_INIT;

    buf_init(ret);
    if (!body_take)
        return err_set(err, -E_NO_MEMORY, "no memory for a request to %s", path);
    const struct http_call call = {
        .method = "POST",
        .path = path,
        .content_type = "application/json",
        .body = body_take,
        .body_len = strlen(body_take),
        .max_answer_bytes = ANSWER_MAX,
        .timeout_ms = timeout_ms,
        .stop = m->stop,
        .aside = m->aside,
        .aside_arg = m->aside_arg,
    };
    m->retry_after_ms = -1;
    m->status = 0;
    int rc = http_client_call(m->http, &call, &answer, &why);
    free(body_take);
    if (!rc)
        rc = judge(m, path, &answer, &why);
    else if (rc != -E_CANCELLED && rc != -E_NO_MEMORY && rc != -E_TIMEOUT)
        rc = why.code = -E_UNAVAILABLE; /* whatever broke, it was not the request */
    if (rc == -E_BAD_VALUE) {           /* the caller says what was refused */
        count_failure(m);
    } else if (rc && rc != -E_CANCELLED) {
        note_failure(m, &why);
    }
    if (!rc || rc == -E_BAD_VALUE)
        *ret = answer.body;
    else
        buf_release(&answer.body);
    if (!rc)
        return 0;
    return err_set(err, rc, "%s", why.text);
}

void manager_distrust(struct manager *m, const struct err *err)
{
    note_failure(m, err);
}

int64_t manager_pause_ms(const struct manager *m, int64_t cap_ms)
{
    unsigned tries = m->failures > 0 ? m->failures - 1 : 0;
    int64_t jitter = backoff_ms(PAUSE_BASE_MS, least(PAUSE_CAP_MS, cap_ms), tries);

    return m->retry_after_ms >= 0 ? least(m->retry_after_ms, cap_ms) + jitter : jitter;
}
