/* http_call.c - one HTTP request as a task. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call_rules.h"
#include "call_spec.h"
#include "http_client.h"
#include "job.h"
#include "params.h"
#include "seal.h"

enum { ANSWER_MAX = 4 << 20 };

struct ask {
    const struct job_context *context;
    struct call_spec *spec;
    struct address_guard guard;
    struct web_url url;
    struct buf base, path;
    const char *word;
};

static int prepare(struct ask *a, struct err *err)
{
    const struct config *config = a->context->config;
    struct params *params = NULL;
    int rc = params_open(a->context->work->params, &params, err);

    if (rc)
        return rc;
    bool is_sealed = seal_is_sealed(params_word(params, "headers", ""));
    params_close(params);
    if (is_sealed)
        return err_set(
            err, -E_BAD_INPUT,
            "the headers were encrypted with another SECRET_KEY: submit the task anew");
    rc = call_spec_open(a->context->work->params, &a->spec, err);
    if (!rc)
        rc = call_rules_read_url(config, call_spec_url(a->spec), "params.url", &a->url, err);
    if (!rc)
        rc = address_guard_init(&a->guard, config->allow_networks, err);
    if (rc)
        return rc;
    buf_printf(&a->base, a->url.is_ipv6 ? "%s://[%s]:%d" : "%s://%s:%d",
               a->url.is_tls ? "https" : "http", a->url.host, a->url.port);
    buf_printf(&a->path, "%s%s%s", a->url.rest[0] == '/' ? "" : "/", a->url.rest,
               call_spec_query(a->spec));
    return buf_ok(&a->base) && buf_ok(&a->path)
               ? 0
               : err_set(err, -E_NO_MEMORY, "no memory for a call");
}

/* What went wrong on the way, for programs. */
static const char *word_of(int rc)
{
    return rc == -E_UNAVAILABLE ? "connect_error"
           : rc == -E_TIMEOUT   ? "timeout"
           : rc == -E_TOO_BIG   ? "too_big"
           : rc == -E_BAD_INPUT ? "address_refused"
                                : NULL;
}

static int call(struct ask *a, struct http_client *client, struct http_answer *ret,
                struct err *err)
{
    const char *body = call_spec_body(a->spec);
    const struct http_call call = {
        .method = call_spec_method(a->spec),
        .path = a->path.data,
        .content_type = body ? "application/json" : NULL,
        .headers = call_spec_headers(a->spec),
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .max_answer_bytes = ANSWER_MAX,
        .timeout_ms = call_spec_timeout_s(a->spec) * 1000,
    };
    int rc = http_client_call(client, &call, ret, err);

    if (rc)
        a->word = word_of(rc);
    return rc;
}

static int ask(struct ask *a, char **ret_result, struct err *err)
{
    struct http_client *client = NULL;
    struct http_answer answer = {.body = BUF_INIT};
    int rc = http_client_new(a->base.data, &client, err);

    if (rc)
        return rc;
    http_client_set_guard(client, &a->guard);
    rc = call(a, client, &answer, err);
    if (!rc) {
        const struct call_answer seen = {
            .status = answer.status,
            .content_type = answer.content_type,
            .location = answer.location,
            .retry_after_s = answer.retry_after_s,
            .body = answer.body.data,
            .body_len = answer.body.len,
        };
        rc = call_spec_judge(a->spec, &seen, ret_result, &a->word, err);
    }
    buf_release(&answer.body);
    http_client_free(client);
    return rc;
}

static int http_call_run(const struct job_context *context, struct report *ret)
{
    struct ask a = {.context = context, .base = BUF_INIT, .path = BUF_INIT};
    static bool is_ready;
    struct err err = ERR_INIT;
    int rc = is_ready ? 0 : http_client_global_init(&err);

    is_ready = rc == 0;
    if (!rc)
        rc = prepare(&a, &err);
    if (!rc)
        rc = ask(&a, &ret->result, &err);
    call_spec_close(a.spec);
    buf_release(&a.base);
    buf_release(&a.path);
    if (!rc)
        return 0;
    rc = job_error_from(&err, &ret->error);
    if (a.word)
        snprintf(ret->error.code, sizeof ret->error.code, "%s", a.word);
    return rc;
}

const struct job job_http_call = {"http_call", http_call_run};
