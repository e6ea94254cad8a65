/* bar.h - how far a command is, for a person at a terminal. */
#ifndef DATA_PROCESSOR_BAR_H
#define DATA_PROCESSOR_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct csv_progress;

/* One line on standard error that is drawn over and over. */
struct bar {
    int64_t start_ms;
    bool drawn;
};

void bar_draw(struct bar *b, const struct csv_progress *p);
void bar_clear(struct bar *b); /* takes the line away */

/* The line, NUL-terminated, without moving the cursor; `ms`: since the start. */
enum { BAR_TEXT_MAX = 160 };
void bar_text(const struct csv_progress *p, int64_t ms, char ret_text[BAR_TEXT_MAX]);

#endif
