/* test_metadata.c - metadata are JSON objects, and stay as they were written. */
#include "pipeline_help.h"

#include <stdlib.h>

static void what_is_written_stays_byte_for_byte_around_the_current_step(void **state)
{
    /* What is set, and what is there afterwards before the pipeline was started. */
    static const char *const cases[][2] = {
        {"{}", "{\"current_step\":null}"},
        {" { } ", " {\"current_step\":null } "},
        {"{\"a\":1.50,\"b\":[1e400,12345678901234567890]}",
         "{\"current_step\":null,\"a\":1.50,\"b\":[1e400,12345678901234567890]}"},
        {"{\"a\" : {\"current_step\":\"mine\"}}",
         "{\"current_step\":null,\"a\" : {\"current_step\":\"mine\"}}"},
        {"{\"x\":1, \"current_step\" : \"forged\" , \"y\":2}",
         "{\"x\":1, \"current_step\" : null , \"y\":2}"},
        {"{\"curren\\u0074_step\":{\"deep\":[true,false,null]}}",
         "{\"curren\\u0074_step\":null}"},
        {"{\"\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00 \xf0\x9f\x98\x80\"}",
         "{\"current_step\":null,\"\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\ud83d\\ude00 "
         "\xf0\x9f\x98\x80\"}"},
    };
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"poll", NULL});
    struct pipeline_err err = {0};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (pipeline_set_metadata(p, cases[i][0], &err))
            fail_msg("%s: %s", cases[i][0], err.text);
        assert_string_equal(pipeline_metadata(p), cases[i][1]);
        assert_int_equal(pipeline_step_set_metadata(pipeline_step_at(p, 0), cases[i][0], &err),
                         0);
        assert_string_equal(pipeline_step_metadata(pipeline_step_at(p, 0)), cases[i][0]);
    }
    pipeline_free(p);
}

static void the_current_step_survives_other_metadata(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"poll", NULL});
    char expected[120];

    assert_int_equal(pipeline_start(p, NULL), 0);
    assert_int_equal(pipeline_set_metadata(p, "{\"n\":7,\"current_step\":null}", NULL), 0);
    snprintf(expected, sizeof expected, "{\"n\":7,\"current_step\":\"%s\"}",
             pipeline_step_uuid(pipeline_step_at(p, 0)));
    assert_string_equal(pipeline_metadata(p), expected);
    help_sweep(h);
    help_assert_states(p, "pending: pending");
    assert_string_equal(pipeline_metadata(p), expected);
    pipeline_free(p);
}

static void what_is_no_json_object_is_refused_and_changes_nothing(void **state)
{
    static const char *const bad[] = {
        "",
        " ",
        "null",
        "[]",
        "\"x\"",
        "{",
        "}",
        "{}x",
        "{}{}",
        "{a:1}",
        "{'a':1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":\"",
        "{\"a\":\"\n\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}",
        "{\"a\":\"\xe2\x82\"}",
        "{\"current_step\":1,\"current_step\":2}",
        "{\"a\":1}\x01",
        "\xef\xbb\xbf{}",
    };
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", NULL}), *q;
    struct pipeline_err err;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err = (struct pipeline_err){0};
        if (pipeline_set_metadata(p, bad[i], &err) != -PIPELINE_E_BAD_VALUE)
            fail_msg("taken: %s", bad[i]);
        assert_memory_equal(err.text, "the metadata are no JSON object: ", 33);
        assert_int_equal(pipeline_step_set_metadata(pipeline_step_at(p, 0), bad[i], &err),
                         -PIPELINE_E_BAD_VALUE);
        assert_int_equal(pipeline_new(h->o, "p", bad[i], &q, &err), -PIPELINE_E_BAD_VALUE);
    }
    assert_int_equal(pipeline_set_metadata(p, NULL, &err), -PIPELINE_E_BAD_VALUE);
    assert_int_equal(pipeline_refresh(p, &err), 0);
    assert_string_equal(pipeline_metadata(p), "{\"current_step\":null}");
    pipeline_free(p);
}

static char *nested(int levels)
{
    char *text = calloc(1, 6 * (size_t)levels + 16), *at = text;

    assert_non_null(text);
    for (int i = 0; i < levels; i++, at += 5)
        memcpy(at, "{\"a\":", 5);
    *at++ = '1';
    memset(at, '}', (size_t)levels);
    return text;
}

static void depth_and_size_have_limits(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", NULL});
    char *fits = nested(64), *deep = nested(65), *abyss = nested(200000);
    char *big = malloc(PIPELINE_METADATA_MAX + 1);
    struct pipeline_err err;

    assert_non_null(big);
    assert_int_equal(pipeline_set_metadata(p, fits, &err), 0);
    assert_int_equal(pipeline_set_metadata(p, deep, &err), -PIPELINE_E_BAD_VALUE);
    assert_non_null(strstr(err.text, "nested too deeply"));
    assert_int_equal(pipeline_set_metadata(p, abyss, &err), -PIPELINE_E_BAD_VALUE);
    memset(big, ' ', PIPELINE_METADATA_MAX + 1);
    memcpy(big, "{}", 2);
    big[PIPELINE_METADATA_MAX] = '\0';
    assert_int_equal(pipeline_set_metadata(p, big, &err), -PIPELINE_E_BAD_VALUE);
    assert_non_null(strstr(err.text, "bytes or more"));
    big[PIPELINE_METADATA_MAX - 1] = '\0';
    assert_int_equal(pipeline_set_metadata(p, big, &err), 0);
    free(fits);
    free(deep);
    free(abyss);
    free(big);
    pipeline_free(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_start, help_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_is_written_stays_byte_for_byte_around_the_current_step),
        T(the_current_step_survives_other_metadata),
        T(what_is_no_json_object_is_refused_and_changes_nothing),
        T(depth_and_size_have_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
