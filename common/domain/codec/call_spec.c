#include "call_spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "buf.h"
#include "call_spec_impl.h"
#include "json_read.h"

enum { TIMEOUT_S = 30, TIMEOUT_MAX_S = 3600, HEADERS_MAX = 32, HEADER_BYTES_MAX = 4096 };

/* Headers that decide how a request is framed or where it goes are not the task's to set. */
static const char *const reserved[] = {"host",       "content-length", "transfer-encoding",
                                       "connection", "expect",         "upgrade",
                                       "te",         "trailer",        "keep-alive"};

static bool is_reserved(const char *name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strcasecmp(name, reserved[i]) == 0)
            return true;
    }
    return strncasecmp(name, "proxy-", 6) == 0;
}

static bool is_header_name(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++) {
        if (!isalnum((unsigned char)*name) && !strchr("-_", *name))
            return false;
    }
    return true;
}

static bool is_header_value(const char *value)
{
    for (; *value; value++) {
        if ((unsigned char)*value < 0x20 || *value == 0x7F)
            return false;
    }
    return true;
}

static int read_headers(struct call_spec *s, const json_t *headers, struct err *err)
{
    const char *name;
    const json_t *value;
    size_t count = 0;

    s->headers = calloc(HEADERS_MAX + 1, sizeof *s->headers);
    if (!s->headers)
        return err_set(err, -E_NO_MEMORY, "no memory for headers");
    json_object_foreach((json_t *)(uintptr_t)headers, name, value)
    {
        const char *text = json_string_value(value);
        struct buf line = BUF_INIT;
        if (count == HEADERS_MAX)
            return err_set(err, -E_BAD_VALUE, "params.headers: more than %d", HEADERS_MAX);
        if (!is_header_name(name) || is_reserved(name))
            return err_set(err, -E_BAD_VALUE, "params.headers: '%.60s' cannot be set", name);
        if (!text || !is_header_value(text) || strlen(text) > HEADER_BYTES_MAX)
            return err_set(err, -E_BAD_VALUE,
                           "params.headers.%.60s: must be a string of one line", name);
        buf_printf(&line, "%s: %s", name, text);
        s->headers[count] = buf_steal(&line);
        if (!s->headers[count++])
            return err_set(err, -E_NO_MEMORY, "no memory for headers");
    }
    return 0;
}

/* --- the query --- */

static void escape(struct buf *out, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x80 && (isalnum(byte) || strchr("-._~", byte))) {
            buf_append_char(out, *text);
        } else {
            char code[3] = {'%', hex[byte >> 4], hex[byte & 15]};
            buf_append(out, code, sizeof code);
        }
    }
}

static int read_query(struct call_spec *s, const json_t *query, struct err *err)
{
    const char *name;
    const json_t *value;

    json_object_foreach((json_t *)(uintptr_t)query, name, value)
    {
        if (json_is_object(value) || json_is_array(value) || json_is_null(value))
            return err_set(err, -E_BAD_VALUE,
                           "params.query.%.60s: must be a string, number or boolean", name);
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
        buf_append_char(&s->query, s->query.len ? '&' : '?');
        escape(&s->query, name);
        buf_append_char(&s->query, '=');
        escape(&s->query, text ? text : "");
        s->query.failed = s->query.failed || !text;
        free(text);
    }
    return buf_ok(&s->query) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a query");
}

/* --- the rules of success --- */

static int check_paths(const char *where, const json_t *value, bool is_object, struct err *err)
{
    const char *name;
    const json_t *one;
    size_t i;

    if (is_object) {
        json_object_foreach((json_t *)(uintptr_t)value, name, one)
        {
            const char *path = strcmp(where, "extract") == 0 ? json_string_value(one) : name;
            if (!path || !json_path_is_valid(path))
                return err_set(err, -E_BAD_VALUE,
                               "params.%s.%.60s: must be a path such as a.items[0].id", where,
                               name);
        }
        return 0;
    }
    json_array_foreach(value, i, one)
    {
        if (!json_is_string(one) || !json_path_is_valid(json_string_value(one)))
            return err_set(err, -E_BAD_VALUE,
                           "params.%s[%zu]: must be a path such as a.items[0].id", where, i);
    }
    return 0;
}

static int check_statuses(const json_t *list, struct err *err)
{
    const json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        json_int_t status = json_integer_value(one);
        if (!json_is_integer(one) || status < 100 || status > 599)
            return err_set(err, -E_BAD_VALUE,
                           "params.success.status[%zu]: must be a number from 100 to 599", i);
    }
    return 0;
}

static int read_success(struct call_spec *s, const json_t *success, struct err *err)
{
    const struct json_field fields[] = {
        {"status", JSON_FIELD_ARRAY, false, &s->statuses, 0, 0, CALL_LIST_MAX},
        {"require", JSON_FIELD_ARRAY, false, &s->required, 0, 0, CALL_LIST_MAX},
        {"equals", JSON_FIELD_OBJECT, false, &s->equals, 0, 0, 0},
        {0},
    };
    int rc = success ? json_read_object(success, "params.success", fields, err) : 0;

    if (!rc)
        rc = check_statuses(s->statuses, err);
    if (!rc)
        rc = check_paths("success.require", s->required, false, err);
    if (!rc)
        rc = check_paths("success.equals", s->equals, true, err);
    return rc ? rc : check_paths("extract", s->extract, true, err);
}

/* --- the whole --- */

static int read_body(struct call_spec *s, const json_t *json, const char *method,
                     struct err *err)
{
    if (json && (strcmp(s->method, "GET") == 0))
        return err_set(err, -E_BAD_VALUE, "params.json: a GET has no body%s",
                       method ? "" : "; give a method");
    if (!json)
        return 0;
    s->body = json_text(json, JSON_COMPACT | JSON_ENCODE_ANY);
    return s->body ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a body");
}

static json_t *member(const struct call_spec *s, const char *name)
{
    json_t *value = json_object_get(s->params, name);

    return json_is_null(value) ? NULL : value;
}

static int read_spec(struct call_spec *s, struct err *err)
{
    const json_t *headers = member(s, "headers"), *timeout = member(s, "timeout_s");
    const char *method = json_string_value(member(s, "method"));
    const json_t *json = member(s, "json");

    s->url = json_string_value(member(s, "url"));
    if (!s->url)
        return err_set(err, -E_BAD_VALUE, "params.url: is missing");
    if (strchr(s->url, '#'))
        return err_set(err, -E_BAD_VALUE, "params.url: must have no fragment");
    s->method = method ? method : json ? "POST" : "GET";
    s->timeout_s = timeout ? (int)json_integer_value(timeout) : TIMEOUT_S;
    s->extract = member(s, "extract");
    if (strchr(s->url, '?') && member(s, "query"))
        return err_set(err, -E_BAD_VALUE, "params.query: the url has a query already");
    int rc = read_query(s, member(s, "query"), err);
    if (!rc)
        rc = read_body(s, json, method, err);
    if (!rc)
        rc = read_headers(s, json_is_object(headers) ? headers : NULL, err);
    return rc ? rc : read_success(s, member(s, "success"), err);
}

int call_spec_open(const char *params, struct call_spec **ret, struct err *err)
{
    struct call_spec *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for a call");
    buf_init(&s->query);
    int rc =
        json_read_text(params ? params : "{}", params ? strlen(params) : 2, &s->params, err);
    if (!rc)
        rc = read_spec(s, err);
    if (rc) {
        call_spec_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void call_spec_close(struct call_spec *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->headers && s->headers[i]; i++)
        free(s->headers[i]);
    free(s->headers);
    free(s->body);
    buf_release(&s->query);
    json_decref(s->params);
    free(s);
}

const char *call_spec_method(const struct call_spec *s)
{
    return s->method;
}

const char *call_spec_url(const struct call_spec *s)
{
    return s->url;
}

const char *call_spec_query(const struct call_spec *s)
{
    return s->query.data;
}

const char *call_spec_body(const struct call_spec *s)
{
    return s->body;
}

const char *const *call_spec_headers(const struct call_spec *s)
{
    return (const char *const *)s->headers;
}

int call_spec_timeout_s(const struct call_spec *s)
{
    return s->timeout_s;
}
