/* What a user of taskctl sees: exit codes, stdout, stderr, files, and what reaches the
 * server. The program is run as built; the server is scripted, answer by answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "program.h"
#include "scripted_server.h"

#define ID   "01890a5d-ac96-774b-bcce-b302099a8057"
#define ID_2 "01890a5d-ac96-774b-bcce-b302099a8058"

static struct scripted_server server;
static const char *const *answers; /* NULL-terminated; the last one is given again and again */
static struct buf requests;        /* everything the server was sent */
static int request_count;
static int signal_at_request; /* from 1; 0 for never */

/* --- the server --- */

static void take_whole_body(struct scripted_server *s, int fd)
{
    const char *length = strstr(s->request, "Content-Length: ");

    if (strstr(s->request, "Expect: 100-continue"))
        scripted_say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    if (length) {
        scripted_take_body(s, fd, strtoul(length + 16, NULL, 10));
    } else if (strstr(s->request, "Transfer-Encoding: chunked")) {
        while (!strstr(s->request, "\r\n0\r\n\r\n"))
            scripted_take_body(s, fd, 1);
    }
}

/* One request a connection: an answer ends with the hang-up, an empty one is a cut. */
static void answer_in_turn(struct scripted_server *s, int fd, int connection)
{
    (void)connection;
    if (!scripted_take_head(s, fd))
        return;
    take_whole_body(s, fd);
    buf_append(&requests, s->request, s->request_len);
    const char *answer = *answers;
    if (answers[1])
        answers++;
    if (++request_count == signal_at_request)
        kill(program_pid, SIGINT);
    scripted_say(fd, answer);
}

#define JSON_ANSWER(status, json)                                                              \
    "HTTP/1.1 " status "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" json

#define ACCEPTED   JSON_ANSWER("202 Accepted", "{\"task_id\":\"" ID "\"}")
#define BUSY       JSON_ANSWER("503 Busy", "{\"title\":\"Busy\",\"status\":503}")
#define RECEIVED   JSON_ANSWER("200 OK", "{\"status\":\"RECEIVED\"}")
#define PROCESSING JSON_ANSWER("200 OK", "{\"status\":\"PROCESSING\",\"progress\":0.4}")
#define DONE       JSON_ANSWER("200 OK", "{\"status\":\"DONE\",\"download_link\":\"http://h/d\"}")
#define FAILED     JSON_ANSWER("200 OK", "{\"status\":\"FAILED\",\"error\":\"line 3: no date\"}")
#define RESULT                                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=out.csv\r\n"                 \
    "Content-Length: 5\r\nConnection: close\r\n\r\na,b,c"

static void answer_with(const char *const *list)
{
    answers = list;
    request_count = 0;
    buf_clear(&requests);
}

/* --- fake-songs --- */

static void test_fake_songs_are_the_same_for_the_same_arguments(void **state)
{
    (void)state;
    assert_int_equal(RUN("fake-songs", "--rows", "5000", "--seed", "7"), 0);
    char *first = strdup(said);
    assert_int_equal(RUN("fake-songs", "--seed", "7", "--rows=5000"), 0);
    assert_string_equal(said, first);
    assert_int_equal(RUN("fake-songs", "--rows", "5000", "--seed", "8"), 0);
    assert_string_not_equal(said, first);
    free(first);
}

/* Pinned, so that a file made today is a file made next year. */
static void test_fake_songs_never_change(void **state)
{
    (void)state;
    assert_int_equal(RUN("fake-songs", "--rows", "3"), 0);
    assert_string_equal(said, "Song,Date,Number of Plays\n"
                              "Copper Sky,2024-07-26,397\n"
                              "Fireflies in May,2024-12-21,931\n"
                              "The Long Way Up,2024-06-11,563\n");
}

static void test_fake_songs_has_the_rows_asked_for_with_dates_and_plays_in_range(void **state)
{
    char song[64];
    int month, day, plays, rows = 0;

    (void)state;
    assert_int_equal(RUN("fake-songs", "--rows", "20000"), 0);
    char *line = strchr(said, '\n') + 1;
    for (; *line; line = strchr(line, '\n') + 1, rows++) {
        assert_int_equal(sscanf(line, "%63[^,],2024-%d-%d,%d", song, &month, &day, &plays), 4);
        assert_true(month >= 1 && month <= 12 && day >= 1 && day <= 31);
        assert_true(plays >= 1 && plays <= 1000);
    }
    assert_int_equal(rows, 20000);
    assert_non_null(strstr(said, ",2024-02-29,"));
    assert_non_null(strstr(said, ",2024-12-31,"));
    assert_non_null(strstr(said, ",1000\n"));
    assert_null(strchr(said, '"'));
}

static void test_fake_songs_quotes_only_beyond_twenty_songs(void **state)
{
    (void)state;
    assert_int_equal(RUN("fake-songs", "--rows", "5000", "--songs", "400"), 0);
    assert_non_null(strstr(said, ", Part 2\","));
    assert_non_null(strstr(said, "\n\"\"\""));
}

/* --- usage --- */

static void test_wrong_usage_exits_2_and_says_why(void **state)
{
    static const char *const wrong[][6] = {
        {"no-such-command"},
        {"--no-such-option", "health"},
        {"upload"},
        {"upload", "a", "b"},
        {"upload", "a", "--on-bad-row", "maybe"},
        {"upload", "a", "--wait=yes"},
        {"status", "no-id"},
        {"status", "../../health"},
        {"list", "--page", "0"},
        {"list", "--page-size", "ten"},
        {"submit", "noop", "--params", "[1]"},
        {"submit", "noop", "--params", "{"},
        {"submit", "noop", "--run-at", "tomorrow"},
        {"submit", "noop", "--priority"},
        {"run"},
        {"run", "p", "--input"},
        {"resume", "no-id"},
        {"runs", "--page", "0"},
        {"submit", "noop", "--idempotency-key", "a\r\nb"},
        {"health", "--task-manager-url", "ftp://x"},
        {"fake-songs", "--songs", "0"},
    };

    (void)state;
    assert_int_equal(program_run((const char *const[]){NULL}), 2);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(program_run(wrong[i]), 2);
        assert_string_equal(said, "");
        assert_memory_equal(complained, "taskctl: ", 9);
    }
    assert_int_equal(RUN("status", "--json"), 2);
    assert_memory_equal(complained, "{\"error\":", 9);
}

static void test_help_names_every_command_and_exit_code(void **state)
{
    static const char *const words[] = {
        "upload",   "submit",           "status", "list",       "show",
        "download", "cancel",           "retry",  "pipelines",  "run ",
        "runs ",    "resume",           "health", "fake-songs", "  0  done",
        "  1  ",    "  2  wrong usage", "111  "};

    (void)state;
    assert_int_equal(RUN("--help"), 0);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_non_null(strstr(said, words[i]));
    assert_int_equal(RUN("upload", "--help"), 0);
    assert_non_null(strstr(said, "--on-bad-row"));
}

static void test_an_unreachable_server_exits_111(void **state)
{
    (void)state;
    assert_int_equal(RUN("--task-manager-url", "http://127.0.0.1:1", "health"), 111);
    assert_non_null(strstr(complained, "http://127.0.0.1:1"));
    file_write("a.csv", "x\n");
    assert_int_equal(
        RUN("upload", "a.csv", "--json", "--task-manager-url", "http://127.0.0.1:1"), 111);
    assert_non_null(strstr(complained, "\"code\":\"UNAVAILABLE\""));
    assert_non_null(strstr(complained, "--idempotency-key"));
}

static void test_output_that_cannot_be_written_is_a_failure(void **state)
{
    int status;

    (void)state;
    program_pid = fork();
    assert_true(program_pid >= 0);
    if (program_pid == 0) {
        int full = open("/dev/full", O_WRONLY);
        if (dup2(full, 1) == 1)
            execl(TASKCTL_PATH, "taskctl", "--version", (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(program_pid, &status, 0), program_pid);
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* --- upload --- */

static void test_upload_sends_name_and_key_and_prints_the_id_alone(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, NULL});
    file_write("my plays&.csv", "Song,Date\n");
    assert_int_equal(
        RUN("upload", "./my plays&.csv", "--on-bad-row", "skip", "--idempotency-key", "k-1"),
        0);
    assert_string_equal(said, ID "\n");
    assert_non_null(strstr(requests.data,
                           "POST /v1/data_processor/upload?filename=my%20plays%26.csv"
                           "&on_bad_row=skip HTTP/1.1\r\n"));
    assert_non_null(strstr(requests.data, "\r\nContent-Type: text/csv\r\n"));
    assert_non_null(strstr(requests.data, "\r\nIdempotency-Key: k-1\r\n"));
    assert_non_null(strstr(requests.data, "\r\n\r\nSong,Date\n"));
}

static void test_upload_of_a_pipe_is_chunked(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, NULL});
    assert_int_equal(mkfifo("pipe", 0600), 0);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0) {
        int fd = open("pipe", O_WRONLY);
        _exit(write(fd, "from a pipe", 11) == 11 ? 0 : 1);
    }
    assert_int_equal(RUN("upload", "pipe"), 0);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    assert_non_null(strstr(requests.data, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(requests.data, "b\r\nfrom a pipe\r\n0\r\n\r\n"));
}

static void test_upload_of_stdin_has_no_file_name(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, NULL});
    file_write("in", "from stdin");
    assert_int_equal(RUN("upload", "-"), 0);
    assert_non_null(strstr(requests.data, "POST /v1/data_processor/upload HTTP/1.1\r\n"));
    assert_non_null(strstr(requests.data, "from stdin"));
}

static void test_upload_and_save_waits_and_leaves_the_result_alone(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, RECEIVED, PROCESSING, DONE, RESULT, NULL});
    file_write("a.csv", "x\n");
    assert_int_equal(RUN("upload", "a.csv", "-o", "result.csv"), 0);
    assert_string_equal(said, ID "\nDONE http://h/d\n");
    assert_string_equal(complained, "upload 100%\nRECEIVED\nPROCESSING 40%\ndownload 100%\n");
    assert_file("result.csv", "a,b,c");
    assert_int_equal(folder_count(), 5); /* a.csv in out err result.csv */
}

static void test_upload_and_save_to_stdout_prints_nothing_else_there(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, DONE, RESULT, NULL});
    file_write("a.csv", "x\n");
    assert_int_equal(RUN("upload", "a.csv", "-o", "-"), 0);
    assert_string_equal(said, "a,b,c");
    assert_non_null(strstr(complained, ID));
}

static void test_upload_and_wait_as_json_prints_one_object(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, DONE, NULL});
    file_write("a.csv", "x\n");
    assert_int_equal(RUN("--json", "upload", "a.csv", "--wait"), 0);
    assert_string_equal(said, "{\"status\":\"DONE\",\"download_link\":\"http://h/d\","
                              "\"task_id\":\"" ID "\"}\n");
    assert_string_equal(complained, "");
}

static void test_a_failed_task_exits_1_with_its_reason(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, FAILED, NULL});
    file_write("a.csv", "x\n");
    assert_int_equal(RUN("upload", "a.csv", "-o", "result.csv"), 1);
    assert_string_equal(said, ID "\nFAILED line 3: no date\n");
    assert_int_equal(access("result.csv", F_OK), -1);
}

static void test_a_busy_server_is_asked_again_with_the_same_key_and_whole_body(void **state)
{
    (void)state;
    answer_with((const char *const[]){BUSY, ACCEPTED, NULL});
    file_write("a.csv", "whole body");
    assert_int_equal(RUN("upload", "a.csv"), 0);
    assert_int_equal(request_count, 2);
    const char *first = strstr(requests.data, "Idempotency-Key: ");
    assert_non_null(first);
    const char *second = strstr(first + 1, "Idempotency-Key: ");
    assert_non_null(second);
    assert_memory_equal(first, second, 17 + 36);
    const char *body = strstr(requests.data, "whole body");
    assert_non_null(body);
    assert_non_null(strstr(body + 1, "whole body"));
}

static void test_a_missing_file_is_a_failure_before_anything_is_sent(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, NULL});
    assert_int_equal(RUN("upload", "missing.csv"), 1);
    assert_non_null(strstr(complained, "missing.csv"));
    assert_int_equal(RUN("upload", "."), 1);
    assert_int_equal(request_count, 0);
}

static void test_ctrl_c_while_waiting_says_how_to_go_on(void **state)
{
    (void)state;
    answer_with((const char *const[]){PROCESSING, NULL});
    signal_at_request = 2;
    assert_int_equal(RUN("status", ID, "--wait"), 130);
    assert_non_null(strstr(complained, "the task goes on"));
    assert_non_null(strstr(complained, "taskctl status " ID));
}

static void test_waiting_outlasts_a_short_trouble_of_the_server(void **state)
{
    (void)state;
    answer_with((const char *const[]){PROCESSING, BUSY, "", DONE, NULL});
    assert_int_equal(RUN("status", ID, "--wait"), 0);
    assert_string_equal(said, "DONE http://h/d\n");
}

/* --- the other commands --- */

static void test_submit_sends_what_was_given_and_nothing_else(void **state)
{
    (void)state;
    answer_with((const char *const[]){ACCEPTED, NULL});
    assert_int_equal(RUN("submit", "noop", "--params", "{\"a\": 1}", "--queue", "q",
                         "--priority", "-5", "--run-at", "2026-01-31T00:00:00Z",
                         "--max-attempts", "2", "--timeout", "60"),
                     0);
    assert_string_equal(said, ID "\n");
    assert_non_null(strstr(requests.data,
                           "\r\n\r\n{\"type\":\"noop\",\"params\":{\"a\":1},\"queue\":\"q\","
                           "\"run_at\":\"2026-01-31T00:00:00Z\",\"priority\":-5,"
                           "\"max_attempts\":2,\"timeout_s\":60}"));
    answer_with((const char *const[]){ACCEPTED, NULL});
    assert_int_equal(RUN("submit", "noop"), 0);
    assert_non_null(strstr(requests.data, "\r\n\r\n{\"type\":\"noop\"}"));
}

static void test_a_refusal_exits_1_with_its_detail_made_harmless(void **state)
{
    (void)state;
    answer_with((const char *const[]){
        JSON_ANSWER("404 Not Found", "{\"title\":\"Not found\",\"detail\":"
                                     "\"no \\u001b[2Jtask\\u202e\",\"error\":\"short\"}"),
        NULL});
    assert_int_equal(RUN("show", ID), 1);
    assert_string_equal(complained, "taskctl: no \\x1b[2Jtask\\u202e (HTTP 404)\n");
    assert_int_equal(request_count, 1);
    assert_int_equal(RUN("cancel", ID, "--json"), 1);
    assert_non_null(strstr(complained, "\"code\":\"NOT_FOUND\""));
}

static void test_an_answer_that_is_no_json_is_not_a_task_manager(void **state)
{
    (void)state;
    answer_with((const char *const[]){JSON_ANSWER("200 OK", "<html>"), NULL});
    assert_int_equal(RUN("health"), 111);
    assert_non_null(strstr(complained, "did not answer like a task manager"));
}

static void test_list_is_an_aligned_table_and_passes_the_filters_on(void **state)
{
    (void)state;
    answer_with((const char *const[]){
        JSON_ANSWER("200 OK",
                    "{\"tasks\":["
                    "{\"id\":\"" ID "\",\"task_type\":\"noop\",\"status\":\"DONE\","
                    "\"queue\":\"d\\u001b\",\"priority\":0,\"attempt\":1,\"created_at\":\"t\"},"
                    "{\"id\":\"" ID_2 "\",\"task_type\":\"csv_plays\",\"status\":\"RECEIVED\","
                    "\"queue\":null,\"priority\":-10,\"attempt\":0,\"created_at\":\"u\"}],"
                    "\"count\":7,\"prev_url\":null,\"next_url\":\"/v1/tasks?page=3\"}"),
        NULL});
    assert_int_equal(RUN("list", "--page", "2", "--page-size", "2", "--type", "a b"), 0);
    assert_string_equal(
        said,
        "ID                                    TYPE       STATUS    QUEUE  PRIORITY  "
        "ATTEMPT  CREATED\n" ID "  noop       DONE      d\\x1b         0        1  t\n" ID_2
        "  csv_plays  RECEIVED  -           -10        0  u\n"
        "7 in all; --page 3 shows more\n");
    assert_non_null(
        strstr(requests.data, "GET /v1/tasks?type=a%20b&page=2&page_size=2 HTTP/1.1"));
}

static void test_show_lists_every_member(void **state)
{
    (void)state;
    answer_with((const char *const[]){
        JSON_ANSWER("200 OK", "{\"id\":\"" ID "\",\"error\":null,\"params\":{\"a\":1},"
                              "\"attempts\":[{\"n\":1},{\"n\":2}]}"),
        NULL});
    assert_int_equal(RUN("show", ID), 0);
    assert_string_equal(said, "id               " ID "\nerror            -\n"
                              "params           {\"a\":1}\n"
                              "attempts\n  {\"n\":1}\n  {\"n\":2}\n");
}

static void test_download_takes_the_servers_name_but_never_overwrites(void **state)
{
    (void)state;
    answer_with((const char *const[]){RESULT, NULL});
    assert_int_equal(RUN("download", ID), 0);
    assert_string_equal(said, "out.csv\n");
    assert_file("out.csv", "a,b,c");
    file_write("out.csv", "mine");
    assert_int_equal(RUN("download", ID), 1);
    assert_file("out.csv", "mine");
    assert_int_equal(RUN("download", ID, "-o", "out.csv"), 0);
    assert_file("out.csv", "a,b,c");
    assert_int_equal(folder_count(), 4); /* in out err out.csv: no half files */
}

static void test_a_cut_download_leaves_no_file(void **state)
{
    (void)state;
    answer_with((const char *const[]){
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\na,b", NULL});
    assert_int_equal(RUN("download", ID, "-o", "result.csv"), 111);
    assert_int_equal(folder_count(), 3);
}

static void test_cancel_and_retry_use_their_methods(void **state)
{
    (void)state;
    answer_with((const char *const[]){JSON_ANSWER("200 OK", "{\"id\":\"" ID "\"}"), NULL});
    assert_int_equal(RUN("cancel", ID), 0);
    assert_int_equal(RUN("retry", ID), 0);
    assert_non_null(strstr(requests.data, "DELETE /v1/tasks/" ID " HTTP/1.1"));
    assert_non_null(strstr(requests.data, "POST /v1/tasks/" ID "/retry HTTP/1.1"));
    answer_with((const char *const[]){BUSY, NULL});
    assert_int_equal(RUN("retry", ID), 111);
    assert_int_equal(request_count, 1); /* a second retry might hit another failure */
}

/* --- pipelines --- */

#define STARTED JSON_ANSWER("202 Accepted", "{\"run_id\":\"" ID "\"}")
#define DEFINITION                                                                             \
    JSON_ANSWER("200 OK", "{\"name\":\"p\",\"input\":{\"text\":{\"type\":\"string\"},"         \
                          "\"n\":{\"type\":\"integer\"}},\"steps\":[]}")
#define RUN_AT(status, step, one, two, error)                                                  \
    JSON_ANSWER("200 OK",                                                                      \
                "{\"run_id\":\"" ID "\",\"status\":\"" status "\",\"step\":" step              \
                ",\"error\":" error ",\"steps\":[{\"name\":\"one\",\"status\":\"" one          \
                "\",\"attempts\":1,\"error\":null},{\"name\":\"two\",\"status\":\"" two        \
                "\",\"attempts\":0,\"error\":" error "}]}")
#define RUN_ONE  RUN_AT("PROCESSING", "\"one\"", "PROCESSING", "RECEIVED", "null")
#define RUN_TWO  RUN_AT("PROCESSING", "\"two\"", "DONE", "PROCESSING", "null")
#define RUN_DONE RUN_AT("DONE", "null", "DONE", "DONE", "null")
#define RUN_FAILED                                                                             \
    RUN_AT("FAILED", "\"two\"", "DONE", "FAILED", "{\"message\":\"no \\u001b[1m\"}")

static void test_run_sends_inputs_as_the_pipeline_types_them(void **state)
{
    (void)state;
    file_write("secret", "s3cret\n");
    answer_with((const char *const[]){DEFINITION, STARTED, NULL});
    assert_int_equal(RUN("run", "p", "-i", "text=5", "--input=n=5", "--input", "more=[1]",
                         "--input-file", "token=secret", "--idempotency-key", "k"),
                     0);
    assert_string_equal(said, ID "\n");
    assert_non_null(strstr(requests.data, "GET /v1/pipelines/p HTTP/1.1"));
    assert_non_null(strstr(requests.data, "POST /v1/pipelines/p/runs HTTP/1.1"));
    assert_non_null(strstr(requests.data, "Idempotency-Key: k\r\n"));
    assert_non_null(strstr(requests.data, "{\"input\":{\"text\":\"5\",\"n\":5,\"more\":[1],"
                                          "\"token\":\"s3cret\"}}"));
    assert_int_equal(RUN("run", "p", "-i", "novalue"), 2);
}

static void test_run_of_a_file_sends_its_definition(void **state)
{
    (void)state;
    file_write("p.json", "{\"input\": {\"a\": {\"type\": \"string\"}}, \"steps\": [1]}");
    answer_with((const char *const[]){STARTED, NULL});
    assert_int_equal(RUN("run", "p", "--definition", "p.json", "-i", "a=1"), 0);
    assert_int_equal(request_count, 1);
    assert_non_null(strstr(requests.data, "{\"input\":{\"a\":\"1\"},\"definition\":{"));
    file_write("p.json", "[1]");
    assert_int_equal(RUN("run", "p", "--definition", "p.json"), 2);
}

static void test_run_and_wait_tells_of_each_step_once_and_of_the_end(void **state)
{
    (void)state;
    answer_with(
        (const char *const[]){STARTED, RUN_ONE, RUN_ONE, RUN_TWO, BUSY, RUN_DONE, NULL});
    assert_int_equal(RUN("run", "p", "--wait"), 0);
    assert_string_equal(said, ID "\nDONE\n");
    assert_string_equal(complained, "  one                  PROCESSING\n"
                                    "  one                  DONE\n"
                                    "  two                  PROCESSING\n"
                                    "  two                  DONE\n");
    answer_with((const char *const[]){STARTED, RUN_TWO, RUN_FAILED, NULL});
    assert_int_equal(RUN("run", "p", "--wait"), 1);
    assert_string_equal(said, ID "\nFAILED at two: no \\x1b[1m\n");
    assert_non_null(strstr(complained, "taskctl resume " ID));
    answer_with((const char *const[]){STARTED, RUN_ONE, RUN_FAILED, NULL});
    assert_int_equal(RUN("run", "p", "--wait", "--json"), 1);
    assert_memory_equal(said, "{\"run_id\":\"" ID "\",\"status\":\"FAILED\"", 50);
    assert_string_equal(complained, "");
}

static void test_ctrl_c_while_a_run_goes_on_says_how_to_go_on(void **state)
{
    (void)state;
    answer_with((const char *const[]){STARTED, RUN_ONE, NULL});
    signal_at_request = 3;
    assert_int_equal(RUN("run", "p", "--wait"), 130);
    assert_non_null(strstr(complained, "the run goes on"));
}

static void test_resume_names_its_step_and_is_never_asked_twice(void **state)
{
    (void)state;
    answer_with((const char *const[]){RUN_TWO, RUN_DONE, NULL});
    assert_int_equal(RUN("resume", ID, "--from", "two", "--wait"), 0);
    assert_non_null(strstr(requests.data, "POST /v1/pipelines/runs/" ID
                                          "/resume?dry_run=0&from=two HTTP/1.1"));
    assert_string_equal(said, "DONE\n");
    answer_with((const char *const[]){BUSY, NULL});
    assert_int_equal(RUN("resume", ID), 111);
    assert_int_equal(request_count, 1);
    answer_with((const char *const[]){
        JSON_ANSWER("200 OK", "{\"from\":\"two\",\"runs\":[\"two\",\"three\"],"
                              "\"reuses\":[\"one\"]}"),
        NULL});
    assert_int_equal(RUN("resume", ID, "--dry-run"), 0);
    assert_non_null(strstr(requests.data, "resume?dry_run=1 HTTP/1.1"));
    assert_string_equal(said, "reuses  one\nruns    two three\n");
}

static void test_runs_and_pipelines_are_aligned_tables(void **state)
{
    (void)state;
    answer_with((const char *const[]){
        JSON_ANSWER("200 OK", "{\"runs\":[{\"run_id\":\"" ID
                              "\",\"pipeline\":\"p\",\"status\":\"DONE\"}],\"count\":1,"
                              "\"next_url\":null}"),
        NULL});
    assert_int_equal(RUN("runs", "--status", "DONE", "--pipeline", "p"), 0);
    assert_non_null(strstr(requests.data, "GET /v1/pipelines/runs?status=DONE&pipeline=p "));
    assert_non_null(strstr(said, ID "  p         DONE"));
    assert_non_null(strstr(said, "1 in all\n"));
    answer_with((const char *const[]){
        JSON_ANSWER("200 OK", "{\"pipelines\":[{\"name\":\"p\",\"title\":null,\"input\":"
                              "{\"a\":{\"required\":true},\"b\":{}},\"steps\":"
                              "[{\"name\":\"one\"},{\"name\":\"two\"}]}]}"),
        NULL});
    assert_int_equal(RUN("pipelines"), 0);
    assert_string_equal(said, "NAME  STEPS    INPUT  TITLE\n"
                              "p     one,two  a*,b   -\n");
    answer_with((const char *const[]){JSON_ANSWER("200 OK", "{\"run_id\":\"" ID "\"}"), NULL});
    assert_int_equal(RUN("cancel", "--run", ID), 0);
    assert_non_null(strstr(requests.data, "DELETE /v1/pipelines/runs/" ID " HTTP/1.1"));
}

static void test_health_says_ok_and_where(void **state)
{
    char want[128];

    (void)state;
    answer_with((const char *const[]){JSON_ANSWER("200 OK", "{\"status\":\"ok\"}"), NULL});
    assert_int_equal(RUN("health"), 0);
    snprintf(want, sizeof want, "ok %s\n", server.base);
    assert_string_equal(said, want);
}

static int start_all(void **state)
{
    (void)state;
    buf_init(&requests);
    if (folder_enter() != 0)
        return -1;
    scripted_server_start(&server, answer_in_turn);
    return setenv("TASK_MANAGER_URL", server.base, 1);
}

static int stop_all(void **state)
{
    (void)state;
    scripted_server_stop(&server);
    buf_release(&requests);
    return folder_leave();
}

static int tidy(void **state)
{
    (void)state;
    signal_at_request = 0;
    return folder_empty();
}

int main(void)
{
#define IN_FOLDER(f) cmocka_unit_test_teardown(f, tidy)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_fake_songs_are_the_same_for_the_same_arguments),
        IN_FOLDER(test_fake_songs_never_change),
        IN_FOLDER(test_fake_songs_has_the_rows_asked_for_with_dates_and_plays_in_range),
        IN_FOLDER(test_fake_songs_quotes_only_beyond_twenty_songs),
        IN_FOLDER(test_wrong_usage_exits_2_and_says_why),
        IN_FOLDER(test_help_names_every_command_and_exit_code),
        IN_FOLDER(test_an_unreachable_server_exits_111),
        IN_FOLDER(test_output_that_cannot_be_written_is_a_failure),
        IN_FOLDER(test_upload_sends_name_and_key_and_prints_the_id_alone),
        IN_FOLDER(test_upload_of_a_pipe_is_chunked),
        IN_FOLDER(test_upload_of_stdin_has_no_file_name),
        IN_FOLDER(test_upload_and_save_waits_and_leaves_the_result_alone),
        IN_FOLDER(test_upload_and_save_to_stdout_prints_nothing_else_there),
        IN_FOLDER(test_upload_and_wait_as_json_prints_one_object),
        IN_FOLDER(test_a_failed_task_exits_1_with_its_reason),
        IN_FOLDER(test_a_busy_server_is_asked_again_with_the_same_key_and_whole_body),
        IN_FOLDER(test_a_missing_file_is_a_failure_before_anything_is_sent),
        IN_FOLDER(test_ctrl_c_while_waiting_says_how_to_go_on),
        IN_FOLDER(test_waiting_outlasts_a_short_trouble_of_the_server),
        IN_FOLDER(test_submit_sends_what_was_given_and_nothing_else),
        IN_FOLDER(test_a_refusal_exits_1_with_its_detail_made_harmless),
        IN_FOLDER(test_an_answer_that_is_no_json_is_not_a_task_manager),
        IN_FOLDER(test_list_is_an_aligned_table_and_passes_the_filters_on),
        IN_FOLDER(test_show_lists_every_member),
        IN_FOLDER(test_download_takes_the_servers_name_but_never_overwrites),
        IN_FOLDER(test_a_cut_download_leaves_no_file),
        IN_FOLDER(test_cancel_and_retry_use_their_methods),
        IN_FOLDER(test_run_sends_inputs_as_the_pipeline_types_them),
        IN_FOLDER(test_run_of_a_file_sends_its_definition),
        IN_FOLDER(test_run_and_wait_tells_of_each_step_once_and_of_the_end),
        IN_FOLDER(test_ctrl_c_while_a_run_goes_on_says_how_to_go_on),
        IN_FOLDER(test_resume_names_its_step_and_is_never_asked_twice),
        IN_FOLDER(test_runs_and_pipelines_are_aligned_tables),
        IN_FOLDER(test_health_says_ok_and_where),
    };

    return cmocka_run_group_tests(tests, start_all, stop_all);
}
