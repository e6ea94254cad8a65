#include "dates.h"

#include <stdlib.h>

enum { FIRST_SLOTS = 128, FEW_SLOTS = 1024 };

void calendar_init(struct calendar *c)
{
    *c = (struct calendar){0};
    pthread_mutex_init(&c->lock, NULL);
}

void calendar_clear(struct calendar *c)
{
    dates_clear(&c->dates);
    free(c->days);
    c->days = NULL;
    c->room = 0;
    atomic_store_explicit(&c->count, 0, memory_order_relaxed);
}

void calendar_release(struct calendar *c)
{
    calendar_clear(c);
    pthread_mutex_destroy(&c->lock);
}

void dates_clear(struct dates *d)
{
    free(d->recent);
    free(d->slots);
    *d = (struct dates){.calendar = d->calendar, .alone = d->alone};
}

int dates_hurry(struct dates *d, uint32_t slots)
{
    d->recent = calloc(slots, sizeof *d->recent);
    d->recent_count = slots;
    return d->recent ? 0 : DATES_NO_MEMORY;
}

static uint32_t dates_place(uint64_t text, uint16_t rest)
{
    /* Odd multipliers carry each digit up into the top bits, but none down: the month stands so
     * high that lower bits hardly know of it. 17 are enough for DATES_MAX. */
    return (
        uint32_t)((text * UINT64_C(0x9E3779B97F4A7C15) + rest * UINT64_C(0xC2B2AE3D27D4EB4F)) >>
                  47);
}

static void put(struct dates *d, struct date_slot slot)
{
    uint32_t at = dates_place(slot.text, slot.rest);

    while (d->slots[at & (d->slot_count - 1)].text)
        at++;
    d->slots[at & (d->slot_count - 1)] = slot;
}

/* Keeps the slots at most half full. The first are few, for a file may have few days; then
 * there are enough for a year. */
static int grow(struct dates *d)
{
    uint32_t old_count = d->slot_count, count = 2 * old_count;
    struct date_slot *old = d->slots;

    if (d->count < old_count / 2)
        return 0;
    if (count < FEW_SLOTS)
        count = old_count ? FEW_SLOTS : FIRST_SLOTS;
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

static const struct date_slot *find(const struct dates *d, uint64_t text, uint16_t rest)
{
    if (d->slot_count == 0)
        return NULL;
    for (uint32_t at = dates_place(text, rest);; at++) {
        const struct date_slot *s = &d->slots[at & (d->slot_count - 1)];
        if (s->text == 0)
            return NULL;
        if (s->text == text && s->rest == rest)
            return s;
    }
}

static int add(struct dates *d, const struct date_slot *slot)
{
    if (grow(d) != 0)
        return DATES_NO_MEMORY;
    put(d, *slot);
    d->count++;
    return 0;
}

/* With the lock held or alone: notes a day that no thread has had yet. */
static int note_day(struct calendar *c, struct date_slot *slot)
{
    uint32_t count = calendar_count(c);

    if (count == c->room) {
        uint32_t room = c->room ? 2 * c->room : FIRST_SLOTS;
        uint32_t *days = realloc(c->days, room * sizeof *days);
        if (!days)
            return DATES_NO_MEMORY;
        c->days = days;
        c->room = room;
    }
    slot->id = (uint16_t)count;
    if (add(&c->dates, slot) != 0)
        return DATES_NO_MEMORY;
    c->days[count] = slot->day;
    atomic_store_explicit(&c->count, count + 1, memory_order_relaxed);
    return 0;
}

static int ask_calendar(struct calendar *c, struct date_slot *slot)
{
    int rc = 0;

    pthread_mutex_lock(&c->lock);
    const struct date_slot *found = find(&c->dates, slot->text, slot->rest);
    if (found)
        *slot = *found;
    else
        rc = note_day(c, slot);
    pthread_mutex_unlock(&c->lock);
    return rc;
}

/* A set that is alone looks up the calendar's own: it needs neither lock nor copy. */
static int learn(struct dates *d, struct date_slot *slot)
{
    if (!d->alone)
        return ask_calendar(d->calendar, slot) ? DATES_NO_MEMORY : add(d, slot);
    d->count++;
    return note_day(d->calendar, slot);
}

int dates_search(struct dates *d, const char *text, size_t len)
{
    struct date_slot slot;

    if (!date_parse(text, len, &slot.day))
        return DATES_BAD;
    slot.text = load64(text);
    slot.rest = dates_rest(text);
    const struct date_slot *found =
        find(d->alone ? &d->calendar->dates : d, slot.text, slot.rest);
    if (found)
        slot = *found;
    else if (learn(d, &slot) != 0)
        return DATES_NO_MEMORY;
    if (d->recent)
        d->recent[dates_recent_place(d, slot.text, slot.rest)] = slot;
    return slot.id;
}

size_t dates_bytes(uint32_t count)
{
    /* slots (three times while they grow) and days, here and in the calendar, and a sum with
     * its number in each thread */
    return (size_t)count * (12 * sizeof(struct date_slot) + 8 + sizeof(uint128) + 8);
}
