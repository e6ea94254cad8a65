/* cmd_fake_songs.c - sample data: a CSV of song plays, the same for the same arguments.
 *
 * Popularity is skewed as in real charts: song number = songs * u^3 for a uniform u, so half of
 * the rows fall on the first eighth of the songs. Songs past the first twenty have titles with
 * commas and quotes in them now and then, so that quoting is exercised. All arithmetic is on
 * integers: the bytes are the same on every machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "cmd.h"
#include "fs.h"

enum { FIRST_YEAR = 2024, PLAYS_MAX = 1000, DATE_LEN = 10, CHUNK = 1 << 18, ROW_MAX = 128 };

static const struct arg_option options[] = {
    {"--rows", 0, "N", "rows; 1000 without it"},
    {"--songs", 0, "N", "different songs; 20 without it"},
    {"--days", 0, "N", "days from 2024-01-01 on; 366 without it"},
    {"--seed", 0, "N", "another number, other rows; 1 without it"},
    ARGS_COMMON,
};

static const char *const titles[] = {
    "Paper Lanterns", "Harbour Lights",   "Slow Train Home",  "Copper Sky",
    "Midnight Diner", "Glass Mountain",   "Seven Rivers",     "Winter Radio",
    "Neon Orchard",   "Salt and Honey",   "The Long Way Up",  "Violet Hour",
    "Echo Park",      "Borrowed Thunder", "Satellite Hearts", "Golden Static",
    "Quiet Machines", "Northern Line",    "Fireflies in May", "Last Ferry",
};
enum { TITLES = sizeof titles / sizeof titles[0] };

struct field {
    size_t at, len;
};

/* SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A number below n from 32 random bits. */
static uint64_t scale(uint64_t bits, uint64_t n)
{
    return (bits & UINT32_MAX) * n >> 32;
}

/* The song's CSV field, quoted where RFC 4180 asks for it. */
static void append_title(struct buf *out, uint64_t song)
{
    const char *title = titles[song % TITLES];
    uint64_t round = song / TITLES + 1;

    if (round == 1)
        buf_append_str(out, title);
    else if (song % 7 == 0)
        buf_printf(out, "\"\"\"%s\"\" %" PRIu64 "\"", title, round);
    else if (song % 5 == 0)
        buf_printf(out, "\"%s, Part %" PRIu64 "\"", title, round);
    else
        buf_printf(out, "%s %" PRIu64, title, round);
}

static struct field *make_titles(struct buf *text, uint64_t songs)
{
    struct field *fields = calloc(songs, sizeof *fields);

    for (uint64_t i = 0; fields && i < songs; i++) {
        fields[i].at = text->len;
        append_title(text, i);
        fields[i].len = text->len - fields[i].at;
    }
    return fields;
}

/* DATE_LEN bytes for each day. */
static void make_dates(struct buf *text, uint64_t days)
{
    int year = FIRST_YEAR, month = 1, day = 1;

    for (uint64_t i = 0; i < days; i++) {
        buf_printf(text, "%04d-%02d-%02d", year, month, day);
        if (clock_is_date(year, month, ++day))
            continue;
        day = 1;
        if (++month > 12) {
            month = 1;
            year++;
        }
    }
}

static char *put_number(char *to, uint64_t number)
{
    char digits[20];
    size_t n = 0;

    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n > 0)
        *to++ = digits[--n];
    return to;
}

static char *put_bytes(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
}

struct recipe {
    int64_t rows, songs, days, seed;
};

static int write_rows(const struct recipe *r, const char *text, const struct field *fields,
                      const char *dates, char *chunk, struct err *err)
{
    static const char header[] = "Song,Date,Number of Plays\n";
    uint64_t state = (uint64_t)r->seed;
    char *at = put_bytes(chunk, header, sizeof header - 1);

    for (int64_t i = 0; i < r->rows; i++) {
        uint64_t one = next_random(&state), two = next_random(&state);
        uint64_t u = one & UINT32_MAX, cube = (u * u >> 32) * u >> 32;
        const struct field *song = &fields[scale(cube, (uint64_t)r->songs)];

        at = put_bytes(at, text + song->at, song->len);
        *at++ = ',';
        at = put_bytes(at, dates + scale(one >> 32, (uint64_t)r->days) * DATE_LEN, DATE_LEN);
        *at++ = ',';
        at = put_number(at, 1 + scale(two, PLAYS_MAX));
        *at++ = '\n';
        if (at - chunk > CHUNK - ROW_MAX) {
            int rc = fs_write_all(STDOUT_FILENO, chunk, (size_t)(at - chunk), "stdout", err);
            if (rc)
                return rc;
            at = chunk;
        }
    }
    return fs_write_all(STDOUT_FILENO, chunk, (size_t)(at - chunk), "stdout", err);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    struct recipe r = {1000, TITLES, 366, 1};
    struct buf text = BUF_INIT, dates = BUF_INIT;

    (void)cli;
    int rc = args_number(args, "--rows", 0, INT64_C(1000000000000), &r.rows, err);
    if (!rc)
        rc = args_number(args, "--songs", 1, 10000000, &r.songs, err);
    if (!rc)
        rc = args_number(args, "--days", 1, 100000, &r.days, err);
    if (!rc)
        rc = args_number(args, "--seed", 0, INT64_MAX, &r.seed, err);
    if (rc)
        return rc;

    struct field *fields = make_titles(&text, (uint64_t)r.songs);
    char *chunk = malloc(CHUNK);
    make_dates(&dates, (uint64_t)r.days);
    if (fields && chunk && buf_ok(&text) && buf_ok(&dates))
        rc = write_rows(&r, text.data, fields, dates.data, chunk, err);
    else
        rc = err_set(err, -E_NO_MEMORY, "no memory for the songs");
    free(fields);
    free(chunk);
    buf_release(&text);
    buf_release(&dates);
    return rc;
}

const struct command cmd_fake_songs = {
    .name = "fake-songs",
    .words = "",
    .help = "write a sample CSV to stdout; needs no server",
    .options = options,
    .run = run,
};
