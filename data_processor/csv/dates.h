/* dates.h - the days that occur in the input, numbered as they come.
 *
 * A file has few different days and many rows: each day's text is checked once and then only
 * compared. That is exact because a day has one text. A set belongs to one thread. */
#ifndef CSV_DATES_H
#define CSV_DATES_H

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

struct dates {
    struct date_slot *slots;
    uint32_t slot_count; /* a power of two */
    uint32_t count;
    uint32_t *days; /* by id */
};

void dates_release(struct dates *d);

/* The number of a text that has not come before; see dates_id. */
int dates_add(struct dates *d, const char *text, size_t len);

/* Bytes that `count` days take here and in the sums over them. */
size_t dates_bytes(uint32_t count);

static inline uint32_t dates_place(uint64_t text, uint16_t rest)
{
    /* odd multipliers spread the digits over the upper half */
    return (
        uint32_t)((text * UINT64_C(0x9E3779B97F4A7C15) + rest * UINT64_C(0xC2B2AE3D27D4EB4F)) >>
                  32);
}

/* The number of the day that `text` is, BYTES_SLACK readable behind it. DATES_BAD when it is
 * none, DATES_NO_MEMORY. */
static inline int dates_id(struct dates *d, const char *text, size_t len)
{
    uint16_t rest;
    uint64_t head = load64(text);

    memcpy(&rest, text + 8, sizeof rest);
    if (len == DATE_TEXT_LEN && d->slot_count > 0)
        for (uint32_t at = dates_place(head, rest);; at++) {
            const struct date_slot *s = &d->slots[at & (d->slot_count - 1)];
            if (s->text == 0)
                break;
            if (s->text == head && s->rest == rest)
                return s->id;
        }
    return dates_add(d, text, len);
}

#endif
