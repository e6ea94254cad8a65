#include "http_client.h"

#include <assert.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "address_guard.h"
#include "fs.h"
#include "http_head.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    STALL_S = 30,
    STOP_CHECK_MS = 100,
    IDLE_KEEP_S =
        20, /* below the idle timeout of our server, so that it rarely hangs up first */
    ANSWER_MAX = 1 << 20,
    HEAD_MAX = 256 << 10,
    UPLOAD_BUFFER = 256 << 10,
    LAST_WORDS_MAX = 16 << 10
};

struct http_client {
    CURL *easy;
    CURLM *multi; /* owns the kept connection */
    char *base;   /* without a trailing slash */
    char curl_text[CURL_ERROR_SIZE];

    /* The call that is running. */
    const struct http_call *call;
    struct http_answer *answer;
    int64_t body_start; /* where body_fd stood; -1 when it cannot go back (a pipe) */
    int64_t body_sent;  /* bytes of body_fd handed to curl */
    size_t head_bytes;
    struct err failure; /* what one of the callbacks below ended the call for */
    const struct address_guard *guard;
    struct err refusal; /* of an address; another one may do */
};

/* libcurl loads GnuTLS for protocols that nobody speaks here; HTTPS is OpenSSL's. GnuTLS asks
 * the program for this function (its GNUTLS_SKIP_GLOBAL_INIT) before it sets itself up at every
 * start, of slots too; whoever does need it then has to say gnutls_global_init. */
int _gnutls_global_init_skip(void);

int _gnutls_global_init_skip(void)
{
    return 1;
}

/* curl_global_init sets OpenSSL up for whatever may come: the names of all algorithms, the
 * texts of all errors, a configuration file. What was declined before it asks is left out. TLS
 * works without, but some errors would be told as numbers. */
void http_client_spare_tls(void)
{
    OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_NO_ADD_ALL_CIPHERS |
                            OPENSSL_INIT_NO_ADD_ALL_DIGESTS | OPENSSL_INIT_NO_LOAD_CONFIG,
                        NULL);
}

int http_client_global_init(struct err *err)
{
    CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

    if (rc != CURLE_OK)
        return err_set(err, -E_NO_MEMORY, "start libcurl: %s", curl_easy_strerror(rc));
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return err_set_errno(err, -E_IO, errno, "ignore SIGPIPE");
    return 0;
}

static bool is_clean(const char *text, bool allow_space)
{
    for (; *text; text++) {
        if (iscntrl((unsigned char)*text) || (*text == ' ' && !allow_space))
            return false;
    }
    return true;
}

static bool is_base(const char *base)
{
    const char *host = strncmp(base, "http://", 7) == 0    ? base + 7
                       : strncmp(base, "https://", 8) == 0 ? base + 8
                                                           : NULL;
    return host && *host && *host != '/' && is_clean(base, false) && !strpbrk(base, "@?#");
}

int http_client_new(const char *base, struct http_client **ret, struct err *err)
{
    if (!is_base(base))
        return err_set(err, -E_BAD_VALUE,
                       "'%.200s' is no base address (http://host:port or https://host:port)",
                       base);
    struct http_client *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, -E_NO_MEMORY, "no memory for an HTTP client");
    c->base = strdup(base);
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (!c->base || !c->easy || !c->multi) {
        http_client_free(c);
        return err_set(err, -E_NO_MEMORY, "no memory for an HTTP client");
    }
    size_t len = strlen(c->base);
    while (len > 0 && c->base[len - 1] == '/')
        c->base[--len] = '\0';
    *ret = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_easy_cleanup(c->easy);
    curl_multi_cleanup(c->multi);
    free(c->base);
    free(c);
}

void http_escape(struct buf *out, const char *text)
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

bool http_answer_field(const struct http_answer *a, const char *name, char *ret_value,
                       size_t size)
{
    size_t name_len = strlen(name), len;

    *ret_value = '\0';
    for (const char *line = a->head.data; *line; line += strcspn(line, "\n") + 1) {
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            value += strspn(value, " \t");
            len = strcspn(value, "\r\n");
            while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
                len--;
            if (len >= size)
                return false;
            memcpy(ret_value, value, len);
            ret_value[len] = '\0';
            return true;
        }
        if (line[strcspn(line, "\n")] == '\0')
            break;
    }
    return false;
}

void http_answer_release(struct http_answer *a)
{
    if (!a)
        return;
    buf_release(&a->body);
    buf_release(&a->head);
}

/* --- callbacks: they note why in c->failure and make curl give up --- */

static size_t take_head(char *line, size_t one, size_t len, void *arg)
{
    struct http_client *c = arg;

    (void)one;
    c->head_bytes += len;
    if (c->head_bytes > HEAD_MAX) {
        err_set(&c->failure, -E_TOO_BIG, "the head of the answer is larger than %d bytes",
                HEAD_MAX);
        return 0;
    }
    http_head_line(c->answer, line, len);
    if (c->call->keep_head) {
        if (len > 5 && strncmp(line, "HTTP/", 5) == 0)
            buf_clear(&c->answer->head);
        buf_append(&c->answer->head, line, len);
    }
    if (!buf_ok(&c->answer->head)) {
        err_set(&c->failure, -E_NO_MEMORY, "no memory for an answer");
        return 0;
    }
    return len;
}

static size_t take_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct http_client *c = arg;
    struct buf *body = &c->answer->body;
    size_t cap = c->call->max_answer_bytes ? c->call->max_answer_bytes : ANSWER_MAX;

    (void)one;
    if (c->call->sink_fd > 0 && c->answer->status / 100 == 2)
        return fs_write_all(c->call->sink_fd, bytes, len, "answer", &c->failure) ? 0 : len;
    if (len > cap - body->len) {
        err_set(&c->failure, -E_TOO_BIG, "the answer is larger than %zu bytes", cap);
        return 0;
    }
    buf_append(body, bytes, len);
    if (!buf_ok(body)) {
        err_set(&c->failure, -E_NO_MEMORY, "no memory for an answer");
        return 0;
    }
    return len;
}

static bool is_stopped(const struct http_call *call)
{
    return call->stop && atomic_load(call->stop);
}

/* read() through signals, as long as nobody asked to stop. */
static ssize_t read_some(struct http_client *c, void *to, size_t size)
{
    ssize_t got;

    do
        got = read(c->call->body_fd, to, size);
    while (got < 0 && errno == EINTR && !is_stopped(c->call));
    if (got < 0 && errno == EINTR)
        err_set(&c->failure, -E_CANCELLED, "the call was stopped");
    else if (got < 0)
        err_set_errno(&c->failure, -E_IO, errno, "read the body to send");
    return got;
}

/* The promised size is on its way already: a file that goes on after it was changed while it
 * was sent, and its first body_size bytes are half of two versions. */
static bool has_grown(struct http_client *c)
{
    char probe;

    if (c->body_start < 0)
        return false;
    if (pread(c->call->body_fd, &probe, 1, c->body_start + c->call->body_size) != 1)
        return false;
    err_set(&c->failure, -E_IO, "the file to send grew past %lld bytes while it was sent",
            (long long)c->call->body_size);
    return true;
}

static size_t give_body(char *to, size_t one, size_t size, void *arg)
{
    struct http_client *c = arg;
    int64_t total = c->call->body_size;

    (void)one;
    if (total >= 0 && (int64_t)size > total - c->body_sent)
        size = (size_t)(total - c->body_sent);
    if (size == 0)
        return 0;
    ssize_t got = read_some(c, to, size);
    if (got < 0)
        return CURL_READFUNC_ABORT;
    c->body_sent += got;
    if (got == 0 && total >= 0) {
        err_set(&c->failure, -E_IO, "the file to send ended after %lld of %lld bytes",
                (long long)c->body_sent, (long long)total);
        return CURL_READFUNC_ABORT;
    }
    if (c->body_sent == total && has_grown(c))
        return CURL_READFUNC_ABORT;
    return (size_t)got;
}

/* Asked for when a kept connection was dead and the request starts over. */
static int rewind_body(void *arg, curl_off_t offset, int origin)
{
    struct http_client *c = arg;

    if (c->body_start < 0 || origin != SEEK_SET ||
        lseek(c->call->body_fd, c->body_start + offset, SEEK_SET) < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    c->body_sent = offset;
    return CURL_SEEKFUNC_OK;
}

static int show_progress(void *arg, curl_off_t got_total, curl_off_t got, curl_off_t sent_total,
                         curl_off_t sent)
{
    const struct http_call *call = arg;

    (void)sent_total; /* curl says 0 for unknown as well as for none */
    int64_t to_send = call->body_fd > 0 ? call->body_size : (int64_t)call->body_len;
    call->progress(call->progress_arg, sent, to_send, got, got_total > 0 ? got_total : -1);
    return 0;
}

/* A server that refuses a body half way answers and closes; the rest of the body makes its
 * kernel reset the connection. When our send fails on that before curl has looked for an
 * answer, curl gives up, although the answer is in the socket: it is read here, at the last
 * moment. (Without this one refusal in a few was seen as "connection reset".) */
static void read_last_words(struct http_client *c, curl_socket_t fd)
{
    char bytes[LAST_WORDS_MAX];
    size_t len = 0;
    ssize_t got;

    while (len < sizeof bytes &&
           (got = recv(fd, bytes + len, sizeof bytes - len, MSG_DONTWAIT)) > 0)
        len += (size_t)got;
    if (len > 0)
        http_head_whole(c->answer, bytes, len);
}

static int close_socket(void *arg, curl_socket_t fd)
{
    struct http_client *c = arg;
    bool sends_body = c->call && (c->call->body_fd > 0 || c->call->body);
    bool is_plain = strncmp(c->base, "http:", 5) == 0; /* TLS bytes would say nothing */

    if (sends_body && is_plain && c->answer->status < 200 && !c->failure.code)
        read_last_words(c, fd);
    return close(fd);
}

/* Asked for each address that is tried, with what will be connected to. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_client *c = arg;
    char text[ADDRESS_TEXT_MAX];
    const char *refusal = address_guard_refusal(c->guard, &address->addr);

    (void)purpose;
    if (!refusal)
        return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    address_format(&address->addr, text);
    err_set(&c->refusal, -E_BAD_INPUT,
            "'%s' leads to %s, %s, which ALLOW_NETWORKS does not allow", c->base, text,
            refusal);
    return CURL_SOCKET_BAD;
}

void http_client_set_guard(struct http_client *c, const struct address_guard *guard)
{
    c->guard = guard;
}

/* --- setting up one call --- */

static int append_header(struct curl_slist **list, const char *line, struct err *err)
{
    const char *colon = strchr(line, ':');

    if (!colon || colon == line || !is_clean(line, true))
        return err_set(err, -E_BAD_VALUE, "a header is no clean 'Name: value' line");
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (!longer)
        return err_set(err, -E_NO_MEMORY, "no memory for headers");
    *list = longer;
    return 0;
}

static int make_headers(const struct http_call *call, struct curl_slist **list, struct err *err)
{
    struct buf type = BUF_INIT;

    if (call->content_type)
        buf_printf(&type, "Content-Type: %s", call->content_type);
    else
        buf_append_str(&type, "Content-Type:"); /* takes curl's default away */
    int rc = buf_ok(&type) ? append_header(list, type.data, err)
                           : err_set(err, -E_NO_MEMORY, "no memory for headers");
    buf_release(&type);
    /* A stream waits for "100 Continue", so that a server can refuse it before it is sent;
     * bytes in memory are small and go at once. */
    if (!rc && call->body_fd <= 0)
        rc = append_header(list, "Expect:", err);
    if (!rc && call->body_fd > 0 && call->body_size < 0)
        rc = append_header(list, "Transfer-Encoding: chunked", err);
    for (const char *const *h = call->headers; !rc && h && *h; h++)
        rc = append_header(list, *h, err);
    return rc;
}

static void set_safety(CURL *e, const struct http_call *call)
{
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_USERAGENT, "segue/" SEGUE_VERSION);
    curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, (long)IDLE_KEEP_S);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER);
    curl_easy_setopt(
        e, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(call->connect_timeout_ms ? call->connect_timeout_ms : CONNECT_TIMEOUT_MS));
    if (call->timeout_ms > 0) {
        curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    } else {
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    }
}

static void set_callbacks(struct http_client *c)
{
    CURL *e = c->easy;

    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->curl_text);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, c);
    if (c->guard) {
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c);
    }
    if (c->call->progress) {
        curl_easy_setopt(e, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(e, CURLOPT_XFERINFOFUNCTION, show_progress);
        curl_easy_setopt(e, CURLOPT_XFERINFODATA, c->call);
    }
}

static void set_request(struct http_client *c)
{
    CURL *e = c->easy;
    const struct http_call *call = c->call;
    bool has_body = call->body_fd > 0 || call->body || strcmp(call->method, "POST") == 0 ||
                    strcmp(call->method, "PUT") == 0;

    if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    } else if (!has_body) {
        curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    } else if (call->body_fd > 0) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_size);
        curl_easy_setopt(e, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(e, CURLOPT_READDATA, c);
        curl_easy_setopt(e, CURLOPT_SEEKFUNCTION, rewind_body);
        curl_easy_setopt(e, CURLOPT_SEEKDATA, c);
    } else {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body ? call->body : "");
    }
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method);
}

/* --- running it --- */

static CURLMcode wait_for_more(struct http_client *c)
{
    const struct http_call *call = c->call;
    int fd = call->aside ? call->aside(call->aside_arg) : -1;
    struct curl_waitfd beside = {.fd = fd, .events = CURL_WAIT_POLLIN};

    return curl_multi_poll(c->multi, &beside, fd >= 0, call->stop ? STOP_CHECK_MS : 1000, NULL);
}

/* Ends with curl's verdict; a stop is noted in c->failure. */
static CURLcode run(struct http_client *c)
{
    CURLcode verdict = CURLE_OK;
    int running = 1;

    CURLMcode rc = curl_multi_add_handle(c->multi, c->easy);
    while (rc == CURLM_OK && running) {
        rc = curl_multi_perform(c->multi, &running);
        if (is_stopped(c->call) && running) {
            err_set(&c->failure, -E_CANCELLED, "the call was stopped");
            break;
        }
        if (rc == CURLM_OK && running)
            rc = wait_for_more(c);
    }
    int left;
    const CURLMsg *message = curl_multi_info_read(c->multi, &left);
    if (rc != CURLM_OK)
        verdict = CURLE_FAILED_INIT;
    else if (message && message->msg == CURLMSG_DONE)
        verdict = message->data.result;
    curl_multi_remove_handle(c->multi, c->easy);
    return verdict;
}

static int explain(struct http_client *c, CURLcode verdict, struct err *err)
{
    long os_error = 0;

    if (c->failure.code)
        return err_set(err, c->failure.code, "%s '%s%s': %s", c->call->method, c->base,
                       c->call->path, c->failure.text);
    if (verdict == CURLE_COULDNT_CONNECT && c->refusal.code)
        return err_set(err, c->refusal.code, "%s", c->refusal.text);
    curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os_error);
    if (verdict == CURLE_COULDNT_CONNECT && os_error)
        return err_set_errno(err, -E_UNAVAILABLE, (int)os_error, "cannot reach '%s'", c->base);
    int code = verdict == CURLE_OPERATION_TIMEDOUT ? -E_TIMEOUT
               : verdict == CURLE_OUT_OF_MEMORY    ? -E_NO_MEMORY
               : verdict == CURLE_URL_MALFORMAT    ? -E_BAD_VALUE
                                                   : -E_UNAVAILABLE;
    return err_set(err, code, "%s '%s%s': %s", c->call->method, c->base, c->call->path,
                   c->curl_text[0] ? c->curl_text : curl_easy_strerror(verdict));
}

/* A server that refuses an upload may hang up on the rest of it. Its status is still the
 * answer, with what came of the body. */
static bool is_refusal(const struct http_client *c)
{
    return c->answer->status >= 300 && !c->failure.code;
}

static int check_call(const struct http_call *call, struct err *err)
{
    assert(!(call->body && call->body_fd > 0));
    if (call->path[0] != '/' || !is_clean(call->path, false))
        return err_set(err, -E_BAD_VALUE, "'%.100s' is no clean path", call->path);
    return 0;
}

static int set_up(struct http_client *c, struct curl_slist **headers, struct err *err)
{
    struct stat st;
    struct buf url = BUF_INIT;
    int rc = make_headers(c->call, headers, err);

    if (rc)
        return rc;
    if (c->call->body_fd > 0 && fstat(c->call->body_fd, &st) == 0 && S_ISREG(st.st_mode))
        c->body_start = lseek(c->call->body_fd, 0, SEEK_CUR);
    curl_easy_reset(c->easy);
    set_safety(c->easy, c->call);
    set_callbacks(c);
    set_request(c);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, *headers);
    buf_printf(&url, "%s%s", c->base, c->call->path);
    if (!buf_ok(&url) || curl_easy_setopt(c->easy, CURLOPT_URL, url.data) != CURLE_OK)
        rc = err_set(err, -E_NO_MEMORY, "no memory for an HTTP call");
    buf_release(&url);
    return rc;
}

int http_client_call(struct http_client *c, const struct http_call *call,
                     struct http_answer *ret, struct err *err)
{
    struct curl_slist *headers = NULL;

    *ret = (struct http_answer){.body = BUF_INIT, .head = BUF_INIT, .retry_after_s = -1};
    int rc = check_call(call, err);
    if (rc)
        return rc;
    c->call = call;
    c->answer = ret;
    c->body_start = -1;
    c->body_sent = 0;
    c->head_bytes = 0;
    c->failure = c->refusal = (struct err)ERR_INIT;
    c->failure = (struct err)ERR_INIT;

    rc = set_up(c, &headers, err);
    if (!rc) {
        CURLcode verdict = run(c);
        if ((verdict != CURLE_OK || c->failure.code) && !is_refusal(c))
            rc = explain(c, verdict, err);
    }
    curl_slist_free_all(headers);
    c->call = NULL;
    c->answer = NULL;
    return rc;
}
