#include "fake_manager.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 30, REQUEST_MAX = 1 << 20 };

static void must(bool ok)
{
    if (!ok)
        abort();
}

void fake_manager_init(struct fake_manager *m)
{
    memset(m, 0, sizeof *m);
    m->lease_ms = 10000;
    must(pthread_mutex_init(&m->lock, NULL) == 0);
    must(pthread_cond_init(&m->changed, NULL) == 0);
}

void fake_manager_release(struct fake_manager *m)
{
    for (int i = 0; i < m->offered; i++)
        work_release(&m->works[i]);
    for (int i = 0; i < m->report_count; i++)
        report_release(&m->reports[i]);
    pthread_mutex_destroy(&m->lock);
    pthread_cond_destroy(&m->changed);
}

/* --- the three calls; with the lock held; malloc'ed answer --- */

static bool wait_a_while(struct fake_manager *m, int64_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000)
        at.tv_sec++, at.tv_nsec -= 1000000000;
    return pthread_cond_timedwait(&m->changed, &m->lock, &at) == 0;
}

static char *answer_claim(struct fake_manager *m, const char *body, size_t len)
{
    struct claim_request r;

    must(claim_request_decode(body, len, &r, NULL) == 0);
    m->claims++;
    pthread_cond_broadcast(&m->changed);
    while ((m->claimed == m->offered || m->deaf_polls) && r.wait_ms > 0 && !m->stopping) {
        if (!wait_a_while(m, r.wait_ms))
            break;
    }
    while (m->hang_claims && !m->stopping)
        pthread_cond_wait(&m->changed, &m->lock);
    int count = m->offered - m->claimed;
    if (count > r.limit && !m->generous)
        count = r.limit;
    char *text = work_list_encode(&m->works[m->claimed], (size_t)count), *longer = NULL;
    m->claimed += count;
    if (!m->claim_element || count == 0)
        return text;
    must(asprintf(&longer, "%.*s,%s]}", (int)strlen(text) - 2, text, m->claim_element) > 0);
    m->claim_element = NULL;
    free(text);
    return longer;
}

static char *answer_heartbeat(struct fake_manager *m, const char *body, size_t len)
{
    struct heartbeat_verdict verdicts[WORKER_BATCH_MAX];
    struct heartbeat *items;
    size_t count;
    char worker[TASK_WORKER_MAX];

    must(heartbeat_list_decode(body, len, worker, &items, &count, NULL) == 0);
    memset(verdicts, 0, sizeof verdicts);
    for (size_t i = 0; i < count; i++) {
        memcpy(verdicts[i].task_id, items[i].task_id, sizeof items[i].task_id);
        verdicts[i].held = !m->lose_all;
        verdicts[i].lease_ms = m->lease_ms;
        if (items[i].progress > m->progress)
            m->progress = items[i].progress;
    }
    free(items);
    m->heartbeats++;
    return heartbeat_verdicts_encode(verdicts, count);
}

static char *answer_report(struct fake_manager *m, const char *body, size_t len)
{
    struct report_verdict verdicts[WORKER_BATCH_MAX];
    struct report *items;
    size_t count;
    char worker[TASK_WORKER_MAX];

    must(report_list_decode(body, len, worker, &items, &count, NULL) == 0);
    memset(verdicts, 0, sizeof verdicts);
    for (size_t i = 0; i < count; i++) {
        must(m->report_count < FAKE_MAX);
        memcpy(verdicts[i].task_id, items[i].task_id, sizeof items[i].task_id);
        m->reports[m->report_count++] = items[i];
        if (m->report_calls <= m->stale_reports)
            verdicts[i].word = REPORT_STALE;
        if (m->report_calls <= m->refuse_verdicts) {
            verdicts[i].word = REPORT_REFUSED;
            snprintf(verdicts[i].detail, sizeof verdicts[i].detail, "the test wants it so");
        }
    }
    free(items);
    return report_verdicts_encode(verdicts, count);
}

static char *answer(struct fake_manager *m, const char *head, const char *body, size_t len,
                    int *ret_status)
{
    bool is_heartbeat = strncmp(head, "POST /v1/worker/heartbeat ", 26) == 0;
    bool is_report = strncmp(head, "POST /v1/worker/report ", 23) == 0;

    m->report_calls += is_report;
    *ret_status = 200;
    if (m->refuse_status)
        *ret_status = m->refuse_status;
    else if ((is_heartbeat && m->fail_heartbeats) ||
             (is_report && m->report_calls <= m->fail_reports))
        *ret_status = 503;
    else if (is_report && m->report_calls <= m->refused_reports)
        *ret_status = 413;
    else if (is_report && m->report_calls <= m->lost_reports)
        *ret_status = m->lost_status;
    if (*ret_status != 200)
        return strdup("{\"error\":\"the test says no\"}");
    if (is_heartbeat)
        return answer_heartbeat(m, body, len);
    if (is_report && m->report_calls <= m->stale_reports)
        *ret_status = 409;
    if (is_report)
        return answer_report(m, body, len);
    must(strncmp(head, "POST /v1/worker/claim ", 22) == 0);
    if (m->garble_claims) {
        m->claims++;
        return strdup("<html>a captive portal</html>");
    }
    return answer_claim(m, body, len);
}

/* --- HTTP, as little as it takes --- */

/* Reads one request into text; false at a hang-up. */
static bool read_request(int fd, char *text, char **ret_body, size_t *ret_len)
{
    size_t got = 0;
    char *end = NULL;

    while (!end) {
        ssize_t n = recv(fd, text + got, REQUEST_MAX - got, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
        text[got] = '\0';
        end = strstr(text, "\r\n\r\n");
    }
    const char *length = strcasestr(text, "\r\nContent-Length:");
    *ret_len = length ? strtoul(length + 17, NULL, 10) : 0;
    *ret_body = end + 4;
    size_t want = (size_t)(*ret_body - text) + *ret_len;
    must(want <= REQUEST_MAX);
    while (got < want) {
        ssize_t n = recv(fd, text + got, want - got, 0);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

struct connection {
    struct fake_manager *m;
    int fd;
};

static void *serve(void *arg)
{
    struct connection c = *(struct connection *)arg;
    char *text = malloc(REQUEST_MAX + 1), *body;
    size_t len;

    free(arg);
    must(text != NULL);
    while (read_request(c.fd, text, &body, &len)) {
        char head[160];
        int status;
        pthread_mutex_lock(&c.m->lock);
        char *reply = answer(c.m, text, body, len, &status);
        bool quit = c.m->stopping;
        pthread_cond_broadcast(&c.m->changed);
        pthread_mutex_unlock(&c.m->lock);
        must(reply != NULL);
        snprintf(
            head, sizeof head,
            "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
            status, strlen(reply));
        bool sent =
            !quit && send_all(c.fd, head, strlen(head)) && send_all(c.fd, reply, strlen(reply));
        free(reply);
        if (!sent)
            break;
    }
    shutdown(c.fd, SHUT_RDWR);
    free(text);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct fake_manager *m = arg;
    int fd;

    while ((fd = accept(m->listen_fd, NULL, NULL)) >= 0) {
        struct connection *c = malloc(sizeof *c);
        must(c != NULL);
        *c = (struct connection){m, fd};
        pthread_mutex_lock(&m->lock);
        must(m->connections < FAKE_CONNECTIONS);
        m->fds[m->connections] = fd;
        must(pthread_create(&m->servers[m->connections++], NULL, serve, c) == 0);
        pthread_mutex_unlock(&m->lock);
    }
    return NULL;
}

void fake_manager_start(struct fake_manager *m)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(m->port)};
    socklen_t len = sizeof at;
    int yes = 1;

    m->stopping = false;
    m->connections = 0;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    m->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(m->listen_fd >= 0);
    must(setsockopt(m->listen_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0);
    must(bind(m->listen_fd, (struct sockaddr *)(void *)&at, sizeof at) == 0);
    must(listen(m->listen_fd, 64) == 0);
    must(getsockname(m->listen_fd, (struct sockaddr *)(void *)&at, &len) == 0);
    m->port = ntohs(at.sin_port);
    snprintf(m->url, sizeof m->url, "http://127.0.0.1:%d", m->port);
    must(pthread_create(&m->acceptor, NULL, accept_all, m) == 0);
}

void fake_manager_stop(struct fake_manager *m)
{
    shutdown(m->listen_fd, SHUT_RDWR);
    pthread_join(m->acceptor, NULL);
    close(m->listen_fd);
    pthread_mutex_lock(&m->lock);
    m->stopping = true;
    pthread_cond_broadcast(&m->changed);
    for (int i = 0; i < m->connections; i++)
        shutdown(m->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < m->connections; i++) {
        pthread_join(m->servers[i], NULL);
        close(m->fds[i]);
    }
}

/* --- for tests --- */

int fake_manager_offer(struct fake_manager *m, const char *params, int64_t timeout_ms)
{
    pthread_mutex_lock(&m->lock);
    must(m->offered < FAKE_MAX);
    int index = m->offered;
    struct work *w = &m->works[index];
    char id[ID_TEXT_MAX];
    id_new(id);
    memcpy(w->task_id, id, sizeof id);
    token_new(w->token);
    snprintf(w->type, sizeof w->type, "noop");
    snprintf(w->queue, sizeof w->queue, "default");
    w->attempt = 1;
    w->max_attempts = 3;
    w->lease_ms = m->lease_ms;
    w->timeout_ms = timeout_ms;
    snprintf(w->output_prefix, sizeof w->output_prefix, "processed_data/%s/1/", id);
    w->params = strdup(params);
    m->offered++;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    return index;
}

static bool wait_until(struct fake_manager *m, const int *number, int at_least)
{
    time_t until = time(NULL) + PATIENCE_S;

    pthread_mutex_lock(&m->lock);
    while (*number < at_least && time(NULL) < until)
        wait_a_while(m, 200);
    bool reached = *number >= at_least;
    pthread_mutex_unlock(&m->lock);
    return reached;
}

bool fake_manager_wait_reports(struct fake_manager *m, int count)
{
    return wait_until(m, &m->report_count, count);
}

bool fake_manager_wait_claims(struct fake_manager *m, int count)
{
    return wait_until(m, &m->claims, count);
}

bool fake_manager_wait_heartbeats(struct fake_manager *m, int more)
{
    pthread_mutex_lock(&m->lock);
    int target = m->heartbeats + more;
    pthread_mutex_unlock(&m->lock);
    return wait_until(m, &m->heartbeats, target);
}

double fake_manager_progress(struct fake_manager *m)
{
    pthread_mutex_lock(&m->lock);
    double progress = m->progress;
    pthread_mutex_unlock(&m->lock);
    return progress;
}

const struct report *fake_manager_report(struct fake_manager *m, int index)
{
    const struct report *found = NULL;

    pthread_mutex_lock(&m->lock);
    for (int i = 0; i < m->report_count && !found; i++) {
        if (strcmp(m->reports[i].token, m->works[index].token) == 0)
            found = &m->reports[i];
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}
