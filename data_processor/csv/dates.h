/* dates.h - the days that occur in the input, numbered as they come.
 *
 * A file has few different days and many rows: each day's text is checked once and then only
 * compared. That is exact because a day has one text. A set belongs to one thread; the sets
 * of several threads number alike when they share a calendar. */
#ifndef CSV_DATES_H
#define CSV_DATES_H

#include <pthread.h>
#include <stdatomic.h>

#include "bytes.h"
#include "row.h"

/* Not more different days: they fit in 16 bits with a few numbers to spare. */
enum { DATES_MAX = 65000 };
enum { DATES_BAD = -1, DATES_NO_MEMORY = -2 };

struct date_slot {
    uint64_t text; /* the first 8 bytes; 0: free */
    uint16_t rest, id;
    uint32_t day;
};

/* What came last at each place of four years, or of one: no two days of one year meet there, so
 * the usual file never searches. */
enum { DATES_RECENT_YEAR = 1 << 11, DATES_RECENT = 4 * DATES_RECENT_YEAR };

struct dates {
    struct calendar *calendar; /* gives the numbers */
    bool alone;                /* nobody else asks it: no need to note what it has said */
    struct date_slot *recent;  /* NULL: do without */
    uint32_t recent_count;     /* DATES_RECENT or DATES_RECENT_YEAR */
    struct date_slot *slots;
    uint32_t slot_count; /* a power of two */
    uint32_t count;      /* of the days it has asked for */
};

/* The days of all threads. Each asks it once for each day. */
struct calendar {
    pthread_mutex_t lock;
    struct dates dates;
    uint32_t *days; /* by id */
    uint32_t room;
    atomic_uint count;
};

void calendar_init(struct calendar *c);
void calendar_clear(struct calendar *c);
void calendar_release(struct calendar *c);

static inline uint32_t calendar_count(const struct calendar *c)
{
    return atomic_load_explicit(&c->count, memory_order_relaxed);
}

void dates_clear(struct dates *d); /* empty and usable again */

/* Takes DATES_RECENT or DATES_RECENT_YEAR slots to be faster. 0 or DATES_NO_MEMORY. */
int dates_hurry(struct dates *d, uint32_t slots);

/* dates_id for a text that is not among the recent ones. */
int dates_search(struct dates *d, const char *text, size_t len);

/* Bytes that `count` days take here, in the calendar and in the sums over them. */
size_t dates_bytes(uint32_t count);

static inline uint32_t dates_recent_place(const struct dates *d, uint64_t text, uint16_t rest)
{
    uint32_t place = (uint32_t)(text >> 24 & 3) << 11 | (uint32_t)(text >> 40 & 1) << 10 |
                     (uint32_t)(text >> 48 & 15) << 6 | (rest & 3U) << 4 | (rest >> 8 & 15U);

    return place & (d->recent_count - 1);
}

static inline uint16_t dates_rest(const char *text)
{
    uint16_t rest;

    memcpy(&rest, text + 8, sizeof rest);
    return le16toh(rest);
}

/* The number of the day that `text` is, BYTES_SLACK readable behind it. DATES_BAD when it is
 * none, DATES_NO_MEMORY. */
static inline int dates_id(struct dates *d, const char *text, size_t len)
{
    if (d->recent && len == DATE_TEXT_LEN) {
        uint64_t head = load64(text);
        uint16_t rest = dates_rest(text);
        const struct date_slot *s = &d->recent[dates_recent_place(d, head, rest)];
        if (s->text == head && s->rest == rest && s->day)
            return s->id;
    }
    return dates_search(d, text, len);
}

#endif
