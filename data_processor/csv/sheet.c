#include "sheet.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pages.h"

enum { FIRST_WIDE = 64, FIRST_DENSE = 4, STRIDE_STEP = 64, DENSE_ROWS_LEAST = 64 };

void sheet_init(struct sheet *s, struct calendar *calendar, uint32_t page_songs,
                unsigned chunk_bits, size_t sorters)
{
    *s = (struct sheet){.dates = {.calendar = calendar, .alone = sorters == 1},
                        .page_songs = page_songs,
                        .sorters = sorters};
    log_init(&s->log, chunk_bits);
}

void sheet_clear(struct sheet *s)
{
    for (uint32_t i = 0; i < s->place_room; i++)
        free(s->places[i]);
    free(s->places);
    log_release(&s->log);
    dates_clear(&s->dates);
    pages_free(s->dense, s->dense_room * s->stride * sizeof *s->dense);
    free(s->wide);
    sheet_init(s, s->dates.calendar, s->page_songs, s->log.chunk_bits, s->sorters);
}

static size_t chunk_bytes(const struct sheet *s)
{
    return sizeof(uint64_t) << s->log.chunk_bits;
}

size_t sheet_held(const struct sheet *s)
{
    return dates_bytes(s->dates.count) +
           (s->dates.recent ? s->dates.recent_count * sizeof(struct date_slot) : 0) +
           s->log.bytes + s->log.most_chunks * chunk_bytes(s) * s->sorters +
           s->place_room * sizeof *s->places +
           s->places_count * s->page_songs * sizeof **s->places +
           pages_held(s->dense_room * s->stride * sizeof *s->dense) +
           s->wide_room * sizeof *s->wide;
}

/* Each row may need a chunk of the log, places on a new page and one in the wide list. */
size_t sheet_growth(const struct sheet *s, size_t rows, size_t pages)
{
    size_t fresh = pages - s->places_count < rows ? pages - s->places_count : rows;

    return rows * (chunk_bytes(s) + 2 * sizeof(struct wide)) +
           fresh * s->page_songs * sizeof **s->places + dates_bytes((uint32_t)rows);
}

int sheet_widen(struct sheet *s)
{
    size_t days = calendar_count(s->dates.calendar);
    size_t stride = (days * 3 / 2 + STRIDE_STEP) / STRIDE_STEP * STRIDE_STEP;
    size_t bytes = s->dense_room * stride * sizeof *s->dense;

    if (s->dense_count == 0 || days <= s->stride || pages_held(bytes) > s->spare)
        return 0;
    uint64_t *dense = pages_new(bytes);
    if (!dense)
        return -E_NO_MEMORY;
    for (size_t i = 0; i < s->dense_count; i++)
        memcpy(dense + i * stride, s->dense + i * s->stride, s->stride * sizeof *dense);
    pages_free(s->dense, s->dense_room * s->stride * sizeof *dense);
    s->dense = dense;
    s->stride = stride;
    s->spare -= pages_held(bytes);
    return 0;
}

uint32_t *sheet_make_place(struct sheet *s, uint32_t song)
{
    uint32_t page = song >> PAGE_BITS, *place = sheet_place(s, song);

    if (place)
        return place;

    if (page >= s->place_room) {
        uint32_t room = page + page / 2 + 8;
        uint32_t **places = realloc(s->places, room * sizeof *places);
        if (!places)
            return NULL;
        memset(places + s->place_room, 0, (room - s->place_room) * sizeof *places);
        s->places = places;
        s->place_room = room;
    }
    s->places[page] = calloc(s->page_songs, sizeof **s->places);
    s->places_count += s->places[page] != NULL;
    return sheet_place(s, song);
}

static int add_wide(struct sheet *s, uint32_t song, uint32_t date, bool high, uint64_t plays)
{
    if (s->wide_count == s->wide_room) {
        size_t most = s->spare / sizeof *s->wide, more = s->wide_room / 2;
        more = more < most ? more : most;
        s->spare -= more * sizeof *s->wide;
        more = more > FIRST_WIDE ? more : FIRST_WIDE; /* the batch was let in */
        struct wide *wide = realloc(s->wide, (s->wide_room + more) * sizeof *wide);
        if (!wide)
            return -E_NO_MEMORY;
        s->wide = wide;
        s->wide_room += more;
    }
    s->wide[s->wide_count++] = (struct wide){song, date & INT32_MAX, high, plays};
    return 0;
}

int sheet_flush_sum(struct sheet *s, uint32_t song, uint32_t date, uint64_t *sum)
{
    uint64_t held = *sum - 1;

    *sum = 0;
    return add_wide(s, song, date, false, held);
}

/* Gives a song a sum for each day, if memory allows. Its rows in the log stay there. That it
 * has twice as many as there are days bounds what this can waste to half of what they take. */
static int make_dense(struct sheet *s, uint32_t *place, size_t days)
{
    if (s->dense_count == s->dense_room) {
        if (s->dense_room == 0)
            s->stride = (days + STRIDE_STEP - 1) / STRIDE_STEP * STRIDE_STEP;
        size_t item = s->stride * sizeof *s->dense, old = s->dense_room * item;
        size_t room = s->dense_room ? s->dense_room + s->dense_room / 2 : FIRST_DENSE;
        if (pages_held(room * item) - pages_held(old) > s->spare)
            room = s->dense_room + s->spare / item;
        s->full = room < s->dense_room + s->dense_room / 16 + 1;
        if (s->full)
            return 0;
        uint64_t *dense = pages_grow(s->dense, old, room * item);
        if (!dense)
            return -E_NO_MEMORY;
        size_t more = pages_held(room * item) - pages_held(old);
        s->spare -= more < s->spare ? more : s->spare;
        s->dense = dense;
        s->dense_room = room;
    }
    memset(s->dense + s->dense_count * s->stride, 0, s->stride * sizeof *s->dense);
    *place = (uint32_t)DENSE_BIT | (uint32_t)s->dense_count++;
    return 0;
}

int sheet_add_slowly(struct sheet *s, uint32_t *place, uint32_t song, uint32_t date,
                     uint128 plays)
{
    if (plays >> PLAYS_BITS) {
        int rc = add_wide(s, song, date, false, (uint64_t)plays);
        if (rc == 0 && plays >> 64)
            rc = add_wide(s, song, date, true, (uint64_t)(plays >> 64));
        return rc;
    }
    if (!(*place >> 31) && ++*place >= DENSE_ROWS_LEAST && !s->full) {
        size_t days = calendar_count(s->dates.calendar);
        if (*place / 2 >= days && make_dense(s, place, days) != 0)
            return -E_NO_MEMORY;
    }
    return log_add(&s->log, song, date, (uint64_t)plays);
}

int sheet_add(struct sheet *s, uint32_t song, uint32_t date, uint128 plays)
{
    uint32_t *place = sheet_make_place(s, song);

    if (!place)
        return -E_NO_MEMORY;
    size_t at = sheet_sum_at(s, *place, date);
    if (at == 0 || plays >> DENSE_PLAYS_BITS)
        return sheet_add_slowly(s, place, song, date, plays);
    return sheet_add_dense(s, at, song, date, (uint64_t)plays);
}

static int compare_wide(const void *a, const void *b)
{
    const struct wide *x = a, *y = b;

    return (x->song > y->song) - (x->song < y->song);
}

void sheet_sort_wide(struct sheet *s)
{
    if (s->wide_count)
        qsort(s->wide, s->wide_count, sizeof *s->wide, compare_wide);
}

size_t sheet_find_wide(const struct sheet *s, uint32_t song)
{
    size_t low = 0, high = s->wide_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->wide[mid].song < song)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}
