/* progress.c - see progress.h. */
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

enum { BAR_WIDTH = 40, DRAW_EVERY_MS = 100, LINE_EVERY_PERCENT = 10 };

void progress_init(struct progress *p, bool is_quiet)
{
    *p = (struct progress){
        .is_quiet = is_quiet, .is_terminal = isatty(STDERR_FILENO) == 1, .percent = -1};
}

static void draw_bar(struct progress *p, const char *label, int percent)
{
    char bar[BAR_WIDTH + 1];
    int full = percent < 0 ? 0 : percent * BAR_WIDTH / 100;

    memset(bar, '#', (size_t)full);
    memset(bar + full, '.', (size_t)(BAR_WIDTH - full));
    bar[BAR_WIDTH] = '\0';
    if (percent < 0)
        fprintf(stderr, "\r\033[K%-10s", label);
    else
        fprintf(stderr, "\r\033[K%-10s [%s] %3d%%", label, bar, percent);
    fflush(stderr);
    p->is_drawn = true;
    p->drawn_at_ms = clock_mono_ms();
}

static void write_line(const char *label, int percent)
{
    if (percent < 0)
        fprintf(stderr, "%s\n", label);
    else
        fprintf(stderr, "%s %d%%\n", label, percent);
}

void progress_show(struct progress *p, const char *label, double fraction)
{
    int percent = fraction < 0 ? -1 : fraction >= 1 ? 100 : (int)(fraction * 100);
    bool is_new = strcmp(p->label, label) != 0;

    if (p->is_quiet || (!is_new && percent == p->percent))
        return;
    if (p->is_terminal) {
        bool is_late = clock_mono_ms() - p->drawn_at_ms >= DRAW_EVERY_MS;
        if (!is_new && !is_late && percent != 100)
            return;
        draw_bar(p, label, percent);
    } else {
        if (!is_new && percent / LINE_EVERY_PERCENT == p->percent / LINE_EVERY_PERCENT)
            return;
        write_line(label, percent);
    }
    snprintf(p->label, sizeof p->label, "%s", label);
    p->percent = percent;
}

void progress_end(struct progress *p)
{
    if (p->is_drawn)
        fputc('\n', stderr);
    p->is_drawn = false;
    p->label[0] = '\0';
}
