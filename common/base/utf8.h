/* utf8.h - what is well-formed UTF-8. Pure. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the well-formed character at `at` (1 to 4), or 0 when the bytes there are none:
 * no overlong form, no surrogate, nothing past U+10FFFF (The Unicode Standard, table 3-7). */
size_t utf8_char(const char *at, size_t len);
bool utf8_is_valid(const char *text, size_t len);

#endif
