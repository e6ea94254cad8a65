/* test_azure_faults.c - containers on Azure while the server, or the way to it, misbehaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "azure.h"
#include "clock.h"
#include "container.h"
#include "http_client.h"
#include "scripted_server.h"
#include "tcp_proxy.h"

enum { SKIPPED = 77, LARGE = (12 << 20) + 77, TEXT_MAX = 1024 };

#define KEY "c2VjcmV0LWtleS1vZi10aGUtYWNjb3VudC1ub2JvZHktc2hvdWxkLXNlZQ=="

static struct container_store *store;
static struct container *box;
static struct err err;

static void open_box(const char *connection)
{
    static int number;
    char name[CONTAINER_NAME_MAX];

    err = (struct err)ERR_INIT;
    snprintf(name, sizeof name, "faults-%d-%d", (int)getpid(), ++number);
    if (container_store_open(NULL, connection, &store, &err) ||
        container_open(store, name, &box, &err))
        fail_msg("%s", err.text);
}

static void close_box(void)
{
    container_close(box);
    container_store_close(store);
    box = NULL;
    store = NULL;
}

/* --- a server that says what the test wants --- */

static struct scripted_server server;
static atomic_int requests;

static void open_scripted(void (*script)(struct scripted_server *s, int fd, int connection))
{
    char connection[TEXT_MAX];

    atomic_store(&requests, 0);
    scripted_server_start(&server, script);
    snprintf(connection, sizeof connection,
             "AccountName=account;AccountKey=" KEY ";BlobEndpoint=%s/account", server.base);
    open_box(connection);
}

static int close_scripted(void **state)
{
    (void)state;
    close_box();
    scripted_server_stop(&server);
    return 0;
}

static void say_forbidden(struct scripted_server *s, int fd, int n)
{
    (void)n;
    while (scripted_take_head(s, fd)) {
        atomic_fetch_add(&requests, 1);
        scripted_say(fd, "HTTP/1.1 403 Forbidden\r\nx-ms-error-code: AuthenticationFailed\r\n"
                         "Content-Length: 32\r\n\r\n<Error>string to sign</Error>....");
    }
}

static void a_refusal_is_final_and_shows_no_secret(void **state)
{
    bool existed;

    (void)state;
    open_scripted(say_forbidden);
    assert_int_equal(container_ensure(box, &existed, &err), -E_REFUSED);
    assert_int_equal(err_class_of(err.code), ERR_PERMANENT);
    assert_int_equal(atomic_load(&requests), 1);
    assert_non_null(strstr(err.text, "403 AuthenticationFailed"));
    assert_null(strstr(err.text, "string to sign"));
    assert_null(strstr(err.text, "SharedKey"));
    assert_null(strstr(err.text, KEY));
    assert_non_null(strstr(server.request, "Authorization: SharedKey account:"));
    assert_null(strstr(server.request, KEY));
}

static void say_busy_once(struct scripted_server *s, int fd, int n)
{
    (void)n;
    while (scripted_take_head(s, fd)) {
        if (atomic_fetch_add(&requests, 1) == 0)
            scripted_say(fd, "HTTP/1.1 503 Server Busy\r\nx-ms-error-code: ServerBusy\r\n"
                             "Retry-After: 1\r\nContent-Length: 0\r\n\r\n");
        else
            scripted_say(fd, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    }
}

static void a_busy_server_is_asked_again_when_it_said(void **state)
{
    bool existed = true;
    int64_t start = clock_mono_ms();

    (void)state;
    open_scripted(say_busy_once);
    assert_int_equal(container_ensure(box, &existed, &err), 0);
    assert_false(existed);
    assert_int_equal(atomic_load(&requests), 2);
    assert_true(clock_mono_ms() - start >= 1000);
}

static void say_broken(struct scripted_server *s, int fd, int n)
{
    (void)n;
    while (scripted_take_head(s, fd)) {
        atomic_fetch_add(&requests, 1);
        scripted_say(fd, "HTTP/1.1 500 Oops\r\nx-ms-error-code: InternalError\r\n"
                         "Retry-After: 0\r\nContent-Length: 0\r\n\r\n");
    }
}

static void a_broken_server_is_given_up_after_some_tries(void **state)
{
    struct blob blob;

    (void)state;
    open_scripted(say_broken);
    assert_int_equal(container_stat(box, "dir/a b", &blob, &err), -E_UNAVAILABLE);
    assert_int_equal(atomic_load(&requests), AZURE_TRIES);
    assert_int_equal(err_class_of(err.code), ERR_TRANSIENT);
    assert_non_null(strstr(err.text, "500 InternalError"));
    assert_non_null(strstr(err.text, "dir/a%20b"));
}

static void a_check_asks_once(void **state)
{
    (void)state;
    open_scripted(say_broken);
    assert_int_equal(container_store_check(store, &err), -E_UNAVAILABLE);
    assert_int_equal(atomic_load(&requests), 1);
}

static void say_nonsense(struct scripted_server *s, int fd, int n)
{
    (void)n;
    while (scripted_take_head(s, fd))
        scripted_say(fd, "HTTP/1.1 206 Partial\r\nContent-Length: 3\r\nETag: \"1\"\r\n"
                         "Content-Range: bytes 0-2/2000\r\n\r\nabc");
}

static void a_piece_of_the_wrong_size_is_no_content(void **state)
{
    struct blob_reader *r = NULL;

    (void)state;
    open_scripted(say_nonsense);
    assert_int_equal(container_get(box, "a", &r, NULL, &err), -E_UNAVAILABLE);
    assert_null(r);
}

static void a_server_that_is_away_fails_in_bounded_time(void **state)
{
    bool existed;
    int64_t start = clock_mono_ms();

    (void)state;
    open_box("AccountName=a;AccountKey=" KEY ";BlobEndpoint=http://127.0.0.1:1/a");
    assert_int_equal(container_ensure(box, &existed, &err), -E_UNAVAILABLE);
    assert_true(clock_mono_ms() - start < 30000);
    close_box();
}

/* --- Azurite behind a proxy that cuts --- */

static struct tcp_proxy *proxy;
static unsigned char *large;
static char proxied_connection[TEXT_MAX];

static const char *find_port(const char *connection)
{
    const char *host = strstr(connection, "127.0.0.1:");

    return host ? host + strlen("127.0.0.1:") : NULL;
}

static int open_proxied(void **state)
{
    const char *direct = getenv("TEST_AZURE_STORAGE_CONNECTION_STRING");
    const char *port = find_port(direct);
    bool existed;

    (void)state;
    assert_non_null(port);
    char *rest;
    proxy = tcp_proxy_open("127.0.0.1", (int)strtol(port, &rest, 10));
    assert_non_null(proxy);
    snprintf(proxied_connection, sizeof proxied_connection, "%.*s%d%s", (int)(port - direct),
             direct, tcp_proxy_port(proxy), rest);
    open_box(proxied_connection);
    if (container_ensure(box, &existed, &err))
        fail_msg("%s", err.text);
    large = malloc(LARGE);
    assert_non_null(large);
    uint32_t seed = (uint32_t)getpid();
    for (size_t i = 0; i < LARGE; i++) {
        seed = seed * 1664525 + 1013904223;
        large[i] = (unsigned char)(seed >> 24);
    }
    return 0;
}

static int close_proxied(void **state)
{
    (void)state;
    tcp_proxy_set_trap(proxy, TCP_PROXY_CUT_BEFORE, "x", 1, 0);
    tcp_proxy_set_limit(proxy, TCP_PROXY_REQUESTS, -1);
    container_remove(box, NULL);
    close_box();
    tcp_proxy_close(proxy);
    free(large);
    return 0;
}

static void set_trap(enum tcp_proxy_cut cut, const char *pattern, unsigned times)
{
    tcp_proxy_set_trap(proxy, cut, pattern, strlen(pattern), times);
}

static int put_large(void)
{
    char path[] = "/tmp/segue-azure-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, large, LARGE), LARGE);
    int rc = container_put_file(box, "large", fd, NULL, &err);
    close(fd);
    return rc;
}

static void assert_large(void)
{
    struct blob_reader *r = NULL;
    unsigned char piece[65536];
    size_t at = 0, got = 1;

    if (container_get(box, "large", &r, NULL, &err))
        fail_msg("%s", err.text);
    while (got > 0) {
        if (blob_read(r, piece, sizeof piece, &got, &err))
            fail_msg("%s", err.text);
        assert_true(at + got <= LARGE);
        assert_memory_equal(piece, large + at, got);
        at += got;
    }
    assert_int_equal(at, LARGE);
    blob_close(r);
}

static void cut_connections_cost_a_block_each(void **state)
{
    (void)state;
    set_trap(TCP_PROXY_CUT_BEFORE, "comp=block&", 3);
    if (put_large())
        fail_msg("%s", err.text);
    assert_int_equal(tcp_proxy_sprung(proxy), 3);
    assert_large();
}

/* Only the last request ends like this: the list of blocks is asked for with more behind. */
#define LAST_REQUEST "comp=blocklist HTTP"

static void a_lost_answer_to_the_last_request_does_no_harm(void **state)
{
    (void)state;
    set_trap(TCP_PROXY_CUT_UNANSWERED, LAST_REQUEST, 2);
    if (put_large())
        fail_msg("%s", err.text);
    assert_int_equal(tcp_proxy_sprung(proxy), 2);
    assert_large();
}

static void a_lost_answer_to_the_commit_of_an_object_is_settled(void **state)
{
    struct objstore *objects = NULL;
    struct objstore_put *p = NULL;
    struct artifact a;
    char url[TEXT_MAX];

    (void)state;
    snprintf(url, sizeof url, "azure:%s", container_name(box));
    if (objstore_open_on(url, proxied_connection, &objects, &err))
        fail_msg("%s", err.text);
    assert_int_equal(objstore_put_begin(objects, "raw_data/a", &p, &err), 0);
    assert_int_equal(objstore_put_write(p, "ours", 4, &err), 0);
    set_trap(TCP_PROXY_CUT_UNANSWERED, "x-ms-blob-type: BlockBlob", 2);
    if (objstore_put_commit_free(p, &a, &err))
        fail_msg("%s", err.text);
    assert_int_equal(tcp_proxy_sprung(proxy), 2);
    assert_int_equal(a.size, 4);
    assert_int_equal(objstore_put_begin(objects, "raw_data/a", &p, &err), -E_EXISTS);
    objstore_close(objects);
}

static void a_commit_that_never_gets_through_leaves_no_blob(void **state)
{
    struct blob blob;

    (void)state;
    set_trap(TCP_PROXY_CUT_BEFORE, LAST_REQUEST, 1000);
    assert_int_equal(put_large(), -E_UNAVAILABLE);
    /* A kept connection that turns out to be dead does not count as a try. */
    assert_in_range(tcp_proxy_sprung(proxy), AZURE_TRIES, 2 * AZURE_TRIES);
    assert_int_equal(container_stat(box, "large", &blob, &err), -E_NOT_FOUND);
}

static void cut_answers_cost_a_range_each(void **state)
{
    (void)state;
    if (put_large())
        fail_msg("%s", err.text);
    set_trap(TCP_PROXY_CUT_ANSWERED, "x-ms-range: bytes=4194304-", 2);
    assert_large();
    assert_int_equal(tcp_proxy_sprung(proxy), 2);
}

static void a_blob_that_is_replaced_while_it_is_read_is_told(void **state)
{
    struct container_put *p = NULL;
    struct blob_reader *r = NULL;
    static unsigned char piece[8 << 20];
    size_t got = 1;
    int rc = 0;

    (void)state;
    if (put_large())
        fail_msg("%s", err.text);
    assert_int_equal(container_get(box, "large", &r, NULL, &err), 0);
    assert_int_equal(blob_read(r, piece, 10, &got, &err), 0);
    assert_int_equal(container_put_begin(box, "large", &p, &err), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(container_put_write(p, piece, sizeof piece, &err), 0);
    assert_int_equal(container_put_commit_free(p, NULL, &err), 0);
    while (!rc && got > 0)
        rc = blob_read(r, piece, sizeof piece, &got, &err);
    assert_int_equal(rc, -E_STALE);
    blob_close(r);
}

static void a_killed_upload_is_not_seen_and_the_next_goes_on_with_its_blocks(void **state)
{
    struct blob blob;
    int status;

    (void)state;
    /* The child sends its blocks, and dies before the last request has got through. */
    set_trap(TCP_PROXY_CUT_BEFORE, LAST_REQUEST, 1000);
    pid_t child = fork();
    if (child == 0) {
        put_large();
        _exit(0);
    }
    while (tcp_proxy_sprung(proxy) == 0)
        usleep(1000);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(container_stat(box, "large", &blob, &err), -E_NOT_FOUND);

    /* Connections that carry no block let the rest through. */
    set_trap(TCP_PROXY_CUT_BEFORE, "x", 0);
    tcp_proxy_reset(proxy);
    tcp_proxy_set_limit(proxy, TCP_PROXY_REQUESTS, 1 << 20);
    if (put_large())
        fail_msg("%s", err.text);
    tcp_proxy_set_limit(proxy, TCP_PROXY_REQUESTS, -1);
    assert_large();
}

static bool is_there(void)
{
    const char *all = getenv("SEGUE_TEST_REQUIRE_ALL");

    if (getenv("TEST_AZURE_STORAGE_CONNECTION_STRING"))
        return true;
    printf("skipped: TEST_AZURE_STORAGE_CONNECTION_STRING is not set\n");
    exit(all && strcmp(all, "1") == 0 ? 1 : SKIPPED);
}

int main(void)
{
    static const struct CMUnitTest scripted[] = {
#define SCRIPTED(name) cmocka_unit_test_teardown(name, close_scripted)
        SCRIPTED(a_refusal_is_final_and_shows_no_secret),
        SCRIPTED(a_busy_server_is_asked_again_when_it_said),
        SCRIPTED(a_broken_server_is_given_up_after_some_tries),
        SCRIPTED(a_check_asks_once),
        SCRIPTED(a_piece_of_the_wrong_size_is_no_content),
        cmocka_unit_test(a_server_that_is_away_fails_in_bounded_time),
    };
    static const struct CMUnitTest proxied[] = {
#define PROXIED(name) cmocka_unit_test_setup_teardown(name, open_proxied, close_proxied)
        PROXIED(cut_connections_cost_a_block_each),
        PROXIED(a_lost_answer_to_the_last_request_does_no_harm),
        PROXIED(a_lost_answer_to_the_commit_of_an_object_is_settled),
        PROXIED(a_commit_that_never_gets_through_leaves_no_blob),
        PROXIED(cut_answers_cost_a_range_each),
        PROXIED(a_blob_that_is_replaced_while_it_is_read_is_told),
        PROXIED(a_killed_upload_is_not_seen_and_the_next_goes_on_with_its_blocks),
    };
    int failed = http_client_global_init(NULL) == 0 ? 0 : 1;

    failed += cmocka_run_group_tests(scripted, NULL, NULL);
    return failed + (is_there() ? cmocka_run_group_tests(proxied, NULL, NULL) : 0);
}
