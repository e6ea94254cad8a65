#include "dates.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 16 };

void dates_release(struct dates *d)
{
    free(d->slots);
    free(d->days);
    *d = (struct dates){0};
}

static void put(struct dates *d, struct date_slot slot)
{
    uint32_t at = dates_place(slot.text, slot.rest);

    while (d->slots[at & (d->slot_count - 1)].text)
        at++;
    d->slots[at & (d->slot_count - 1)] = slot;
}

/* Keeps the slots at most half full. */
static int grow(struct dates *d)
{
    uint32_t old_count = d->slot_count, count = old_count ? 2 * old_count : FIRST_SLOTS;
    struct date_slot *old = d->slots;

    if (d->count < old_count / 2)
        return 0;
    uint32_t *days = realloc(d->days, count / 2 * sizeof *days);
    if (!days)
        return DATES_NO_MEMORY;
    d->days = days;
    d->slots = calloc(count, sizeof *d->slots);
    if (!d->slots) {
        d->slots = old;
        return DATES_NO_MEMORY;
    }
    d->slot_count = count;
    for (uint32_t i = 0; i < old_count; i++)
        if (old[i].text)
            put(d, old[i]);
    free(old);
    return 0;
}

int dates_add(struct dates *d, const char *text, size_t len)
{
    struct date_slot slot = {.id = (uint16_t)d->count};

    if (!date_parse(text, len, &slot.day))
        return DATES_BAD;
    if (grow(d) != 0)
        return DATES_NO_MEMORY;
    slot.text = load64(text);
    memcpy(&slot.rest, text + 8, sizeof slot.rest);
    put(d, slot);
    d->days[d->count++] = slot.day;
    return slot.id;
}

size_t dates_bytes(uint32_t count)
{
    /* slots (three times while they grow), days, and a sum with its number in each thread */
    return (size_t)count * (6 * sizeof(struct date_slot) + 4 + sizeof(uint128) + 8);
}
