/* write.c - how long our Parquet writer takes for data that is in memory already.
 *
 *   bench_parquet_write SET ROWS FILE THREADS ROUNDS < list of files
 *
 * SET is totals (sorted songs and days), songs (no song twice), noise (numbers without order)
 * or files (those of the list, over and over, with a line of their own before each). Prints a
 * line of JSON: rows, bytes of all values, and the seconds of each round. FILE stays. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "parquet.h"

enum { PIECES_MAX = 4096, NAME_MAX_BYTES = 96, COLUMNS_MAX = 5, SONG_DAYS = 365 };

struct data {
    uint64_t rows, value_bytes;
    struct buf bytes; /* of all names */
    size_t *ends;     /* where the name of each row ends */
    int64_t *numbers;
    int32_t *days;
    struct buf pieces[PIECES_MAX]; /* contents */
    size_t piece_count;
};

struct set {
    const char *name;
    struct parquet_column columns[COLUMNS_MAX];
    size_t column_count, sorted;
    void (*make)(struct data *d);
    int (*put)(struct parquet *p, const struct data *d, struct err *err);
};

static uint64_t random64(void)
{
    static uint64_t x = 88172645463325252;

    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static void *need(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "bench_parquet_write: no memory\n");
    exit(1);
}

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void add_row(struct data *d, uint64_t row, int32_t day, int64_t number)
{
    d->ends[row] = d->bytes.len;
    d->days[row] = day;
    d->numbers[row] = number;
}

/* -- songs -- */

static void make_totals(struct data *d)
{
    for (uint64_t row = 0; row < d->rows; row++) {
        buf_printf(&d->bytes, "Song %07" PRIu64 " of somebody", row / SONG_DAYS);
        add_row(d, row, 18000 + (int32_t)(row % SONG_DAYS), (int64_t)(random64() % 5000));
    }
    d->value_bytes = d->bytes.len + d->rows * 12;
}

static void make_songs(struct data *d)
{
    for (uint64_t row = 0; row < d->rows; row++) {
        buf_printf(&d->bytes, "%08" PRIu64 " %016" PRIx64, row, random64());
        add_row(d, row, 18000 + (int32_t)(random64() % 3000), (int64_t)(random64() % 5000));
    }
    d->value_bytes = d->bytes.len + d->rows * 12;
}

static void make_noise(struct data *d)
{
    for (uint64_t row = 0; row < d->rows; row++) {
        buf_printf(&d->bytes, "%" PRIu64, random64() % 1000);
        add_row(d, row, (int32_t)(random64() % 40000), (int64_t)random64());
    }
    d->value_bytes = d->bytes.len + d->rows * 12;
}

static int put_song(struct parquet *p, const struct data *d, uint64_t row, uint64_t count,
                    struct err *err)
{
    size_t start = row ? d->ends[row - 1] : 0, len = d->ends[row] - start;
    int rc = parquet_put_bytes(p, 0, d->bytes.data + start, len, count, err);

    if (rc == 0)
        rc = parquet_put_dates(p, 1, d->days + row, count, err);
    if (rc == 0)
        rc = parquet_put_int64(p, 2, d->numbers + row, count, err);
    return rc ? rc : parquet_rows(p, count, len + 12, err);
}

static int put_songs(struct parquet *p, const struct data *d, struct err *err)
{
    int rc = 0;

    for (uint64_t row = 0; rc == 0 && row < d->rows; row++)
        rc = put_song(p, d, row, 1, err);
    return rc;
}

/* -- files -- */

static void read_pieces(struct data *d)
{
    char path[4096];

    while (d->piece_count < PIECES_MAX && fgets(path, sizeof path, stdin)) {
        struct buf *b = &d->pieces[d->piece_count];
        char chunk[65536];
        ssize_t got;
        path[strcspn(path, "\n")] = '\0';
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        buf_init(b);
        while (fd >= 0 && (got = read(fd, chunk, sizeof chunk)) > 0)
            buf_append(b, chunk, (size_t)got);
        if (fd >= 0)
            close(fd);
        d->piece_count++;
    }
    if (d->piece_count == 0)
        exit(2);
}

static void make_files(struct data *d)
{
    read_pieces(d);
    d->days = need(calloc(d->rows, sizeof *d->days));
    for (uint64_t row = 0; row < d->rows; row++) {
        buf_printf(&d->bytes, "/* %" PRIx64 " */\n", random64());
        d->ends[row] = d->bytes.len;
        d->value_bytes += d->bytes.len - (row ? d->ends[row - 1] : 0) +
                          d->pieces[row % d->piece_count].len + 8 + 64 + 40 + 20;
    }
}

static int put_file(struct parquet *p, const struct data *d, uint64_t row, struct buf *content,
                    struct err *err)
{
    const struct buf *piece = &d->pieces[row % d->piece_count];
    size_t start = row ? d->ends[row - 1] : 0, own = d->ends[row] - start;
    char name[NAME_MAX_BYTES], hash[65];

    buf_clear(content);
    buf_append(content, d->bytes.data + start, own);
    buf_append(content, piece->data, piece->len);
    int64_t size = (int64_t)content->len;
    size_t name_len = (size_t)snprintf(
        name, sizeof name, "src/part_%" PRIu64 "/file_%" PRIu64 ".c", row / 1000, row);
    snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64,
             random64(), random64(), random64(), random64());
    int rc = parquet_put_bytes(p, 0, name, name_len, 1, err);
    if (rc == 0)
        rc = parquet_put_bytes(p, 1, content->data, content->len, 1, err);
    if (rc == 0)
        rc = parquet_put_int64(p, 2, &size, 1, err);
    if (rc == 0)
        rc = parquet_put_bytes(p, 3, hash, 64, 1, err);
    if (rc == 0)
        rc = parquet_put_bytes(p, 4, "0123456789abcdef0123456789abcdef01234567", 40, 1, err);
    return rc ? rc : parquet_rows(p, 1, name_len + content->len + 8 + 64 + 40, err);
}

static int put_files(struct parquet *p, const struct data *d, struct err *err)
{
    struct buf content = BUF_INIT;
    int rc = 0;

    for (uint64_t row = 0; rc == 0 && row < d->rows; row++)
        rc = put_file(p, d, row, &content, err);
    buf_release(&content);
    return rc;
}

#define SONG_COLUMNS                                                                           \
    {                                                                                          \
        {"Song", PARQUET_STRING, false}, {"Date", PARQUET_DATE, false},                        \
            {"Number of Plays", PARQUET_INT64, false},                                         \
    }

static const struct set sets[] = {
    {"totals", SONG_COLUMNS, 3, 2, make_totals, put_songs},
    {"songs", SONG_COLUMNS, 3, 2, make_songs, put_songs},
    {"noise", SONG_COLUMNS, 3, 0, make_noise, put_songs},
    {"files",
     {{"name", PARQUET_STRING, false},
      {"content", PARQUET_BINARY, false},
      {"size", PARQUET_INT64, false},
      {"sha256", PARQUET_STRING, false},
      {"commit", PARQUET_STRING, true}},
     5,
     0,
     make_files,
     put_files},
};

static double write_once(const struct set *set, const struct data *d, const char *file,
                         unsigned threads)
{
    struct err err = ERR_INIT;
    struct parquet *p = NULL;
    double start = now();
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    const struct parquet_sink sink = parquet_fd_sink(&fd);
    const struct parquet_options options = {.columns = set->columns,
                                            .column_count = set->column_count,
                                            .sorted = set->sorted,
                                            .threads = threads};
    int rc = fd < 0 ? err_set(&err, -E_IO, "cannot open '%s'", file)
                    : parquet_open(&options, &sink, &p, &err);

    if (rc == 0)
        rc = set->put(p, d, &err);
    if (rc == 0)
        rc = parquet_close_free(p, NULL, &err);
    if (rc) {
        fprintf(stderr, "bench_parquet_write: %s\n", err.text);
        exit(1);
    }
    close(fd);
    return now() - start;
}

int main(int argc, char **argv)
{
    const struct set *set = NULL;
    struct data d = {.rows = argc == 6 ? strtoull(argv[2], NULL, 10) : 0};

    for (size_t i = 0; argc == 6 && i < sizeof sets / sizeof *sets; i++)
        if (strcmp(sets[i].name, argv[1]) == 0)
            set = &sets[i];
    if (!set || d.rows == 0) {
        fprintf(stderr, "usage: bench_parquet_write SET ROWS FILE THREADS ROUNDS\n");
        return 2;
    }
    buf_init(&d.bytes);
    d.ends = need(calloc(d.rows, sizeof *d.ends));
    if (set->make != make_files) {
        d.numbers = need(calloc(d.rows, sizeof *d.numbers));
        d.days = need(calloc(d.rows, sizeof *d.days));
    }
    set->make(&d);
    if (!buf_ok(&d.bytes))
        need(NULL);
    printf("{\"rows\":%" PRIu64 ",\"value_bytes\":%" PRIu64 ",\"seconds\":[", d.rows,
           d.value_bytes);
    for (long i = 0, rounds = strtol(argv[5], NULL, 10); i < rounds; i++)
        printf("%s%.4f", i ? "," : "",
               write_once(set, &d, argv[3], (unsigned)strtoul(argv[4], NULL, 10)));
    printf("]}\n");
    return 0;
}
