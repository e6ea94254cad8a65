/* test_text.c - err, buf and log: sentences, bytes and lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "err.h"
#include "log.h"

/* --- err --- */

static void err_set_keeps_the_sentence_the_code_and_errno(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    errno = EAGAIN;
    assert_int_equal(err_set(&err, -E_NOT_FOUND, "no task '%s'", "x"), -E_NOT_FOUND);
    assert_int_equal(err.code, -E_NOT_FOUND);
    assert_string_equal(err.text, "no task 'x'");
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(err_set(NULL, -E_IO, "nobody listens"), -E_IO);
}

static void a_long_sentence_is_cut_between_characters(void **state)
{
    static const char *const characters[] = {"x", "\xC3\xA9", "\xE2\x82\xAC",
                                             "\xF0\x9F\x98\x80"};
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof characters / sizeof characters[0]; i++) {
        size_t width = strlen(characters[i]);
        /* Shift the characters so that the end of the buffer splits each place in them. */
        for (size_t shift = 0; shift < width; shift++) {
            struct buf text = BUF_INIT;
            for (size_t k = 0; k < shift; k++)
                buf_append_char(&text, '.');
            while (text.len < 2 * ERR_TEXT_MAX)
                buf_append_str(&text, characters[i]);
            err_set(&err, -E_IO, "%s", text.data);
            size_t len = strlen(err.text);
            assert_true(len < ERR_TEXT_MAX && len + width >= ERR_TEXT_MAX);
            assert_int_equal((len - shift) % width, 0);
            assert_memory_equal(err.text, text.data, len);
            buf_release(&text);
        }
    }
}

static void err_wrap_puts_context_in_front(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    err_set(&err, -E_IO, "disk is gone");
    assert_int_equal(err_wrap(&err, "upload '%s'", "a"), -E_IO);
    assert_string_equal(err.text, "upload 'a': disk is gone");
}

static void half_a_character_within_a_sentence_becomes_a_question_mark(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    err_set(&err, -E_BAD_VALUE, "%.2s: \xC3\xA9\xFF\x80z", "a\xC3\xA9");
    assert_string_equal(err.text, "a?: \xC3\xA9??z");
    err_wrap(&err, "%.1s", "\xC3\xA9");
    assert_string_equal(err.text, "?: a?: \xC3\xA9??z");
}

static void err_set_errno_names_the_reason(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    err_set_errno(&err, -E_NO_SPACE, ENOSPC, "write '%s'", "f");
    assert_string_equal(err.text, "write 'f': No space left on device");
}

static void system_errors_become_our_codes(void **state)
{
    static const struct {
        int errnum, code;
    } cases[] = {
        {ENOSPC, E_NO_SPACE},  {EDQUOT, E_NO_SPACE},
        {ENOENT, E_NOT_FOUND}, {ENOTDIR, E_NOT_FOUND},
        {EEXIST, E_EXISTS},    {ENOMEM, E_NO_MEMORY},
        {EIO, E_IO},           {EACCES, E_IO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(err_from_errno(cases[i].errnum), -cases[i].code);
}

static void every_code_has_name_title_and_status(void **state)
{
    (void)state;
    for (int code = 1; code < E__COUNT; code++) {
        assert_true(err_name(code)[0] != '\0');
        assert_true(err_title(-code)[0] != '\0');
        assert_true(err_http_status(code) >= 400 && err_http_status(code) <= 599);
    }
    assert_string_equal(err_name(-E_NO_SPACE), "NO_SPACE");
    assert_int_equal(err_http_status(-E_NO_SPACE), 507);
    assert_int_equal(err_class_of(-E_NO_SPACE), ERR_TRANSIENT);
    assert_string_equal(err_name(-9999), "BUG");
}

/* --- buf --- */

static void a_buf_grows_and_stays_terminated(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i % 10);
    assert_int_equal(b.len, 2000);
    assert_int_equal(strlen(b.data), 2000);
    buf_append(&b, "a\0b", 3);
    assert_int_equal(b.len, 2003);
    assert_memory_equal(b.data + 2000, "a\0b", 4);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    assert_true(buf_ok(&b));
    buf_release(&b);
    buf_release(&b);
    buf_release(NULL);
}

static void a_buf_that_failed_once_stays_failed(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_append_str(&b, "kept");
    assert_false(buf_reserve(&b, SIZE_MAX / 2));
    buf_append_str(&b, "lost");
    assert_false(buf_ok(&b));
    assert_string_equal(b.data, "kept");
    assert_null(buf_steal(&b));
    assert_true(buf_ok(&b));
}

static void stealing_hands_the_bytes_over(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    char *empty = buf_steal(&b);
    assert_string_equal(empty, "");
    free(empty);
    buf_append_str(&b, "mine");
    char *text = buf_steal(&b);
    assert_string_equal(text, "mine");
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    free(text);
}

/* --- log --- */

static int saved_stderr = -1, log_pipe[2];

/* Sends stderr into a pipe: lines of this test are short enough for its buffer. */
static int capture(void **state)
{
    (void)state;
    saved_stderr = dup(STDERR_FILENO);
    return pipe2(log_pipe, O_CLOEXEC) != 0 || dup2(log_pipe[1], STDERR_FILENO) < 0;
}

static int end_capture(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(log_pipe[0]);
    close(log_pipe[1]);
    log_setup(LOG_INFO, LOG_TEXT);
    return 0;
}

static char *captured(void)
{
    static char text[16384];
    ssize_t got = read(log_pipe[0], text, sizeof text - 1);

    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void assert_one_line(const char *text)
{
    assert_non_null(strchr(text, '\n'));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_text_line_has_time_level_event_and_fields(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_TEXT);
    log_warn("task.claimed", LOG_S("task_id", "abc"), LOG_I("attempt", -3),
             LOG_S("empty", (const char *)NULL), LOG_S("name", "two words"));
    const char *line = captured();
    assert_one_line(line);
    assert_int_equal(line[0], '[');
    assert_string_equal(line + 26, "[WARN] task.claimed task_id=abc attempt=-3 empty=\"\" "
                                   "name=\"two words\"\n");
}

static void a_json_line_escapes_what_json_must(void **state)
{
    (void)state;
    log_setup(LOG_INFO, LOG_JSON);
    log_error("x.failed", LOG_S("why", "a\"b\\c\nd\te\x01\x7F\xC3\xA9"), LOG_I("n", 7));
    const char *line = captured();
    assert_one_line(line);
    assert_non_null(strstr(line, "{\"time\":\"20"));
    assert_non_null(strstr(line,
                           "\"level\":\"error\",\"event\":\"x.failed\",\"why\":\""
                           "a\\\"b\\\\c\\u000ad\\u0009e\\u0001\\u007f\xC3\xA9\",\"n\":7}\n"));
}

static void one_event_is_one_line_whatever_its_values_hold(void **state)
{
    char huge[9000];

    (void)state;
    memset(huge, '\n', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        log_setup(LOG_INFO, (enum log_format)format);
        log_info("x.happened", LOG_S("a", "1\r\n[2026] [ERROR] forged"), LOG_S("b", huge),
                 LOG_S("c", huge));
        const char *line = captured();
        assert_one_line(line);
        assert_true(strlen(line) <= 4096);
    }
}

static void events_below_the_level_are_not_written(void **state)
{
    enum log_level level = LOG_DEBUG;

    (void)state;
    log_setup(LOG_WARN, LOG_TEXT);
    log_info("x.hidden", LOG_I("n", 1));
    log_error("x.shown", LOG_I("n", 2));
    const char *line = captured();
    assert_one_line(line);
    assert_null(strstr(line, "hidden"));
    assert_true(log_level_parse("WARN", &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_parse("loud", &level));
}

#define LOG_CASE(name) cmocka_unit_test_setup_teardown(name, capture, end_capture)

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(err_set_keeps_the_sentence_the_code_and_errno),
        cmocka_unit_test(a_long_sentence_is_cut_between_characters),
        cmocka_unit_test(err_wrap_puts_context_in_front),
        cmocka_unit_test(half_a_character_within_a_sentence_becomes_a_question_mark),
        cmocka_unit_test(err_set_errno_names_the_reason),
        cmocka_unit_test(system_errors_become_our_codes),
        cmocka_unit_test(every_code_has_name_title_and_status),
        cmocka_unit_test(a_buf_grows_and_stays_terminated),
        cmocka_unit_test(a_buf_that_failed_once_stays_failed),
        cmocka_unit_test(stealing_hands_the_bytes_over),
        LOG_CASE(a_text_line_has_time_level_event_and_fields),
        LOG_CASE(a_json_line_escapes_what_json_must),
        LOG_CASE(one_event_is_one_line_whatever_its_values_hold),
        LOG_CASE(events_below_the_level_are_not_written),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
