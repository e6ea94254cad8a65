/* call_judge.c - is an answer what the task asked for? */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "call_spec_impl.h"
#include "json_read.h"
#include "worker_protocol.h"

enum {
    PATH_MAX_BYTES = 256,
    NAME_MAX_BYTES = 128,
    BODY_SHOWN_MAX = 32 * 1024,
    EXCERPT_MAX = 200,
    INDEX_DIGITS_MAX = 6
};

/* --- paths --- */

/* One step of a path: a name, or an index. Returns what follows, NULL for no step. */
static const char *next_step(const char *at, char ret_name[NAME_MAX_BYTES], size_t *ret_index,
                             bool *ret_is_index)
{
    char *end;

    *ret_is_index = *at == '[';
    if (*ret_is_index) {
        size_t digits = strspn(at + 1, "0123456789");
        if (digits == 0 || digits > INDEX_DIGITS_MAX || at[1 + digits] != ']')
            return NULL;
        *ret_index = strtoul(at + 1, &end, 10);
        at = end + 1;
    } else {
        size_t len = strcspn(at, ".[");
        if (len == 0 || len >= NAME_MAX_BYTES)
            return NULL;
        memcpy(ret_name, at, len);
        ret_name[len] = '\0';
        at += len;
    }
    if (*at == '.')
        return at[1] ? at + 1 : NULL;
    return *at == '\0' || *at == '[' ? at : NULL;
}

bool json_path_is_valid(const char *path)
{
    char name[NAME_MAX_BYTES];
    size_t index;
    bool is_index;

    if (!*path || strlen(path) > PATH_MAX_BYTES)
        return false;
    while (path && *path)
        path = next_step(path, name, &index, &is_index);
    return path != NULL;
}

const json_t *json_path_get(const json_t *root, const char *path)
{
    char name[NAME_MAX_BYTES];
    size_t index;
    bool is_index;

    while (root && path && *path) {
        path = next_step(path, name, &index, &is_index);
        root = is_index ? json_array_get(root, index) : json_object_get(root, name);
    }
    return path ? root : NULL;
}

/* --- judging --- */

/* The beginning of a body, as one line for a sentence. */
static void excerpt(const struct call_answer *a, char ret[EXCERPT_MAX + 3])
{
    size_t n = 0;

    for (size_t i = 0; i < a->body_len && n < EXCERPT_MAX; i++) {
        unsigned char c = (unsigned char)a->body[i];
        ret[n++] = (char)(c < 0x20 ? ' ' : c >= 0x7F ? '?' : c);
    }
    ret[n] = '\0';
}

static bool is_wanted_status(const struct call_spec *s, int status)
{
    const json_t *one;
    size_t i;

    if (!s->statuses)
        return status / 100 == 2;
    json_array_foreach(s->statuses, i, one)
    {
        if (json_integer_value(one) == status)
            return true;
    }
    return false;
}

/* A server that is busy or broken may be better soon; a no stays a no. */
static bool may_pass(int status)
{
    return status / 100 == 5 || status == 408 || status == 425 || status == 429;
}

static int check_status(const struct call_spec *s, const struct call_answer *a,
                        const char **ret_word, struct err *err)
{
    char text[EXCERPT_MAX + 3];

    if (is_wanted_status(s, a->status))
        return 0;
    excerpt(a, text);
    *ret_word = "http_status";
    return err_set(err, may_pass(a->status) ? -E_UNAVAILABLE : -E_BAD_INPUT,
                   "the server answers %d%s%s", a->status, *text ? ": " : "", text);
}

static int missing(const char *path, const char **ret_word, struct err *err)
{
    *ret_word = "missing_key";
    return err_set(err, -E_BAD_INPUT, "the answer has no '%s'", path);
}

static int check_content(const struct call_spec *s, const json_t *json, const char **ret_word,
                         struct err *err)
{
    const json_t *one, *wanted;
    const char *path;
    size_t i;

    json_object_foreach(s->equals, path, wanted)
    {
        const json_t *found = json_path_get(json, path);
        if (!found)
            return missing(path, ret_word, err);
        if (json_equal(found, wanted))
            continue;
        char *text = json_text(found, JSON_COMPACT | JSON_ENCODE_ANY);
        *ret_word = "application_error";
        int rc = err_set(err, -E_BAD_INPUT, "the answer says no: '%s' is %.200s", path,
                         text ? text : "another");
        free(text);
        return rc;
    }
    json_array_foreach(s->required, i, one)
    {
        const json_t *found = json_path_get(json, json_string_value(one));
        if (!found || json_is_null(found))
            return missing(json_string_value(one), ret_word, err);
    }
    return 0;
}

static json_t *extracted_of(const struct call_spec *s, const json_t *json,
                            const char **ret_word, struct err *err)
{
    json_t *object = json_object();
    const json_t *path;
    const char *name;

    json_object_foreach(s->extract, name, path)
    {
        const json_t *found = json_path_get(json, json_string_value(path));
        if (!found) {
            missing(json_string_value(path), ret_word, err);
            json_decref(object);
            return NULL;
        }
        object = json_member_take(object, name, json_incref((json_t *)(uintptr_t)found));
    }
    if (!object)
        err_set(err, -E_NO_MEMORY, "no memory for an answer");
    return object;
}

/* --- the result --- */

/* Text of any bytes: what is no UTF-8, or NUL, becomes '?'. */
static json_t *text_of(const char *bytes, size_t len)
{
    json_t *text = memchr(bytes, '\0', len) ? NULL : json_stringn(bytes, len);
    char *copy = text ? NULL : malloc(len + 1);

    for (size_t i = 0; copy && i < len; i++)
        copy[i] = (char)(bytes[i] <= 0 ? '?' : bytes[i]);
    if (copy)
        text = json_stringn(copy, len);
    free(copy);
    return text;
}

static json_t *headers_of(const struct call_answer *a)
{
    json_t *headers = json_object();

    if (*a->content_type)
        headers = json_member_take(headers, "content-type",
                                   text_of(a->content_type, strlen(a->content_type)));
    if (*a->location)
        headers =
            json_member_take(headers, "location", text_of(a->location, strlen(a->location)));
    if (a->retry_after_s >= 0)
        headers = json_member_take(headers, "retry-after", json_integer(a->retry_after_s));
    return headers;
}

/* JSON as it is, unless it is too deep or too large to be kept; then its beginning as text. */
static json_t *add_body(json_t *result, const struct call_answer *a, const json_t *json)
{
    bool fits = a->body_len <= BODY_SHOWN_MAX;

    if (json && fits && !json_is_deeper(json, PARAMS_DEPTH_LIMIT - 2))
        return json_member_take(result, "body", json_incref((json_t *)(uintptr_t)json));
    result =
        json_member_take(result, "body", text_of(a->body, fits ? a->body_len : BODY_SHOWN_MAX));
    return fits ? result : json_member_take(result, "body_truncated", json_true());
}

/* The text of the result; NULL when memory is short. */
static char *text_of_result(const struct call_answer *a, const json_t *json, json_t *extracted,
                            bool with_body)
{
    json_t *result = json_member_take(json_object(), "status", json_integer(a->status));

    result = json_member_take(result, "headers", headers_of(a));
    result = json_member_take(result, "extracted", json_incref(extracted));
    if (with_body)
        result = add_body(result, a, json);
    else
        result = json_member_take(json_member_take(result, "body", json_null()),
                                  "body_truncated", json_true());
    return result ? json_text_take(result) : NULL;
}

/* A body that grows by being quoted is left out; it was read, after all. */
static int write_result(const struct call_answer *a, const json_t *json, json_t *extracted,
                        char **ret, const char **ret_word, struct err *err)
{
    char *text = text_of_result(a, json, extracted, true);

    if (text && strlen(text) >= RESULT_TEXT_MAX) {
        free(text);
        text = text_of_result(a, json, extracted, false);
    }
    if (!text)
        return err_set(err, -E_NO_MEMORY, "no memory for a result");
    if (strlen(text) < RESULT_TEXT_MAX) {
        *ret = text;
        return 0;
    }
    free(text);
    *ret_word = "too_big";
    return err_set(err, -E_TOO_BIG, "what is extracted is larger than %d bytes",
                   RESULT_TEXT_MAX);
}

int call_spec_judge(const struct call_spec *s, const struct call_answer *answer,
                    char **ret_result, const char **ret_word, struct err *err)
{
    bool needs_json = s->required || s->equals || s->extract;
    int rc = check_status(s, answer, ret_word, err);

    if (rc)
        return rc;
    json_t *json = answer->body_len
                       ? json_loadb(answer->body, answer->body_len, JSON_DECODE_ANY, NULL)
                       : NULL;
    if (!json && needs_json) {
        *ret_word = "bad_json";
        return err_set(err, -E_BAD_INPUT, "the answer is no JSON");
    }
    rc = check_content(s, json, ret_word, err);
    json_t *extracted = rc ? NULL : extracted_of(s, json, ret_word, err);
    if (!rc && extracted && json_is_deeper(extracted, PARAMS_DEPTH_LIMIT - 2)) {
        json_decref(extracted);
        extracted = NULL;
        *ret_word = "too_big";
        err_set(err, -E_TOO_BIG, "what is extracted is nested too deep");
    }
    if (!rc)
        rc = extracted ? write_result(answer, json, extracted, ret_result, ret_word, err)
                       : err->code;
    json_decref(extracted);
    json_decref(json);
    return rc;
}
