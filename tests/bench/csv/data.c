/* data.c - the benchmark's inputs: a CSV of song plays on stdout, of one of the shapes below.
 *
 *   bench_csv_data SHAPE ROWS [SEED]
 *
 * Row i is a function of shape, rows, seed and i, on integers only: the same bytes on every
 * machine. This is no `taskctl fake-songs`: that one makes samples to look at, this one the
 * shapes an engine may stumble over, several million rows a second. */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DAYS = 365,
    DATE_LEN = 10,
    PLAYS_MAX = 100000,
    CHUNK = 1 << 20,
    TITLE_MAX = 1024,
    LONG = 1000
};

static const char *const first_words[] = {
    "Paper",    "Harbour", "Slow",   "Copper",   "Midnight", "Glass", "Seven",
    "Winter",   "Neon",    "Salt",   "Violet",   "Echo",     "Lost",  "Borrowed",
    "Electric", "Golden",  "Silent", "Northern", "Burning",  "Last",
};
static const char *const second_words[] = {
    "Lanterns", "Lights",  "Train", "Sky",       "Diner", "Mountain", "Rivers",
    "Radio",    "Orchard", "Honey", "Hour",      "Park",  "Hearts",   "Thunder",
    "Machines", "Static",  "Line",  "Fireflies", "Ferry", "Road",
};
enum {
    FIRST_WORDS = sizeof first_words / sizeof first_words[0],
    SECOND_WORDS = sizeof second_words / sizeof second_words[0],
};

enum order {
    SKEWED,   /* song = songs * u^3: half of the rows on the first eighth of the songs */
    UNIFORM,  /* every song as often */
    SORTED,   /* by song, then date, as in the result */
    REVERSED, /* songs and dates from the end */
    DISTINCT, /* no song and date twice, in no order */
};
enum title { PLAIN, QUOTED, PADDED };

static const struct shape {
    const char *name;
    uint64_t songs; /* 0: as many as the rows need */
    enum order order;
    enum title title;
} shapes[] = {
    {"A", 1000, SKEWED, PLAIN},           {"B", 1000000, SKEWED, PLAIN},
    {"C", 50000, SKEWED, QUOTED},         {"uniform", 1000000, UNIFORM, PLAIN},
    {"one", 1, UNIFORM, PLAIN},           {"sorted", 10000, SORTED, PLAIN},
    {"reversed", 10000, REVERSED, PLAIN}, {"distinct", 0, DISTINCT, PLAIN},
    {"long", 10000, SKEWED, PADDED},      {"small", 20, SKEWED, PLAIN},
};

struct field {
    size_t at, len;
};

struct job {
    const struct shape *shape;
    uint64_t rows, songs, seed, step;
    char *text; /* all titles as CSV fields */
    struct field *fields;
    char dates[DAYS][DATE_LEN + 1];
};

/* SplitMix64 as a function of its counter: Steele, Lea, Flood, "Fast splittable pseudorandom
 * number generators", 2014. */
static uint64_t random_at(uint64_t counter)
{
    uint64_t z = (counter + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A number below n from the low 32 bits. */
static uint64_t scale(uint64_t bits, uint64_t n)
{
    return (bits & UINT32_MAX) * n >> 32;
}

/* Padded titles share their beginning, up to the number at byte 990: comparing two of them
 * costs. One in seven of the quoted ones has a comma and "" inside. */
static size_t put_title(char *to, enum title title, uint64_t song)
{
    const char *first = first_words[song % FIRST_WORDS];
    const char *second = second_words[song / FIRST_WORDS % SECOND_WORDS];
    uint64_t number = song / ((uint64_t)FIRST_WORDS * SECOND_WORDS) + 1;
    int len;

    if (title == QUOTED && song % 7 == 0)
        len = snprintf(to, TITLE_MAX, "\"%s \"\"%s\"\", Part %" PRIu64 "\"", first, second,
                       number);
    else if (title == PADDED)
        len = snprintf(to, TITLE_MAX, "%s %s%*" PRIu64, first, second,
                       LONG - (int)strlen(first) - (int)strlen(second) - 1, number);
    else
        len = snprintf(to, TITLE_MAX, "%s %s %" PRIu64, first, second, number);
    return (size_t)len;
}

static bool make_titles(struct job *job)
{
    size_t room = job->shape->title == PADDED ? LONG + 1 : 64, at = 0;

    job->text = malloc(job->songs * room + TITLE_MAX);
    job->fields = calloc(job->songs, sizeof *job->fields);
    if (!job->text || !job->fields)
        return false;
    for (uint64_t i = 0; i < job->songs; i++) {
        size_t len = put_title(job->text + at, job->shape->title, i);
        job->fields[i] = (struct field){at, len};
        at += len;
    }
    return true;
}

static const char *titles_text; /* qsort has no argument for it */

static int compare_titles(const void *one, const void *two)
{
    const struct field *a = one, *b = two;
    size_t len = a->len < b->len ? a->len : b->len;
    int order = memcmp(titles_text + a->at, titles_text + b->at, len);

    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static void make_dates(struct job *job)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int month = 1, day = 1;

    for (int i = 0; i < DAYS; i++) {
        snprintf(job->dates[i], sizeof job->dates[i], "2023-%02u-%02u", (unsigned)month % 100,
                 (unsigned)day % 100);
        if (++day > month_days[month - 1]) {
            day = 1;
            month++;
        }
    }
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Steps of the golden ratio around the circle of rows visit each row once, far from its
 * neighbours. rows < 2^32, so that row * step does not overflow. */
static uint64_t step_for(uint64_t rows)
{
    uint64_t step = rows * 618034 / 1000000 | 1;

    while (common_divisor(step, rows) != 1)
        step += 2;
    return step;
}

static void pick(const struct job *job, uint64_t row, uint64_t bits, uint64_t *ret_song,
                 uint64_t *ret_day)
{
    uint64_t u = bits & UINT32_MAX;

    *ret_day = scale(bits >> 32, DAYS);
    switch (job->shape->order) {
    case SKEWED:
        *ret_song = scale((u * u >> 32) * u >> 32, job->songs);
        break;
    case UNIFORM:
        *ret_song = scale(u, job->songs);
        break;
    case SORTED:
    case REVERSED: {
        uint64_t i = job->shape->order == SORTED ? row : job->rows - 1 - row;
        *ret_song = i * job->songs / job->rows;
        *ret_day = (i * job->songs % job->rows) * DAYS / job->rows;
        break;
    }
    case DISTINCT:
        row = row * job->step % job->rows;
        *ret_song = row / DAYS;
        *ret_day = row % DAYS;
        break;
    }
}

static char *put_bytes(char *to, const char *from, size_t len)
{
    memcpy(to, from, len);
    return to + len;
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

static bool flush(const char *chunk, const char *end)
{
    while (chunk < end) {
        ssize_t n = write(STDOUT_FILENO, chunk, (size_t)(end - chunk));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        chunk += n;
    }
    return true;
}

static bool write_rows(const struct job *job, char *chunk)
{
    static const char header[] = "Song,Date,Number of Plays\n";
    char *at = put_bytes(chunk, header, sizeof header - 1);

    for (uint64_t row = 0; row < job->rows; row++) {
        uint64_t counter = 2 * row + (job->seed << 40), song, day;

        pick(job, row, random_at(counter), &song, &day);
        at = put_bytes(at, job->text + job->fields[song].at, job->fields[song].len);
        *at++ = ',';
        at = put_bytes(at, job->dates[day], DATE_LEN);
        *at++ = ',';
        at = put_number(at, 1 + scale(random_at(counter + 1), PLAYS_MAX));
        *at++ = '\n';
        if (at - chunk > CHUNK - 2 * TITLE_MAX) {
            if (!flush(chunk, at))
                return false;
            at = chunk;
        }
    }
    return flush(chunk, at);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_csv_data SHAPE ROWS [SEED], rows from 1 to 4294967295; shapes:");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        fprintf(stderr, " %s", shapes[i].name);
    fputc('\n', stderr);
    return 2;
}

int main(int argc, char **argv)
{
    struct job job = {0};

    for (size_t i = 0; argc > 2 && i < sizeof shapes / sizeof shapes[0]; i++)
        if (strcmp(shapes[i].name, argv[1]) == 0)
            job.shape = &shapes[i];
    job.rows = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
    job.seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (!job.shape || job.rows == 0 || job.rows > UINT32_MAX || argc > 4)
        return usage();

    job.songs = job.shape->songs ? job.shape->songs : (job.rows + DAYS - 1) / DAYS;
    job.step = step_for(job.rows);
    make_dates(&job);
    char *chunk = malloc(CHUNK);
    bool ok = chunk && make_titles(&job);
    if (ok && (job.shape->order == SORTED || job.shape->order == REVERSED)) {
        titles_text = job.text;
        qsort(job.fields, job.songs, sizeof *job.fields, compare_titles);
    }
    ok = ok && write_rows(&job, chunk);
    if (!ok)
        fprintf(stderr, "bench_csv_data: %s\n", strerror(errno));
    free(chunk);
    free(job.text);
    free(job.fields);
    return ok ? 0 : 1;
}
