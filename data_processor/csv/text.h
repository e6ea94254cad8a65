/* text.h - UTF-8 rules, and how bytes from a stranger's file are shown to people. Pure. */
#ifndef CSV_TEXT_H
#define CSV_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the well-formed character at `at` (1 to 4), or 0 when the bytes there are none:
 * no overlong form, no surrogate, nothing past U+10FFFF (The Unicode Standard, table 3-7). */
size_t utf8_char(const char *at, size_t len);
bool utf8_is_valid(const char *text, size_t len);

enum { EXCERPT_BYTES = 80, EXCERPT_MAX = EXCERPT_BYTES + 4 };

/* A printable, NUL-terminated excerpt of at most EXCERPT_BYTES bytes; "..." follows when it
 * was cut. Control characters and bytes that are not UTF-8 become \n, \r, \t or \xNN, a
 * backslash becomes two. Returns its length. */
size_t excerpt_make(char ret_text[EXCERPT_MAX], const char *bytes, size_t len);

#endif
