/* sheet.h - the plays that one worker has read, by number of song and day.
 *
 * The first plays of a song go to the log (log.h). A song that has twice as many rows as there
 * are days gets a sum for each day, so a file with few songs is added up in place and the log
 * stays short. Plays too big for either go to the wide list.
 *
 * A sheet belongs to one thread, songs and days are everybody's. Nothing blocks but the first
 * sight of a day. */
#ifndef CSV_SHEET_H
#define CSV_SHEET_H

#include "dates.h"
#include "log.h"

/* What a sheet knows of a song: how many rows are in its log, or, once DENSE_BIT is set, its
 * block of sums. */
enum { DENSE_BIT = INT32_MIN };

/* Plays of one row, or what ran over in a sum: plays << 64 when `high`. */
struct wide {
    uint32_t song;
    uint32_t date : 31;
    uint32_t high : 1;
    uint64_t plays;
};

struct sheet {
    struct pen pen;
    struct dates dates;
    struct log log;
    uint32_t **places; /* by page and place on it, NULL: nothing of that page came here */
    uint32_t place_room, places_count;
    uint32_t page_songs;
    uint64_t *dense; /* blocks of `stride` sums plus one, 0: no row came */
    size_t dense_count, dense_room, stride;
    struct wide *wide;
    size_t wide_count, wide_room;
    size_t sorters; /* threads that will sort logs at a time */
    size_t held;    /* as last told to the table */
    size_t spare;   /* what it may take in this batch to be faster */
    bool full;      /* there is no memory for more blocks */
};

void sheet_init(struct sheet *s, struct calendar *calendar, uint32_t page_songs,
                unsigned chunk_bits, size_t sorters);
void sheet_clear(struct sheet *s); /* empty and usable again */
size_t sheet_held(const struct sheet *s);

/* What `rows` more rows of songs on so many pages may take at worst. */
size_t sheet_growth(const struct sheet *s, size_t rows, size_t pages);

/* Between batches: more days than the sums have places for get some if there is memory to
 * spare. 0, -E_NO_MEMORY. */
int sheet_widen(struct sheet *s);

/* The place of a song, or NULL: nothing of its page came here. */
static inline uint32_t *sheet_place(const struct sheet *s, uint32_t song)
{
    uint32_t page = song >> PAGE_BITS;

    return page < s->place_room && s->places[page] ? &s->places[page][song & (PAGE_SONGS - 1)]
                                                   : NULL;
}

/* Makes it when there is none; it stays where it is. NULL: no memory. */
uint32_t *sheet_make_place(struct sheet *s, uint32_t song);

enum { DENSE_PLAYS_BITS = 62 }; /* smaller plays can be added to a sum below 2^63 */

/* Where in `dense` plays of a song are added up, plus 1, or 0: nowhere yet. */
static inline size_t sheet_sum_at(const struct sheet *s, uint32_t place, uint32_t date)
{
    return place >> 31 && date < s->stride ? (place & INT32_MAX) * s->stride + date + 1 : 0;
}

/* Adds the plays of one row where they cannot be added to a sum. 0, -E_NO_MEMORY. */
int sheet_add_slowly(struct sheet *s, uint32_t *place, uint32_t song, uint32_t date,
                     uint128 plays);

/* A sum that nears 64 bits: moves it to the wide list. */
int sheet_flush_sum(struct sheet *s, uint32_t song, uint32_t date, uint64_t *sum);

static inline int sheet_add_dense(struct sheet *s, size_t at, uint32_t song, uint32_t date,
                                  uint64_t plays)
{
    uint64_t *sum = &s->dense[at - 1];

    *sum += plays + (*sum == 0);
    return *sum >> 63 ? sheet_flush_sum(s, song, date, sum) : 0;
}

/* Adds one row, the short way to do it all; the worker does it in steps. */
int sheet_add(struct sheet *s, uint32_t song, uint32_t date, uint128 plays);

/* All rows have come: sorts the wide list by song. */
void sheet_sort_wide(struct sheet *s);

/* After that: the first place in the wide list that is not before the song's. */
size_t sheet_find_wide(const struct sheet *s, uint32_t song);

#endif
