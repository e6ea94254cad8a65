/* row.h - one row of CSV: its fields, the three columns that count, and their values.
 *
 * Everything works on bytes in memory that end at `end`, where a readable '\n' must stand as
 * a sentinel (it is not part of the data). Pure; results point into the data. */
#ifndef CSV_ROW_H
#define CSV_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "csv.h"
#include "err.h"
#include "text.h"

typedef unsigned __int128 uint128;

enum { ROW_NO_COLUMN = -1 };

struct field {
    const char *at; /* between the quotes when there are some */
    size_t len;
    bool escaped;     /* holds doubled quotes, see field_unescape */
    bool open_quote;  /* the data ended inside the quotes */
    bool text_behind; /* text followed the closing quote */
    size_t lines;     /* line ends inside the quotes */
};

/* Reads the field at `at` and returns where the comma, row end or `end` behind it stands. */
const char *field_read(const char *at, const char *end, struct field *ret_field);

/* Copies the field with doubled quotes made single; room for f->len bytes. */
size_t field_unescape(const struct field *f, char *ret_bytes);

/* `at` stands on a row end: returns the place behind it (CRLF is one). */
const char *row_end_skip(const char *at, const char *end);

/* Which columns count. Owns a copy of the header row. */
struct columns {
    size_t count, song, date, plays;
    char *header;
    size_t header_len;
};

/* Reads the header row; E_BAD_INPUT names what is missing, doubled or badly quoted. `line`
 * is its line number. On success the columns must be released. */
int columns_parse(struct columns *c, const char *row, size_t len, uint64_t line,
                  struct err *err);
void columns_release(struct columns *c);

/* The name of a column as the header writes it, made printable; "" when there is none. */
void columns_name(const struct columns *c, int64_t column, char ret_name[EXCERPT_MAX]);

struct row {
    const char *start, *next; /* `next`: behind the line end */
    size_t len;               /* without the line end */
    size_t fields, lines;     /* `lines`: line ends in it, its own too */
    struct field song, date, plays;
    int fault;            /* an enum csv_reason of the row's shape, or -1 */
    int64_t fault_column; /* or ROW_NO_COLUMN */
};

/* Reads the row at `at` (not at an empty line, not at `end`). */
void row_read(struct row *r, const char *at, const char *end, const struct columns *c);

/* YYYY-MM-DD, years 1 to 9999, as year<<9 | month<<5 | day: never 0, ordered like the date,
 * below 2^23. */
bool date_parse(const char *text, size_t len, uint32_t *ret_day);
enum { DATE_TEXT_LEN = 10 };
void date_format(uint32_t day, char ret_text[DATE_TEXT_LEN]);

/* Digits only, at least one; BYTES_SLACK bytes behind can be read. CSV_REASON_BAD_PLAYS,
 * CSV_REASON_PLAYS_TOO_BIG or -1 for good. */
int plays_parse(const char *text, size_t len, uint128 *ret_plays);

/* Eight digits in a word, the first in the lowest byte; false when others are among them.
 * Neighbours are joined in three steps (D. Lemire, "Quickly parsing eight digits", 2018). */
static inline bool plays_eight(uint64_t word, uint64_t *ret_number)
{
    uint64_t above = word + UINT64_C(0x4646464646464646);  /* sets the top bit past '9' */
    uint64_t digits = word - UINT64_C(0x3030303030303030); /* and below '0' */
    uint64_t pairs = digits * 10 + (digits >> 8);

    *ret_number =
        (((pairs & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064) +
          (pairs >> 16 & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x0000271000000001)) >>
         32) &
        UINT32_MAX;
    return ((word | above | digits) & UINT64_C(0x8080808080808080)) == 0;
}

/* The digits of a text of at most 8 bytes (at least one) as such a word, zeros before them. */
static inline uint64_t plays_word(const char *text, size_t len)
{
    uint64_t zeros = len < 8 ? UINT64_C(0x3030303030303030) >> 8 * len : 0;

    return load64(text) << (64 - 8 * len) | zeros;
}

/* The same for the usual number. */
static inline int plays_read(const char *text, size_t len, uint128 *ret_plays)
{
    uint64_t number;

    if (len - 1 >= 8 || !plays_eight(plays_word(text, len), &number))
        return plays_parse(text, len, ret_plays);
    *ret_plays = number;
    return -1;
}

/* Decimal digits of `n`, no NUL; returns how many (at most 39). */
enum { PLAYS_TEXT_MAX = 39 };
size_t plays_format(uint128 n, char ret_text[PLAYS_TEXT_MAX]);

#endif
