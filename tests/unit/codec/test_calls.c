/* Secrets in params, and the params of http_call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call_spec.h"
#include "params.h"

static struct err err;
static const char *word;

/* --- secrets --- */

/* Not much of a cipher, but one that can be undone. */
static char *reverse(void *arg, const char *text, struct err *why)
{
    size_t len = strlen(text);
    char *ret = calloc(1, len + 1);

    (void)arg, (void)why;
    for (size_t i = 0; i < len; i++)
        ret[i] = text[len - 1 - i];
    return ret;
}

static char *refuse(void *arg, const char *text, struct err *why)
{
    (void)arg, (void)text;
    err_set(why, -E_BAD_VALUE, "no key");
    return NULL;
}

static void test_secrets_of_a_type_are_changed_and_changed_back(void **state)
{
    static const char token[] = "{\"repository\":\"https://h/o/r\",\"token\":\"abc\"}";
    static const char headers[] = "{\"headers\":{\"A\":\"b\"},\"url\":\"http://h\"}";
    char *sealed = NULL, *opened = NULL;

    (void)state;
    assert_int_equal(params_seal("repo_download", token, reverse, NULL, &sealed, &err), 0);
    assert_string_equal(sealed, "{\"repository\":\"https://h/o/r\",\"token\":\"\\\"cba\\\"\"}");
    assert_int_equal(params_unseal("repo_download", sealed, reverse, NULL, &opened, &err), 0);
    assert_string_equal(opened, token);
    free(sealed);
    free(opened);
    assert_int_equal(params_seal("http_call", headers, reverse, NULL, &sealed, &err), 0);
    assert_null(strstr(sealed, "\"A\""));
    assert_int_equal(params_unseal("http_call", sealed, reverse, NULL, &opened, &err), 0);
    assert_string_equal(opened, headers);
    free(sealed);
    free(opened);
}

static void test_params_without_secrets_stay_as_they_are(void **state)
{
    static const struct {
        const char *type, *text;
    } cases[] = {{"repo_download", "{\"repository\":\"x\"}"},
                 {"repo_download", "{\"token\":null}"},
                 {"repo_download", NULL},
                 {"noop", "{\"token\":\"x\"}"},
                 {"foreign", "{\"token\":\"x\"}"}};
    char *sealed = (char *)1;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(params_seal(cases[i].type, cases[i].text, refuse, NULL, &sealed, &err),
                         0);
        assert_null(sealed);
    }
    assert_int_equal(
        params_seal("repo_download", "{\"token\":\"x\"}", refuse, NULL, &sealed, &err),
        -E_BAD_VALUE);
    assert_string_equal(err.text, "params.token: no key");
    assert_null(sealed);
}

static void test_a_result_is_written_in_order_and_in_utf8(void **state)
{
    const struct param_text texts[] = {{"b", "x\"y"}, {"a", NULL}, {"c", "\xff!"}, {0}};
    const struct param_number numbers[] = {{"n", -1}, {0}};

    (void)state;
    char *text = params_write(texts, numbers);
    assert_string_equal(text, "{\"b\":\"x\\\"y\",\"a\":null,\"c\":\"?!\",\"n\":-1}");
    free(text);
}

/* --- http_call --- */

static struct call_spec *open_spec(const char *params)
{
    struct call_spec *s = NULL;

    if (call_spec_open(params, &s, &err) != 0)
        fail_msg("%s: %s", params, err.text);
    return s;
}

static void test_what_is_left_out_has_a_meaning(void **state)
{
    struct call_spec *s = open_spec("{\"url\":\"http://h/x\"}");

    (void)state;
    assert_string_equal(call_spec_method(s), "GET");
    assert_string_equal(call_spec_query(s), "");
    assert_null(call_spec_body(s));
    assert_null(call_spec_headers(s)[0]);
    assert_int_equal(call_spec_timeout_s(s), 30);
    call_spec_close(s);
    s = open_spec("{\"url\":\"http://h/x\",\"json\":0}");
    assert_string_equal(call_spec_method(s), "POST");
    assert_string_equal(call_spec_body(s), "0");
    call_spec_close(s);
}

static int judge(const char *params, int status, const char *body, char **ret)
{
    struct call_spec *s = open_spec(params);
    const struct call_answer answer = {.status = status,
                                       .content_type = "",
                                       .location = "",
                                       .retry_after_s = -1,
                                       .body = body,
                                       .body_len = strlen(body)};

    err = (struct err)ERR_INIT;
    word = NULL;
    *ret = NULL;
    int rc = call_spec_judge(s, &answer, ret, &word, &err);
    call_spec_close(s);
    return rc;
}

static void test_an_answer_is_judged(void **state)
{
#define URL "\"url\":\"http://h\""
    static const struct {
        const char *params;
        int status;
        const char *body;
        int rc;
        const char *word;
    } cases[] = {
        {"{" URL "}", 200, "", 0, NULL},
        {"{" URL "}", 299, "no json", 0, NULL},
        {"{" URL "}", 300, "", -E_BAD_INPUT, "http_status"},
        {"{" URL "}", 500, "", -E_UNAVAILABLE, "http_status"},
        {"{" URL ",\"success\":{\"status\":[500]}}", 500, "", 0, NULL},
        {"{" URL ",\"success\":{\"status\":[]}}", 200, "", -E_BAD_INPUT, "http_status"},
        {"{" URL ",\"success\":{\"require\":[\"a\"]}}", 200, "{\"a\":0}", 0, NULL},
        {"{" URL ",\"success\":{\"require\":[\"a\"]}}", 200, "{\"a\":null}", -E_BAD_INPUT,
         "missing_key"},
        {"{" URL ",\"success\":{\"require\":[\"a\"]}}", 200, "[1]", -E_BAD_INPUT,
         "missing_key"},
        {"{" URL ",\"success\":{\"require\":[\"[0]\"]}}", 200, "[1]", 0, NULL},
        {"{" URL ",\"success\":{\"require\":[\"[1].a\"]}}", 200, "[1]", -E_BAD_INPUT,
         "missing_key"},
        {"{" URL ",\"success\":{\"require\":[\"a\"]}}", 200, "{", -E_BAD_INPUT, "bad_json"},
        {"{" URL ",\"success\":{\"equals\":{\"a.b\":[1]}}}", 200, "{\"a\":{\"b\":[1]}}", 0,
         NULL},
        {"{" URL ",\"success\":{\"equals\":{\"a\":true}}}", 200, "{\"a\":1}", -E_BAD_INPUT,
         "application_error"},
        {"{" URL ",\"extract\":{\"x\":\"a[1][0].b\"}}", 200, "{\"a\":[0,[{\"b\":1}]]}", 0,
         NULL},
    };
    char *result;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = judge(cases[i].params, cases[i].status, cases[i].body, &result);
        if (rc != cases[i].rc)
            fail_msg("%s on %s: %d %s", cases[i].params, cases[i].body, rc, err.text);
        if (cases[i].word)
            assert_string_equal(word, cases[i].word);
        assert_int_equal(result != NULL, rc == 0);
        free(result);
    }
}

static void test_paths_are_read_strictly(void **state)
{
    static const char *const bad[] = {"",    ".",    "a.",  ".a",    "a..b",  "a[",
                                      "a[]", "a[x]", "a[0", "a[0]b", "a[-1]", "a[9999999]"};
    struct call_spec *s;
    char text[128];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(text, sizeof text, "{" URL ",\"extract\":{\"x\":\"%s\"}}", bad[i]);
        if (call_spec_open(text, &s, &err) != -E_BAD_VALUE)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(err.text, "params.extract.x"));
    }
}

static void test_a_result_is_never_too_large_to_report(void **state)
{
    struct call_answer answer = {.status = 200,
                                 .content_type = "",
                                 .location = "",
                                 .retry_after_s = -1,
                                 .body_len = 100000};
    char *body = malloc(answer.body_len), *result = NULL;
    struct call_spec *s = open_spec("{" URL "}");

    (void)state;
    memset(body, '\x01', answer.body_len); /* six bytes each in JSON */
    answer.body = body;
    assert_int_equal(call_spec_judge(s, &answer, &result, &word, &err), 0);
    assert_non_null(strstr(result, "\"body\":null,\"body_truncated\":true"));
    free(result);
    memset(body, 'x', answer.body_len);
    assert_int_equal(call_spec_judge(s, &answer, &result, &word, &err), 0);
    assert_true(strlen(result) < 40000);
    free(result);
    call_spec_close(s);
    s = open_spec("{" URL ",\"extract\":{\"x\":\"a\"}}");
    memset(body, 'x', answer.body_len);
    memcpy(body, "{\"a\":\"", 6);
    memcpy(body + answer.body_len - 2, "\"}", 2);
    assert_int_equal(call_spec_judge(s, &answer, &result, &word, &err), -E_TOO_BIG);
    assert_string_equal(word, "too_big");
    call_spec_close(s);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secrets_of_a_type_are_changed_and_changed_back),
        cmocka_unit_test(test_params_without_secrets_stay_as_they_are),
        cmocka_unit_test(test_a_result_is_written_in_order_and_in_utf8),
        cmocka_unit_test(test_what_is_left_out_has_a_meaning),
        cmocka_unit_test(test_an_answer_is_judged),
        cmocka_unit_test(test_paths_are_read_strictly),
        cmocka_unit_test(test_a_result_is_never_too_large_to_report),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
