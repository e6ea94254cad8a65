/* load.c - sends HTTP requests over keep-alive connections and prints what came back, as JSON.
 *
 *   bench_throughput_load [OPTION VALUE]... HOST:PORT METHOD TARGET
 *
 *   --connections N   connections (32)
 *   --count N         requests (1000)
 *   --rate N          open loop: request number i is due i/N seconds after the start, and its
 *                     latency counts from then, so that a stall is seen by every request that
 *                     was due in it. Without: closed loop, each connection sends the next
 *                     request once it has the last answer.
 *   --body FILE       the body of every request
 *   --type TEXT       its Content-Type (application/json)
 *   --expect N        the status that counts as success (202)
 *   --log FILE        a line "TASK_ID DUE_US" for each task_id that was answered; the time is
 *                     when the request was due, by the wall clock, in microseconds
 *
 * One thread and one epoll: it must cost little beside what it measures. The exit code is 0
 * when every request was answered as expected, 1 when not, 2 for wrong usage. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_MAX = 8 << 20,
    EVENTS = 64,
    STATUS_MAX = 600,
    ID_LENGTH = 36,
    SILENCE_MS = 60 * 1000 /* no answer at all for so long: the server is stuck */
};

struct connection {
    int fd;
    bool busy;
    int64_t due_ns;       /* of the request under way */
    size_t sent;          /* of the request */
    char *answer;         /* what has come of the answer */
    size_t length, space; /* of the answer */
};

struct load {
    const char *host, *port, *method, *target, *body_path, *type, *log_path;
    long connections, count, expect;
    double rate;

    char *request;
    size_t request_length;
    struct addrinfo *address;
    struct connection *all, **idle;
    long idle_count;
    int epoll, timer;
    FILE *log;

    int64_t start_ns, wall_offset_ns, last_ns;
    long begun, ended, failed, statuses[STATUS_MAX];
    int64_t *latencies; /* of answers as expected */
    long latency_count;
    int64_t late_max_ns; /* a due request, from when it was due to its first byte out */
    uint64_t bytes_in;
};

static int64_t clock_ns(clockid_t id)
{
    struct timespec at;

    clock_gettime(id, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static _Noreturn void die(const char *what, ...)
{
    va_list ap;

    va_start(ap, what);
    fputs("load: ", stderr);
    vfprintf(stderr, what, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

static void *must(void *memory)
{
    if (!memory)
        die("no memory");
    return memory;
}

/* --- the request --- */

static char *read_file(const char *path, size_t *ret_length)
{
    FILE *in = fopen(path, "rbe");
    long size = -1;

    if (in && fseek(in, 0, SEEK_END) == 0)
        size = ftell(in);
    if (size < 0)
        die("'%s': %s", path, strerror(errno));
    rewind(in);
    char *text = must(malloc((size_t)size + 1));
    if (fread(text, 1, (size_t)size, in) != (size_t)size)
        die("'%s' could not be read", path);
    fclose(in);
    *ret_length = (size_t)size;
    return text;
}

static void request_build(struct load *l)
{
    char head[2048];
    size_t body_length = 0;
    char *body = l->body_path ? read_file(l->body_path, &body_length) : NULL;
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n", l->method,
                     l->target, l->host, l->port);

    if (body && n > 0 && (size_t)n < sizeof head)
        n += snprintf(head + n, sizeof head - (size_t)n,
                      "Content-Type: %s\r\nContent-Length: %zu\r\n", l->type, body_length);
    if (n < 0 || (size_t)n + 3 > sizeof head)
        die("the target is too long");
    memcpy(head + n, "\r\n", 2);
    l->request_length = (size_t)n + 2 + body_length;
    l->request = must(malloc(l->request_length));
    memcpy(l->request, head, (size_t)n + 2);
    if (body)
        memcpy(l->request + n + 2, body, body_length);
    free(body);
}

/* --- the answer --- */

/* The value of a header field in [head, end), or NULL. */
static const char *header_find(const char *head, const char *end, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = head; line < end;) {
        const char *next = memmem(line, (size_t)(end - line), "\r\n", 2);
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " \t");
        line = next ? next + 2 : end;
    }
    return NULL;
}

/* Length of a chunked body that starts at `at`, 0 while its end has not come. */
static size_t chunked_length(const char *at, const char *end)
{
    const char *start = at;

    for (;;) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end)
            return 0;
        size_t size = strtoul(at, NULL, 16);
        if ((size_t)(end - line_end) < size + 4)
            return 0;
        at = line_end + 2 + size + 2;
        if (size == 0)
            return (size_t)(at - start);
    }
}

/* 0: more has to come; else the whole answer's length, with its status and body. */
static size_t answer_parse(const struct connection *c, int *ret_status, const char **ret_body,
                           bool *ret_close)
{
    const char *end = c->answer + c->length;
    const char *blank = memmem(c->answer, c->length, "\r\n\r\n", 4);

    if (!blank)
        return 0;
    if (c->length < 12 || memcmp(c->answer, "HTTP/1.", 7) != 0)
        die("an answer that is no HTTP");
    *ret_status = (int)strtol(c->answer + 9, NULL, 10);
    *ret_body = blank + 4;
    const char *length = header_find(c->answer, blank, "Content-Length");
    const char *coding = header_find(c->answer, blank, "Transfer-Encoding");
    const char *connection = header_find(c->answer, blank, "Connection");
    *ret_close = connection && strncasecmp(connection, "close", 5) == 0;
    size_t head = (size_t)(blank + 4 - c->answer), body;
    if (coding && strncasecmp(coding, "chunked", 7) == 0) {
        body = chunked_length(blank + 4, end);
        return body ? head + body : 0;
    }
    body = length ? strtoul(length, NULL, 10) : 0;
    return head + body <= c->length ? head + body : 0;
}

static void answer_log(struct load *l, const struct connection *c, const char *body)
{
    static const char name[] = "\"task_id\":";
    const char *end = c->answer + c->length;
    const char *at = memmem(body, (size_t)(end - body), name, sizeof name - 1);

    if (!at)
        return;
    at += sizeof name - 1;
    at += *at == ' ';
    if (end - at < ID_LENGTH + 2 || *at != '"')
        return;
    fprintf(l->log, "%.*s %" PRId64 "\n", ID_LENGTH, at + 1,
            (c->due_ns + l->wall_offset_ns) / 1000);
}

/* --- connections --- */

static void connection_open(struct load *l, struct connection *c)
{
    int on = 1;

    c->fd = socket(l->address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, l->address->ai_addr, l->address->ai_addrlen) != 0)
        die("connecting to %s:%s: %s", l->host, l->port, strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        die("fcntl: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll: %s", strerror(errno));
    c->length = 0;
}

static void connection_reopen(struct load *l, struct connection *c)
{
    close(c->fd); /* leaves the epoll by itself */
    connection_open(l, c);
}

static void connection_watch(struct load *l, struct connection *c, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0)
        die("epoll: %s", strerror(errno));
}

static void request_end(struct load *l, struct connection *c)
{
    l->ended++;
    l->last_ns = clock_ns(CLOCK_MONOTONIC);
    c->busy = false;
    c->length = 0;
    l->idle[l->idle_count++] = c;
}

static void request_fail(struct load *l, struct connection *c)
{
    l->failed++;
    connection_reopen(l, c);
    request_end(l, c);
}

static void request_send(struct load *l, struct connection *c)
{
    while (c->sent < l->request_length) {
        ssize_t n =
            send(c->fd, l->request + c->sent, l->request_length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            connection_watch(l, c, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0) {
            request_fail(l, c);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void request_begin(struct load *l, int64_t now_ns)
{
    struct connection *c = l->idle[--l->idle_count];

    c->due_ns =
        l->rate > 0 ? l->start_ns + (int64_t)((double)l->begun * 1e9 / l->rate) : now_ns;
    if (now_ns - c->due_ns > l->late_max_ns)
        l->late_max_ns = now_ns - c->due_ns;
    l->begun++;
    c->busy = true;
    c->sent = 0;
    request_send(l, c);
}

static void answer_take(struct load *l, struct connection *c)
{
    int status = 0;
    bool closes = false;
    const char *body = NULL;

    if (answer_parse(c, &status, &body, &closes) == 0)
        return;
    l->bytes_in += c->length;
    l->statuses[status > 0 && status < STATUS_MAX ? status : 0]++;
    if (status == l->expect) {
        l->latencies[l->latency_count++] = clock_ns(CLOCK_MONOTONIC) - c->due_ns;
        if (l->log)
            answer_log(l, c, body);
    } else {
        if (l->failed == 0)
            fprintf(stderr, "load: answer %d: %.*s\n", status,
                    (int)(c->answer + c->length - body), body);
        l->failed++;
    }
    if (closes)
        connection_reopen(l, c);
    request_end(l, c);
}

static void connection_read(struct load *l, struct connection *c)
{
    if (c->space - c->length < 4096) {
        if (c->space >= ANSWER_MAX)
            die("an answer of more than %d bytes", ANSWER_MAX);
        c->space = c->space ? 2 * c->space : 16384;
        c->answer = must(realloc(c->answer, c->space));
    }
    ssize_t n = recv(c->fd, c->answer + c->length, c->space - c->length - 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        c->length += (size_t)n;
        c->answer[c->length] = '\0'; /* where the parsing of a part of it ends */
        if (c->busy)
            answer_take(l, c);
    } else if (c->busy) {
        request_fail(l, c);
    } else {
        connection_reopen(l, c); /* closed for having been idle */
    }
}

/* --- the loop --- */

/* Sends what is due; in an open loop then sets the timer to the next. */
static void begin_due(struct load *l)
{
    int64_t now = clock_ns(CLOCK_MONOTONIC);
    long due = l->count;

    if (l->rate > 0) {
        due = (long)((double)(now - l->start_ns) * l->rate / 1e9) + 1;
        due = due < l->count ? due : l->count;
    }
    /* At the end of each turn the time has moved on, but a later turn sees to that. */
    for (long room = l->idle_count; room > 0 && l->begun < due; room--)
        request_begin(l, now);
    if (l->rate > 0 && l->begun < l->count && l->begun >= due) {
        int64_t next = l->start_ns + (int64_t)((double)l->begun * 1e9 / l->rate);
        struct itimerspec at = {.it_value = {next / 1000000000, next % 1000000000}};
        timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
}

static void load_run(struct load *l)
{
    struct epoll_event events[EVENTS];

    l->start_ns = clock_ns(CLOCK_MONOTONIC);
    l->wall_offset_ns = clock_ns(CLOCK_REALTIME) - l->start_ns;
    begin_due(l);
    while (l->ended < l->count) {
        int n = epoll_wait(l->epoll, events, EVENTS, SILENCE_MS);
        if (n == 0)
            die("no answer within %d s; %ld of %ld requests had ended", SILENCE_MS / 1000,
                l->ended, l->count);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            uint64_t ticks;
            if (!c) {
                if (read(l->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
                    die("timer: %s", strerror(errno));
                continue;
            }
            if (events[i].events & EPOLLOUT) {
                connection_watch(l, c, EPOLLIN);
                request_send(l, c);
            }
            if (events[i].events & ~(uint32_t)EPOLLOUT)
                connection_read(l, c);
        }
        begin_due(l);
    }
}

/* --- the result --- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static double percentile_ms(const struct load *l, double part)
{
    long at = (long)(part * (double)l->latency_count);

    if (l->latency_count == 0)
        return 0;
    return (double)l->latencies[at < l->latency_count ? at : l->latency_count - 1] / 1e6;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print_result(struct load *l)
{
    double took = (double)(l->last_ns - l->start_ns) / 1e9;
    const char *comma = "";
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    qsort(l->latencies, (size_t)l->latency_count, sizeof *l->latencies, compare);
    printf("{\"requests\": %ld, \"failed\": %ld, \"seconds\": %.6f, \"per_second\": %.1f, "
           "\"wall_start\": %.6f, ",
           l->ended, l->failed, took, (double)l->latency_count / took,
           (double)(l->start_ns + l->wall_offset_ns) / 1e9);
    printf("\"latency_ms\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p999\": %.3f, "
           "\"max\": %.3f}, ",
           percentile_ms(l, 0.5), percentile_ms(l, 0.9), percentile_ms(l, 0.99),
           percentile_ms(l, 0.999), percentile_ms(l, 1));
    printf("\"late_max_ms\": %.3f, \"bytes_in\": %" PRIu64
           ", \"cpu_seconds\": %.3f, \"statuses\": {",
           (double)l->late_max_ns / 1e6, l->bytes_in,
           seconds(used.ru_utime) + seconds(used.ru_stime));
    for (int status = 0; status < STATUS_MAX; status++) {
        if (l->statuses[status] == 0)
            continue;
        printf("%s\"%d\": %ld", comma, status, l->statuses[status]);
        comma = ", ";
    }
    puts("}}");
}

/* --- the command line --- */

static double number(const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || value <= 0)
        die("%s takes a number above 0, not '%s'", name, text);
    return value;
}

static void parse(struct load *l, int argc, char **argv)
{
    int i = 1;

    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *name = argv[i] + 2, *value = argv[i + 1];
        if (strcmp(name, "connections") == 0)
            l->connections = (long)number(name, value);
        else if (strcmp(name, "count") == 0)
            l->count = (long)number(name, value);
        else if (strcmp(name, "rate") == 0)
            l->rate = number(name, value);
        else if (strcmp(name, "expect") == 0)
            l->expect = (long)number(name, value);
        else if (strcmp(name, "body") == 0)
            l->body_path = value;
        else if (strcmp(name, "type") == 0)
            l->type = value;
        else if (strcmp(name, "log") == 0)
            l->log_path = value;
        else
            die("there is no option --%s", name);
    }
    if (argc - i != 3)
        die("usage: [OPTION VALUE]... HOST:PORT METHOD TARGET");
    char *colon = strrchr(argv[i], ':');
    if (!colon)
        die("'%s' is no HOST:PORT", argv[i]);
    *colon = '\0';
    l->host = argv[i];
    l->port = colon + 1;
    l->method = argv[i + 1];
    l->target = argv[i + 2];
}

static void load_open(struct load *l)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int rc = getaddrinfo(l->host, l->port, &hints, &l->address);

    if (rc)
        die("%s:%s: %s", l->host, l->port, gai_strerror(rc));
    request_build(l);
    if (l->log_path && !(l->log = fopen(l->log_path, "we")))
        die("'%s': %s", l->log_path, strerror(errno));
    l->latencies = must(calloc((size_t)l->count, sizeof *l->latencies));
    l->all = must(calloc((size_t)l->connections, sizeof *l->all));
    l->idle = must(calloc((size_t)l->connections, sizeof(struct connection *)));
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (l->epoll < 0 || l->timer < 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->timer, &event) != 0)
        die("epoll: %s", strerror(errno));
    for (long i = 0; i < l->connections; i++) {
        connection_open(l, &l->all[i]);
        l->idle[l->idle_count++] = &l->all[i];
    }
}

int main(int argc, char **argv)
{
    struct load l = {
        .connections = 32, .count = 1000, .expect = 202, .type = "application/json"};

    parse(&l, argc, argv);
    load_open(&l);
    load_run(&l);
    if (l.log && fclose(l.log) != 0)
        die("'%s': %s", l.log_path, strerror(errno));
    print_result(&l);
    return l.failed ? 1 : 0;
}
