/* call_spec.h - the params of http_call: what to ask, and what counts as an answer.
 *
 *   {"method", "url", "query": {}, "json": …, "headers": {}, "timeout_s",
 *    "success": {"status": [200], "require": ["a.b"], "equals": {"a.c": "ok"}},
 *    "extract": {"name": "a.items[0].id"}}
 *
 * Pure; any thread; for jobs, which do not know JSON. */
#ifndef CODEC_CALL_SPEC_H
#define CODEC_CALL_SPEC_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct call_spec;

/* Reads params whose members params_check has passed. E_BAD_VALUE with the path of the mistake.
 * Sealed headers are passed over, for checks of tasks as they are stored. */
int call_spec_open(const char *params, struct call_spec **ret, struct err *err);
void call_spec_close(struct call_spec *s);

/* All strings are the spec's. */
const char *call_spec_method(const struct call_spec *s);
const char *call_spec_url(const struct call_spec *s); /* as given, without a query of its own */
const char *call_spec_query(const struct call_spec *s); /* "" or "?a=b&c=d", to put behind it */
const char *call_spec_body(const struct call_spec *s);  /* JSON text, or NULL */
const char *const *
call_spec_headers(const struct call_spec *s); /* "Name: value", NULL at end */
int call_spec_timeout_s(const struct call_spec *s);

struct call_answer {
    int status;
    const char *content_type, *location; /* "" for none */
    int64_t retry_after_s;               /* -1: none */
    const char *body;
    size_t body_len;
};

/* Is the answer a success? 0 and *ret_result, the result's JSON text (malloc'ed): {status,
 * headers, body, extracted}. Else negative, with a word for programs in *ret_word:
 * "http_status" (-E_UNAVAILABLE when another try may help, else -E_BAD_INPUT), "bad_json",
 * "missing_key", "application_error", "too_big". */
int call_spec_judge(const struct call_spec *s, const struct call_answer *answer,
                    char **ret_result, const char **ret_word, struct err *err);

#endif
