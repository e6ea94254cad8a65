/* split.h - where rows end, found exactly without reading the rows.
 *
 * Two states are enough: outside and inside quotes. Outside, a quote opens a quoted field
 * only where a field starts (after a comma, a row end, or at the start of the data); anywhere
 * else it is an ordinary character. Inside, a doubled quote is a character and any other one
 * closes. Text after a closing quote makes the row bad, but it still ends at the next row end
 * outside quotes, so reading goes on in step.
 *
 * The data starts at the start of a row and may grow between calls; `at` remembers how far
 * it has been read. Pure; one thread at a time. */
#ifndef CSV_SPLIT_H
#define CSV_SPLIT_H

#include <stdbool.h>
#include <stddef.h>

struct split {
    size_t at;       /* bytes read so far */
    size_t boundary; /* end of the last (or first) whole row found; 0: none */
    bool inside;     /* quotes are open at `at` */
};

enum split_want { SPLIT_LAST_ROW_END, SPLIT_FIRST_ROW_END };

struct scanner;

/* Reads on to `len`, or in FIRST mode to the first row end. `eof`: no bytes will follow. A
 * row end is taken only when it is known to be whole: a CR that is the last byte so far may
 * be half a CRLF. `scanner` speeds up the search for the last one and may be NULL. */
void split_scan(struct split *s, const struct scanner *scanner, const char *data, size_t len,
                bool eof, enum split_want want);

/* A field or row ends with this byte, outside quotes. */
static inline bool split_separates(char byte)
{
    return byte == ',' || byte == '\n' || byte == '\r';
}

/* The first `cut` bytes (up to a boundary) have been taken away. */
void split_rebase(struct split *s, size_t cut);

/* Line ends (LF, CRLF, CR) in a stream of pieces; *after_cr carries over a split CRLF. */
size_t split_count_lines(const char *data, size_t len, bool *after_cr);

#endif
