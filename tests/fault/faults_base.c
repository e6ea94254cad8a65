/* faults_base.c - libc's rooms and the codecs while memory, files and descriptors are short. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "config.h"
#include "faults.h"
#include "fs.h"
#include "params.h"
#include "worker_protocol.h"

static char dir[64];

/* -- buf -- */

static int run_buf(void *arg, struct err *err)
{
    struct buf b = BUF_INIT;
    size_t len = 0;

    (void)arg;
    for (int i = 0; i < 400; i++) {
        buf_printf(&b, "%d,", i);
        buf_append_str(&b, "some text to make it grow");
    }
    len = b.len;
    char *text = buf_steal(&b);
    if (!text)
        return err_set(err, -E_NO_MEMORY, "no memory for the text");
    assert_int_equal(strlen(text), len);
    assert_int_equal(b.len, 0);
    free(text);
    return 0;
}

static void a_buf_without_memory_says_so_at_the_end(void **state)
{
    const struct faults_scenario s = {.name = "buf", .run = run_buf};

    (void)state;
    faults_torture(&s, 1U << FAULT_MEMORY);
}

/* -- config -- */

static int run_config(void *arg, struct err *err)
{
    char *const argv[] = {(char[]){"test"}, (char[]){"--listen=127.0.0.1:1"},
                          (char[]){"--listen"}, (char[]){"127.0.0.1:2"}, NULL};
    struct config c;
    struct buf text = BUF_INIT;
    int rc = config_load(&c, CONFIG_MANAGER, 4, argv, arg, err);

    if (rc)
        return rc;
    assert_string_equal(c.listen, "127.0.0.1:1,127.0.0.1:2");
    assert_int_equal(c.max_attempts, 7);
    config_help(CONFIG_MANAGER, &text);
    config_dump(&c, CONFIG_MANAGER, &text);
    config_markdown(&text);
    if (!buf_ok(&text))
        rc = err_set(err, -E_NO_MEMORY, "no memory for the settings");
    buf_release(&text);
    config_release(&c);
    return rc;
}

static void settings_are_read_whole_or_not_at_all(void **state)
{
    char path[128];
    const struct faults_scenario s = {.name = "config", .run = run_config, .arg = path};

    (void)state;
    snprintf(path, sizeof path, "%s/.env", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("# settings\nexport MAX_ATTEMPTS=7\nDATABASE_URL=\"sqlite:x\"\n", f);
    fclose(f);
    faults_torture(&s, 1U << FAULT_MEMORY | 1U << FAULT_OPEN | 1U << FAULT_READ);
    unlink(path);
}

/* -- fs -- */

static int write_file(int root, struct err *err)
{
    int fd = fs_open_beneath(root, "a/b/file", O_RDWR | O_CREAT | O_TRUNC, 0640, err);

    if (fd < 0)
        return fd;
    int rc = fs_write_all(fd, "twelve bytes", 12, "file", err);
    if (!rc && fsync(fd) != 0)
        rc = err_set(err, -E_IO, "fsync");
    close(fd);
    return rc;
}

static int run_fs(void *arg, struct err *err)
{
    char path[128], *text = NULL;
    uint64_t free_bytes = 0;
    int root;

    (void)arg;
    snprintf(path, sizeof path, "%s/x/y", dir);
    int rc = fs_make_dirs(path, err);
    if (rc)
        return rc;
    root = fs_open_dir(path, err);
    if (root < 0)
        return root;
    rc = fs_make_dirs_beneath(root, "a/b", err);
    if (!rc)
        rc = write_file(root, err);
    if (!rc)
        rc = fs_sync_parent(root, "a/b/file", err);
    if (!rc)
        rc = fs_free_bytes(root, &free_bytes, err);
    close(root);
    snprintf(path, sizeof path, "%s/x/y/a/b/file", dir);
    if (!rc)
        rc = fs_read_small(path, 100, &text, err);
    if (!rc)
        assert_string_equal(text, "twelve bytes");
    free(text);
    return rc;
}

static void remove_tree(void *arg, int rc)
{
    static const char *const names[] = {"x/y/a/b/file", "x/y/a/b", "x/y/a", "x/y", "x"};
    char path[128];

    (void)arg;
    (void)rc;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        remove(path);
    }
}

static void files_and_folders_fail_with_a_sentence(void **state)
{
    const struct faults_scenario s = {.name = "fs", .run = run_fs, .check = remove_tree};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY);
}

/* -- codecs -- */

static const struct work sample = {
    .task_id = "01890a5d-ac96-774b-bcce-b302099a8057",
    .type = "csv_plays",
    .queue = "default",
    .attempt = 2,
    .max_attempts = 3,
    .token = "0123456789abcdef0123456789abcdef",
    .lease_ms = 10000,
    .output_prefix = "processed_data/01890a5d-ac96-774b-bcce-b302099a8057/2/",
    .input_name = "plays.csv",
    .input = {"raw_data/a.csv", 12,
              "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
};

/* Encodes by `text` and gives it to a decoder; the text is freed. */
#define THROUGH(text, decode)                                                                  \
    do {                                                                                       \
        char *line = (text);                                                                   \
        if (!line)                                                                             \
            return err_set(err, -E_NO_MEMORY, "no memory to encode");                          \
        int rc = (decode);                                                                     \
        free(line);                                                                            \
        if (rc)                                                                                \
            return rc;                                                                         \
    } while (0)

static int run_work(struct err *err)
{
    struct work work = sample, again;
    struct claim_item *items = NULL;
    size_t count = 0;

    work.params = (char[]){"{\"on_bad_row\":\"skip\"}"};
    THROUGH(work_encode(&work), work_decode(line, strlen(line), &again, err));
    assert_string_equal(again.params, work.params);
    work_release(&again);
    THROUGH(work_list_encode(&work, 1),
            work_list_decode(line, strlen(line), &items, &count, err));
    assert_int_equal(count, 1);
    int rc =
        items[0].fault.code ? err_set(err, items[0].fault.code, "%s", items[0].fault.text) : 0;
    work_release(&items[0].work);
    free(items);
    return rc;
}

static int run_reports(struct err *err)
{
    struct report report = {.outcome = ATTEMPT_DONE, .output = sample.input}, *reports = NULL;
    struct report_verdict verdict = {.word = REPORT_STALE, .detail = "late"}, *verdicts = NULL;
    char worker[TASK_WORKER_MAX];
    size_t count = 0;

    memcpy(report.task_id, sample.task_id, sizeof report.task_id);
    memcpy(report.token, sample.token, sizeof report.token);
    memcpy(verdict.task_id, sample.task_id, sizeof verdict.task_id);
    report.result = (char[]){"{\"rows\":1}"};
    THROUGH(report_list_encode("w", &report, 1),
            report_list_decode(line, strlen(line), worker, &reports, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(reports[0].result, report.result);
    report_release(&reports[0]);
    free(reports);
    THROUGH(report_verdicts_encode(&verdict, 1),
            report_verdicts_decode(line, strlen(line), &verdicts, &count, err));
    free(verdicts);
    return 0;
}

static int run_others(struct err *err)
{
    struct claim_request request = {
        .worker = "w", .queues = {"q"}, .queue_count = 1, .limit = 2};
    struct heartbeat beat = {.progress = 0.5}, *beats = NULL;
    struct heartbeat_verdict verdict = {.held = true, .lease_ms = 5}, *verdicts = NULL;
    struct params *params = NULL;
    char worker[TASK_WORKER_MAX];
    size_t count = 0;

    memcpy(beat.task_id, sample.task_id, sizeof beat.task_id);
    memcpy(beat.token, sample.token, sizeof beat.token);
    memcpy(verdict.task_id, sample.task_id, sizeof verdict.task_id);
    THROUGH(claim_request_encode(&request),
            claim_request_decode(line, strlen(line), &request, err));
    THROUGH(heartbeat_list_encode("w", &beat, 1),
            heartbeat_list_decode(line, strlen(line), worker, &beats, &count, err));
    free(beats);
    THROUGH(heartbeat_verdicts_encode(&verdict, 1),
            heartbeat_verdicts_decode(line, strlen(line), &verdicts, &count, err));
    free(verdicts);
    int rc = params_check("noop", "{\"sleep_ms\":1}", err);
    if (!rc)
        rc = params_open("{\"sleep_ms\":1}", &params, err);
    if (!rc)
        params_close(params);
    return rc;
}

static int run_codec(void *arg, struct err *err)
{
    (void)arg;
    int rc = run_work(err);

    if (!rc)
        rc = run_reports(err);
    return rc ? rc : run_others(err);
}

static void messages_without_memory_are_an_error_and_no_half_message(void **state)
{
    const struct faults_scenario s = {.name = "codec", .run = run_codec, .limit = 300};

    (void)state;
    faults_torture(&s, 1U << FAULT_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buf_without_memory_says_so_at_the_end),
        cmocka_unit_test(settings_are_read_whole_or_not_at_all),
        cmocka_unit_test(files_and_folders_fail_with_a_sentence),
        cmocka_unit_test(messages_without_memory_are_an_error_and_no_half_message),
    };

    snprintf(dir, sizeof dir, "%s/segue-faults-base-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
