/* body.c - bodies in constant memory, refused as early as can be. */
#include "body.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "exchange.h"
#include "metrics.h"

/* A Content-Type without its parameters equals `type`? */
static bool media_is(const char *content_type, const char *type)
{
    size_t len = strcspn(content_type, "; \t");
    return len == strlen(type) && strncasecmp(content_type, type, len) == 0;
}

/* application/json; the only parameter allowed is charset=utf-8. */
static bool media_is_json(const char *content_type)
{
    if (!content_type || !media_is(content_type, "application/json"))
        return false;
    const char *p = content_type + strlen("application/json");
    p += strspn(p, " \t");
    if (*p == '\0')
        return true;
    if (*p++ != ';')
        return false;
    p += strspn(p, " \t");
    return strcasecmp(p, "charset=utf-8") == 0 || strcasecmp(p, "charset=\"utf-8\"") == 0 ||
           *p == '\0';
}

static bool media_is_raw_upload(const char *content_type)
{
    static const char *const types[] = {
        "text/csv",         "application/csv",         "application/octet-stream",
        "application/gzip", "application/x-gzip",      "application/zstd",
        "text/plain",       "application/vnd.ms-excel"};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (media_is(content_type, types[i]))
            return true;
    return false;
}

static void text_release(struct exchange *x)
{
    if (x->body.text.data)
        buf_release(&x->body.text);
    if (x->body.charged)
        atomic_fetch_sub(&x->budget->used, x->body.charged);
    x->body.charged = 0;
}

static bool refuse_too_big(struct exchange *x)
{
    const char *what = x->body.kind == BODY_IS_TEXT ? "Body too large" : "File too large";
    reply_problem(x, 413, what, "the body is larger than the limit of %lld bytes",
                  (long long)(x->body.kind == BODY_IS_TEXT ? x->body.limit
                                                           : x->options->max_upload_bytes));
    return false;
}

static bool refuse_err(struct exchange *x, const struct err *err)
{
    if (err->code == -E_TOO_BIG)
        reply_problem(x, 413, "File too large", "%s", err->text);
    else
        reply_err(x, err);
    return false;
}

bool exchange_has_lines(const struct exchange *x)
{
    const char *type = exchange_header(x, "Content-Type");

    return type && media_is(type, "application/x-ndjson");
}

static bool begin_json(struct exchange *x, int64_t limit)
{
    x->body.kind = BODY_IS_TEXT;
    x->body.limit = limit;
    if (x->match.route->body == HTTP_BODY_ANY || !exchange_has_body(x) ||
        media_is_json(exchange_header(x, "Content-Type")) ||
        (x->match.route->body == HTTP_BODY_LINES && exchange_has_lines(x)))
        return true;
    reply_problem(x, 415, NULL, "the Content-Type must be application/json%s",
                  x->match.route->body == HTTP_BODY_LINES ? " or application/x-ndjson" : "");
    return false;
}

/* -- forms -- */

static bool field_end(struct exchange *x)
{
    struct body_form *form = x->body.form;

    if (form->fields == 0 || form->in_file || form->values[form->fields - 1])
        return true;
    form->values[form->fields - 1] = buf_steal(&x->body.text);
    return form->values[form->fields - 1] != NULL;
}

static int form_part(void *context, const char *name, const char *file_name, struct err *err)
{
    struct exchange *x = context;
    struct body_form *form = x->body.form;

    if (!field_end(x))
        return err_set(err, -E_NO_MEMORY, "no memory for a form field");
    form->in_file = strcmp(name, "file") == 0 && file_name;
    if (form->in_file) {
        if (++form->files > 1)
            return err_set(err, -E_BAD_VALUE, "the form has more than one file");
        text_clean_filename(file_name, x->body.filename);
        form->is_unnamed = *file_name == '\0';
        return form->is_unnamed ? err_set(err, -E_BAD_VALUE, "the file's name is empty") : 0;
    }
    if (file_name)
        return err_set(err, -E_BAD_VALUE, "the form has a file that is not named \"file\"");
    if (form->fields == BODY_FIELDS_MAX)
        return err_set(err, -E_BAD_VALUE, "the form has more than %d fields", BODY_FIELDS_MAX);
    form->names[form->fields] = strdup(name);
    if (!form->names[form->fields])
        return err_set(err, -E_NO_MEMORY, "no memory for a form field");
    form->fields++;
    return 0;
}

static int sink_bytes(struct exchange *x, const char *bytes, size_t len, struct err *err)
{
    if ((int64_t)len > x->options->max_upload_bytes - (int64_t)x->body.sunk)
        return err_set(err, -E_TOO_BIG, "the file is larger than the limit of %lld bytes",
                       (long long)x->options->max_upload_bytes);
    x->body.sunk += len;
    metric_add(METRIC_UPLOAD_BYTES, (int64_t)len);
    return x->options->sink.write(x->body.sink, bytes, len, err);
}

static int form_data(void *context, const char *bytes, size_t len, struct err *err)
{
    struct exchange *x = context;

    if (x->body.form->in_file)
        return sink_bytes(x, bytes, len, err);
    if (x->body.text.len + len > BODY_FIELD_BYTES_MAX)
        return err_set(err, -E_BAD_VALUE, "a form field is longer than %d bytes",
                       BODY_FIELD_BYTES_MAX);
    buf_append(&x->body.text, bytes, len);
    return buf_ok(&x->body.text) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a form field");
}

static const struct multipart_events form_events = {form_part, form_data};

static bool form_begin(struct exchange *x, const char *content_type)
{
    char boundary[MULTIPART_BOUNDARY_MAX + 1];

    x->body.kind = BODY_IS_FORM;
    x->body.limit = x->options->max_upload_bytes > INT64_MAX - BODY_FORM_SLACK
                        ? INT64_MAX
                        : x->options->max_upload_bytes + BODY_FORM_SLACK;
    if (!multipart_boundary(content_type, boundary)) {
        reply_problem(x, 400, NULL, "the boundary of the multipart form is malformed");
        return false;
    }
    x->body.form = calloc(1, sizeof *x->body.form);
    if (!x->body.form) {
        reply_problem(x, 503, NULL, "out of memory");
        return false;
    }
    multipart_init(&x->body.form->parser, boundary, &form_events, x);
    return true;
}

static bool refuse_no_file(struct exchange *x)
{
    reply_problem(x, 400, "No file provided", "the form has no part \"file\" with a file");
    return false;
}

static bool form_end(struct exchange *x)
{
    struct body_form *form = x->body.form;
    struct err err = ERR_INIT;

    if (x->body.received == 0)
        return refuse_no_file(x);
    if (multipart_end(&form->parser, &err) < 0)
        return refuse_err(x, &err);
    if (!field_end(x)) {
        reply_problem(x, 503, NULL, "out of memory");
        return false;
    }
    if (form->files == 0)
        return refuse_no_file(x);
    for (size_t i = 0; i < form->fields; i++) {
        if (!text_is_plain(form->values[i], strlen(form->values[i]))) {
            reply_problem(x, 400, NULL, "the form field \"%s\" is not plain UTF-8",
                          form->names[i]);
            return false;
        }
    }
    return true;
}

/* -- any body -- */

static bool begin_upload(struct exchange *x)
{
    const char *content_type = exchange_header(x, "Content-Type");
    const char *filename = exchange_query(x, "filename");
    struct err err = ERR_INIT;

    if (content_type && media_is(content_type, "multipart/form-data")) {
        if (!form_begin(x, content_type))
            return false;
    } else if (!content_type || media_is_raw_upload(content_type)) {
        x->body.kind = BODY_IS_RAW;
        x->body.limit = x->options->max_upload_bytes;
        text_clean_filename(filename ? filename : "", x->body.filename);
    } else if (!exchange_has_body(x)) {
        return refuse_no_file(x);
    } else {
        reply_problem(x, 415, NULL, "this Content-Type cannot be uploaded");
        return false;
    }
    if (x->verdict.content_length > x->body.limit)
        return refuse_too_big(x);
    int64_t expected = exchange_has_body(x) ? x->verdict.content_length : 0;
    if (x->options->sink.begin(x->options->context, x, expected, &x->body.sink, &err) < 0) {
        x->body.sink = NULL;
        return refuse_err(x, &err);
    }
    return true;
}

bool body_begin(struct exchange *x)
{
    int64_t limit = x->options->max_json_bytes;

    buf_init(&x->body.text);
    switch (x->match.route->body) {
    case HTTP_BODY_NONE:
        if (!exchange_has_body(x))
            return true;
        reply_problem(x, 400, NULL, "this request takes no body");
        return false;
    case HTTP_BODY_UPLOAD:
        return begin_upload(x);
    case HTTP_BODY_BATCH:
        limit *= BODY_BATCH_FACTOR;
        break;
    case HTTP_BODY_LINES:
        limit *= exchange_has_lines(x) ? BODY_BATCH_FACTOR : 1;
        break;
    case HTTP_BODY_JSON:
    case HTTP_BODY_ANY:
        break;
    }
    if (!begin_json(x, limit))
        return false;
    return x->verdict.content_length <= limit || refuse_too_big(x);
}

void body_budget_init(struct body_budget *b, int64_t max_json_bytes)
{
    int64_t one = 2 * BODY_BATCH_FACTOR * max_json_bytes; /* a buf grows by doubling */

    atomic_init(&b->used, 0);
    b->limit = one > BODY_BUDGET_BYTES ? one : BODY_BUDGET_BYTES;
}

/* Pays for the memory that the text takes by now. False when the budget is spent: then the
 * text goes at once. */
static bool text_charge(struct exchange *x)
{
    struct body *body = &x->body;
    int64_t cap = (int64_t)body->text.cap;
    int64_t more = cap > BODY_FREE_BYTES ? cap - body->charged : 0;

    if (more == 0)
        return true;
    body->charged += more;
    if (atomic_fetch_add(&x->budget->used, more) + more <= x->budget->limit)
        return true;
    text_release(x);
    return false;
}

bool body_feed(struct exchange *x, const char *bytes, size_t len)
{
    struct body *body = &x->body;
    struct err err = ERR_INIT;
    int result = 0;

    if ((int64_t)len > body->limit - body->received)
        return refuse_too_big(x);
    body->received += (int64_t)len;
    if (body->kind == BODY_IS_TEXT) {
        buf_append(&body->text, bytes, len);
        if (!buf_ok(&body->text))
            result = err_set(&err, -E_NO_MEMORY, "no memory for the body");
        if (!text_charge(x)) {
            reply_problem(x, 503, NULL, "too many large bodies are being received");
            return false;
        }
    } else if (body->kind == BODY_IS_RAW) {
        result = sink_bytes(x, bytes, len, &err);
    } else if (body->kind == BODY_IS_FORM) {
        result = multipart_feed(&body->form->parser, bytes, len, &err);
    }
    if (result < 0 && body->form && body->form->is_unnamed) {
        reply_problem(x, 400, "No selected file", "%s", err.text);
        return false;
    }
    return result == 0 || refuse_err(x, &err);
}

bool body_end(struct exchange *x)
{
    struct body *body = &x->body;

    /* The library has counted the same bytes; a difference would be its bug, and ours to
     * notice before a torn file is taken for a whole one. */
    if (x->verdict.content_length >= 0 && body->received != x->verdict.content_length) {
        reply_problem(x, 400, NULL, "the body is shorter than its Content-Length");
        return false;
    }
    if (body->kind == BODY_IS_FORM && !form_end(x))
        return false;
    if (body->sink)
        x->upload = (struct upload){body->sink, body->sunk, body->filename};
    return true;
}

void body_release(struct exchange *x)
{
    struct body *body = &x->body;

    if (body->sink && !body->is_taken)
        x->options->sink.abort_free(body->sink);
    body->sink = NULL;
    if (body->form) {
        for (size_t i = 0; i < body->form->fields; i++) {
            free(body->form->names[i]);
            free(body->form->values[i]);
        }
        free(body->form);
    }
    text_release(x);
}
