#include "bar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "csv.h"

enum { WIDTH = 24, LEFT_MAX_S = 99 * 3600 };

/* "1:02:03" left at the pace so far, "" when nobody knows. */
static void time_left(double fraction, int64_t ms, char *ret_text, size_t room)
{
    ret_text[0] = '\0';
    if (fraction < 0.01)
        return;
    double seconds = (double)ms / 1000 * (1 - fraction) / fraction + 0.5;
    if (seconds > LEFT_MAX_S)
        return;
    int s = (int)seconds;
    snprintf(ret_text, room, ", %d:%02d:%02d left", s / 3600, s / 60 % 60, s % 60);
}

void bar_text(const struct csv_progress *p, int64_t ms, char ret_text[BAR_TEXT_MAX])
{
    double seconds = (double)(ms > 0 ? ms : 1) / 1000, fraction = p->fraction;
    char cells[WIDTH + 1], left[32];

    int size = 0;
    if (fraction >= 0) {
        size_t full = (size_t)(fraction * WIDTH);
        memset(cells, '.', WIDTH);
        memset(cells, '#', full < WIDTH ? full : WIDTH);
        cells[WIDTH] = '\0';
        size = snprintf(ret_text, BAR_TEXT_MAX, "[%s] %3.0f %%, ", cells, fraction * 100);
    }
    time_left(fraction, ms, left, sizeof left);
    snprintf(ret_text + size, BAR_TEXT_MAX - (size_t)size,
             "%.0f MB read, %.1f million rows, %.0f MB/s%s", (double)p->bytes_read / 1e6,
             (double)p->rows / 1e6, (double)p->bytes_read / 1e6 / seconds, left);
}

void bar_draw(struct bar *b, const struct csv_progress *p)
{
    char text[BAR_TEXT_MAX];

    bar_text(p, clock_mono_ms() - b->start_ms, text);
    fprintf(stderr, "\r%s\x1b[K", text);
    fflush(stderr);
    b->drawn = true;
}

void bar_clear(struct bar *b)
{
    if (b->drawn)
        fprintf(stderr, "\r\x1b[K");
    b->drawn = false;
}
