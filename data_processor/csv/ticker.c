#include "ticker.h"

#include "clock.h"

enum { EVERY_MS = 200 };

bool ticker_is_due(const struct ticker *t)
{
    return t->options && t->options->progress && clock_mono_ms() >= t->next_ms;
}

static void tell(struct ticker *t)
{
    t->next_ms = clock_mono_ms() + EVERY_MS;
    if (t->options->progress)
        t->options->progress(t->options->progress_arg, &t->now);
}

void ticker_tell_read(struct ticker *t, uint64_t bytes, uint64_t rows)
{
    uint64_t total = t->now.bytes_total;

    t->now.bytes_read = bytes;
    t->now.rows = rows;
    t->now.fraction = total == 0      ? -1
                      : bytes < total ? TICKER_READ_SHARE * (double)bytes / (double)total
                                      : TICKER_READ_SHARE;
    tell(t);
}

void ticker_tell_written(struct ticker *t, double part)
{
    t->now.fraction = TICKER_READ_SHARE + (1 - TICKER_READ_SHARE) * (part < 1 ? part : 1);
    tell(t);
}
