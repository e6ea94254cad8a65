#include "plays.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { SONG, DATE, PLAYS, COLUMNS };
enum { FIXED_BYTES = 4 + 8 }; /* of a row beside its song; the same for both types of plays */
enum { DECIMAL_DIGITS = 38, STEP_ROWS = 1024 };

typedef unsigned __int128 uint128;

struct plays {
    const struct plays_target *target;
    const struct csv_options *options;
    struct parquet *file;
    bool decimal;      /* a total did not fit in 64 bits */
    uint128 too_large; /* 10^38 */
    uint64_t bytes;
};

static unsigned threads_of(const struct csv_options *o)
{
    cpu_set_t set;

    if (o->threads)
        return o->threads;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int begin(void *arg, struct err *err)
{
    struct plays *p = arg;
    const struct parquet_column columns[COLUMNS] = {
        [SONG] = {"Song", PARQUET_STRING, false},
        [DATE] = {"Date", PARQUET_DATE, false},
        [PLAYS] = {"Number of Plays", p->decimal ? PARQUET_DECIMAL38 : PARQUET_INT64, false},
    };
    const struct parquet_options options = {.columns = columns,
                                            .column_count = COLUMNS,
                                            .sorted = PLAYS, /* by the two before it */
                                            .threads = threads_of(p->options),
                                            .memory_bytes = p->options->memory_bytes,
                                            .temp_dir = p->options->temp_dir};
    struct parquet_sink sink;

    parquet_abort_free(p->file);
    p->file = NULL;
    int rc = p->target->begin(p->target->arg, &sink, err);
    return rc ? rc : parquet_open(&options, &sink, &p->file, err);
}

/* Days since 1970-01-01 in the calendar that has always been the Gregorian one. Years begin in
 * March here, so that a leap day is the last of its year. */
static int32_t epoch_day(uint32_t day)
{
    int32_t month = (int32_t)(day >> 5 & 15), year = (int32_t)(day >> 9) - (month <= 2);
    int32_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + (int32_t)(day & 31) - 1;

    return year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719468;
}

static int too_large(const struct csv_song *song, uint32_t day, struct err *err)
{
    char excerpt[EXCERPT_MAX];

    excerpt_make(excerpt, song->bytes, song->len);
    return err_set(
        err, -E_BAD_INPUT,
        "the plays of \"%s\" on %04u-%02u-%02u add up to more than the %d digits that "
        "Parquet's decimals have; CSV has no such limit",
        excerpt, day >> 9, day >> 5 & 15, day & 31, DECIMAL_DIGITS);
}

static int put_plays(struct plays *p, const struct csv_song *song, const uint32_t *days,
                     const uint128 *plays, size_t count, struct err *err)
{
    int64_t small[STEP_ROWS];
    __int128 large[STEP_ROWS];

    for (size_t i = 0; i < count; i++) {
        if (plays[i] >= p->too_large)
            return too_large(song, days[i], err);
        if (plays[i] > INT64_MAX && !p->decimal) {
            p->decimal = true;
            return CSV_AGAIN;
        }
        small[i] = (int64_t)plays[i];
        large[i] = (__int128)plays[i];
    }
    return p->decimal ? parquet_put_decimals(p->file, PLAYS, large, count, err)
                      : parquet_put_int64(p->file, PLAYS, small, count, err);
}

/* Rows of one song that fit in one row group. */
static int put_rows(struct plays *p, const struct csv_song *song, const uint32_t *days,
                    const uint128 *plays, size_t count, struct err *err)
{
    int32_t dates[STEP_ROWS];

    for (size_t i = 0; i < count; i++)
        dates[i] = epoch_day(days[i]);
    int rc = put_plays(p, song, days, plays, count, err);
    if (rc == 0)
        rc = parquet_put_bytes(p->file, SONG, song->bytes, song->len, count, err);
    if (rc == 0)
        rc = parquet_put_dates(p->file, DATE, dates, count, err);
    return rc ? rc : parquet_rows(p->file, count, song->len + (uint64_t)FIXED_BYTES, err);
}

static int put(void *arg, const struct csv_batch *batch, struct err *err)
{
    struct plays *p = arg;
    size_t at = 0;
    int rc = 0;

    for (size_t i = 0; i < batch->song_count; i++) {
        const struct csv_song *song = &batch->songs[i];
        size_t end = at + song->count;
        while (rc == 0 && at < end) {
            uint64_t room = parquet_room(p->file, song->len + (uint64_t)FIXED_BYTES);
            size_t step = end - at < STEP_ROWS ? end - at : STEP_ROWS;
            step = step < room ? step : (size_t)room;
            rc = put_rows(p, song, batch->days + at, batch->plays + at, step, err);
            at += step;
        }
    }
    return rc;
}

int plays_to_parquet(int in_fd, const struct plays_target *target, int rejects_fd,
                     const struct csv_options *options, struct csv_stats *ret_stats,
                     struct err *err)
{
    struct plays p = {.target = target, .options = options, .too_large = 1};
    const struct csv_sink sink = {begin, put, &p};
    struct parquet_info info;

    for (int i = 0; i < DECIMAL_DIGITS; i++)
        p.too_large *= 10;
    int rc = csv_aggregate_to(in_fd, &sink, rejects_fd, options, ret_stats, err);
    if (rc) {
        parquet_abort_free(p.file);
        return rc;
    }
    rc = parquet_close_free(p.file, &info, err);
    if (rc == 0)
        ret_stats->bytes_out = info.bytes;
    return rc;
}
