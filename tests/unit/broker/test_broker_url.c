/* test_broker_url.c - reading AMQP URLs, and never showing their passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker_url.h"

static struct broker_url parsed(const char *text)
{
    struct broker_url url;
    struct err err = ERR_INIT;

    if (broker_url_parse(text, &url, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return url;
}

static void missing_parts_get_defaults(void **state)
{
    struct broker_url url = parsed("amqp://broker.example");

    (void)state;
    assert_string_equal(url.host, "broker.example");
    assert_string_equal(url.user, "guest");
    assert_string_equal(url.password, "guest");
    assert_string_equal(url.vhost, "/");
    assert_int_equal(url.port, 5672);
    assert_int_equal(url.heartbeat_s, 10);
    assert_false(url.tls);
}

static void every_part_is_read_and_decoded(void **state)
{
    struct broker_url url = parsed("amqps://us%65r:p%40ss%2Fw%3Ard@[2001:db8::1]:5999/a%2fb"
                                   "?heartbeat=7&cacertfile=/etc/my%20ca.pem");

    (void)state;
    assert_true(url.tls);
    assert_string_equal(url.user, "user");
    assert_string_equal(url.password, "p@ss/w:rd");
    assert_string_equal(url.host, "2001:db8::1");
    assert_int_equal(url.port, 5999);
    assert_string_equal(url.vhost, "a/b");
    assert_int_equal(url.heartbeat_s, 7);
    assert_string_equal(url.ca_file, "/etc/my ca.pem");
}

static void an_empty_path_means_the_vhost_slash(void **state)
{
    static const char *const texts[] = {"amqp://h",     "amqp://h/",   "amqp://h//",
                                        "amqp://h/%2F", "amqp://h:1/", "amqp://h?heartbeat=1"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_string_equal(parsed(texts[i]).vhost, "/");
}

static void tls_has_its_own_default_port(void **state)
{
    (void)state;
    assert_int_equal(parsed("amqps://h/").port, 5671);
}

static void a_raw_at_sign_in_the_password_does_not_move_the_host(void **state)
{
    struct broker_url url = parsed("amqp://u:pa@ss@host/");

    (void)state;
    assert_string_equal(url.host, "host");
    assert_string_equal(url.password, "pa@ss");
}

static void bad_urls_are_refused_without_showing_the_password(void **state)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        {"http://u:secret@h/", "does not start with amqp:// or amqps://"},
        {"amqp:/u:secret@h/", "does not start with"},
        {"amqp://", "names no host"},
        {"amqp://u:secret@/", "names no host"},
        {"amqp://u:secret@:5672/", "names no host"},
        {"amqp://u:secret@h:0/", "port"},
        {"amqp://u:secret@h:65536/", "port"},
        {"amqp://u:secret@h:99999999999999999999/", "port"},
        {"amqp://u:secret@h:/", "port"},
        {"amqp://u:secret@h:56x2/", "port"},
        {"amqp://u:secret@[::1/", "']'"},
        {"amqp://u:secret@[::1]x/", "between the host and its port"},
        {"amqp://u:secret%4@h/", "password has a '%' without two hex digits"},
        {"amqp://u:secret%@h/", "password has a '%' without two hex digits"},
        {"amqp://u:secret%zz@h/", "password has a '%' without two hex digits"},
        {"amqp://u:secret%00@h/", "password holds a NUL"},
        {"amqp://u:12/secret@h/", "'@' after its host"},
        {"amqp://u:12?secret@h/", "parameter"},
        {"amqp://u:secret@h/?heartbeat=0", "heartbeat"},
        {"amqp://u:secret@h/?heartbeat=61", "heartbeat"},
        {"amqp://u:secret@h/?frame_max=1", "parameter"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct broker_url url;
        struct err err = ERR_INIT;

        if (broker_url_parse(cases[i].url, &url, &err) != -E_BAD_VALUE)
            fail_msg("%s was taken", cases[i].url);
        if (!strstr(err.text, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].url, err.text, cases[i].says);
        assert_null(strstr(err.text, "secret"));
        assert_null(memmem(url.password, sizeof url.password, "secret", 6));
    }
}

static void parts_that_are_too_long_are_refused(void **state)
{
    char text[1024] = "amqp://";
    struct broker_url url;

    (void)state;
    memset(text + 7, 'h', 256);
    assert_int_equal(broker_url_parse(text, &url, NULL), -E_BAD_VALUE);
    text[7 + 255] = '\0';
    assert_int_equal(broker_url_parse(text, &url, NULL), 0);
    assert_int_equal(strlen(url.host), 255);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_parts_get_defaults),
        cmocka_unit_test(every_part_is_read_and_decoded),
        cmocka_unit_test(an_empty_path_means_the_vhost_slash),
        cmocka_unit_test(tls_has_its_own_default_port),
        cmocka_unit_test(a_raw_at_sign_in_the_password_does_not_move_the_host),
        cmocka_unit_test(bad_urls_are_refused_without_showing_the_password),
        cmocka_unit_test(parts_that_are_too_long_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
