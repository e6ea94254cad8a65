/* How a blob's name becomes text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "parquet_part.h"

static void what_is_utf8_stays_and_other_bytes_are_escaped(void **state)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        {"src/main.c", "src/main.c"},
        {"100%25", "100%25"},
        {"\xC3\xA9", "\xC3\xA9"},
        {"\xFF", "%FF"},
        {"a\xC3", "a%C3"},
        {"\xFF%41%4g%", "%FF%2541%4g%"},
        {"\xED\xA0\x80", "%ED%A0%80"},
        {"caf\xE9 \xC3\xA9", "caf%E9 \xC3\xA9"},
    };
    char text[PART_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(part_name(cases[i].name, text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void the_longest_name_fits(void **state)
{
    static char name[BLOB_NAME_MAX], text[PART_NAME_MAX];

    (void)state;
    memset(name, 0xFF, sizeof name - 1);
    assert_int_equal(part_name(name, text), 3 * (sizeof name - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_utf8_stays_and_other_bytes_are_escaped),
        cmocka_unit_test(the_longest_name_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
