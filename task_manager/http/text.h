/* text.h - bytes from outside, judged as text.
 *
 * Pure functions; any thread, nothing blocks, nothing allocates. */
#ifndef HTTP_TEXT_H
#define HTTP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TEXT_NAME_MAX = 256 }; /* a cleaned file name with its NUL */

/* Well-formed UTF-8 (Unicode 15, table 3-7) without control characters? */
bool text_is_plain(const char *text, size_t len);

/* The client's name of a file, made fit for showing: the part after the last slash or
 * backslash, without bytes that are no UTF-8, control characters and characters that change
 * the direction of writing (UAX #9); at most 255 bytes, cut between characters. */
void text_clean_filename(const char *name, char ret_clean[TEXT_NAME_MAX]);

/* The value of a hex digit, or -1. */
int text_hex_value(char c);

/* Decodes %XX (and + to a space when plus_is_space) from src[0..len) to dest, which may hold
 * len + 1 bytes; the escapes must be valid. Ends dest with a NUL; returns its length. */
size_t text_percent_decode(const char *src, size_t len, bool plus_is_space, char *dest);

/* One character of a token of RFC 9110, section 5.6.2? */
bool text_is_token_char(char c);

#endif
