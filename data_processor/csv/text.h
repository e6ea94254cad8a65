/* text.h - how bytes from a stranger's file are shown to people. Pure. */
#ifndef CSV_TEXT_H
#define CSV_TEXT_H

#include <stddef.h>

#include "utf8.h"

enum { EXCERPT_BYTES = 80, EXCERPT_MAX = EXCERPT_BYTES + 4 };

/* A printable, NUL-terminated excerpt of at most EXCERPT_BYTES bytes; "..." follows when it
 * was cut. Control characters and bytes that are not UTF-8 become \n, \r, \t or \xNN, a
 * backslash becomes two. Returns its length. */
size_t excerpt_make(char ret_text[EXCERPT_MAX], const char *bytes, size_t len);

#endif
