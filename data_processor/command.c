#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bar.h"
#include "clock.h"
#include "config.h"
#include "csv.h"
#include "outfile.h"
#include "parquet_out.h"

enum { MEMORY_DEFAULT = 256 << 20, MEMORY_LEAST = 1 << 20, THREADS_MOST = 256 };

static const char usage_text[] =
    "Usage: data_processor aggregate IN.csv OUT.csv [options]\n"
    "Adds up the plays per song and day. `-` is standard input or output; gzip and zstd\n"
    "input is inflated.\n"
    "  --threads N             worker threads, 0 to 256 (default 0: one per core)\n"
    "  --memory SIZE           working memory, such as 64M or 2G (default 256M)\n"
    "  --on-bad-row fail|skip  stop at the first bad row, or leave bad rows out (fail)\n"
    "  --rejects FILE          with skip: the first 1,000 bad rows as CSV\n"
    "  --format csv|parquet    of the output (csv)\n"
    "  --help                  this text\n"
    "Exit code: 0 done, 1 bad input, 2 wrong usage, 111 may work later (I/O, disk full).\n";

struct request {
    const char *in, *out, *rejects;
    struct csv_options options;
    bool parquet, help;
};

/* For the signal handler: what must not stay behind. */
static struct outfile out_file, rejects_file;

static void on_signal(int number)
{
    outfile_unlink_part(&out_file);
    outfile_unlink_part(&rejects_file);
    signal(number, SIG_DFL);
    raise(number);
}

static void set_signals(void)
{
    static const int deadly[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        sigaction(deadly[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of the write */
    signal(SIGXFSZ, SIG_IGN); /* so is a file past `ulimit -f` */
}

static int set_threads(struct request *r, const char *value, struct err *err)
{
    char *end;

    errno = 0;
    long n = strtol(value, &end, 10);
    if (errno || end == value || *end || value[0] < '0' || value[0] > '9' || n > THREADS_MOST)
        return err_set(err, -E_BAD_VALUE, "--threads: '%.100s' is not a number from 0 to %d",
                       value, THREADS_MOST);
    r->options.threads = (unsigned)n;
    return 0;
}

static int set_memory(struct request *r, const char *value, struct err *err)
{
    int64_t bytes;

    if (!config_parse_bytes(value, &bytes) || bytes < MEMORY_LEAST)
        return err_set(err, -E_BAD_VALUE,
                       "--memory: '%.100s' is not a size of at least 1M, such as 64M or 2G",
                       value);
    r->options.memory_bytes = bytes;
    return 0;
}

static int set_on_bad_row(struct request *r, const char *value, struct err *err)
{
    r->options.skip_bad_rows = strcmp(value, "skip") == 0;
    if (!r->options.skip_bad_rows && strcmp(value, "fail") != 0)
        return err_set(err, -E_BAD_VALUE, "--on-bad-row: '%.100s' is neither fail nor skip",
                       value);
    return 0;
}

static int set_format(struct request *r, const char *value, struct err *err)
{
    r->parquet = strcmp(value, "parquet") == 0;
    if (!r->parquet && strcmp(value, "csv") != 0)
        return err_set(err, -E_BAD_VALUE, "--format: '%.100s' is neither csv nor parquet",
                       value);
    return 0;
}

static int set_rejects(struct request *r, const char *value, struct err *err)
{
    (void)err;
    r->rejects = value;
    return 0;
}

static const struct {
    const char *name;
    int (*set)(struct request *r, const char *value, struct err *err);
} flags[] = {
    {"threads", set_threads}, {"memory", set_memory}, {"on-bad-row", set_on_bad_row},
    {"rejects", set_rejects}, {"format", set_format},
};
enum { FLAGS = sizeof flags / sizeof *flags };

static int parse_flags(struct request *r, int argc, char **argv, struct err *err)
{
    struct option names[FLAGS + 2] = {0};
    int which, rc = 0;

    for (int i = 0; i < FLAGS; i++)
        names[i] = (struct option){flags[i].name, required_argument, NULL, i};
    names[FLAGS] = (struct option){"help", no_argument, NULL, FLAGS};
    optind = 0; /* start anew: getopt keeps its place in a global */
    opterr = 0;
    while (rc == 0 && (which = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        if (which == FLAGS || which == 'h')
            r->help = true;
        else if (which == ':')
            rc = err_set(err, -E_BAD_VALUE, "'%.100s' needs a value", argv[optind - 1]);
        else if (which == '?')
            rc = err_set(err, -E_BAD_VALUE, "'%.100s' is no option", argv[optind - 1]);
        else
            rc = flags[which].set(r, optarg, err);
    }
    return rc;
}

/* The one name that a file has, also when it does not exist yet (its folder must). */
static bool true_name(const char *path, char ret[PATH_MAX])
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (realpath(path, ret))
        return true;
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
             slash ? path : ".");
    return realpath(folder, real) &&
           snprintf(ret, PATH_MAX, "%s/%s", real, slash ? slash + 1 : path) < PATH_MAX;
}

static bool is_same_file(const char *a, const char *b)
{
    char real_a[PATH_MAX], real_b[PATH_MAX];

    return strcmp(a, b) == 0 ||
           (true_name(a, real_a) && true_name(b, real_b) && strcmp(real_a, real_b) == 0);
}

static int parse(struct request *r, int argc, char **argv, struct err *err)
{
    int rc = parse_flags(r, argc, argv, err);

    if (rc || r->help)
        return rc;
    if (argc - optind != 2)
        return err_set(err, -E_BAD_VALUE, "one input and one output are needed");
    if (r->rejects && !r->options.skip_bad_rows)
        return err_set(err, -E_BAD_VALUE, "--rejects needs --on-bad-row skip");
    r->in = argv[optind];
    r->out = argv[optind + 1];
    if (!r->out[0] || (r->rejects && !r->rejects[0]))
        return err_set(err, -E_BAD_VALUE, "the name of an output is empty");
    if (r->rejects && is_same_file(r->rejects, r->out))
        return err_set(err, -E_BAD_VALUE, "--rejects names the same file as the output");
    if (r->rejects && strcmp(r->in, "-") != 0 && is_same_file(r->rejects, r->in))
        return err_set(err, -E_BAD_VALUE, "--rejects names the same file as the input");
    return 0;
}

static void print_summary(const struct csv_stats *s, int64_t ms)
{
    double seconds = (double)(ms > 0 ? ms : 1) / 1000;

    fprintf(stderr,
            "aggregate: %" PRIu64 " rows in, %" PRIu64 " summed, %" PRIu64 " rejected, %" PRIu64
            " totals out, %" PRIu64 " runs spilled, %.2f s, %.0f MB/s\n",
            s->rows_in, s->rows_summed, s->rows_rejected, s->groups, s->spilled_runs, seconds,
            (double)s->bytes_inflated / 1e6 / seconds);
    for (int i = 0; i < CSV_REASON__COUNT; i++)
        if (s->rejected[i])
            fprintf(stderr, "aggregate: rejected for %s: %" PRIu64 "\n",
                    csv_reason_code((enum csv_reason)i), s->rejected[i]);
}

/* Runs of totals go beside the output, where there must be room for them anyway. */
static void set_temp_dir(struct request *r, char ret_dir[PATH_MAX])
{
    const char *slash = strrchr(out_file.path, '/');

    if (!out_file.path[0])
        return;
    if (slash)
        snprintf(ret_dir, PATH_MAX, "%.*s", (int)(slash - out_file.path), out_file.path);
    else
        snprintf(ret_dir, PATH_MAX, ".");
    if (slash == out_file.path)
        snprintf(ret_dir, PATH_MAX, "/");
    r->options.temp_dir = ret_dir;
}

static void draw_progress(void *arg, const struct csv_progress *progress)
{
    bar_draw(arg, progress);
}

static int aggregate(struct request *r, int in_fd, struct err *err)
{
    char temp_dir[PATH_MAX];
    struct csv_stats stats;
    int64_t start = clock_mono_ms();
    struct bar bar = {.start_ms = start};
    int rc = outfile_open(&out_file, r->out, err);

    if (rc == 0 && r->rejects)
        rc = outfile_open(&rejects_file, r->rejects, err);
    if (rc)
        return rc;
    set_temp_dir(r, temp_dir);
    if (isatty(STDERR_FILENO)) {
        r->options.progress = draw_progress;
        r->options.progress_arg = &bar;
    }
    int rejects_fd = r->rejects ? rejects_file.fd : -1;
    rc = r->parquet ? parquet_out_run(in_fd, &out_file, rejects_fd, &r->options, &stats, err)
                    : csv_aggregate(in_fd, out_file.fd, rejects_fd, &r->options, &stats, err);
    bar_clear(&bar);
    if (rc == 0 && r->rejects)
        rc = outfile_commit(&rejects_file, err);
    if (rc == 0)
        rc = outfile_commit(&out_file, err);
    if (rc == 0)
        print_summary(&stats, clock_mono_ms() - start);
    return rc;
}

static int run(struct request *r, struct err *err)
{
    int in_fd = STDIN_FILENO;

    if (strcmp(r->in, "-") != 0)
        in_fd = open(r->in, O_RDONLY | O_CLOEXEC);
    if (in_fd < 0)
        return err_set_errno(err, -E_IO, errno, "open '%s'", r->in);
    out_file = rejects_file = (struct outfile){.fd = -1};
    set_signals();
    int rc = aggregate(r, in_fd, err);
    outfile_close(&out_file);
    outfile_close(&rejects_file);
    if (in_fd != STDIN_FILENO)
        close(in_fd);
    return rc;
}

int csv_command(int argc, char **argv)
{
    struct request r = {.options = {.memory_bytes = MEMORY_DEFAULT}};
    struct err err = ERR_INIT;

    if (parse(&r, argc, argv, &err) != 0) {
        fprintf(stderr, "aggregate: %s\n%s", err.text, usage_text);
        return COMMAND_BAD_USAGE;
    }
    if (r.help) {
        fputs(usage_text, stdout);
        return COMMAND_DONE;
    }
    int rc = run(&r, &err);
    if (rc == 0)
        return COMMAND_DONE;
    fprintf(stderr, "aggregate: %s\n", err.text);
    return rc == -E_BAD_INPUT ? COMMAND_BAD_INPUT : COMMAND_TRY_LATER;
}
