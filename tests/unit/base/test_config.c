/* test_config.c - where settings come from, which source wins, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

static char env_file[64], secret_file[64];
static struct config config;
static struct err err;

/* An empty environment, so that the machine's own settings do not decide the result. */
static int setup(void **state)
{
    (void)state;
    clearenv();
    snprintf(env_file, sizeof env_file, "/tmp/segue-env-XXXXXX");
    snprintf(secret_file, sizeof secret_file, "/tmp/segue-secret-XXXXXX");
    int a = mkstemp(env_file), b = mkstemp(secret_file);
    close(a);
    close(b);
    err = (struct err)ERR_INIT;
    return a < 0 || b < 0;
}

static int teardown(void **state)
{
    (void)state;
    config_release(&config);
    unlink(env_file);
    unlink(secret_file);
    return 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

#define LOAD(program, ...) load(program, (const char *const[]){"segue", __VA_ARGS__, NULL})

static int load(enum config_program program, const char *const *argv)
{
    int argc = 0;

    while (argv[argc] && *argv[argc])
        argc++;
    config_release(&config);
    return config_load(&config, program, argc, (char *const *)(uintptr_t)argv, env_file, &err);
}

static void without_any_source_the_defaults_hold(void **state)
{
    (void)state;
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_string_equal(config.listen, "127.0.0.1:5000");
    assert_string_equal(config.database_url, "sqlite:local_storage/segue.db");
    assert_int_equal(config.workers, -1);
    assert_int_equal(config.lease_ms, 10000);
    assert_int_equal(config.min_free_bytes, 64 << 20);
    assert_int_equal(config.arg_first, 1);
    assert_false(config.want_help || config.want_check || config.want_version);
}

static void later_sources_win_over_earlier_ones(void **state)
{
    (void)state;
    write_file(env_file, "LEASE=20s\nLOG_LEVEL=warn\nMAX_ATTEMPTS=5\n");
    setenv("LEASE", "30s", 1);
    setenv("MAX_ATTEMPTS", "6", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, "--max-attempts", "7"), 0);
    assert_string_equal(config.log_level, "warn");
    assert_int_equal(config.lease_ms, 30000);
    assert_int_equal(config.max_attempts, 7);
}

static void the_env_file_may_export_quote_and_comment(void **state)
{
    (void)state;
    write_file(env_file, "# a comment\n"
                         "\n"
                         "export LOG_LEVEL=debug\n"
                         "  export\tLOG_FORMAT='json'\r\n"
                         "DATABASE_URL=\"mysql://u:p=w@h/db\"\n"
                         "no equals sign here\n"
                         "SOMEBODY_ELSES=value\n"
                         "WORKERS=3 # as many as there are disks\n"
                         "STORAGE_URL=file:/data#1\n"
                         "TASK_TYPES=a, b\n");
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_string_equal(config.log_level, "debug");
    assert_string_equal(config.log_format, "json");
    assert_string_equal(config.database_url, "mysql://u:p=w@h/db");
    assert_string_equal(config.task_types, "a, b");
    assert_int_equal(config.workers, 3);
    assert_string_equal(config.storage_url, "file:/data#1");
}

static void a_missing_env_file_is_fine(void **state)
{
    (void)state;
    unlink(env_file);
    assert_int_equal(LOAD(CONFIG_WORKER, ""), 0);
}

static void a_secret_may_come_from_a_file(void **state)
{
    (void)state;
    write_file(secret_file, "mysql://u:secret@h/db\nsecond line\n");
    setenv("DATABASE_URL_FILE", secret_file, 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_string_equal(config.database_url, "mysql://u:secret@h/db");

    setenv("DATABASE_URL", "sqlite:x", 1); /* the plain name wins */
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_string_equal(config.database_url, "sqlite:x");

    unsetenv("DATABASE_URL");
    setenv("DATABASE_URL_FILE", "/nonexistent/secret", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), -E_NOT_FOUND);
    assert_non_null(strstr(err.text, "DATABASE_URL_FILE"));
    assert_non_null(strstr(err.text, "/nonexistent/secret"));
}

static void a_secret_file_can_be_named_in_the_env_file(void **state)
{
    char line[128];

    (void)state;
    write_file(secret_file, "amqp://u:secret@h/\n");
    snprintf(line, sizeof line, "AMQP_URL_FILE=%s\n", secret_file);
    write_file(env_file, line);
    assert_int_equal(LOAD(CONFIG_WORKER, ""), 0);
    assert_string_equal(config.amqp_url, "amqp://u:secret@h/");
}

static void what_is_no_secret_is_not_read_from_a_file(void **state)
{
    (void)state;
    write_file(secret_file, "debug\n");
    setenv("LOG_LEVEL_FILE", secret_file, 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_string_equal(config.log_level, "info");
}

static void bad_values_are_refused_with_name_source_and_remedy(void **state)
{
    static const struct {
        const char *flag, *value, *say;
    } cases[] = {
        {"--lease", "10", "a time such as"},
        {"--lease", "10 s", "a time such as"},
        {"--lease", "100ms", "outside 500 to 3600000 milliseconds"},
        {"--lease", "2h", "outside"},
        {"--max-attempts", "0", "outside 1 to 100"},
        {"--max-attempts", "three", "a whole number"},
        {"--max-attempts", "3x", "a whole number"},
        {"--max-attempts", "", "a whole number"},
        {"--max-attempts", "99999999999999999999", "a whole number"},
        {"--max-json-bytes", "1Q", "a size such as"},
        {"--max-json-bytes", "9000000000000000000T", "a size such as"},
        {"--max-json-bytes", "255", "outside 256 to"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char argument[64];
        snprintf(argument, sizeof argument, "%s=%s", cases[i].flag, cases[i].value);
        assert_int_equal(LOAD(CONFIG_MANAGER, argument), -E_BAD_VALUE);
        assert_non_null(strstr(err.text, cases[i].say));
        assert_non_null(strstr(err.text, cases[i].flag));
    }
    setenv("LEASE", "soon", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), -E_BAD_VALUE);
    assert_non_null(strstr(err.text, "LEASE from the environment: 'soon'"));
    unsetenv("LEASE");
    write_file(env_file, "LEASE=later\n");
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), -E_BAD_VALUE);
    assert_non_null(strstr(err.text, env_file));
}

static void a_setting_of_another_program_is_not_looked_at(void **state)
{
    (void)state;
    setenv("SLOTS", "nonsense", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    assert_int_equal(LOAD(CONFIG_WORKER, ""), -E_BAD_VALUE);
    unsetenv("SLOTS");
    assert_int_equal(LOAD(CONFIG_MANAGER, "--slots", "2"), -E_BAD_VALUE);
    assert_string_equal(err.text, "unknown flag '--slots' (see --help)");
}

static void flags_have_two_spellings_and_an_end(void **state)
{
    (void)state;
    assert_int_equal(LOAD(CONFIG_WORKER, "--slots=3", "--poll", "1s", "aggregate", "--slots"),
                     0);
    assert_int_equal(config.slots, 3);
    assert_int_equal(config.poll_ms, 1000);
    assert_int_equal(config.arg_first, 4);
    assert_int_equal(LOAD(CONFIG_WORKER, "--", "--slots"), 0);
    assert_int_equal(config.arg_first, 2);
    assert_int_equal(LOAD(CONFIG_WORKER, "--slots"), -E_BAD_VALUE);
    assert_string_equal(err.text, "flag --slots needs a value");
    assert_int_equal(LOAD(CONFIG_WORKER, "--slotsx=1"), -E_BAD_VALUE);
    assert_string_equal(err.text, "unknown flag '--slotsx=1' (see --help)");
}

static void wants_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(LOAD(CONFIG_CLIENT, "--version", "--check-config"), 0);
    assert_true(config.want_version && config.want_check && !config.want_help);
}

static void a_repeated_list_flag_adds_and_replaces_other_sources(void **state)
{
    const char *at;
    char word[16];

    (void)state;
    setenv("LISTEN", "0.0.0.0:1", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, "--listen", "a:1", "--listen=b:2, c:3"), 0);
    assert_string_equal(config.listen, "a:1,b:2, c:3");
    at = config_list_next(config.listen, word, sizeof word);
    assert_string_equal(word, "a:1");
    at = config_list_next(at, word, sizeof word);
    assert_string_equal(word, "b:2");
    at = config_list_next(at, word, sizeof word);
    assert_string_equal(word, "c:3");
    assert_null(config_list_next(at, word, sizeof word));
    assert_null(config_list_next("", word, sizeof word));
    assert_null(config_list_next(" , ,", word, sizeof word));
}

static void a_repeated_plain_flag_takes_the_last(void **state)
{
    (void)state;
    assert_int_equal(LOAD(CONFIG_MANAGER, "--log-level", "debug", "--log-level", "error"), 0);
    assert_string_equal(config.log_level, "error");
}

static void a_dump_shows_values_but_no_secrets(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    setenv("DATABASE_URL", "mysql://u:hunter2@h/db", 1);
    setenv("AMQP_URL", "amqp://u:hunter3@h/", 1);
    assert_int_equal(LOAD(CONFIG_MANAGER, "--lease", "1m"), 0);
    config_dump(&config, CONFIG_MANAGER, &out);
    assert_true(buf_ok(&out));
    assert_null(strstr(out.data, "hunter"));
    assert_non_null(strstr(out.data, "DATABASE_URL=***\n"));
    assert_non_null(strstr(out.data, "LEASE=60000ms\n"));
    assert_null(strstr(out.data, "SLOTS="));
    buf_release(&out);
}

static void what_a_dump_says_can_be_loaded_again(void **state)
{
    struct buf first = BUF_INIT, second = BUF_INIT;

    (void)state;
    assert_int_equal(LOAD(CONFIG_MANAGER, "--lease", "1m", "--max-json-bytes", "1M"), 0);
    config_dump(&config, CONFIG_MANAGER, &first);
    write_file(env_file, first.data);
    assert_int_equal(LOAD(CONFIG_MANAGER, ""), 0);
    config_dump(&config, CONFIG_MANAGER, &second);
    assert_string_equal(first.data, second.data);
    buf_release(&first);
    buf_release(&second);
}

static void help_and_markdown_name_every_setting(void **state)
{
    static const struct {
        int programs;
        const char *env, *flag;
    } rows[] = {
#define M                                                            CONFIG_MANAGER
#define W                                                            CONFIG_WORKER
#define CLIENT                                                       CONFIG_CLIENT
#define C(field, type, programs, env, flag, def, min, max, sec, hlp) {programs, env, flag},
#include "config.def"
#undef C
#undef CLIENT
#undef W
#undef M
    };
    struct buf help = BUF_INIT, page = BUF_INIT;

    (void)state;
    config_help(CONFIG_MANAGER, &help);
    config_markdown(&page);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char cell[64], line[64];
        snprintf(cell, sizeof cell, "| `%s` |", rows[i].flag);
        snprintf(line, sizeof line, "  %s ", rows[i].flag);
        assert_non_null(strstr(page.data, cell));
        assert_int_equal(strstr(help.data, line) != NULL,
                         (rows[i].programs & CONFIG_MANAGER) != 0);
    }
    buf_release(&help);
    buf_release(&page);
}

static void sizes_and_times_are_read_with_units(void **state)
{
    static const struct {
        const char *text;
        int64_t bytes, ms; /* -1: refused */
    } cases[] = {
        {"0", 0, -1},          {"65536", 65536, -1},
        {"64K", 65536, -1},    {"2G", INT64_C(2) << 30, -1},
        {"1MiB", 1 << 20, -1}, {"500ms", -1, 500},
        {"10s", -1, 10000},    {"5m", 5 << 20, 300000},
        {"1h", -1, 3600000},   {"1d", -1, 86400000},
        {"", -1, -1},          {"s", -1, -1},
        {"1.5s", -1, -1},      {" 1s", -1, -1},
        {"1S", -1, -1},        {"0x10", -1, -1},
        {"+1s", -1, -1},       {"1ss", -1, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t bytes = -1, ms = -1;
        assert_int_equal(config_parse_bytes(cases[i].text, &bytes), cases[i].bytes >= 0);
        assert_int_equal(bytes, cases[i].bytes);
        assert_int_equal(config_parse_ms(cases[i].text, &ms), cases[i].ms >= 0);
        assert_int_equal(ms, cases[i].ms);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(without_any_source_the_defaults_hold),
        CASE(later_sources_win_over_earlier_ones),
        CASE(the_env_file_may_export_quote_and_comment),
        CASE(a_missing_env_file_is_fine),
        CASE(a_secret_may_come_from_a_file),
        CASE(a_secret_file_can_be_named_in_the_env_file),
        CASE(what_is_no_secret_is_not_read_from_a_file),
        CASE(bad_values_are_refused_with_name_source_and_remedy),
        CASE(a_setting_of_another_program_is_not_looked_at),
        CASE(flags_have_two_spellings_and_an_end),
        CASE(wants_are_told_apart),
        CASE(a_repeated_list_flag_adds_and_replaces_other_sources),
        CASE(a_repeated_plain_flag_takes_the_last),
        CASE(a_dump_shows_values_but_no_secrets),
        CASE(what_a_dump_says_can_be_loaded_again),
        CASE(help_and_markdown_name_every_setting),
        CASE(sizes_and_times_are_read_with_units),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
