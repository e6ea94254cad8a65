/* The short way to read a message and the long one must never differ. A space in front is all
 * it takes to be sent the long way, so every message here is read twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker_scan.h"

#define ID    "01890a5d-ac96-774b-bcce-b302099a8057"
#define TOKEN "0123456789abcdef0123456789abcdef"
#define KEY   "processed_data/" ID "/1/totals.csv"
#define SHA   TOKEN TOKEN

/* What a message is read as, written anew; NULL and *ret_rc when it is refused. */
typedef char *read_fn(const char *text, size_t len, int *ret_rc);

static char *read_work(const char *text, size_t len, int *ret_rc)
{
    struct work w;

    *ret_rc = work_decode(text, len, &w, NULL);
    if (*ret_rc)
        return NULL;
    char *again = work_encode(&w);
    work_release(&w);
    return again;
}

static char *read_claim(const char *text, size_t len, int *ret_rc)
{
    struct claim_item *items = NULL;
    char *again = NULL;
    size_t count = 0, used = 0;

    *ret_rc = work_list_decode(text, len, &items, &count, NULL);
    if (*ret_rc)
        return NULL;
    const size_t size = (count + 1) * 4096;
    again = calloc(1, size);
    for (size_t i = 0; i < count; i++) {
        char *one = work_encode(&items[i].work);
        used +=
            (size_t)snprintf(again + used, size - used, "%d %s\n", items[i].fault.code, one);
        free(one);
        work_release(&items[i].work);
    }
    free(items);
    return again;
}

static char *read_report(const char *text, size_t len, int *ret_rc)
{
    struct report r;

    *ret_rc = report_decode(text, len, &r, NULL);
    if (*ret_rc)
        return NULL;
    char *again = report_encode(&r);
    report_release(&r);
    return again;
}

static char *read_reports(const char *text, size_t len, int *ret_rc)
{
    struct report *items = NULL;
    char worker[TASK_WORKER_MAX];
    size_t count = 0;

    *ret_rc = report_list_decode(text, len, worker, &items, &count, NULL);
    if (*ret_rc)
        return NULL;
    char *again = report_list_encode(worker, items, count);
    for (size_t i = 0; i < count; i++)
        report_release(&items[i]);
    free(items);
    return again;
}

static char *read_verdicts(const char *text, size_t len, int *ret_rc)
{
    struct report_verdict *items = NULL;
    size_t count = 0;

    *ret_rc = report_verdicts_decode(text, len, &items, &count, NULL);
    if (*ret_rc)
        return NULL;
    char *again = report_verdicts_encode(items, count);
    free(items);
    return again;
}

/* -- the messages -- */

static char params[] = "{\"on_bad_row\":\"fail\",\"x\":[{\"}\":\"\\\"]}\"},1.5]}";
static char result[] = "{\"rows_in\":7,\"a\":{\"b\":[]}}";

static const struct work works[] = {
    {.task_id = ID,
     .type = "noop",
     .queue = "default",
     .attempt = 1,
     .max_attempts = 3,
     .token = TOKEN,
     .lease_ms = 10000,
     .output_prefix = "processed_data/" ID "/1/"},
    {.task_id = ID,
     .type = "csv_plays",
     .queue = "q",
     .attempt = 2,
     .max_attempts = INT32_MAX,
     .token = TOKEN,
     .lease_ms = 1,
     .timeout_ms = 900,
     .output_prefix = "p/",
     .output_stem = "p/1.",
     .input_name = "plays.csv",
     .input = {KEY, 189, SHA},
     .params = params},
};

static const struct report reports[] = {
    {.task_id = ID, .token = TOKEN, .outcome = ATTEMPT_DONE, .usage = {1, 2, 3, 0, 0}},
    {.task_id = ID,
     .token = TOKEN,
     .outcome = ATTEMPT_DONE,
     .output = {KEY, 1, ""},
     .result = result},
    {.task_id = ID,
     .token = TOKEN,
     .outcome = ATTEMPT_FAILED,
     .error = {ERROR_CRASH, "signal", "killed by signal 9"},
     .usage = {1, 2, 3, 255, 64}},
    {.task_id = ID, .token = TOKEN, .outcome = ATTEMPT_RELEASED},
};

static const struct report_verdict verdicts[] = {{ID, REPORT_RECORDED, "DONE", ""},
                                                 {ID, REPORT_STALE, "", "too late"}};

/* -- reading them -- */

static void expect_same(read_fn *read, const char *text, size_t len)
{
    char *spaced = malloc(len + 2);
    int rc = 0, long_rc = 0;

    spaced[0] = ' ';
    memcpy(spaced + 1, text, len);
    spaced[len + 1] = '\0';
    char *is = read(spaced + 1, len, &rc), *must = read(spaced, len + 1, &long_rc);
    if (rc != long_rc || (is && strcmp(is, must) != 0))
        print_error("read otherwise: %.*s\n", (int)len, text);
    assert_int_equal(rc, long_rc);
    if (!rc)
        assert_string_equal(is, must);
    free(is);
    free(must);
    free(spaced);
}

/* Every byte missing, every byte another, and another before every byte. */
static void expect_same_when_changed(read_fn *read, char *text_take)
{
    static const char others[] = {'"', '\\', '{', '}', '[', ']',  ',',    ':',
                                  '0', '9',  '-', ' ', 'n', '\n', '\x7f', '\0'};
    const size_t len = strlen(text_take);
    char *changed = malloc(len + 2);

    expect_same(read, text_take, len);
    for (size_t at = 0; at < len; at++) {
        memcpy(changed, text_take, at);
        memcpy(changed + at, text_take + at + 1, len - at);
        expect_same(read, changed, len - 1);
        for (size_t i = 0; i < sizeof others; i++) {
            memcpy(changed, text_take, len + 1);
            changed[at] = others[i];
            expect_same(read, changed, len);
            memcpy(changed + at + 1, text_take + at, len + 1 - at);
            expect_same(read, changed, len + 1);
        }
    }
    free(changed);
    free(text_take);
}

static void work_is_read_the_same_either_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof works / sizeof works[0]; i++) {
        struct work w;
        char *text = work_encode(&works[i]);
        assert_true(work_scan(text, strlen(text), &w));
        work_release(&w);
        expect_same_when_changed(read_work, text);
    }
}

static void a_claim_is_read_the_same_either_way(void **state)
{
    struct claim_item *items = NULL;
    size_t count = 0;

    (void)state;
    char *text = work_list_encode(works, 2);
    assert_true(work_list_scan(text, strlen(text), &items, &count));
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        work_release(&items[i].work);
    free(items);
    expect_same_when_changed(read_claim, text);
    expect_same_when_changed(read_claim, work_list_encode(NULL, 0));
}

static void a_report_is_read_the_same_either_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++) {
        struct report r;
        char *text = report_encode(&reports[i]);
        assert_true(report_scan(text, strlen(text), &r));
        report_release(&r);
        expect_same_when_changed(read_report, text);
    }
}

static void a_list_of_reports_is_read_the_same_either_way(void **state)
{
    struct report *items = NULL;
    char worker[TASK_WORKER_MAX];
    size_t count = 0;

    (void)state;
    char *text = report_list_encode("host-1", reports + 1, 2);
    assert_true(report_list_scan(text, strlen(text), worker, &items, &count));
    assert_int_equal(count, 2);
    assert_string_equal(worker, "host-1");
    for (size_t i = 0; i < count; i++)
        report_release(&items[i]);
    free(items);
    expect_same_when_changed(read_reports, text);
}

static void verdicts_are_read_the_same_either_way(void **state)
{
    struct report_verdict *items = NULL;
    size_t count = 0;

    (void)state;
    char *text = report_verdicts_encode(verdicts, 2);
    assert_true(report_verdicts_scan(text, strlen(text), &items, &count));
    assert_int_equal(count, 2);
    assert_int_equal(items[1].word, REPORT_STALE);
    free(items);
    expect_same_when_changed(read_verdicts, text);
}

/* Of params nested as deep as they may be, and deeper, in every message. */
static void depth_is_limited_the_same_either_way(void **state)
{
    char deep[64];

    (void)state;
    for (int depth = 1; depth < 24; depth++) {
        struct work w = works[0];
        struct report r = reports[0];
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        deep[2 * depth] = '\0';
        char object[80];
        snprintf(object, sizeof object, "{\"a\":%s}", deep);
        w.params = r.result = object;
        char *texts[] = {work_encode(&w), work_list_encode(&w, 1), report_encode(&r),
                         report_list_encode("w", &r, 1)};
        expect_same(read_work, texts[0], strlen(texts[0]));
        expect_same(read_claim, texts[1], strlen(texts[1]));
        expect_same(read_report, texts[2], strlen(texts[2]));
        expect_same(read_reports, texts[3], strlen(texts[3]));
        for (size_t i = 0; i < 4; i++)
            free(texts[i]);
    }
}

static void more_than_a_batch_is_refused_either_way(void **state)
{
    struct work *many = calloc(WORKER_BATCH_MAX + 1, sizeof *many);

    (void)state;
    for (size_t i = 0; i <= WORKER_BATCH_MAX; i++)
        many[i] = works[0];
    for (size_t count = WORKER_BATCH_MAX; count <= WORKER_BATCH_MAX + 1; count++) {
        int rc = 0;
        char *text = work_list_encode(many, count);
        free(read_claim(text, strlen(text), &rc));
        assert_int_equal(rc, count > WORKER_BATCH_MAX ? -E_BAD_VALUE : 0);
        expect_same(read_claim, text, strlen(text));
        free(text);
    }
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_is_read_the_same_either_way),
        cmocka_unit_test(a_claim_is_read_the_same_either_way),
        cmocka_unit_test(a_report_is_read_the_same_either_way),
        cmocka_unit_test(a_list_of_reports_is_read_the_same_either_way),
        cmocka_unit_test(verdicts_are_read_the_same_either_way),
        cmocka_unit_test(depth_is_limited_the_same_either_way),
        cmocka_unit_test(more_than_a_batch_is_refused_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
