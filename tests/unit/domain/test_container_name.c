/* test_container_name.c - what containers may be called, and what a folder's is called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "container_name.h"

static void names_are_short_lower_case_words_with_single_dashes(void **state)
{
    static const char *const good[] = {"a", "a-b", "0", "octocat-hello-world", "a1-2b"};
    static const char *const bad[] = {"",   "-",   "-a",  "a-",       "a--b", "A",
                                      "a_", "a.b", "a/b", "\xC3\xA9", "a b",  "a\n"};
    char name[CONTAINER_NAME_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(container_name_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(container_name_is_valid(bad[i]));
    assert_false(container_name_is_valid(NULL));
    memset(name, 'n', sizeof name);
    name[CONTAINER_NAME_MAX - 1] = '\0';
    assert_true(container_name_is_valid(name));
    name[CONTAINER_NAME_MAX - 1] = 'n';
    name[CONTAINER_NAME_MAX] = '\0';
    assert_false(container_name_is_valid(name));
}

static void a_folder_gives_its_container_a_name(void **state)
{
    static const struct {
        const char *path, *name;
    } cases[] = {
        {"/app/outputs/octocat-hello-world", "octocat-hello-world"},
        {"octocat-Hello_World", "octocat-hello-world"},
        {"outputs/Owner-Repo.js/", "owner-repo-js"},
        {"x///", "x"},
        {"a..b__c  d", "a-b-c-d"},
        {"--a--", "a"},
        {".github", "github"},
        {"r\xC3\xA9sum\xC3\xA9", "r-sum"},
        {"/a/../B", "b"},
    };
    static const char *const nameless[] = {"", "/", "///", "..", "a/..", "---", "\xC3\xA9"};
    char name[CONTAINER_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(container_name_from_path(cases[i].path, name));
        assert_string_equal(name, cases[i].name);
        assert_true(container_name_is_valid(name));
    }
    for (size_t i = 0; i < sizeof nameless / sizeof nameless[0]; i++) {
        assert_false(container_name_from_path(nameless[i], name));
        assert_string_equal(name, "");
    }
}

static void a_long_name_is_cut_to_63_and_trimmed_again(void **state)
{
    char path[200], name[CONTAINER_NAME_MAX];

    (void)state;
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_true(container_name_from_path(path, name));
    assert_int_equal(strlen(name), 63);
    path[62] = '_'; /* the 63rd would be a dash at the end */
    assert_true(container_name_from_path(path, name));
    assert_int_equal(strlen(name), 62);
    assert_true(container_name_is_valid(name));
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(names_are_short_lower_case_words_with_single_dashes),
        cmocka_unit_test(a_folder_gives_its_container_a_name),
        cmocka_unit_test(a_long_name_is_cut_to_63_and_trimmed_again),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
