/* reply.c - replies as data: status, header lines and bytes or a piece of a file. How they
 * get onto the wire is server.c's business. */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exchange.h"
#include "json_read.h"
#include "log.h"
#include "metrics.h"
#include "range.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {507, "Insufficient Storage"},
};

const char *reply_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Error";
}

static bool has_header(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->reply.header_count; i++)
        if (strcasecmp(x->reply.headers[i].name, name) == 0)
            return true;
    return false;
}

void exchange_set_header(struct exchange *x, const char *name, const char *value)
{
    size_t name_size = strlen(name) + 1, value_size = strlen(value) + 1;

    /* A value with a line end in it would be a second header. */
    if (x->reply.header_count == REPLY_HEADERS_MAX || value[strcspn(value, "\r\n")] != '\0')
        return;
    char *copy = malloc(name_size + value_size);
    if (!copy) {
        x->reply.torn = true;
        return;
    }
    memcpy(copy, name, name_size);
    memcpy(copy + name_size, value, value_size);
    x->reply.headers[x->reply.header_count++] = (struct reply_header){copy, copy + name_size};
}

static void set_header_once(struct exchange *x, const char *name, const char *value)
{
    if (!has_header(x, name))
        exchange_set_header(x, name, value);
}

/* Takes bytes over; NULL stands for text that could not be made. */
static void answer_bytes(struct exchange *x, int status, const char *content_type, char *bytes,
                         size_t len)
{
    static const char no_memory[] = "{\"type\":\"about:blank\",\"title\":\"Out of memory\","
                                    "\"status\":503,\"error\":\"Out of memory\"}";

    if (!bytes) {
        /* If even this copy fails the reply is empty, but it is a reply. */
        status = 503;
        content_type = "application/problem+json";
        bytes = strdup(no_memory);
        len = bytes ? sizeof no_memory - 1 : 0;
    }
    x->reply.kind = REPLY_BYTES;
    x->reply.status = status;
    x->reply.bytes = bytes;
    x->reply.len = len;
    set_header_once(x, "Content-Type", content_type);
    if (strstr(content_type, "json"))
        set_header_once(x, "Cache-Control", "no-store");
    if (status == 429 || status == 503)
        set_header_once(x, "Retry-After", "1");
    set_header_once(x, "X-Content-Type-Options", "nosniff");
    exchange_answer(x);
}

void reply_json_take(struct exchange *x, int status, char *json)
{
    answer_bytes(x, status, "application/json", json, json ? strlen(json) : 0);
}

void reply_text(struct exchange *x, int status, const char *content_type, const char *text)
{
    answer_bytes(x, status, content_type, strdup(text), strlen(text));
}

/* A detail may quote what the client sent, and cut it; jansson refuses what is no UTF-8. */
static void make_plain(char *detail)
{
    if (text_is_plain(detail, strlen(detail)))
        return;
    for (char *p = detail; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
}

static void answer_problem(struct exchange *x, int status, const char *title,
                           const char *short_error, char *detail)
{
    make_plain(detail);
    json_t *problem =
        json_pack("{s:s, s:s, s:i, s:s, s:s}", "type", "about:blank", "title", title, "status",
                  status, "detail", detail, "error", short_error ? short_error : title);
    char *text = problem ? json_text(problem, JSON_COMPACT) : NULL;

    json_decref(problem);
    answer_bytes(x, status, "application/problem+json", text, text ? strlen(text) : 0);
}

void reply_problem(struct exchange *x, int status, const char *short_error,
                   const char *detail_fmt, ...)
{
    char detail[ERR_TEXT_MAX];
    va_list args;

    va_start(args, detail_fmt);
    vsnprintf(detail, sizeof detail, detail_fmt, args);
    va_end(args);
    answer_problem(x, status, reply_reason(status), short_error, detail);
}

/* What outsiders are told of failures that are ours; the sentence of the err may name users,
 * hosts and paths. */
static const char *public_sentence(int code)
{
    static const char *const sentences[E__COUNT] = {
        [E_NO_MEMORY] = "the server is out of memory at the moment; nothing was accepted",
        [E_UNAVAILABLE] = "the database cannot be reached at the moment; nothing was accepted",
        [E_UNKNOWN_OUTCOME] =
            "the database went away while this was being recorded; it may have been",
        [E_TIMEOUT] = "this took too long; try again",
        [E_NO_SPACE] = "there is not enough disk space at the moment; nothing was accepted",
        [E_CORRUPT] = "what is stored for this is damaged",
    };
    bool is_ours = code < 0 && code > -E__COUNT;

    return is_ours && sentences[-code] ? sentences[-code] : "an internal error occurred";
}

static void log_failure(const struct exchange *x, const struct err *err)
{
    static struct log_brake brakes[E__COUNT + 1]; /* the last for what is no code of ours */
    int code = err->code <= 0 && err->code > -E__COUNT ? -err->code : E__COUNT;
    bool is_bug = err_class_of(err->code) == ERR_BUG;
    int64_t held;

    if (log_brake_pass(&brakes[code], &held))
        log_event(is_bug ? LOG_ERROR : LOG_WARN, "http.request_failed",
                  LOG_S("path", x->target.path), LOG_S("code", err_name(err->code)),
                  LOG_S("error", err->text), LOG_I("unlogged", held));
}

void reply_detail(const struct err *err, char ret[ERR_TEXT_MAX])
{
    bool is_public = err_http_status(err->code) < 500;

    snprintf(ret, ERR_TEXT_MAX, "%s", is_public ? err->text : public_sentence(err->code));
    make_plain(ret);
}

void reply_err(struct exchange *x, const struct err *err)
{
    int status = err_http_status(err->code);
    char detail[ERR_TEXT_MAX];

    if (status >= 500)
        log_failure(x, err);
    if (err->code == -E_UNAVAILABLE || err->code == -E_UNKNOWN_OUTCOME)
        metric_add(METRIC_STORE_ERRORS, 1);
    reply_detail(err, detail);
    answer_problem(x, status, err_title(err->code), NULL, detail);
}

static void answer_unsatisfiable(struct exchange *x, const struct file_reply *file)
{
    char text[64];

    close(file->fd);
    snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)file->size);
    exchange_set_header(x, "Content-Range", text);
    reply_problem(x, 416, NULL, "the file has %llu bytes", (unsigned long long)file->size);
}

/* The library waits for ever for bytes that a file does not have. */
static bool file_is_whole(const struct file_reply *file)
{
    struct stat st;
    return fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size >= file->size;
}

/* A 304 has the file's length too, but no body: the library sees to that, and to HEAD. */
static void answer_file(struct exchange *x, int status, const struct file_reply *file,
                        uint64_t first, uint64_t count)
{
    x->reply.kind = REPLY_FILE;
    x->reply.status = status;
    x->reply.fd = file->fd;
    x->reply.first = first;
    x->reply.count = count;
    if (!x->is_head && status != 304)
        metric_add(METRIC_DOWNLOAD_BYTES, (int64_t)count);
    exchange_answer(x);
}

void reply_file(struct exchange *x, const struct file_reply *file)
{
    uint64_t first = 0, last = file->size ? file->size - 1 : 0;
    char text[256];

    if (!file_is_whole(file)) {
        struct err err = ERR_INIT;
        close(file->fd);
        err_set(&err, -E_CORRUPT, "the stored file is shorter than it should be");
        reply_err(x, &err);
        return;
    }
    if (*file->etag) {
        snprintf(text, sizeof text, "\"%s\"", file->etag);
        exchange_set_header(x, "ETag", text);
    }
    exchange_set_header(x, "Accept-Ranges", "bytes");
    set_header_once(x, "X-Content-Type-Options", "nosniff");
    if (range_etag_matches(exchange_header(x, "If-None-Match"), file->etag)) {
        answer_file(x, 304, file, 0, file->size);
        return;
    }
    enum range_result part =
        range_parse(x->is_head ? NULL : exchange_header(x, "Range"),
                    exchange_header(x, "If-Range"), file->etag, file->size, &first, &last);
    if (part == RANGE_UNSATISFIABLE) {
        answer_unsatisfiable(x, file);
        return;
    }
    if (part == RANGE_PART) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)last, (unsigned long long)file->size);
        exchange_set_header(x, "Content-Range", text);
    }
    exchange_set_header(x, "Content-Type", file->content_type);
    /* One plain parameter, for old clients take what follows the first '='. */
    snprintf(text, sizeof text, "attachment; filename=%s", file->filename);
    exchange_set_header(x, "Content-Disposition", text);
    answer_file(x, part == RANGE_PART ? 206 : 200, file, first,
                file->size ? last - first + 1 : 0);
}
