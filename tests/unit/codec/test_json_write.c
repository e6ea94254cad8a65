/* test_json_write.c - what is written is what jansson reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json_write.h"

static char *write_text(const char *text)
{
    struct json_out o;

    json_out_init(&o);
    json_out_open(&o, NULL, '{');
    json_out_string(&o, "text", text);
    json_out_close(&o, '}');
    return json_out_take(&o);
}

static void every_text_comes_back(void **state)
{
    char all[256];
    static const char *const others[] = {"", "plain", "\"\\/", "Beyonc\xC3\xA9 \xE2\x82\xAC",
                                         "\xF0\x9F\x8E\xB5 \x7F"};

    (void)state;
    for (int i = 1; i < 0x80; i++)
        all[i - 1] = (char)i;
    all[0x7F] = '\0';
    for (size_t i = 0; i <= sizeof others / sizeof others[0]; i++) {
        const char *text = i ? others[i - 1] : all;
        char *json = write_text(text);
        assert_non_null(json);
        json_t *value = json_loads(json, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(value, "text")), text);
        json_decref(value);
        free(json);
    }
}

static void what_is_no_utf8_makes_no_text(void **state)
{
    (void)state;
    assert_null(write_text("a\xFFz"));
    assert_null(write_text("cut \xE2\x82"));
}

static void commas_and_numbers_stand_where_they_must(void **state)
{
    struct json_out o;

    (void)state;
    json_out_init(&o);
    json_out_open(&o, NULL, '{');
    json_out_int(&o, "low", INT64_MIN);
    json_out_int(&o, "zero", 0);
    json_out_open(&o, "list", '[');
    json_out_open(&o, NULL, '[');
    json_out_close(&o, ']');
    json_out_open(&o, NULL, '{');
    json_out_bool(&o, "yes", true);
    json_out_null(&o, "none");
    json_out_close(&o, '}');
    json_out_int(&o, NULL, INT64_MAX);
    json_out_close(&o, ']');
    json_out_real(&o, "half", 0.5);
    json_out_checked(&o, "params", "{ \"a\" : [1, 2] }");
    json_out_close(&o, '}');
    char *text = json_out_take(&o);
    assert_string_equal(text,
                        "{\"low\":-9223372036854775808,\"zero\":0,\"list\":[[],{\"yes\":true,"
                        "\"none\":null},9223372036854775807],\"half\":0.5,\"params\":{\"a\":[1,"
                        "2]}}");
    free(text);
}

static void text_that_is_no_json_is_not_passed_on(void **state)
{
    static const char *const bad[] = {"{", "{}x", "{\"a\":1,\"a\":2}", ""};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct json_out o;
        json_out_init(&o);
        json_out_checked(&o, NULL, bad[i]);
        assert_null(json_out_take(&o));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_comes_back),
        cmocka_unit_test(what_is_no_utf8_makes_no_text),
        cmocka_unit_test(commas_and_numbers_stand_where_they_must),
        cmocka_unit_test(text_that_is_no_json_is_not_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
