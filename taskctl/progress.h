/* progress.h - how far something is: a bar on a terminal, a line now and then elsewhere.
 *
 * Goes to stderr, so that stdout stays the result. */
#ifndef TASKCTL_PROGRESS_H
#define TASKCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_quiet, is_terminal;
    bool is_drawn;  /* a bar stands in the current line */
    char label[64]; /* what was shown last */
    int percent;    /* -1 unknown */
    int64_t drawn_at_ms;
};

void progress_init(struct progress *p, bool is_quiet);

/* label: one word or two ("upload", "PROCESSING"); fraction 0 to 1, below 0 when unknown.
 * May be called as often as one likes: it draws ten times a second at most. */
void progress_show(struct progress *p, const char *label, double fraction);

/* Ends the line of the bar, so that other text can follow. */
void progress_end(struct progress *p);

#endif
