/* test_slot.c - one slot with the real program in it: work in, report out, and every way in
 * which a process can come to its end. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "job.h"
#include "slot.h"

enum { PATIENCE_MS = 30000 };

/* One slot and what it told. */
struct bench {
    char root[64], storage_flag[96];
    const char *args[2];
    struct runtime_options options;
    struct slot_events events;
    struct slot slot;
    struct work work;
    int progress_count;
    double progress;
    int ended, died;
    bool lost;
    struct report report;
    struct death death;
};

static void on_progress(void *arg, struct slot *s, const struct job_progress *p)
{
    struct bench *b = arg;

    (void)s;
    assert_true(p->fraction >= b->progress);
    b->progress = p->fraction;
    b->progress_count++;
}

static void on_ended(void *arg, struct slot *s, struct report *report)
{
    struct bench *b = arg;

    assert_ptr_equal(s->attempt, b);
    b->ended++;
    b->lost = report == NULL;
    if (!report)
        return;
    report_release(&b->report);
    b->report = *report;
    memset(report, 0, sizeof *report);
}

static void on_died(void *arg, struct slot *s, const struct death *d)
{
    struct bench *b = arg;

    (void)s;
    b->died++;
    b->death = *d;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    assert_non_null(b);
    snprintf(b->root, sizeof b->root, "/tmp/segue-slot-XXXXXX");
    assert_non_null(mkdtemp(b->root));
    snprintf(b->storage_flag, sizeof b->storage_flag, "--storage-url=file:%s", b->root);
    b->args[0] = b->storage_flag;
    b->options = (struct runtime_options){
        .slots = 1, .program = PROGRAM, .slot_args = b->args, .kill_grace_ms = 100};
    b->events = (struct slot_events){on_progress, on_ended, on_died, NULL, b};
    slot_init(&b->slot, 0, &b->options, &b->events);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char command[128];

    slot_release(&b->slot);
    report_release(&b->report);
    work_release(&b->work);
    snprintf(command, sizeof command, "rm -rf '%s'", b->root);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    free(b);
    return 0;
}

/* What the main thread does, for one slot and a few milliseconds. */
static void turn(struct bench *b)
{
    struct pollfd p = {b->slot.fd, slot_poll_events(&b->slot), 0};

    poll(&p, 1, 5);
    slot_handle(&b->slot, p.revents, clock_mono_ms());
    slot_reap(&b->slot, clock_mono_ms());
    slot_tick(&b->slot, clock_mono_ms());
}

#define turn_until(b, condition)                                                               \
    do {                                                                                       \
        int64_t until = clock_mono_ms() + PATIENCE_MS;                                         \
        while (!(condition)) {                                                                 \
            if (clock_mono_ms() > until)                                                       \
                fail_msg("waited in vain for %s", #condition);                                 \
            turn(b);                                                                           \
        }                                                                                      \
    } while (0)

static void give(struct bench *b, const char *type, const char *params, int64_t timeout_ms)
{
    struct work *w = &b->work;

    work_release(w);
    snprintf(w->type, sizeof w->type, "%s", type);
    snprintf(w->queue, sizeof w->queue, "default");
    id_new(w->task_id);
    token_new(w->token);
    w->attempt = 1;
    w->max_attempts = 3;
    w->lease_ms = 10000;
    w->timeout_ms = timeout_ms;
    snprintf(w->output_prefix, sizeof w->output_prefix, "processed_data/%s/1/", w->task_id);
    w->params = strdup(params);
    turn_until(b, b->slot.state == SLOT_IDLE);
    b->ended = 0;
    b->progress = 0;
}

static void assign(struct bench *b)
{
    assert_int_equal(slot_assign(&b->slot, &b->work, b, clock_mono_ms(), NULL), 0);
    slot_flush(&b->slot);
}

static void run(struct bench *b, const char *type, const char *params)
{
    give(b, type, params, 0);
    assign(b);
    turn_until(b, b->ended);
    assert_string_equal(b->report.task_id, b->work.task_id);
    assert_string_equal(b->report.token, b->work.token);
}

/* --- work --- */

static void a_slot_runs_one_work_after_the_other_in_one_process(void **state)
{
    struct bench *b = *state;

    run(b, "noop", "{}");
    pid_t pid = b->slot.pid;
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    assert_true(b->report.usage.peak_rss_bytes > 100000);
    run(b, "noop", "{\"sleep_ms\":30}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    assert_true(b->report.usage.wall_ms >= 30);
    assert_int_equal(b->slot.pid, pid);
}

static void progress_is_passed_on_but_not_too_often(void **state)
{
    struct bench *b = *state;

    run(b, "noop", "{\"sleep_ms\":500}");
    assert_in_range(b->progress_count, 1, 6);
    assert_true(b->progress > 0 && b->progress < 1);
}

static void a_job_that_fails_says_so_with_class_and_code(void **state)
{
    struct bench *b = *state;

    run(b, "noop", "{\"fail\":\"input\"}");
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(b->report.error.class, ERROR_INPUT);
    assert_string_equal(b->report.error.code, "bad_input");
    run(b, "noop", "{\"fail\":\"transient\"}");
    assert_int_equal(b->report.error.class, ERROR_TRANSIENT);
    run(b, "noop", "{\"fail\":\"transient\",\"fail_attempts\":1}");
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    give(b, "noop", "{\"fail\":\"transient\",\"fail_attempts\":1}", 0);
    b->work.attempt = 2;
    assign(b);
    turn_until(b, b->ended);
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

static void an_unknown_type_is_an_error_of_the_task_and_not_of_the_slot(void **state)
{
    struct bench *b = *state;

    run(b, "dance", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(b->report.error.class, ERROR_INPUT);
    assert_non_null(strstr(b->report.error.message, "'dance'"));
    assert_int_equal(b->died, 0);
}

static void work_that_is_too_large_for_a_line_leaves_the_slot_idle(void **state)
{
    struct bench *b = *state;
    struct err err = ERR_INIT;

    give(b, "noop", "{}", 0);
    char *params = malloc(SLOT_LINE_MAX + 100);
    assert_non_null(params);
    memset(params, 'x', SLOT_LINE_MAX + 99);
    memcpy(params, "{\"a\":\"", 6);
    memcpy(params + SLOT_LINE_MAX + 97, "\"}", 3);
    free(b->work.params);
    b->work.params = params;
    assert_int_equal(slot_assign(&b->slot, &b->work, b, clock_mono_ms(), &err), -E_TOO_BIG);
    run(b, "noop", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

/* --- deaths --- */

static void a_crash_is_reported_by_its_name_and_the_slot_goes_on(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *params, *sentence;
        int signal, exit_code;
    } ways[] = {
        {"{\"crash\":\"abort\"}", "was killed by signal 6 (SIGABRT)", SIGABRT, 0},
        {"{\"crash\":\"segv\"}", "was killed by signal 11 (SIGSEGV)", SIGSEGV, 0},
        {"{\"crash\":\"kill\"}", "was killed by signal 9 (SIGKILL)", SIGKILL, 0},
        {"{\"crash\":\"exit\"}", "ended with exit code 3", 0, 3},
    };

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        run(b, "noop", ways[i].params);
        assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
        assert_int_equal(b->report.error.class, ERROR_CRASH);
        assert_non_null(strstr(b->report.error.message, ways[i].sentence));
        assert_int_equal(b->report.usage.signal, ways[i].signal);
        assert_int_equal(b->report.usage.exit_code, ways[i].exit_code);
    }
    run(b, "noop", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

/* As on an old kernel: this process and what it becomes have no close_range. */
static bool take_close_range_away(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof code / sizeof code[0], code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static void without_close_range_a_slot_still_closes_what_is_not_its_own(void **state)
{
    struct bench *b = *state;
    int line[2], foreign[2];
    char parent[24], text[64];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line), 0);
    assert_int_equal(pipe(foreign), 0);
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    pid_t pid = fork();
    if (pid == 0) {
        if (dup2(foreign[1], 40) < 0 || dup2(line[1], SLOT_FD) < 0 || !take_close_range_away())
            _exit(126);
        execl(PROGRAM, "data_processor", "slot", parent, b->storage_flag, (char *)NULL);
        _exit(127);
    }
    close(line[1]);
    close(foreign[1]);
    ssize_t len = read(line[0], text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = '\0';
    assert_string_equal(text, "{\"ready\":true}\n");
    assert_int_equal(read(foreign[0], text, 1), 0); /* the slot lives, but has it no more */
    close(line[0]);
    close(foreign[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Puts a script in the slot's place. */
static void use_script(struct bench *b, char path[96], const char *text)
{
    snprintf(path, 96, "%s/script", b->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\n%s\n", text);
    close(fd);
    b->options.program = path;
}

static void a_crash_tells_how_much_memory_the_job_had(void **state)
{
    struct bench *b = *state;
    char path[96];

    use_script(b, path,
               "echo '{\"ready\":true}' >&3; read line <&3\n"
               "x=$(head -c 200000000 /dev/zero | tr '\\0' x); kill -9 $$");
    run(b, "noop", "{}");
    assert_true(b->report.usage.peak_rss_bytes >= 200000000);
    assert_non_null(strstr(b->report.error.message, "; peak memory "));
    b->options.program = PROGRAM;
}

static void the_workers_own_memory_is_not_told_as_the_jobs(void **state)
{
    struct bench *b = *state;
    enum { OURS = 400 << 20 };

    char *ballast = malloc(OURS); /* the slot's process will carry this over exec */
    assert_non_null(ballast);
    memset(ballast, 7, OURS);
    run(b, "noop", "{\"crash\":\"kill\"}");
    assert_int_equal(b->report.error.class, ERROR_CRASH);
    assert_int_equal(b->report.usage.peak_rss_bytes, 0);
    assert_non_null(strstr(b->report.error.message, "; peak memory below "));
    free(ballast);
}

static void a_job_killed_by_a_stray_sigterm_crashed(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{\"sleep_ms\":60000}", 0);
    assign(b);
    turn_until(b, b->progress > 0);
    kill(b->slot.pid, SIGTERM);
    turn_until(b, b->ended);
    assert_int_equal(b->report.error.class, ERROR_CRASH);
    assert_int_equal(b->report.usage.signal, SIGTERM);
    run(b, "noop", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

static void a_job_killed_by_sigterm_just_before_a_stop_is_handed_back(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{\"sleep_ms\":60000}", 0);
    assign(b);
    turn_until(b, b->progress > 0);
    kill(b->slot.pid, SIGTERM);
    turn_until(b, b->slot.judge_at_ms > 0);
    assert_int_equal(b->ended, 0);
    b->slot.stop_asked_ms = clock_mono_ms();
    turn_until(b, b->ended);
    assert_int_equal(b->report.outcome, ATTEMPT_RELEASED);
}

static void a_process_that_never_gets_ready_is_replaced(void **state)
{
    struct bench *b = *state;
    char path[96];

    use_script(b, path, "exec sleep 1000");
    turn(b);
    assert_int_equal(b->slot.state, SLOT_STARTING);
    assert_true(slot_next_tick_ms(&b->slot) <= clock_mono_ms() + SLOT_READY_MS);
    slot_tick(&b->slot, clock_mono_ms() + SLOT_READY_MS); /* as if that long had passed */
    b->options.program = PROGRAM;
    turn_until(b, b->slot.state == SLOT_IDLE);
    assert_int_equal(b->died, 1);
}

static void a_slot_does_not_need_the_files_of_the_workers_secrets(void **state)
{
    struct bench *b = *state;

    setenv("AMQP_URL_FILE", "/nowhere/amqp", 1);
    run(b, "noop", "{}");
    unsetenv("AMQP_URL_FILE");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

/* A process in the slot's group that does not care for SIGTERM, as a job might leave one. */
static pid_t add_to_group(pid_t group)
{
    int fds[2];
    char ready;

    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_IGN);
        if (setpgid(0, group) != 0 || write(fds[1], "r", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(fds[0], &ready, 1), 1);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

static void a_deadline_ends_the_whole_process_group(void **state)
{
    struct bench *b = *state;
    int status;

    give(b, "noop", "{\"sleep_ms\":60000}", 150);
    pid_t group = b->slot.pid, other = add_to_group(group);
    assign(b);
    turn_until(b, b->ended);
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(b->report.error.class, ERROR_TIMEOUT);
    assert_non_null(strstr(b->report.error.message, "time limit of 0.1 s"));
    assert_true(b->report.usage.wall_ms >= 150 && b->report.usage.wall_ms < 20000);
    assert_int_equal(waitpid(other, &status, 0), other);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(kill(-group, 0), -1);
    assert_int_equal(errno, ESRCH);
    run(b, "noop", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

static void a_stopped_process_is_killed_after_the_grace(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{\"sleep_ms\":60000}", 100);
    assign(b);
    kill(b->slot.pid, SIGSTOP); /* SIGTERM stays pending; only SIGKILL gets through */
    turn_until(b, b->ended);
    assert_int_equal(b->report.error.class, ERROR_TIMEOUT);
    assert_int_equal(b->report.usage.signal, SIGKILL);
}

static void a_lost_attempt_ends_without_a_report(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{\"sleep_ms\":60000}", 0);
    assign(b);
    slot_end(&b->slot, DEATH_DEADLINE, 100, clock_mono_ms());
    slot_end(&b->slot, DEATH_LOST, 100, clock_mono_ms()); /* outweighs the first cause */
    turn_until(b, b->ended);
    assert_true(b->lost);
}

static void an_attempt_ended_by_a_stop_is_released(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{\"sleep_ms\":60000}", 0);
    assign(b);
    slot_end(&b->slot, DEATH_STOP, 0, clock_mono_ms());
    turn_until(b, b->ended);
    assert_int_equal(b->report.outcome, ATTEMPT_RELEASED);
}

static void a_report_said_before_the_death_counts(void **state)
{
    struct bench *b = *state;

    give(b, "noop", "{}", 0);
    assign(b);
    /* Not reading until the process is dead for sure. */
    int64_t until = clock_mono_ms() + PATIENCE_MS;
    struct pollfd p = {b->slot.fd, POLLIN, 0};
    assert_int_equal(poll(&p, 1, (int)(until - clock_mono_ms())), 1);
    kill(b->slot.pid, SIGKILL);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)b->slot.pid, &info, WEXITED | WNOWAIT), 0);
    slot_reap(&b->slot, clock_mono_ms());
    assert_int_equal(b->ended, 1);
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    assert_int_equal(b->slot.state, SLOT_DOWN);
}

static void a_program_that_dies_at_once_is_started_again_after_a_pause(void **state)
{
    struct bench *b = *state;

    b->options.program = "/bin/false";
    turn_until(b, b->died == 2);
    assert_int_equal(b->slot.failures, 2);
    assert_true(b->slot.spawn_at_ms > clock_mono_ms());
    assert_int_equal(b->ended, 0);
}

static void a_program_that_cannot_be_started_is_tried_again(void **state)
{
    struct bench *b = *state;

    b->options.program = "/nowhere/at/all";
    turn_until(b, b->slot.failures >= 2);
    b->options.program = PROGRAM;
    run(b, "noop", "{}");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
}

static void a_process_that_talks_nonsense_is_ended(void **state)
{
    struct bench *b = *state;
    char path[96];

    snprintf(path, sizeof path, "%s/babbler", b->root);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("#!/bin/sh\necho '{\"ready\":true}' >&3\nread line <&3\necho hello >&3\nsleep 60\n",
          f);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
    b->options.program = path;
    give(b, "noop", "{}", 0);
    assign(b);
    turn_until(b, b->ended);
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(b->report.error.class, ERROR_CRASH);
    assert_string_equal(b->report.error.code, "garbled");
}

static void a_slot_ends_when_its_parent_is_another_one(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, SLOT_FD);
        dup2(null, STDERR_FILENO);
        execl(PROGRAM, PROGRAM, "slot", "1", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 111);
}

/* --- csv_plays --- */

static void put_input(struct bench *b, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/raw_data/in", b->root);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    snprintf(b->work.input.key, sizeof b->work.input.key, "raw_data/in");
}

static void read_object(struct bench *b, const char *key, char *ret, size_t size)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", b->root, key);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    ret[fread(ret, 1, size - 1, f)] = '\0';
    fclose(f);
}

static void run_csv(struct bench *b, const char *params, const char *input)
{
    give(b, "csv_plays", params, 0);
    put_input(b, input);
    assign(b);
    turn_until(b, b->ended);
}

static void a_csv_becomes_totals_below_the_attempts_prefix(void **state)
{
    struct bench *b = *state;
    char text[256], key[300];

    run_csv(b, "{}",
            "Song,Date,Number of Plays\nB,2024-01-02,2\nA,2024-01-01,1\nB,2024-01-02,40\n");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    snprintf(key, sizeof key, "%stotals.csv", b->work.output_prefix);
    assert_string_equal(b->report.output.key, key);
    assert_int_equal(strlen(b->report.output.sha256), 64);
    read_object(b, b->report.output.key, text, sizeof text);
    assert_string_equal(text, "Song,Date,Number of Plays\nA,2024-01-01,1\nB,2024-01-02,42\n");
    assert_int_equal(b->report.output.size, strlen(text));
    assert_non_null(strstr(b->report.result, "\"rows_in\":3"));
    assert_non_null(strstr(b->report.result, "\"groups\":2"));
    assert_null(strstr(b->report.result, "\"rejects\""));
}

static const char bad_rows[] =
    "Song,Date,Number of Plays\nA,2024-01-01,1\nA,2024-13-01,1\nA,2024-01-01,x\n";

static void a_bad_row_fails_the_task_with_the_engines_sentence(void **state)
{
    struct bench *b = *state;
    char path[512];

    run_csv(b, "{}", bad_rows);
    assert_int_equal(b->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(b->report.error.class, ERROR_INPUT);
    assert_string_equal(b->report.error.code, "bad_input");
    assert_non_null(strstr(b->report.error.message, "line 3"));
    snprintf(path, sizeof path, "%s/%stotals.csv", b->root, b->work.output_prefix);
    assert_int_equal(access(path, F_OK), -1);
}

static void skipped_rows_are_counted_and_listed_in_an_artifact(void **state)
{
    struct bench *b = *state;
    char text[512], key[300];

    run_csv(b, "{\"on_bad_row\":\"skip\"}", bad_rows);
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    assert_non_null(strstr(b->report.result, "\"rows_rejected\":2"));
    assert_non_null(strstr(b->report.result, "\"bad_date\":1"));
    assert_non_null(strstr(b->report.result, "\"rejects\":{"));
    snprintf(key, sizeof key, "%srejects.csv", b->work.output_prefix);
    read_object(b, key, text, sizeof text);
    assert_non_null(strstr(text, "line,column,reason,excerpt\n3,"));
}

static void skipping_without_bad_rows_leaves_no_rejects(void **state)
{
    struct bench *b = *state;
    char path[512];

    run_csv(b, "{\"on_bad_row\":\"skip\"}", "Song,Date,Number of Plays\nA,2024-01-01,1\n");
    assert_int_equal(b->report.outcome, ATTEMPT_DONE);
    assert_null(strstr(b->report.result, "\"rejects\""));
    snprintf(path, sizeof path, "%s/%srejects.csv", b->root, b->work.output_prefix);
    assert_int_equal(access(path, F_OK), -1);
}

static void a_csv_task_whose_file_is_not_here_is_tried_again(void **state)
{
    struct bench *b = *state;

    run(b, "csv_plays", "{}");
    assert_int_equal(b->report.error.class, ERROR_INPUT);
    give(b, "csv_plays", "{}", 0);
    snprintf(b->work.input.key, sizeof b->work.input.key, "raw_data/gone");
    assign(b);
    turn_until(b, b->ended);
    assert_int_equal(b->report.error.class, ERROR_TRANSIENT); /* the manager had it */
    assert_non_null(strstr(b->report.error.message, b->root));
    assert_non_null(strstr(b->report.error.message, "'raw_data/gone'"));
    assert_non_null(strstr(b->report.error.message, "STORAGE_URL"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_slot_runs_one_work_after_the_other_in_one_process),
        test(progress_is_passed_on_but_not_too_often),
        test(a_job_that_fails_says_so_with_class_and_code),
        test(an_unknown_type_is_an_error_of_the_task_and_not_of_the_slot),
        test(work_that_is_too_large_for_a_line_leaves_the_slot_idle),
        test(a_crash_is_reported_by_its_name_and_the_slot_goes_on),
        test(a_crash_tells_how_much_memory_the_job_had),
        test(a_job_killed_by_a_stray_sigterm_crashed),
        test(a_job_killed_by_sigterm_just_before_a_stop_is_handed_back),
        test(a_process_that_never_gets_ready_is_replaced),
        test(without_close_range_a_slot_still_closes_what_is_not_its_own),
        test(a_slot_does_not_need_the_files_of_the_workers_secrets),
        test(a_deadline_ends_the_whole_process_group),
        test(a_stopped_process_is_killed_after_the_grace),
        test(a_lost_attempt_ends_without_a_report),
        test(an_attempt_ended_by_a_stop_is_released),
        test(a_report_said_before_the_death_counts),
        test(a_program_that_dies_at_once_is_started_again_after_a_pause),
        test(a_program_that_cannot_be_started_is_tried_again),
        test(a_process_that_talks_nonsense_is_ended),
        test(a_slot_ends_when_its_parent_is_another_one),
        test(a_csv_becomes_totals_below_the_attempts_prefix),
        test(a_bad_row_fails_the_task_with_the_engines_sentence),
        test(skipped_rows_are_counted_and_listed_in_an_artifact),
        test(skipping_without_bad_rows_leaves_no_rejects),
        test(a_csv_task_whose_file_is_not_here_is_tried_again),
        test(
            the_workers_own_memory_is_not_told_as_the_jobs), /* last: it makes this one large */
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
