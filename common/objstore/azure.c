#include "azure.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "azure_xml.h"
#include "backoff.h"
#include "clock.h"

enum {
    PAUSE_BASE_MS = 250,
    PAUSE_CAP_MS = 8000,
    RETRY_AFTER_MAX_MS = 30000,
    TIMEOUT_MS = 60000,
    HEADERS_MAX = 20,
    DATE_MAX = 40
};

static const char version[] = "2021-12-02";

struct azure {
    struct azure_account account;
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    struct http_client *idle[AZURE_CALLS_MAX];
    size_t idle_count, busy_count;
};

int azure_open(const char *connection, struct azure **ret, struct err *err)
{
    struct azure *a = calloc(1, sizeof *a);

    if (!a)
        return err_set(err, -E_NO_MEMORY, "no memory for a storage account");
    int rc = azure_account_parse(connection, &a->account, err);
    if (rc) {
        free(a);
        return rc;
    }
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->returned, NULL);
    *ret = a;
    return 0;
}

void azure_close(struct azure *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->idle_count; i++)
        http_client_free(a->idle[i]);
    pthread_cond_destroy(&a->returned);
    pthread_mutex_destroy(&a->mutex);
    explicit_bzero(&a->account, sizeof a->account);
    free(a);
}

/* --- clients: each keeps its connection --- */

static int take_client(struct azure *a, struct http_client **ret, struct err *err)
{
    *ret = NULL;
    pthread_mutex_lock(&a->mutex);
    while (a->busy_count == AZURE_CALLS_MAX)
        pthread_cond_wait(&a->returned, &a->mutex);
    a->busy_count++;
    if (a->idle_count > 0)
        *ret = a->idle[--a->idle_count];
    pthread_mutex_unlock(&a->mutex);
    return *ret ? 0 : http_client_new(a->account.origin, ret, err);
}

static void return_client(struct azure *a, struct http_client *client)
{
    pthread_mutex_lock(&a->mutex);
    a->busy_count--;
    if (client)
        a->idle[a->idle_count++] = client;
    pthread_cond_signal(&a->returned);
    pthread_mutex_unlock(&a->mutex);
}

/* --- one request --- */

/* "Fri, 31 Jan 2026 23:59:59 GMT", whatever the locale. */
static void format_date(char ret_text[DATE_MAX])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;

    gmtime_r(&now, &tm);
    snprintf(ret_text, DATE_MAX, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7],
             tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
}

/* "/box/dir/file" without the account's path. */
static void append_place(struct buf *out, const struct azure_request *r)
{
    buf_append_char(out, '/');
    if (r->container)
        buf_append_str(out, r->container);
    if (r->blob)
        buf_printf(out, "/%s", r->blob);
}

static void append_query(struct buf *out, const struct azure_pair *query)
{
    for (const struct azure_pair *q = query; q && q->name; q++) {
        buf_append_char(out, q == query ? '?' : '&');
        http_escape(out, q->name);
        buf_append_char(out, '=');
        http_escape(out, q->value);
    }
}

/* A request as it goes out: signed for now. */
struct outgoing {
    struct buf path, text; /* text: the header lines, each ended by a NUL */
    const char *lines[HEADERS_MAX + 4];
};

static void outgoing_release(struct outgoing *o)
{
    buf_release(&o->path);
    buf_release(&o->text);
}

static int prepare(const struct azure *a, const struct azure_request *r, struct outgoing *o,
                   struct err *err)
{
    char date[DATE_MAX];
    struct azure_pair headers[HEADERS_MAX + 1] = {{"x-ms-date", date},
                                                  {"x-ms-version", version}};
    size_t count = 2;
    struct buf signature = BUF_INIT;

    format_date(date);
    for (const struct azure_pair *h = r->headers; h && h->name && count < HEADERS_MAX; h++) {
        if (h->value)
            headers[count++] = *h;
    }
    buf_append_str(&o->path, a->account.path);
    append_place(&o->path, r);
    struct azure_signed request = {r->method, o->path.data, r->query, headers, r->body_len};
    int rc = azure_sign(&a->account, &request, &signature, err);
    append_query(&o->path, r->query);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&o->text, "%s: %s", headers[i].name, headers[i].value);
        buf_append_char(&o->text, '\0');
    }
    buf_printf(&o->text, "Authorization: %s", signature.data);
    buf_release(&signature);
    if (!rc && (!buf_ok(&o->path) || !buf_ok(&o->text)))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a request");
    const char *line = o->text.data;
    for (size_t i = 0; !rc && i <= count; i++) {
        o->lines[i] = line;
        line += strlen(line) + 1;
    }
    o->lines[count + 1] = NULL;
    return rc;
}

static int call_once(struct azure *a, const struct azure_request *r, struct http_answer *ret,
                     struct err *err)
{
    struct outgoing o = {BUF_INIT, BUF_INIT, {NULL}};
    struct http_client *client = NULL;
    int rc = prepare(a, r, &o, err);

    if (!rc) {
        rc = take_client(a, &client, err);
        const struct http_call call = {
            .method = r->method,
            .path = o.path.data,
            .headers = o.lines,
            .body = r->body,
            .body_len = r->body_len,
            .keep_head = true,
            .max_answer_bytes = AZURE_ANSWER_MAX,
            .timeout_ms = r->timeout_ms ? r->timeout_ms : TIMEOUT_MS,
        };
        if (!rc)
            rc = http_client_call(client, &call, ret, err);
        return_client(a, client);
    }
    outgoing_release(&o);
    return rc;
}

/* --- codes --- */

void azure_code(const struct http_answer *a, char ret_code[AZURE_CODE_MAX])
{
    const struct xml_part whole = {a->body.data, a->body.data + a->body.len};
    struct xml_part part;

    if (!http_answer_field(a, "x-ms-error-code", ret_code, AZURE_CODE_MAX) &&
        !(xml_find(&whole, "Code", &part, NULL) && xml_text(&part, ret_code, AZURE_CODE_MAX)))
        ret_code[0] = '\0';
    for (const char *c = ret_code; *c; c++) {
        if (!isalnum((unsigned char)*c))
            ret_code[0] = '\0'; /* no code of Azure's: nothing of it is shown */
    }
}

bool azure_code_is(const struct http_answer *a, const char *code)
{
    char found[AZURE_CODE_MAX];

    azure_code(a, found);
    return strcmp(found, code) == 0;
}

/* What went wrong, with the place, and without anything that could be part of a secret. */
static int complain(const struct azure_request *r, const struct http_answer *a, int code,
                    const char *hint, struct err *err)
{
    char name[AZURE_CODE_MAX];
    struct buf place = BUF_INIT;

    azure_code(a, name);
    append_place(&place, r);
    int rc = err_set(err, code, "Azure answered %d%s%s to %s '%.300s'%s", a->status,
                     name[0] ? " " : "", name, r->method, place.data, hint);
    buf_release(&place);
    return rc;
}

int azure_unexpected(const struct azure_request *request, const struct http_answer *a,
                     struct err *err)
{
    int code = a->status == 404       ? -E_NOT_FOUND
               : a->status / 100 == 4 ? -E_REFUSED
                                      : -E_UNAVAILABLE;

    if (azure_code_is(a, "ContainerNotFound"))
        return err_set(err, -E_NOT_FOUND, "there is no container '%s'", request->container);
    return complain(request, a, code, "", err);
}

/* --- trying again --- */

static bool is_passing(const struct http_answer *a)
{
    static const int statuses[] = {408, 429, 500, 502, 503, 504};

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (a->status == statuses[i])
            return true;
    }
    /* A container that was just deleted keeps its name for half a minute. */
    return a->status == 409 && azure_code_is(a, "ContainerBeingDeleted");
}

static void pause_ms(int64_t ms)
{
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) != 0)
        ;
}

static int64_t wait_before(int tries, int rc, const struct http_answer *a)
{
    if (rc || a->retry_after_s < 0)
        return backoff_ms(PAUSE_BASE_MS, PAUSE_CAP_MS, (unsigned)tries);
    int64_t asked = a->retry_after_s * 1000;
    return asked < RETRY_AFTER_MAX_MS ? asked : RETRY_AFTER_MAX_MS;
}

int azure_call(struct azure *a, const struct azure_request *request, struct http_answer *ret,
               bool *ret_repeated, struct err *err)
{
    int64_t start = clock_mono_ms();
    int most = request->tries ? request->tries : AZURE_TRIES;
    bool repeated = false;
    int rc = 0;

    *ret = (struct http_answer){.body = BUF_INIT, .head = BUF_INIT, .retry_after_s = -1};
    for (int tries = 1;; tries++) {
        http_answer_release(ret);
        rc = call_once(a, request, ret, err);
        bool passing = rc ? rc == -E_UNAVAILABLE || rc == -E_TIMEOUT : is_passing(ret);
        int64_t wait = passing ? wait_before(tries - 1, rc, ret) : 0;
        if (!passing || tries == most || clock_mono_ms() - start + wait > AZURE_PATIENCE_MS)
            break;
        repeated = true;
        pause_ms(wait);
    }
    if (ret_repeated)
        *ret_repeated = repeated;
    if (!rc && (ret->status == 401 || ret->status == 403))
        return complain(request, ret, -E_REFUSED,
                        ": is the account's key right, and this machine's clock?", err);
    if (!rc && is_passing(ret))
        return complain(request, ret, -E_UNAVAILABLE, "", err);
    return rc;
}
