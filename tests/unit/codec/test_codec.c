/* The JSON of the worker protocol: what goes out comes back in, and what is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_read.h"
#include "params.h"
#include "task_type.h"
#include "worker_protocol.h"

#define ID    "01890a5d-ac96-774b-bcce-b302099a8057"
#define TOKEN "0123456789abcdef0123456789abcdef"

static void a_claim_request_survives_the_trip(void **state)
{
    struct claim_request in = {.worker = "w", .queue_count = 2, .limit = 3, .wait_ms = 20000};
    struct claim_request out;
    struct err err = ERR_INIT;

    (void)state;
    snprintf(in.queues[0], sizeof in.queues[0], "default");
    snprintf(in.queues[1], sizeof in.queues[1], "slow-1");
    char *text = claim_request_encode(&in);
    assert_non_null(text);
    assert_int_equal(claim_request_decode(text, strlen(text), &out, &err), 0);
    assert_string_equal(out.worker, "w");
    assert_int_equal(out.queue_count, 2);
    assert_string_equal(out.queues[1], "slow-1");
    assert_int_equal(out.limit, 3);
    assert_int_equal(out.wait_ms, 20000);
    free(text);
}

static void a_queue_named_twice_is_one_queue(void **state)
{
    static const char text[] = "{\"worker\":\"w\",\"queues\":[\"a\",\"b\",\"a\",\"b\"]}";
    struct claim_request out;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(claim_request_decode(text, strlen(text), &out, &err), 0);
    assert_int_equal(out.queue_count, 2);
    assert_string_equal(out.queues[0], "a");
    assert_string_equal(out.queues[1], "b");
}

static void work_survives_the_trip(void **state)
{
    struct work in = {.task_id = ID,
                      .type = "csv_plays",
                      .queue = "default",
                      .attempt = 2,
                      .max_attempts = 3,
                      .token = TOKEN,
                      .lease_ms = 10000,
                      .output_prefix = "processed_data/x/2/",
                      .output_stem = "processed_data/57/x.2.",
                      .input_name = "Bjork \xc3\xb6 \"q\".csv",
                      .input = {.key = "raw_data/a.csv", .size = UINT64_C(1) << 40},
                      .params = strdup("{\"on_bad_row\":\"skip\"}")};
    struct claim_item *items = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;

    (void)state;
    char *text = work_list_encode(&in, 1);
    assert_non_null(text);
    assert_int_equal(work_list_decode(text, strlen(text), &items, &count, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(items[0].fault.code, 0);
    struct work *out = &items[0].work;
    assert_string_equal(out->input_name, in.input_name);
    assert_string_equal(out->output_prefix, in.output_prefix);
    assert_string_equal(out->output_stem, in.output_stem);
    assert_int_equal(out->input.size, in.input.size);
    assert_string_equal(out->params, in.params);
    assert_int_equal(out->attempt, 2);
    work_release(out);
    free(items);
    work_release(&in);
    free(text);
}

/* A claim's answer with the element between two good ones; the decoder's view of all three. */
static struct claim_item *decode_between(const char *element)
{
    static const char good[] = "{\"task_id\":\"" ID "\",\"type\":\"noop\",\"queue\":\"q\","
                               "\"attempt\":1,\"max_attempts\":1,\"token\":\"" TOKEN "\","
                               "\"lease_ms\":9000000000000000000,\"output_prefix\":\"p/\"}";
    char text[4096];
    struct claim_item *items = NULL;
    size_t count = 0;

    snprintf(text, sizeof text, "{\"tasks\":[%s,%s,%s]}", good, element, good);
    assert_int_equal(work_list_decode(text, strlen(text), &items, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_int_equal(items[0].fault.code, 0);
    assert_int_equal(items[2].fault.code, 0);
    assert_string_equal(items[2].work.task_id, ID);
    assert_int_equal(items[2].work.lease_ms, WORKER_LEASE_MAX_MS); /* no sum will overflow */
    assert_int_equal(items[1].fault.code, -E_BAD_VALUE);
    work_release(&items[0].work);
    work_release(&items[2].work);
    return items;
}

static void work_that_cannot_be_read_does_not_take_the_others_with_it(void **state)
{
    char deep[1024], open[128] = "";
    size_t at = 0;

    (void)state;
    for (int i = 0; i < 20; i++)
        at += (size_t)snprintf(open + at, sizeof open - at, "{\"a\":");
    snprintf(deep, sizeof deep,
             "{\"task_id\":\"" ID "\",\"token\":\"" TOKEN "\",\"params\":%s1%.20s}", open,
             "}}}}}}}}}}}}}}}}}}}}");
    const struct {
        const char *element, *task_id, *path;
    } cases[] = {
        {"{\"task_id\":\"" ID "\",\"token\":\"" TOKEN "\",\"type\":7}", ID, "tasks[1].type"},
        {deep, ID, "tasks[1]: nested"},
        {"{\"task_id\":\"" ID "\",\"token\":7}", "", "tasks[1].type"},
        {"{\"task_id\":\"7\",\"token\":\"" TOKEN "\"}", "", "tasks[1].type"},
        {"[]", "", "tasks[1]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct claim_item *items = decode_between(cases[i].element);
        assert_string_equal(items[1].work.task_id, cases[i].task_id);
        assert_string_equal(items[1].work.token, *cases[i].task_id ? TOKEN : "");
        assert_non_null(strstr(items[1].fault.text, cases[i].path));
        assert_null(items[1].work.params);
        free(items);
    }
}

static void a_report_survives_the_trip(void **state)
{
    struct report in = {.task_id = ID,
                        .token = TOKEN,
                        .outcome = ATTEMPT_FAILED,
                        .error = {ERROR_CRASH, "signal", "killed by signal 9"},
                        .usage = {1200, 900, INT64_C(1) << 33, 0, 9}};
    struct report *out = NULL;
    char worker[TASK_WORKER_MAX];
    size_t count = 0;
    struct err err = ERR_INIT;

    (void)state;
    char *text = report_list_encode("host-1", &in, 1);
    assert_non_null(text);
    assert_int_equal(report_list_decode(text, strlen(text), worker, &out, &count, &err), 0);
    assert_string_equal(worker, "host-1");
    assert_int_equal(out->outcome, ATTEMPT_FAILED);
    assert_int_equal(out->error.class, ERROR_CRASH);
    assert_string_equal(out->error.message, in.error.message);
    assert_int_equal(out->usage.signal, 9);
    assert_int_equal(out->usage.peak_rss_bytes, INT64_C(1) << 33);
    assert_null(out->result);
    report_release(out);
    free(out);
    free(text);
}

static void verdicts_survive_the_trip_and_may_grow_members(void **state)
{
    struct heartbeat_verdict *beats = NULL;
    struct report_verdict *reports = NULL;
    size_t count = 0;
    struct err err = ERR_INIT;
    static const char beat[] = "{\"attempts\":[{\"task_id\":\"" ID
                               "\",\"held\":true,\"lease_ms\":5,\"state\":\"PROCESSING\","
                               "\"from_the_future\":1}],\"more\":{}}";
    static const char verdict[] = "{\"reports\":[{\"task_id\":\"" ID
                                  "\",\"status\":\"stale\",\"state\":\"DONE\",\"new\":[]}]}";

    (void)state;
    assert_int_equal(heartbeat_verdicts_decode(beat, strlen(beat), &beats, &count, &err), 0);
    assert_true(beats->held);
    assert_int_equal(beats->lease_ms, 5);
    free(beats);
    assert_int_equal(report_verdicts_decode(verdict, strlen(verdict), &reports, &count, &err),
                     0);
    assert_int_equal(reports->word, REPORT_STALE);
    free(reports);
}

struct bad {
    const char *text, *sentence;
};

static void bad_claims_are_refused_by_name(void **state)
{
    static const struct bad cases[] = {
        {"", "malformed JSON"},
        {"[]", "must be an object"},
        {"{\"worker\":\"w\",\"worker\":\"v\",\"queues\":[\"q\"]}", "duplicate"},
        {"{\"queues\":[\"q\"]}", "worker: is missing"},
        {"{\"worker\":\"\",\"queues\":[\"q\"]}", "worker: must not be empty"},
        {"{\"worker\":\"a\\nb\",\"queues\":[\"q\"]}", "control characters"},
        {"{\"worker\":\"w\"}", "queues: at least one"},
        {"{\"worker\":\"w\",\"queues\":\"q\"}", "queues: must be an array"},
        {"{\"worker\":\"w\",\"queues\":[\"a b\"]}", "queues[0]"},
        {"{\"worker\":\"w\",\"queues\":[1]}", "queues[0]"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"],\"limit\":0}", "limit: must be 1 to 256"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"],\"limit\":\"1\"}", "limit: must be a whole"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"],\"limit\":5000000000}", "limit: must be 1"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"],\"wait_ms\":60001}", "wait_ms"},
        {"{\"worker\":\"w\",\"task_id\":\"nope\"}", "task_id: is no task id"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"],\"x\":1}", "x: unknown member"},
        {"{\"worker\":\"w\",\"queues\":[\"q\"]} x", "malformed JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct claim_request r;
        struct err err = ERR_INIT;
        int rc = claim_request_decode(cases[i].text, strlen(cases[i].text), &r, &err);
        if (rc != -E_BAD_VALUE || !strstr(err.text, cases[i].sentence))
            fail_msg("%s: got %d \"%s\"", cases[i].text, rc, err.text);
    }
}

#define REPORT(rest) "{\"worker\":\"w\",\"reports\":[{\"task_id\":\"" ID "\"," rest "}]}"
#define WITH_TOKEN   "\"token\":\"" TOKEN "\","

/* What a job made by hand is read before it is told; what json_write.h made is not. */
static void a_result_is_checked_unless_it_is_sound(void **state)
{
    char result[] = "{\"seconds\":1.50}", broken[] = "{\"seconds\":";
    struct report r = {.task_id = ID, .token = TOKEN, .outcome = ATTEMPT_DONE};

    (void)state;
    r.result = result;
    char *read = report_encode(&r);
    assert_non_null(strstr(read, "\"result\":{\"seconds\":1.5}"));
    r.result_is_sound = true;
    char *told = report_encode(&r);
    assert_non_null(strstr(told, "\"result\":{\"seconds\":1.50}"));
    r.result = broken;
    r.result_is_sound = false;
    assert_null(report_encode(&r));
    free(read);
    free(told);
}

static void bad_reports_are_refused_with_their_path(void **state)
{
    static const struct bad cases[] = {
        {REPORT("\"outcome\":\"done\""), "reports[0].token: is missing"},
        {REPORT("\"token\":\"x\",\"outcome\":\"done\""), "reports[0].token"},
        {REPORT(WITH_TOKEN "\"outcome\":\"maybe\""), "reports[0].outcome"},
        {REPORT(WITH_TOKEN "\"outcome\":\"lost\""), "reports[0].outcome"},
        {REPORT(WITH_TOKEN "\"outcome\":\"failed\""), "reports[0].error"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"error\":{\"class\":\"input\","
                           "\"message\":\"m\"}"),
         "reports[0].error"},
        {REPORT(WITH_TOKEN "\"outcome\":\"failed\",\"error\":{\"class\":\"sad\","
                           "\"message\":\"m\"}"),
         "reports[0].error.class"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"output\":{\"key\":\"../x\",\"size\":1}"),
         "reports[0].output.key"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"output\":{\"key\":\"a\",\"size\":-1}"),
         "reports[0].output.size"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"output\":{\"key\":\"a\",\"size\":1,"
                           "\"sha256\":\"zz\"}"),
         "reports[0].output.sha256"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"usage\":{\"signal\":65}"),
         "reports[0].usage.signal"},
        {REPORT(WITH_TOKEN "\"outcome\":\"done\",\"result\":[]"), "result: must be an object"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct report *items = NULL;
        size_t count = 0;
        struct err err = ERR_INIT;
        int rc = report_list_decode(cases[i].text, strlen(cases[i].text), NULL, &items, &count,
                                    &err);
        if (rc != -E_BAD_VALUE || !strstr(err.text, cases[i].sentence))
            fail_msg("%s: got %d \"%s\"", cases[i].text, rc, err.text);
    }
}

static void deep_nesting_is_refused(void **state)
{
    char text[256] = "";
    json_t *root = NULL;
    struct err err = ERR_INIT;

    (void)state;
    memset(text, '[', 40);
    memset(text + 40, ']', 40);
    assert_int_equal(json_read_text(text, 80, &root, &err), -E_BAD_VALUE);
    assert_non_null(strstr(err.text, "nested deeper than 16"));
    memset(text, '[', 16);
    memset(text + 16, ']', 16);
    assert_int_equal(json_read_text(text, 32, &root, &err), 0);
    json_decref(root);
}

static void params_follow_their_table(void **state)
{
    static const struct {
        const char *type, *text, *sentence; /* sentence NULL: fine */
    } cases[] = {
        {"noop", "{}", NULL},
        {"noop", "{\"sleep_ms\":10,\"fail\":\"input\",\"crash\":\"segv\"}", NULL},
        {"noop", "{\"sleep_ms\":-1}", "params.sleep_ms: must be 0 to 86400000"},
        {"noop", "{\"sleep_ms\":\"1\"}", "params.sleep_ms: must be a whole number"},
        {"noop", "{\"fail\":\"sadly\"}", "params.fail: must be one of input|transient"},
        {"noop", "{\"fail\":\"inp\"}", "params.fail"},
        {"noop", "{\"nap\":1}", "params.nap: unknown member"},
        {"csv_plays", "{\"on_bad_row\":\"skip\"}", NULL},
        {"csv_plays", "{\"on_bad_row\":1}", "params.on_bad_row"},
        {"foreign", "{\"anything\":[1,2]}", NULL},
        {"foreign", "[]", "params: must be an object"},
        {"foreign", "{\"a\":[[[[[[[[[[1]]]]]]]]]]}", NULL},
        {"foreign", "{\"a\":[[[[[[[[[[[[1]]]]]]]]]]]]}", "nested deeper than 12"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct err err = ERR_INIT;
        int rc = params_check(cases[i].type, cases[i].text, &err);
        bool as_wished = cases[i].sentence ? rc && strstr(err.text, cases[i].sentence) : !rc;
        if (!as_wished)
            fail_msg("%s: got %d \"%s\"", cases[i].text, rc, err.text);
    }
}

static void jobs_read_params_with_defaults(void **state)
{
    struct params *p = NULL;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(params_open("{\"sleep_ms\":7,\"crash\":\"kill\"}", &p, &err), 0);
    assert_int_equal(params_int(p, "sleep_ms", 1), 7);
    assert_int_equal(params_int(p, "missing", 42), 42);
    assert_string_equal(params_word(p, "crash", ""), "kill");
    assert_string_equal(params_word(p, "fail", "no"), "no");
    params_close(p);
    assert_int_equal(params_open(NULL, &p, &err), 0);
    params_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_claim_request_survives_the_trip),
        cmocka_unit_test(a_queue_named_twice_is_one_queue),
        cmocka_unit_test(work_survives_the_trip),
        cmocka_unit_test(work_that_cannot_be_read_does_not_take_the_others_with_it),
        cmocka_unit_test(a_report_survives_the_trip),
        cmocka_unit_test(verdicts_survive_the_trip_and_may_grow_members),
        cmocka_unit_test(bad_claims_are_refused_by_name),
        cmocka_unit_test(a_result_is_checked_unless_it_is_sound),
        cmocka_unit_test(bad_reports_are_refused_with_their_path),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(params_follow_their_table),
        cmocka_unit_test(jobs_read_params_with_defaults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
