/* The promise of the memory limit for every shape of file: the most that a process takes is
 * the limit and 16 MB. Each file is read in a process of its own, from a pipe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "csv.h"

enum { LIMIT_MIB = 16, SLACK_KIB = 16000000 / 1024, ZSTD_WINDOW_LOG = 23 };

struct shape {
    const char *name;
    unsigned rows;
    int song_len; /* the song's number behind zeros */
    bool same_song;
    const char *plays;
    int packing; /* 0: plain, 1: gzip, 2: zstd with the largest window that is taken */
    unsigned threads;
    int64_t limit_mib;
};

static const struct shape shapes[] = {
    {"distinct songs", 1000000, 16, false, "1", 0, 2, LIMIT_MIB},
    {"distinct songs, 64 threads", 700000, 16, false, "1", 0, 64, LIMIT_MIB},
    {"names of 1,000 bytes", 30000, 1000, false, "1", 0, 2, LIMIT_MIB},
    {"names of 30,000 bytes", 1000, 30000, false, "1", 0, 2, LIMIT_MIB},
    {"one song", 700000, 16, true, "1", 0, 2, LIMIT_MIB},
    {"plays of 128 bits", 500000, 16, false, "170141183460469231731687303715884105727", 0, 2,
     LIMIT_MIB},
    {"bad rows", 700000, 16, false, "-", 0, 64, LIMIT_MIB},
    {"gzip", 700000, 16, false, "1", 1, 1, LIMIT_MIB},
    {"zstd", 1000000, 16, false, "1", 2, 4, LIMIT_MIB},
};

/* What a writer wrote, on its way into the pipe. */
struct sink {
    FILE *out;
    gzFile gzip;
    ZSTD_CCtx *zstd;
    char *room;
    size_t room_size;
};

static bool sink_open(struct sink *s, const struct shape *shape, int fd)
{
    *s = (struct sink){.room_size = ZSTD_CStreamOutSize()};
    if (shape->packing == 1)
        return (s->gzip = gzdopen(fd, "wb1")) != NULL;
    s->out = fdopen(fd, "w");
    if (shape->packing == 2) {
        s->zstd = ZSTD_createCCtx();
        s->room = malloc(s->room_size);
        ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_compressionLevel, 1);
        ZSTD_CCtx_setParameter(s->zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG);
    }
    return s->out != NULL;
}

static bool sink_zstd(struct sink *s, const char *bytes, size_t len, ZSTD_EndDirective how)
{
    ZSTD_inBuffer in = {bytes, len, 0};
    size_t left;

    do {
        ZSTD_outBuffer out = {s->room, s->room_size, 0};
        left = ZSTD_compressStream2(s->zstd, &out, &in, how);
        if (ZSTD_isError(left) || fwrite(s->room, 1, out.pos, s->out) != out.pos)
            return false;
    } while (how == ZSTD_e_end ? left > 0 : in.pos < in.size);
    return true;
}

static bool sink_put(struct sink *s, const char *bytes, size_t len)
{
    if (s->gzip)
        return gzwrite(s->gzip, bytes, (unsigned)len) == (int)len;
    return s->zstd ? sink_zstd(s, bytes, len, ZSTD_e_continue)
                   : fwrite(bytes, 1, len, s->out) == len;
}

static bool sink_close(struct sink *s)
{
    if (s->gzip)
        return gzclose(s->gzip) == Z_OK;
    return (!s->zstd || sink_zstd(s, "", 0, ZSTD_e_end)) && fclose(s->out) == 0;
}

static int write_file(const struct shape *shape, int fd)
{
    static const char header[] = "Song,Date,Number of Plays\n";
    size_t room = (size_t)shape->song_len + 128;
    char *row = malloc(room);
    struct sink sink;

    if (!row || !sink_open(&sink, shape, fd))
        return 1;
    bool ok = sink_put(&sink, header, sizeof header - 1);
    for (unsigned i = 0; ok && i < shape->rows; i++) {
        unsigned song = shape->same_song ? 1 : i * 2654435761u % shape->rows;
        int len = snprintf(row, room, "%0*u,2024-01-%02u,%s\n", shape->song_len, song,
                           i % 28 + 1, shape->plays);
        ok = sink_put(&sink, row, (size_t)len);
    }
    free(row);
    return !ok || !sink_close(&sink);
}

/* The most that was resident since this process began (proc(5)), in KiB. */
static long peak_kib(void)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "VmHWM:", 6) == 0)
            kib = strtol(line + 6, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

static int read_file(const struct shape *shape, int fd)
{
    struct csv_options options = {.threads = shape->threads,
                                  .memory_bytes = shape->limit_mib << 20,
                                  .skip_bad_rows = true,
                                  .temp_dir = "/tmp"};
    struct csv_stats stats;
    struct err err = ERR_INIT;
    FILE *out = tmpfile(), *rejects = tmpfile();
    bool bad = shape->plays[0] == '-', small = bad || shape->same_song;

    if (!out || !rejects ||
        csv_aggregate(fd, fileno(out), fileno(rejects), &options, &stats, &err) != 0) {
        fprintf(stderr, "%s: %s\n", shape->name, err.text);
        return 1;
    }
    long peak = peak_kib(), limit = (long)shape->limit_mib * 1024 + SLACK_KIB;
    fprintf(stderr, "%s: %llu MB in, %llu totals, %llu runs, peak %ld KiB of %ld\n",
            shape->name, (unsigned long long)stats.bytes_inflated / 1000000,
            (unsigned long long)stats.groups, (unsigned long long)stats.spilled_runs, peak,
            limit);
    if (stats.rows_in != shape->rows || stats.rows_rejected != (bad ? shape->rows : 0))
        return 2;
    if (small ? stats.spilled_runs != 0 : stats.spilled_runs == 0)
        return 3;
    return peak > 0 && peak <= limit ? 0 : 4;
}

static int status_of(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void the_peak_is_within_the_limit_and_sixteen_megabytes(void **state)
{
    const struct shape *shape = *state;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    pid_t writer = fork();
    if (writer == 0) {
        close(ends[0]);
        _exit(write_file(shape, ends[1]));
    }
    close(ends[1]);
    pid_t reader = fork();
    if (reader == 0)
        _exit(read_file(shape, ends[0]));
    close(ends[0]);
    assert_int_equal(status_of(reader), 0);
    assert_int_equal(status_of(writer), 0);
}

int main(void)
{
    enum { COUNT = sizeof shapes / sizeof *shapes };
    struct CMUnitTest tests[COUNT];

    for (size_t i = 0; i < COUNT; i++)
        tests[i] =
            (struct CMUnitTest){.name = shapes[i].name,
                                .test_func = the_peak_is_within_the_limit_and_sixteen_megabytes,
                                .initial_state = (void *)(uintptr_t)&shapes[i]};
    return _cmocka_run_group_tests("csv_memory", tests, COUNT, NULL, NULL);
}
